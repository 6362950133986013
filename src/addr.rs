//! Compact socket addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A socket address in 24 bytes, with or without an `Option` around it; a [`SocketAddr`] takes 32. The flow label of an
/// IPv6 address (RFC 6437) is not kept: it names no other end.
///
/// ```text
///   0                  16      18        22
///   ┌──────────────────┬───────┬─────────┬────────┐
///   │ address          │ port  │ scope   │ family │
///   └──────────────────┴───────┴─────────┴────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct CompactAddr {
    /// That of an IPv4 address in its IPv4-mapped form.
    ip: [u8; 16],
    port: u16,
    /// The zone of a link-local address, in native byte order.
    scope: [u8; 4],
    family: AddrFamily,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum AddrFamily {
    V4,
    V6,
}

impl From<SocketAddr> for CompactAddr {
    fn from(addr: SocketAddr) -> Self {
        let (ip, scope, family) = match addr {
            SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0, AddrFamily::V4),
            SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id(), AddrFamily::V6),
        };
        Self {
            ip: ip.octets(),
            port: addr.port(),
            scope: scope.to_ne_bytes(),
            family,
        }
    }
}

impl From<CompactAddr> for SocketAddr {
    fn from(addr: CompactAddr) -> Self {
        match (addr.family, addr.ip) {
            (AddrFamily::V4, [.., a, b, c, d]) => {
                let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
                Self::new(ip, addr.port)
            }
            (AddrFamily::V6, ip) => {
                let scope = u32::from_ne_bytes(addr.scope);
                SocketAddrV6::new(Ipv6Addr::from(ip), addr.port, 0, scope).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() {
        for text in [
            "10.1.2.3:80",
            "[2001:db8::1]:65535",
            "[::ffff:10.1.2.3]:80",
            "[fe80::1%7]:1",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::from(CompactAddr::from(addr)), addr);
        }
    }

    #[test]
    fn addresses_that_differ_in_anything_differ() {
        let texts = [
            "10.1.2.3:80",
            "10.1.2.3:81",
            "10.1.2.4:80",
            "[::ffff:10.1.2.3]:80",
            "[fe80::1%7]:80",
            "[fe80::1%8]:80",
        ];
        let all: std::collections::HashSet<CompactAddr> = texts
            .iter()
            .map(|text| text.parse::<SocketAddr>().unwrap().into())
            .collect();
        assert_eq!(all.len(), texts.len());
    }

    #[test]
    fn an_optional_address_takes_no_more_room() {
        assert_eq!(size_of::<Option<CompactAddr>>(), 24);
    }
}
