//! Addresses, in canonical and in compact form.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::id::{Direction, ListenerId};

/// Properties of a TCP connection that do not change during its life.
///
/// Both addresses are canonical; see [`to_canonical`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ConnInfo {
    /// The direction in which the connection was opened.
    pub direction: Direction,
    /// The address of the peer. For an outbound connection, the address that
    /// this node connected to. For an inbound connection, the address from
    /// which the peer connected, or the source address of the [PROXY
    /// header](crate::ListenOptions::proxy_protocol).
    pub addr: SocketAddr,
    /// The local address, or the destination address of the PROXY header.
    /// `None` until the TCP connection is established.
    pub local_addr: Option<SocketAddr>,
    /// The listener that accepted the connection. `None` for outbound and for
    /// adopted connections.
    pub listener: Option<ListenerId>,
}

/// An open listener, returned by [`Net::listen`](crate::Net::listen). Displays
/// its address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Listening {
    /// The id of the listener.
    pub id: ListenerId,
    /// The bound address. For port 0 it contains the port that the system
    /// chose. It is not canonicalized.
    pub addr: SocketAddr,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

/// Returns the canonical form of an address.
///
/// - An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) becomes the IPv4 address.
/// - The flow label (RFC 6437) is cleared, because it does not identify a host.
/// - The scope id of a link-local address is kept.
///
/// Addresses in callbacks, accessors and limits have this form. Therefore a
/// list of IPv4 addresses also matches IPv4 clients of a dual-stack listener.
///
/// ```
/// let mapped = "[::ffff:10.1.2.3]:80".parse().unwrap();
/// assert_eq!(peerloop::to_canonical(mapped).to_string(), "10.1.2.3:80");
/// ```
pub fn to_canonical(addr: SocketAddr) -> SocketAddr {
    match (addr.ip().to_canonical(), addr) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
            SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into()
        }
        (ip, addr) => SocketAddr::new(ip, addr.port()),
    }
}

/// Returns the canonical form of an address to connect to. The unspecified
/// address becomes the loopback address (Linux, ip(7)).
pub(crate) fn to_canonical_target(addr: SocketAddr) -> SocketAddr {
    let mut addr = to_canonical(addr);
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

/// A socket address in 24 bytes, with or without an `Option` around it; a
/// [`SocketAddr`] takes 32. The flow label of an IPv6 address (RFC 6437) is not
/// kept, because it does not identify a host.
///
/// ```text
///   0                  16      18        22
///   ┌──────────────────┬───────┬─────────┬────────┐
///   │ address          │ port  │ scope   │ family │
///   └──────────────────┴───────┴─────────┴────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct CompactAddr {
    /// The octets of the IPv6 address, or of the IPv4-mapped address.
    ip: [u8; 16],
    port: u16,
    /// The zone of a link-local address, in native byte order.
    scope: [u8; 4],
    family: AddrFamily,
}

impl CompactAddr {
    /// Length in bytes of [`CompactAddr::to_bytes`].
    pub(crate) const BYTES: usize = 23;

    /// Returns the fields one after the other, in native byte order.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.ip);
        bytes[16..18].copy_from_slice(&self.port.to_ne_bytes());
        bytes[18..22].copy_from_slice(&self.scope);
        bytes[22] = self.family as u8;
        bytes
    }

    /// Reverts [`CompactAddr::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            ip: std::array::from_fn(|at| bytes[at]),
            port: u16::from_ne_bytes([bytes[16], bytes[17]]),
            scope: std::array::from_fn(|at| bytes[18 + at]),
            family: match bytes[22] {
                0 => AddrFamily::V4,
                _ => AddrFamily::V6,
            },
        }
    }
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

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn canonical_keeps_scope_clears_flow_label() {
        assert_eq!(
            to_canonical(addr("[::ffff:10.0.0.1]:7")),
            addr("10.0.0.1:7")
        );
        assert_eq!(to_canonical(addr("0.0.0.0:7")), addr("0.0.0.0:7"));
        let labelled = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 7, 99, 3);
        let plain = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 7, 0, 3);
        assert_eq!(to_canonical(labelled.into()), plain.into());
    }

    #[test]
    fn unspecified_target_becomes_loopback() {
        for (given, target) in [
            ("0.0.0.0:7", "127.0.0.1:7"),
            ("[::]:7", "[::1]:7"),
            ("[::ffff:0.0.0.0]:7", "127.0.0.1:7"),
        ] {
            assert_eq!(to_canonical_target(addr(given)), addr(target));
        }
    }

    #[test]
    fn compact_address_converts_both_ways() {
        for text in [
            "10.1.2.3:80",
            "[2001:db8::1]:65535",
            "[::ffff:10.1.2.3]:80",
            "[fe80::1%7]:1",
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            let compact = CompactAddr::from(addr);
            assert_eq!(SocketAddr::from(compact), addr);
            assert_eq!(CompactAddr::from_bytes(&compact.to_bytes()), compact);
        }
    }

    #[test]
    fn compact_addresses_keep_every_difference() {
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
    fn optional_address_takes_24_bytes() {
        assert_eq!(size_of::<Option<CompactAddr>>(), 24);
    }
}
