//! Whom the pull process may talk to.
//!
//! Names say nothing: what counts is the address that is connected to. Addresses
//! that are not of the public internet belong to the owner's network, to this
//! machine, or to a provider's metadata service, and a tenant's reference must not
//! lead there; nor to the networks that this machine is on, whatever their addresses.
//! The owner may name registries that it trusts anyway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::neighbours::Neighbours;
use super::url::Url;
use crate::config::ImageSettings;

/// IPv4 networks that are not public: address and prefix length (IANA special-purpose registry).
const SPECIAL_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carriers' private
    ([127, 0, 0, 0], 8),     // this machine
    ([169, 254, 0, 0], 16),  // link-local, metadata services
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// Networks within 2000::/3 that are not public, or lead to IPv4 addresses.
const SPECIAL_V6: [([u16; 8], u32); 4] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),     // protocol assignments, Teredo
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),     // 6to4
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),     // documentation
];

/// The owner's rules.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    insecure: Vec<String>,
    allow_private: bool,
    near: Option<Neighbours>,
}

impl Policy {
    pub(super) fn new(settings: &ImageSettings) -> Self {
        let insecure = settings.insecure_registries.iter().map(|one| plain(one).to_owned()).collect();
        let near = Neighbours::read();
        let near = near.inspect_err(|error| log::error!("cannot read the routing tables: {error}")).ok();
        Self { insecure, allow_private: settings.allow_private, near }
    }

    /// Whether the owner names this registry as one without TLS.
    pub(super) fn is_insecure(&self, authority: &str) -> bool {
        self.insecure.iter().any(|named| named == plain(authority))
    }

    /// Whether a URL may be used without TLS.
    pub(super) fn may_be_plain(&self, url: &Url) -> bool {
        self.is_insecure(&url.authority())
    }

    /// Whether a URL's host may be at this address.
    pub(super) fn may_be_at(&self, url: &Url, address: IpAddr) -> bool {
        let named = !url.tls && self.is_insecure(&url.authority());
        // Without knowing our own network, every address may be of it.
        let near = self.near.as_ref().is_none_or(|near| near.include(address));
        self.allow_private || named || (is_public(address) && !near)
    }
}

/// A registry's name without the port that plain HTTP has anyway.
fn plain(authority: &str) -> &str {
    authority.strip_suffix(":80").unwrap_or(authority)
}

/// Whether an address is of the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|(network, length)| {
            (u32::from(v4) ^ u32::from(Ipv4Addr::from(*network))).leading_zeros() >= *length
        }),
        // Global unicast is 2000::/3 (RFC 4291 2.4). All else is local, reserved, or another address in disguise:
        // ::ffff:0:0/96, 64:ff9b::/96, fc00::/7, fe80::/10, ff00::/8.
        IpAddr::V6(v6) => {
            v6.segments().first().is_some_and(|first| first >> 13 == 1)
                && !SPECIAL_V6.iter().any(|(network, length)| {
                    (u128::from(v6) ^ u128::from(Ipv6Addr::from(*network))).leading_zeros() >= *length
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "2001:200::1",
            "2003::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:1.1.1.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn public_addresses_of_our_own_networks_are_not_for_tenants() {
        let line = "2a000001000200030000000000000000 40 0 00 0 100 1 0 1 eth0";
        let near = Some(Neighbours::parse("", line));
        let policy = Policy { near, ..Policy::new(&ImageSettings::default()) };
        let url = Url::parse("https://r.example/").unwrap();
        assert!(!policy.may_be_at(&url, "2a00:1:2:3::9".parse().unwrap()));
        assert!(policy.may_be_at(&url, "2a00:1:2:4::9".parse().unwrap()));
        let open = Policy { allow_private: true, ..policy.clone() };
        assert!(open.may_be_at(&url, "2a00:1:2:3::9".parse().unwrap()));
        let unknown = Policy { near: None, ..policy };
        assert!(!unknown.may_be_at(&url, "2a00:1:2:4::9".parse().unwrap()));
    }

    #[test]
    fn the_owner_may_name_registries_and_only_those() {
        let settings = ImageSettings {
            insecure_registries: vec!["127.0.0.1:5000".into(), "reg.lan:80".into()],
            ..ImageSettings::default()
        };
        let policy = Policy::new(&settings);
        let (local, url) = ("127.0.0.1".parse().unwrap(), |text: &str| Url::parse(text).unwrap());
        assert!(policy.may_be_at(&url("http://127.0.0.1:5000/"), local));
        assert!(policy.may_be_plain(&url("http://reg.lan/v2/")) && policy.is_insecure("reg.lan:80"));
        assert!(policy.is_insecure("reg.lan") && !policy.is_insecure("reg.lan:8080"));
        for other in
            ["http://127.0.0.1:5001/", "http://127.0.0.1/", "https://127.0.0.1:5000/", "http://r.example/"]
        {
            assert!(!policy.may_be_at(&url(other), local), "{other}");
        }
        assert!(!policy.may_be_plain(&url("http://reg.lan:81/")));
        let open = Policy::new(&ImageSettings { allow_private: true, ..ImageSettings::default() });
        assert!(
            open.may_be_at(&url("https://r.example/"), local)
                && !open.may_be_plain(&url("http://r.example/"))
        );
    }
}
