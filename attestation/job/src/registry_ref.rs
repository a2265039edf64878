//! References to images in registries: `HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]`.
//!
//! The grammar is that of the OCI distribution-spec 1.1 ("Pulling manifests") with
//! nothing implied: no default host, no default name space, no default tag. Pure;
//! the text comes from strangers, any text gives a reference or a typed error.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest reference, bytes.
pub const REFERENCE_MAX: usize = 512;
/// Longest repository name, bytes.
const NAME_MAX: usize = 255;
/// Longest tag, bytes (distribution-spec, "Pulling manifests").
const TAG_MAX: usize = 128;

/// Why a text is no reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefError {
    /// Longer than [`REFERENCE_MAX`].
    #[error("a reference of more than {REFERENCE_MAX} bytes")]
    TooLong,
    /// No host, or one that is no DNS name with a dot, address, `localhost`, or name with a port.
    #[error("no registry host; write it out, as in registry.example/name@sha256:...")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("a port that is no number from 1 to 65535")]
    Port,
    /// The repository breaks the grammar of names.
    #[error("a repository name of other than lower-case letters, digits and single separators")]
    Name,
    /// The tag breaks the grammar of tags.
    #[error("a tag of other than 128 letters, digits, '_', '.' and '-'")]
    Tag,
    /// The digest is not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("a digest that is not sha256: and 64 lower-case hexadecimal digits")]
    Digest,
    /// Neither a tag nor a digest.
    #[error("neither a tag nor a digest; add @sha256:... of the image's manifest")]
    Unversioned,
}

/// A reference, all of it checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryRef {
    host: String,
    port: Option<u16>,
    repository: String,
    tag: Option<String>,
    digest: Option<[u8; 32]>,
}

impl RegistryRef {
    /// Reads a reference.
    ///
    /// # Errors
    /// The first part that breaks its rule.
    pub fn parse(text: &str) -> Result<Self, RefError> {
        if text.len() > REFERENCE_MAX {
            return Err(RefError::TooLong);
        }
        let (authority, rest) = text.split_once('/').ok_or(RefError::Host)?;
        let (host, port) = parse_authority(authority)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest).ok_or(RefError::Digest)?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_repository(repository) {
            return Err(RefError::Name);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(RefError::Tag);
        }
        if tag.is_none() && digest.is_none() {
            return Err(RefError::Unversioned);
        }
        let (repository, tag) = (repository.to_owned(), tag.map(str::to_owned));
        Ok(Self { host: host.to_owned(), port, repository, tag, digest })
    }

    /// The host: a DNS name, an IPv4 address, or an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where one is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port as written: what configurations and credentials name a registry by.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// The repository's name.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where one is written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// SHA-256 of the manifest or index, where it is written.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }
}

impl fmt::Display for RegistryRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.authority(), self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@sha256:{}", hex::encode(digest)),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for RegistryRef {
    type Error = RefError;

    fn try_from(text: String) -> Result<Self, RefError> {
        Self::parse(&text)
    }
}

impl From<RegistryRef> for String {
    fn from(reference: RegistryRef) -> Self {
        reference.to_string()
    }
}

/// SHA-256 of `sha256:` and 64 lower-case hexadecimal digits; `None` for anything else.
#[must_use]
pub fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix("sha256:")?;
    let canonical = digits.len() == 64 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut digest = [0; 32];
    (canonical && hex::decode_to_slice(digits, &mut digest).is_ok()).then_some(digest)
}

fn parse_authority(text: &str) -> Result<(&str, Option<u16>), RefError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(RefError::Host)?;
        // One text per address: what the address itself would be written as.
        let canonical = host.parse::<Ipv6Addr>().is_ok_and(|address| address.to_string() == host);
        let port = match after {
            "" => None,
            _ => Some(parse_port(after.strip_prefix(':').ok_or(RefError::Port)?)?),
        };
        return if canonical { Ok((host, port)) } else { Err(RefError::Host) };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (text, None),
    };
    // Without a dot or a port it could as well be a part of a name.
    let told_apart = host == "localhost" || host.contains('.') || port.is_some();
    if told_apart && is_host(host) { Ok((host, port)) } else { Err(RefError::Host) }
}

fn parse_port(text: &str) -> Result<u16, RefError> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).ok_or(RefError::Port)
}

/// A DNS name in lower case (RFC 1123 2.1) or an IPv4 address of four plain numbers.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name that ends in a number is an IPv4 address in some notation; only the usual one is taken.
    let numeric = host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    host.len() <= 253 && host.split('.').all(label) && (!numeric || host.parse::<Ipv4Addr>().is_ok())
}

fn is_repository(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && name.split('/').all(is_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<u8>| b.is_some_and(alphanumeric);
    let separators = component.split(|c: char| u8::try_from(c).is_ok_and(alphanumeric));
    ends(component.bytes().next())
        && ends(component.bytes().next_back())
        && separators.into_iter().all(|s| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=TAG_MAX).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn good_references_are_split_and_written_back() {
        let cases = [
            ("registry.example/a:1", ("registry.example", None, "a", Some("1"), false)),
            (
                "localhost/a/b_c/d__e/f---g.h:V1.2-x",
                ("localhost", None, "a/b_c/d__e/f---g.h", Some("V1.2-x"), false),
            ),
            ("127.0.0.1:5000/a:_", ("127.0.0.1", Some(5000), "a", Some("_"), false)),
            ("[::1]:5000/a:t", ("::1", Some(5000), "a", Some("t"), false)),
            ("reg:1/a:t", ("reg", Some(1), "a", Some("t"), false)),
            (&format!("r.example/a@{DIGEST}"), ("r.example", None, "a", None, true)),
            (&format!("r.example/a:t@{DIGEST}"), ("r.example", None, "a", Some("t"), true)),
        ];
        for (text, (host, port, repository, tag, digest)) in cases {
            let one = RegistryRef::parse(text).unwrap();
            assert_eq!((one.host(), one.port(), one.repository(), one.tag()), (host, port, repository, tag));
            assert_eq!((one.digest().is_some(), one.to_string().as_str()), (digest, text));
            assert_eq!(RegistryRef::try_from(String::from(one.clone())), Ok(one));
        }
    }

    #[test]
    fn each_part_is_held_to_its_grammar() {
        let long = format!("r.example/{}:t", "a".repeat(256));
        let too_long = format!("r.example/{}", "a".repeat(600));
        let long_tag = format!("r.example/a:{}", "t".repeat(129));
        let cases = [
            ("", RefError::Host),
            ("name:tag", RefError::Host),
            ("library/name:tag", RefError::Host),
            ("UPPER.example/a:t", RefError::Host),
            ("-r.example/a:t", RefError::Host),
            ("r..example/a:t", RefError::Host),
            ("user@r.example/a:t", RefError::Host),
            ("127.1/a:t", RefError::Host),
            ("0x7f.0.0.1:5000/a:t", RefError::Host),
            ("2130706433.0:1/a:t", RefError::Host),
            ("010.0.0.1/a:t", RefError::Host),
            ("[::1/a:t", RefError::Host),
            ("[0:0::1]/a:t", RefError::Host),
            ("[fe80::1%eth0]/a:t", RefError::Host),
            ("[::1]5000/a:t", RefError::Port),
            ("r.example:/a:t", RefError::Port),
            ("r.example:0/a:t", RefError::Port),
            ("r.example:080/a:t", RefError::Port),
            ("r.example:65536/a:t", RefError::Port),
            ("r.example:+80/a:t", RefError::Port),
            ("r.example/:t", RefError::Name),
            ("r.example//a:t", RefError::Name),
            ("r.example/a/:t", RefError::Name),
            ("r.example/../a:t", RefError::Name),
            ("r.example/a..b:t", RefError::Name),
            ("r.example/a___b:t", RefError::Name),
            ("r.example/a-_b:t", RefError::Name),
            ("r.example/A:t", RefError::Name),
            ("r.example/a?x=y:t", RefError::Name),
            ("r.example/a%2f:t", RefError::Name),
            ("r.example/\u{e9}:t", RefError::Name),
            (&long, RefError::Name),
            (&too_long, RefError::TooLong),
            ("r.example/a:", RefError::Tag),
            ("r.example/a:.t", RefError::Tag),
            ("r.example/a:t/u", RefError::Tag),
            ("r.example/a:t:u", RefError::Tag),
            ("r.example/a:t\n", RefError::Tag),
            (&long_tag, RefError::Tag),
            ("r.example/a@", RefError::Digest),
            ("r.example/a@sha512:00", RefError::Digest),
            (&format!("r.example/a@{}", DIGEST.to_uppercase()), RefError::Digest),
            (&format!("r.example/a@{DIGEST}0"), RefError::Digest),
            (&format!("r.example/a@{DIGEST}@{DIGEST}"), RefError::Digest),
            ("r.example/a", RefError::Unversioned),
        ];
        for (text, error) in cases {
            assert_eq!(RegistryRef::parse(text), Err(error), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_written_back_or_refused(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,80}|.{0,40}") {
            if let Ok(reference) = RegistryRef::parse(&text) {
                proptest::prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
