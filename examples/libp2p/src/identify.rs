//! The message of `/ipfs/id/1.0.0`: what a host says about itself.

use std::net::{IpAddr, SocketAddr};

use prost::Message;

use crate::Reason;
use crate::identity::Keys;
use crate::talk::PROTOCOLS;

#[derive(Clone, PartialEq, Message)]
struct Identify {
    #[prost(bytes = "vec", tag = "1")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    listen_addrs: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    protocols: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "4")]
    observed_addr: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    agent_version: Vec<u8>,
}

/// Returns what this host says to a peer, with the length before it.
pub fn message(
    keys: &Keys,
    listening: impl Iterator<Item = SocketAddr>,
    peer: SocketAddr,
) -> Vec<u8> {
    let message = Identify {
        public_key: keys.public_key(),
        listen_addrs: listening.map(multiaddr).collect(),
        protocols: PROTOCOLS.iter().map(|it| it.as_bytes().to_vec()).collect(),
        observed_addr: multiaddr(peer),
        agent_version: b"peerloop-libp2p".to_vec(),
    };
    message.encode_length_delimited_to_vec()
}

/// Returns what a peer says, without control characters.
pub fn to_text(message: &[u8]) -> Result<String, Reason> {
    let message = Identify::decode(message).map_err(|_| "a malformed identify message")?;
    let agent = String::from_utf8_lossy(&message.agent_version);
    let protocols = String::from_utf8_lossy(&message.protocols.join(&b' ')).into_owned();
    let addrs: Vec<String> = message
        .listen_addrs
        .iter()
        .map(|it| multiaddr_text(it))
        .collect();
    let text = format!(
        "{agent} listens on {} and speaks {protocols}",
        addrs.join(" ")
    );
    Ok(text.escape_debug().collect())
}

/// The codes of the parts of a [multiaddress](https://github.com/multiformats/multiaddr).
const IP4: u8 = 4;
const TCP: u8 = 6;
const IP6: u8 = 41;

fn multiaddr(addr: SocketAddr) -> Vec<u8> {
    let port = addr.port().to_be_bytes();
    match addr.ip() {
        IpAddr::V4(ip) => [&[IP4][..], &ip.octets(), &[TCP], &port].concat(),
        IpAddr::V6(ip) => [&[IP6][..], &ip.octets(), &[TCP], &port].concat(),
    }
}

/// Returns an address of TCP as text, and of others that it is another one.
fn multiaddr_text(bytes: &[u8]) -> String {
    let text = |version: u8, ip: IpAddr, port: [u8; 2]| {
        format!("/ip{version}/{ip}/tcp/{}", u16::from_be_bytes(port))
    };
    match *bytes {
        [IP4, a, b, c, d, TCP, p, q] => text(4, [a, b, c, d].into(), [p, q]),
        [IP6, ref ip @ .., TCP, p, q] => match <[u8; 16]>::try_from(ip) {
            Ok(ip) => text(6, ip.into(), [p, q]),
            Err(_) => "another address".into(),
        },
        _ => "another address".into(),
    }
}
