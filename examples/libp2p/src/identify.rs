//! The message of `/ipfs/id/1.0.0`: what a host says about itself.
//!
//! ```text
//! message Identify {                     bytes of an address, such as listenAddrs:
//!     bytes publicKey = 1;                 4 and an IPv4 address, or
//!     repeated bytes listenAddrs = 2;      41 and an IPv6 address;
//!     repeated string protocols = 3;       6 and a TCP port, big-endian
//!     bytes observedAddr = 4;
//!     string agentVersion = 6;
//! }
//! ```

use std::net::{IpAddr, SocketAddr};

use crate::stream::{IDENTIFY, PING};
use crate::{Reason, prefixed};

/// Returns what this host says, which has this key and listens on these addresses,
/// to the peer at `addr`.
pub fn message(
    key: Vec<u8>,
    listening: impl Iterator<Item = SocketAddr>,
    addr: SocketAddr,
) -> Vec<u8> {
    let mut fields = vec![
        (1, key),
        (4, multiaddr(addr)),
        (6, "peerloop-libp2p".into()),
    ];
    fields.extend(listening.map(|addr| (2, multiaddr(addr))));
    fields.extend([PING, IDENTIFY].map(|protocol| (3, protocol.into())));
    prefixed::protobuf(&fields)
}

fn multiaddr(addr: SocketAddr) -> Vec<u8> {
    let port = addr.port().to_be_bytes();
    match addr.ip() {
        IpAddr::V4(ip) => [&[4][..], &ip.octets(), &[6], &port].concat(),
        IpAddr::V6(ip) => [&[41][..], &ip.octets(), &[6], &port].concat(),
    }
}

/// Returns what a peer says, without control characters.
pub fn to_text(message: &[u8]) -> Result<String, Reason> {
    let mut text = String::new();
    for field in prefixed::fields(message)? {
        text += &match field {
            (2, [4, a, b, c, d, 6, p, q]) => {
                format!(
                    " listens on {a}.{b}.{c}.{d}:{}",
                    u16::from_be_bytes([*p, *q])
                )
            }
            (2, _) => " listens elsewhere".into(),
            (3, protocol) => format!(" speaks {}", String::from_utf8_lossy(protocol)),
            (6, agent) => format!(" is {}", String::from_utf8_lossy(agent)),
            _ => String::new(),
        };
    }
    Ok(text.trim_start().escape_debug().collect())
}
