//! What a registry asks for when it answers 401 (RFC 9110 11.6.1, and the token
//! scheme of the CNCF distribution project, "Token Authentication").

use std::fmt::Write as _;

use hyper::HeaderMap;
use hyper::header::WWW_AUTHENTICATE;
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::fault::Fault;
use super::url::Url;

/// Most parameters of a challenge.
const PARAMETERS_MAX: usize = 16;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password, with each request.
    Basic,
    /// A token from this service.
    Bearer {
        /// Where tokens are to be had.
        realm: Url,
        /// What it knows the registry as.
        service: Option<String>,
    },
}

/// The first challenge that we can answer.
pub(super) fn challenge(headers: &HeaderMap) -> Result<Option<Challenge>, Fault> {
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        let Some((scheme, rest)) = text.trim().split_once(' ') else { continue };
        if scheme.eq_ignore_ascii_case("basic") {
            return Ok(Some(Challenge::Basic));
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            continue;
        }
        let parameters = parameters(rest).ok_or(Fault::Url)?;
        let get = |wanted: &str| {
            parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.as_str())
        };
        let realm = get("realm").and_then(Url::parse).ok_or(Fault::Url)?;
        return Ok(Some(Challenge::Bearer { realm, service: get("service").map(str::to_owned) }));
    }
    Ok(None)
}

/// `key=token` and `key="quoted"`, separated by commas.
fn parameters(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                let (value, tail) = after.split_at_checked(end)?;
                (value.trim().to_owned(), tail)
            }
        };
        found.push((key.trim().to_owned(), value));
        let tail = tail.trim_start();
        rest = if tail.is_empty() { tail } else { tail.strip_prefix(',')?.trim_start() };
        if found.len() > PARAMETERS_MAX {
            return None;
        }
    }
    Some(found)
}

/// The text up to the closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at.checked_add(1)?..)?)),
            '\\' => value.push(chars.next()?.1),
            c if c.is_control() => return None,
            c => value.push(c),
        }
    }
    None
}

/// Where to ask for a token to read one repository: never for more, whatever the challenge says.
pub(super) fn token_url(realm: &Url, service: Option<&str>, repository: &str) -> Url {
    let mut target = realm.target.clone();
    let mut separator = if target.contains('?') { '&' } else { '?' };
    let scope = format!("repository:{repository}:pull");
    for (key, value) in service.map(|s| ("service", s)).into_iter().chain([("scope", scope.as_str())]) {
        target.push(separator);
        target.push_str(key);
        target.push('=');
        percent(value, &mut target);
        separator = '&';
    }
    Url { target, ..realm.clone() }
}

fn percent(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(char::from(byte))
            }
            // Writing to a string cannot fail.
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The `Authorization` header's value from a token service's answer.
pub(super) fn bearer(body: &[u8]) -> Result<Zeroizing<String>, Fault> {
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| Fault::Token)?;
    let mut token = answer.token.or(answer.access_token).ok_or(Fault::Token)?;
    let visible = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let value = visible.then(|| Zeroizing::new(format!("Bearer {token}")));
    token.zeroize();
    value.ok_or(Fault::Token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn of(values: &[&str]) -> Result<Option<Challenge>, Fault> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn challenges_are_read() {
        let text =
            r#"Bearer realm="https://auth.example/token?x=y",service="a \"b\", c",scope="repository:z:push""#;
        let Challenge::Bearer { realm, service } = of(&["Digest x=y", text]).unwrap().unwrap() else {
            panic!()
        };
        assert_eq!(service.as_deref(), Some("a \"b\", c"));
        let url = token_url(&realm, service.as_deref(), "lib/a");
        assert_eq!(url.target, "/token?x=y&service=a%20%22b%22%2C%20c&scope=repository%3Alib%2Fa%3Apull");
        assert_eq!(
            token_url(&Url { target: "/t".into(), ..realm }, None, "a").target,
            "/t?scope=repository%3Aa%3Apull"
        );
        assert_eq!(of(&["BASIC realm=r"]).unwrap(), Some(Challenge::Basic));
        assert_eq!(of(&["bearer realm=https://h/, service=s"]).unwrap().map(|_| ()), Some(()));
        assert!(of(&[]).unwrap().is_none() && of(&["Negotiate"]).unwrap().is_none());
    }

    #[test]
    fn odd_challenges_are_refused() {
        for text in [
            "Bearer x",
            "Bearer realm=",
            "Bearer service=s",
            r#"Bearer realm="https://h/"#,
            r#"Bearer realm="ftp://h/""#,
            r#"Bearer realm="https://h/" x"#,
            r#"Bearer realm="https://u:p@h/""#,
        ] {
            assert!(of(&[text]).is_err(), "{text}");
        }
        let many = (0..20).map(|n| format!("a{n}=b,")).collect::<String>();
        assert!(of(&[&format!("Bearer {many}realm=https://h/")]).is_err());
    }

    #[test]
    fn tokens_are_one_word() {
        let of = |text: &str| bearer(text.as_bytes()).ok().map(|value| value.to_string());
        assert_eq!(of(r#"{"token": "a.b", "access_token": "c"}"#).as_deref(), Some("Bearer a.b"));
        assert_eq!(of(r#"{"access_token": "c", "expires_in": 3}"#).as_deref(), Some("Bearer c"));
        for text in [
            "",
            "{}",
            r#"{"token": ""}"#,
            r#"{"token": "a b"}"#,
            r#"{"token": "a\r\nX: y"}"#,
            r#"{"token": 1}"#,
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
