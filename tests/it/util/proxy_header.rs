//! Headers of the PROXY protocol.

#![allow(dead_code, unreachable_pub, reason = "a module of several tests")]

use std::net::{IpAddr, SocketAddr};

/// A header of version 1.
pub fn line(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let protocol = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let ips = format!("{} {}", source.ip(), destination.ip());
    let ports = format!("{} {}", source.port(), destination.port());
    format!("PROXY {protocol} {ips} {ports}\r\n").into_bytes()
}

/// A header of version 2 with a type-length-value entry of this length, less
/// than three for none.
pub fn binary(source: SocketAddr, destination: SocketAddr, entry: usize) -> Vec<u8> {
    let octets = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut block = [octets(source), octets(destination)].concat();
    block.extend(source.port().to_be_bytes());
    block.extend(destination.port().to_be_bytes());
    if let Some(value) = entry.checked_sub(3) {
        // PP2_TYPE_NOOP
        block.push(0x04);
        block.extend((value as u16).to_be_bytes());
        block.extend(vec![0; value]);
    }
    let protocol = if source.is_ipv4() { 0x11 } else { 0x21 };
    with_block(0x21, protocol, &block)
}

/// A header of version 2 for a connection of the proxy itself.
pub fn local() -> Vec<u8> {
    with_block(0x20, 0x00, &[])
}

pub fn with_block(command: u8, protocol: u8, block: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, protocol]);
    header.extend((block.len() as u16).to_be_bytes());
    header.extend(block);
    header
}
