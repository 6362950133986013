//! What connections cost while they say nothing, or less than they announced. Alone in its process, all of which it
//! measures.

use peerloop::config::Limits;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::util::child::{self, test_path};
use crate::util::raw;
use peerloop::{Config, ConnId, Handler, Net, Node, Turn};

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

/// Bytes that this process has asked of the system, and bytes that it uses.
fn memory() -> [usize; 2] {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let mut pages = pages.split_whitespace().map(str::parse::<usize>);
    let mut bytes = || pages.next().expect("a number").expect("a number") * 4096;
    [bytes(), bytes()]
}

/// How much more of both there is after a step than before.
fn growth(step: impl FnOnce()) -> [usize; 2] {
    let before = memory();
    step();
    let after = memory();
    [0, 1].map(|which| after[which].saturating_sub(before[which]))
}

/// Runs until nothing is left to be done, and nothing comes for a while.
fn settle(node: &mut Node<Echo>) {
    let mut idle_turns = 0;
    while idle_turns < 20 {
        let turn = node.turn(Some(Duration::from_millis(1))).expect("a turn");
        idle_turns = if turn == Turn::MoreWork {
            0
        } else {
            idle_turns + 1
        };
    }
}

/// A node with many peers, with each of which it has exchanged a message.
fn crowd() -> (Node<Echo>, Vec<TcpStream>) {
    let config = Config {
        limits: Limits {
            max_connections_per_address: CONNECTIONS,
            ..Default::default()
        },
        ..Config::default()
    };
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

/// Has a peer send a message, in two pieces, and read the answer.
fn exchange(node: &mut Node<Echo>, peer: &mut TcpStream, body: &[u8]) {
    let messages = node.handler().messages;
    let (first, second) = body.split_at(body.len() / 2);
    peer.write_all(&(body.len() as u32).to_be_bytes())
        .expect("room");
    peer.write_all(first).expect("room for a half");
    let _ = node.turn(Some(Duration::from_millis(10))).expect("a turn");
    peer.write_all(second).expect("room for the other half");
    let end = Instant::now() + crate::util::PATIENCE;
    while node.handler().messages == messages {
        let _ = node.turn(Some(Duration::from_millis(10))).expect("a turn");
        assert!(Instant::now() < end, "the message did not arrive");
    }
    let mut answer = vec![0; 4 + body.len()];
    peer.read_exact(&mut answer).expect("an answer");
}

#[test]
fn a_partial_frame_costs_what_arrived_and_an_idle_connection_nothing() {
    let test = test_path!(a_partial_frame_costs_what_arrived_and_an_idle_connection_nothing);
    child::alone(test, measure_connections);
}

fn measure_connections() {
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
    let [asked, used] = growth(|| {
        for peer in &mut peers {
            peer.write_all(&announced).expect("room for a header");
            peer.write_all(&[7; 10]).expect("room for ten bytes");
        }
        settle(&mut node);
    });
    assert!(used < 4 * MIB, "{used} bytes for ten bytes each");
    assert!(asked < 64 * MIB, "{asked} bytes were asked for");
    assert_eq!(node.net().connection_count(), CONNECTIONS);
    assert_eq!(node.handler().messages, 2 * CONNECTIONS + 1);
}
