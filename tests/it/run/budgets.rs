//! Work that a budget postpones is done in the next turns, without a new event.

use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::util::raw::{connect, join, settle, wire};
use crate::util::{Recorder, TestNode, config_with, frame, listening, node, run_until};
use peerloop::{ConnId, Net, Turn};

#[test]
fn write_budget_loses_nothing() {
    for budget in [1, 2, 3, 7, 100, 4096] {
        let config = config_with(|config| config.budget.write_bytes = budget);
        let (mut node, conn, mut peer) = wire(config, Recorder::default());
        let bodies: Vec<Vec<u8>> = (0..20)
            .map(|number| vec![number; 17 * usize::from(number)])
            .collect();
        for body in &bodies {
            node.net().send(conn, body).unwrap();
        }
        node.net().close(conn);
        while node.turn(Some(Duration::ZERO)).unwrap() == Turn::MoreWork {}
        assert_eq!(node.net().metrics().queued_bytes, 0);
        settle(&mut node);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        let sent: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
        assert!(received == sent, "with a budget of {budget}");
    }
}

/// Returns a node that writes eight connections in a turn, and 1 KiB of each,
/// with one light connection and `heavy` ones that have 64 KiB to write. One
/// turn has written eight of these.
fn busy_writer(heavy: usize) -> (TestNode, ConnId, Vec<TcpStream>) {
    let config = config_with(|config| {
        config.budget.write_bytes = 1024;
        config.budget.max_turn_time = Duration::from_nanos(1);
    });
    let (mut node, addr) = listening(config, Recorder::default());
    let mut peers = Vec::new();
    for _ in 0..=heavy {
        peers.push(join(&mut node, addr).1);
    }
    let conns = node.handler().connected();
    for conn in &conns[1..] {
        node.net().send(*conn, &[7; 64 * 1024]).unwrap();
    }
    (node, conns[0], peers)
}

fn queued(node: &mut TestNode, conn: ConnId) -> usize {
    node.net().connection(conn).unwrap().queued_bytes()
}

#[test]
fn new_output_does_not_wait_for_what_was_left() {
    let (mut node, light, _peers) = busy_writer(40);
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    for _ in 0..3 {
        let send = move |_: &mut Recorder, net: &mut Net| net.send(light, "hello").unwrap();
        node.handle().post(send).unwrap();
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(queued(&mut node, light), 0);
    }
}

#[test]
fn connection_without_a_turn_is_written_next() {
    let (mut node, light, _peers) = busy_writer(8);
    node.net().send(light, "hello").unwrap();
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    assert!(queued(&mut node, light) > 0, "eight others came first");
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(queued(&mut node, light), 0);
}

#[test]
fn accept_budget_loses_no_connection() {
    let config = config_with(|config| config.budget.accepts = 1);
    let (mut node, addr) = listening(config, Recorder::default());
    let _peers = [(); 50].map(|()| connect(addr));
    for accepted in 1..=50 {
        run_until([&mut node], |[node]| {
            node.handler().connected().len() >= accepted
        });
        assert_eq!(node.handler().connected().len(), accepted, "one per turn");
    }
}

#[test]
fn command_budget_loses_no_command() {
    let config = config_with(|config| config.budget.commands = 1);
    let mut node = node(config, Recorder::default());
    let called = Arc::new(AtomicUsize::new(0));
    for _ in 0..500 {
        let called = Arc::clone(&called);
        let call = move |_: &mut Recorder, _: &mut Net| {
            called.fetch_add(1, Ordering::Relaxed);
        };
        node.handle().post(call).unwrap();
    }
    for turn in 1..500 {
        assert_eq!(node.turn(None).unwrap(), Turn::MoreWork);
        assert_eq!(called.load(Ordering::Relaxed), turn);
    }
    assert_eq!(node.turn(None).unwrap(), Turn::Waiting);
    assert_eq!(called.load(Ordering::Relaxed), 500);
}
