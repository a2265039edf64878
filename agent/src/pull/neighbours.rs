//! The networks that this machine is on, by the kernel's main routing tables
//! (`proc_pid_net(5)`): what is reached there goes through no router, and may be the
//! owner's although its addresses are public.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Routes by which other hosts are reached through a router (`RTF_GATEWAY`).
const GATEWAY: u32 = 2;
/// Shortest prefixes that are somebody's network. A tunnel takes the internet in larger parts.
const SHORTEST: (u32, u32) = (8, 32);

/// Networks, each an address in 128 bits and a prefix's length in them.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbours(Vec<(u128, u32)>);

impl Neighbours {
    /// Those of this moment.
    pub(super) fn read() -> io::Result<Self> {
        let table = |name: &str| match std::fs::read_to_string(format!("/proc/self/net/{name}")) {
            // A kernel without this protocol has no such file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        Ok(Self::parse(&table("route")?, &table("ipv6_route")?))
    }

    /// From `/proc/net/route` and `/proc/net/ipv6_route`.
    pub(super) fn parse(v4: &str, v6: &str) -> Self {
        Self(v4.lines().filter_map(route_v4).chain(v6.lines().filter_map(route_v6)).collect())
    }

    /// Whether an address is in one of them.
    pub(super) fn include(&self, address: IpAddr) -> bool {
        let bits = wide(address);
        self.0.iter().any(|(network, length)| (bits ^ network).leading_zeros() >= *length)
    }
}

/// IPv4 addresses as `::ffff:0:0/96` has them.
fn wide(address: IpAddr) -> u128 {
    u128::from(match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    })
}

/// A line with: interface, destination, gateway, flags, three counts, mask; addresses are words of memory.
fn route_v4(line: &str) -> Option<(u128, u32)> {
    let mut columns = line.split_whitespace().skip(1).map(|column| u32::from_str_radix(column, 16).ok());
    let (destination, _gateway, flags) = (columns.next()??, columns.next()??, columns.next()??);
    let mask = u32::from_be_bytes(columns.nth(3)??.to_ne_bytes());
    let length = mask.leading_ones();
    let near = flags & GATEWAY == 0 && length >= SHORTEST.0;
    near.then(|| (wide(Ipv4Addr::from(destination.to_ne_bytes()).into()), length.saturating_add(96)))
}

/// A line with: destination, its prefix's length, source and its, gateway.
fn route_v6(line: &str) -> Option<(u128, u32)> {
    let mut columns = line.split_whitespace().map(|column| u128::from_str_radix(column, 16).ok());
    let (destination, length) = (columns.next()??, u32::try_from(columns.next()??).ok()?);
    let gateway = columns.nth(2)??;
    let near = gateway == 0 && (SHORTEST.1..=128).contains(&length);
    near.then(|| (wide(Ipv6Addr::from(destination).into()), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 198.51.100.0/24 near, 9.0.0.0/8 behind a router, half of the internet in a tunnel; 2a00:1:2:3::/64
    /// near, 2a00:9::/32 behind a router, 2000::/3 in a tunnel, and 2a00:7::1, an address of its own.
    const TABLES: (&str, &str) = (
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
         eth0 00000000 0164 0003 0 0 0 00000000 0 0 0\n\
         eth0 006433C6 00000000 0001 0 0 0 00FFFFFF 0 0 0\n\
         eth0 00000009 016433C6 0003 0 0 0 000000FF 0 0 0\n\
         tun0 00000000 00000000 0001 0 0 0 00000080 0 0 0\n\
         broken 006433\n",
        "2a000001000200030000000000000000 40 00000000000000000000000000000000 00 \
         00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
         2a000009000000000000000000000000 20 00000000000000000000000000000000 00 \
         fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
         20000000000000000000000000000000 03 00000000000000000000000000000000 00 \
         00000000000000000000000000000000 00000400 00000001 00000000 00000001 tun0\n\
         2a000007000000000000000000000001 80 00000000000000000000000000000000 00 \
         00000000000000000000000000000000 00000000 00000002 00000000 80200001 lo\n\
         2a 99\n",
    );

    #[test]
    fn networks_without_a_router_between_are_near() {
        let near = Neighbours::parse(TABLES.0, TABLES.1);
        assert_eq!(near.0.len(), 3, "{near:?}");
        for (address, expected) in [
            ("198.51.100.1", true),
            ("198.51.100.255", true),
            ("198.51.101.1", false),
            ("9.1.1.1", false),
            ("1.1.1.1", false),
            ("2a00:1:2:3::1", true),
            ("2a00:1:2:3:ffff::", true),
            ("2a00:1:2:4::1", false),
            ("2a00:9::1", false),
            ("2a00:7::1", true),
            ("2a00:7::2", false),
        ] {
            assert_eq!(near.include(address.parse().unwrap()), expected, "{address}");
        }
        assert!(Neighbours::read().is_ok());
    }
}
