//! The memory of UDP sockets under a flood.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use memory_bounds::{Alone, KIB, PATIENCE, heap};
use peerloop::{Config, ConnId, Handler, Net, Node, UdpId, UdpOptions};

/// Answers each datagram.
#[derive(Default)]
struct Echo {
    received: u64,
}

impl Handler for Echo {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        self.received += 1;
        let _ = net.send_to(udp, datagram, from);
    }
}

const SOCKETS: usize = 100;

/// Sends to each socket, and runs the node until it has received as many.
fn rounds(node: &mut Node<Echo>, peer: &UdpSocket, to: &[SocketAddr], rounds: usize) {
    let mut buffer = [0; 2048];
    let end = Instant::now() + PATIENCE;
    for _ in 0..rounds {
        let before = node.handler().received;
        for to in to {
            peer.send_to(&[7; 1200], to).expect("a socket");
        }
        while node.handler().received < before + to.len() as u64 {
            assert!(Instant::now() < end, "{} received", node.handler().received);
            let _ = node.turn(Some(Duration::from_millis(5))).expect("a turn");
        }
        let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
        while peer.recv_from(&mut buffer).is_ok() {}
    }
}

#[test]
fn flooded_sockets_hold_their_rings_only() {
    let alone = Alone::begin();
    let mut config = Config::default();
    // A turn serves all sockets, so that the lists have their memory soon.
    config.budget.max_turn_time = PATIENCE;
    let mut node = Node::new(config, Echo::default()).expect("a node");
    let empty = heap();
    let addrs: Vec<SocketAddr> = (0..SOCKETS)
        .map(|_| {
            let net = node.net();
            let udp = net.bind_udp("127.0.0.1:0", UdpOptions::default());
            net.udp_addr(udp.expect("a port")).expect("it is open")
        })
        .collect();
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a port");
    peer.set_nonblocking(true).expect("a socket");
    // The lists of the loop get their memory.
    rounds(&mut node, &peer, &addrs, 3);
    let held = heap() - empty;
    // The peak is counted from here, so that a single allocation shows.
    let steady = {
        drop(alone);
        Alone::begin()
    };
    rounds(&mut node, &peer, &addrs, 200);
    // No datagram is allocated, nor anything else.
    steady.assert_below(8);
    // Each has its ring and an entry in the table.
    let bound = SOCKETS * (64 + 1) * KIB;
    assert!(held < bound, "{held} bytes where {bound} are too many");
}
