//! Attackers in another process, so that the node's process has neither their file
//! descriptors nor their memory.
//!
//! `attackers ADDRESS COUNT KIND` prints `ready` when all of them have attacked,
//! keeps the connections for as long as its standard input is open, and then resets
//! them.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use peerloop::noise::{Noise, Pattern};
use peerloop::session::Role;
use peerloop::{Config, ConnId, ConnInfo, Handler, Net, Node, Transport};
use socket2::{Domain, SockRef, Socket, Type};

/// A header of the default framing that announces the largest message of the
/// default limit, and a byte of its body.
const LARGEST_ANNOUNCED: [u8; 5] = [0, 0x80, 0, 0, 7];

/// The bytes that one of them writes, by its number.
fn opening(kind: &str, number: usize) -> &'static [u8] {
    let odd = number % 2 == 1;
    match kind {
        "half-frames" if odd => &LARGEST_ANNOUNCED,
        "half-frames" => &LARGEST_ANNOUNCED[..1],
        "half-headers" if odd => b"PROXY TCP4 203.0.113.9 ",
        "half-headers" => b"\r\n\r\n\0\r\nQUIT\n\x21\x11",
        "silent" if odd => &LARGEST_ANNOUNCED[..1],
        "silent" | "crowd" | "many-addresses" | "unread" => &[],
        _ => panic!("no such kind: {kind}"),
    }
}

/// The address of one of them: in 60 networks of 24 bits, or all the address that
/// the system chooses.
fn source(kind: &str, number: usize) -> Option<SocketAddr> {
    let [network, host] = [number % 60, 1 + number / 60].map(|part| part as u8);
    (kind == "many-addresses").then(|| (Ipv4Addr::new(127, 77, network, host), 0).into())
}

fn attack(target: SocketAddr, kind: &str, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    if let Some(source) = source(kind, number) {
        socket.bind(&source.into())?;
    }
    if kind == "unread" {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.connect(&target.into())?;
    let mut stream = TcpStream::from(socket);
    match stream.write_all(opening(kind, number)) {
        // A node that refuses may have closed already.
        Ok(()) | Err(_) => Ok(stream),
    }
}

/// Connects, completes the handshake of Noise, and reads nothing.
struct Unread {
    connected: usize,
}

impl Handler for Unread {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn std::error::Error + Send + Sync>> {
        let session = Noise::new(Pattern::NN, Role::Initiator).build()?;
        Ok(session.into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected += 1;
        net.pause(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Attacks with sessions, until the standard input is closed.
fn attack_sealed(target: SocketAddr, count: usize) -> io::Result<()> {
    let mut config = Config::default();
    config.limits.max_connections_per_address = count;
    config.limits.max_outbound_connecting = count;
    config.sockets.receive_buffer_bytes = Some(4096);
    config.allow_duplicates = true;
    let mut node = Node::new(config, Unread { connected: 0 })?;
    for _ in 0..count {
        let begun = node.net().connect(target);
        begun.expect("within the limits");
    }
    let all = node.run_until(Duration::from_secs(60), |it, _| it.connected == count)?;
    assert_eq!(all, peerloop::RunEnd::Done);
    println!("ready");
    let node = node.spawn()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(node);
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, count, kind] = arguments.as_slice() else {
        panic!("attackers ADDRESS COUNT KIND");
    };
    let target: SocketAddr = target.parse().expect("an address");
    let count: usize = count.parse().expect("a number");
    if kind == "unread-sealed" {
        return attack_sealed(target, count);
    }
    let mut held = Vec::new();
    for number in 0..count {
        held.push(attack(target, kind, number)?);
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new())?;
    for stream in &held {
        // No port is left in TIME_WAIT for the tests that follow.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
    Ok(())
}
