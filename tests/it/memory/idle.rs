//! Connections without a complete message.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::growth;
use crate::util::child::{self, test_path};
use crate::util::{PATIENCE, config_with, frame, raw};
use peerloop::{ConnId, Handler, Net, Node, Turn};

const CONNECTIONS: usize = 1000;
const MIB: usize = 1024 * 1024;

/// Answers every message with itself, and keeps nothing.
#[derive(Default)]
struct Echo {
    messages: usize,
}

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        net.send(conn, message).expect("the queue has room");
    }
}

/// Runs turns until nothing has arrived for a while.
fn settle(node: &mut Node<Echo>) {
    let mut idle_turns = 0;
    while idle_turns < 20 {
        let turn = node.turn(Some(Duration::from_millis(1))).expect("a turn");
        idle_turns = match turn {
            Turn::MoreWork => 0,
            _ => idle_turns + 1,
        };
    }
}

/// Returns a node and its peers, each of which has exchanged a message.
fn crowd() -> (Node<Echo>, Vec<TcpStream>) {
    let config = config_with(|config| config.limits.max_connections_per_address = CONNECTIONS);
    let mut node = Node::new(config, Echo::default()).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let mut peers: Vec<TcpStream> = Vec::new();
    for number in 1..=CONNECTIONS {
        let mut peer = raw::connect(addr);
        exchange(&mut node, &mut peer, b"hello");
        assert_eq!(node.net().connection_count(), number);
        peers.push(peer);
    }
    (node, peers)
}

/// Sends a message in two pieces, and reads the answer.
fn exchange(node: &mut Node<Echo>, peer: &mut TcpStream, body: &[u8]) {
    let messages = node.handler().messages;
    let frame = frame(body);
    let (first, second) = frame.split_at(4 + body.len() / 2);
    peer.write_all(first).expect("room for a half");
    let _ = node.turn(Some(Duration::from_millis(10))).expect("a turn");
    peer.write_all(second).expect("room for the other half");
    let end = Instant::now() + PATIENCE;
    while node.handler().messages == messages {
        let _ = node.turn(Some(Duration::from_millis(10))).expect("a turn");
        assert!(Instant::now() < end, "the message did not arrive");
    }
    let mut answer = vec![0; frame.len()];
    peer.read_exact(&mut answer).expect("an answer");
}

#[test]
fn partial_frame_costs_what_arrived() {
    child::alone(test_path!(partial_frame_costs_what_arrived), measure);
}

fn measure() {
    let (mut node, mut peers) = crowd();

    let body = vec![1; 60_000];
    exchange(&mut node, &mut peers[0], &body);
    let [_, used] = growth(|| {
        for peer in &mut peers {
            exchange(&mut node, peer, &body);
        }
        settle(&mut node);
    });
    assert!(used < 4 * MIB, "{used} bytes are kept by idle connections");

    let announced = (8 * MIB as u32).to_be_bytes();
    let [mapped, used] = growth(|| {
        for peer in &mut peers {
            peer.write_all(&announced).expect("room for a header");
            peer.write_all(&[7; 10]).expect("room for ten bytes");
        }
        settle(&mut node);
    });
    assert!(used < 4 * MIB, "{used} bytes for ten bytes each");
    assert!(mapped < 64 * MIB, "{mapped} bytes were mapped");
    assert_eq!(node.net().connection_count(), CONNECTIONS);
    assert_eq!(node.handler().messages, 2 * CONNECTIONS + 1);
}
