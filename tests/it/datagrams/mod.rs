//! UDP sockets.

mod budgets;
mod errors;
mod exchange;
mod lifecycle;
mod multicast;
#[cfg(target_os = "linux")]
mod namespaces;
mod ring;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use peerloop::config::TurnBudget;
use peerloop::{Config, ConnId, Handler, Net, Node, SendToError, Turn, UdpId, UdpOptions};

use crate::util::{PATIENCE, config_with, strict, turn, unlimited_time};

/// A function that a test runs inside `on_datagram`.
type OnDatagram = Box<dyn FnMut(&mut Net, UdpId, SocketAddr, &[u8]) + Send>;

/// Records datagrams and drains.
struct Peer {
    received: Vec<(SocketAddr, Vec<u8>)>,
    drains: Vec<UdpId>,
    on_datagram: OnDatagram,
}

impl Default for Peer {
    fn default() -> Self {
        Self::reacting(|_, _, _, _| {})
    }
}

impl Peer {
    fn reacting(
        on_datagram: impl FnMut(&mut Net, UdpId, SocketAddr, &[u8]) + Send + 'static,
    ) -> Self {
        Self {
            received: Vec::new(),
            drains: Vec::new(),
            on_datagram: Box::new(on_datagram),
        }
    }

    fn echo() -> Self {
        Self::reacting(|net, udp, from, datagram| {
            net.send_to(udp, datagram, from).expect("the ring has room");
        })
    }

    fn bodies(&self) -> Vec<&[u8]> {
        let bodies = self.received.iter().map(|(_, body)| body.as_slice());
        bodies.collect()
    }
}

impl Handler for Peer {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        self.received.push((from, datagram.to_vec()));
        (self.on_datagram)(net, udp, from, datagram);
    }

    fn on_udp_drain(&mut self, _: &mut Net, udp: UdpId) {
        self.drains.push(udp);
    }
}

/// A node with a UDP socket, and the address of the socket.
fn bound(config: Config, handler: Peer) -> (Node<Peer>, UdpId, SocketAddr) {
    bound_with(config, handler, UdpOptions::default())
}

fn bound_with(
    config: Config,
    handler: Peer,
    options: UdpOptions,
) -> (Node<Peer>, UdpId, SocketAddr) {
    let mut node = Node::new(config, handler).expect("a node");
    let udp = node.net().bind_udp("127.0.0.1:0", options).expect("a port");
    let addr = node.net().udp_addr(udp).expect("it is open");
    (node, udp, addr)
}

/// A socket of the test. Its waits are bounded.
fn raw() -> UdpSocket {
    let raw = UdpSocket::bind("127.0.0.1:0").expect("a port");
    raw.set_read_timeout(Some(PATIENCE)).expect("not zero");
    raw
}

/// Receives one datagram at a socket of the test.
#[track_caller]
fn receive(raw: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (len, from) = raw.recv_from(&mut buffer).expect("a datagram");
    buffer.truncate(len);
    (buffer, from)
}

/// Runs nodes until a condition holds.
#[track_caller]
fn run_until<const N: usize>(
    mut nodes: [&mut Node<Peer>; N],
    mut condition: impl FnMut(&mut [&mut Node<Peer>; N]) -> bool,
) {
    let end = Instant::now() + PATIENCE;
    while !condition(&mut nodes) {
        assert!(Instant::now() < end, "the condition did not become true");
        for node in &mut nodes {
            let _ = turn(node, Some(Duration::from_millis(1)));
        }
    }
}

/// Waits until a node has received this many datagrams.
#[track_caller]
fn until_received(node: &mut Node<Peer>, count: usize) {
    run_until([node], |[node]| node.handler().received.len() >= count);
}
