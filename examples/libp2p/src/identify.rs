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

use crate::{Checked, prefixed::*, streams::*};

const AGENT: &str = env!("CARGO_PKG_NAME");

/// Returns what a host with this key, which listens on these addresses, says to a
/// peer with this address.
pub fn message(key: Vec<u8>, own: impl Iterator<Item = SocketAddr>, peer: SocketAddr) -> Vec<u8> {
    let listening = own.map(|addr| field(2, multiaddr(addr)));
    let protocols = [PING, IDENTIFY].map(|protocol| field(3, protocol));
    let others = [field(1, key), field(4, multiaddr(peer)), field(6, AGENT)];
    listening.chain(protocols).chain(others).flatten().collect()
}

fn multiaddr(addr: SocketAddr) -> Vec<u8> {
    let port = addr.port().to_be_bytes();
    match addr.ip() {
        IpAddr::V4(ip) => [&[4][..], &ip.octets(), &[6], &port].concat(),
        IpAddr::V6(ip) => [&[41][..], &ip.octets(), &[6], &port].concat(),
    }
}

/// Returns the agent and the protocols of a peer, without control characters.
pub fn to_text(message: &[u8]) -> Checked<String> {
    let mut text = String::new();
    for (number, value) in fields(message)? {
        text += &match number {
            3 => format!("supports {} ", String::from_utf8_lossy(value)),
            6 => format!("is {} ", String::from_utf8_lossy(value)),
            _ => continue,
        };
    }
    Ok(text.trim_end().escape_debug().collect())
}
