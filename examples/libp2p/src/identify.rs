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

use crate::{Checked, prefixed, streams::*};

/// Returns what a host with this key, which listens on these addresses, says to a
/// peer with this address.
pub fn message(key: Vec<u8>, own: impl Iterator<Item = SocketAddr>, peer: SocketAddr) -> Vec<u8> {
    let mut fields = vec![
        (1, key),
        (4, multiaddr(peer)),
        (6, "peerloop-libp2p".into()),
    ];
    fields.extend(own.map(|addr| (2, multiaddr(addr))));
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
pub fn to_text(message: &[u8]) -> Checked<String> {
    let mut text = String::new();
    for (number, value) in prefixed::fields(message)? {
        text += &match (number, value) {
            (2, &[4, a, b, c, d, 6, high, low]) => {
                let port = u16::from_be_bytes([high, low]);
                format!("listens on {a}.{b}.{c}.{d}:{port} ")
            }
            (2, _) => "listens elsewhere ".into(),
            (3, _) => format!("speaks {} ", String::from_utf8_lossy(value)),
            (6, _) => format!("is {} ", String::from_utf8_lossy(value)),
            _ => continue,
        };
    }
    Ok(text.trim_end().escape_debug().collect())
}
