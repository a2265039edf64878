//! The URLs that registries send us elsewhere with, and nothing more of RFC 3986.

use std::net::Ipv6Addr;

use assay_sandbox::registry_ref::RegistryRef;

/// Longest URL; signed ones are long.
const URL_MAX: usize = 8 << 10;

/// `http` or `https`, a host, a port, and what is asked for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Whether it is `https`.
    pub(super) tls: bool,
    /// A name, or an address without brackets.
    pub(super) host: String,
    /// The port, the scheme's own where none is written.
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
}

impl Url {
    /// An absolute URL without user, password or fragment.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let visible = text.len() <= URL_MAX && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at_checked(end)?;
        let (host, port) = split_authority(authority)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let plain = visible && !target.contains('#') && port != 0;
        plain.then_some(Self { tls, host: host.to_ascii_lowercase(), port, target })
    }

    /// Where `location` leads from here: an absolute URL, or a path on the same host.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        let same_host = location.starts_with('/') && !location.starts_with("//");
        match same_host {
            true => Self::parse(&format!("{}{location}", self.origin())),
            false => Self::parse(location),
        }
    }

    /// A registry's own place.
    pub(super) fn of_registry(image: &RegistryRef, tls: bool, target: String) -> Self {
        let port = image.port().unwrap_or(if tls { 443 } else { 80 });
        let host = match (image.host(), image.port()) {
            // The name in every reference is not the name of the service.
            ("docker.io", None) => "registry-1.docker.io",
            (host, _) => host,
        };
        Self { tls, host: host.to_owned(), port, target }
    }

    /// Host and port, as the Host header has them and configurations name registries.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// Whether what is meant for one may be told to the other.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        (self.tls, self.port) == (other.tls, other.port) && self.host == other.host
    }
}

fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
            let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            (named && (1..=253).contains(&host.len())).then_some((host, port))?
        }
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse().ok())?;
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(digits(port)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        let url = Url::parse("https://Auth.example/token?a=b").unwrap();
        assert_eq!((url.tls, url.host.as_str(), url.port), (true, "auth.example", 443));
        assert_eq!((url.target.as_str(), url.authority().as_str()), ("/token?a=b", "auth.example"));
        assert_eq!(Url::parse("http://[::1]:5000").unwrap().authority(), "[::1]:5000");
        assert_eq!(Url::parse("http://h?x").unwrap().target, "/?x");
    }

    #[test]
    fn odd_urls_are_none() {
        for text in [
            "",
            "h",
            "ftp://h/",
            "file:///etc/passwd",
            "https://",
            "https://:5/",
            "https://u:p@h/",
            "https://h:0/",
            "https://h:99999/",
            "https://h:+5/",
            "https://h/#f",
            "https://h/ x",
            "https://h/\u{e9}",
            "https://h\\@e/",
            "https://[::1",
            "https://[::1]x/",
            "https://[fe80::1%25lo]/",
            "//h/",
            "https:/h",
            "http://h/\r\nA: b",
        ] {
            assert_eq!(Url::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_path_stays_on_its_host_and_nothing_else_does() {
        let here = Url::parse("http://h:5000/v2/").unwrap();
        assert_eq!(here.join("/x?y").unwrap(), Url::parse("http://h:5000/x?y").unwrap());
        assert_eq!(here.join("https://o/x").unwrap().host, "o");
        assert_eq!((here.join("//o/x"), here.join("x"), here.join("")), (None, None, None));
        let same = |text: &str| here.is_same_place(&Url::parse(text).unwrap());
        assert!(
            same("http://h:5000/other")
                && !same("https://h:5000/")
                && !same("http://h/")
                && !same("http://i:5000/")
        );
    }
}
