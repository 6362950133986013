//! How long a shutdown takes, and what leaves before its end.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::{
    Event, PATIENCE, Recorder, TestNode, config_with, node, pair, raw, run_until, turn,
};
use peerloop::{Config, DisconnectReason, RunEnd, Turn};

/// Like `Node::run`, with a bound.
pub(super) fn run(node: &mut TestNode) {
    run_until([&mut *node], |[node]| {
        turn(node, Some(Duration::ZERO)) == Turn::Stopped
    });
    node.run().expect("it has stopped");
}

/// Only the grace ends a connection whose peer does nothing.
pub(super) fn without_linger() -> Config {
    config_with(|config| config.connection.timeouts.linger = None)
}

#[test]
fn queued_bytes_leave_and_nothing_remains() {
    let (mut node, conn, mut peer) = raw::wire(Config::default(), Recorder::default());
    let addr = node.net().listeners().next().unwrap().addr;
    TcpListener::bind(addr).expect_err("the port is in use");
    for _ in 0..30 {
        node.net().send(conn, &[7; 100_000]).unwrap();
    }
    let peer_addr = peer.local_addr().unwrap();
    let reader = thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).map(|_| received.len())
    });
    node.net().shutdown(PATIENCE);
    run(&mut node);
    assert_eq!(reader.join().unwrap().unwrap(), 30 * 100_004);
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
    let net = node.net();
    assert_eq!(net.metrics().bytes_lost, 0);
    assert_eq!((net.connection_count(), net.connecting_count()), (0, 0));
    assert_eq!((net.connections().count(), net.listeners().count()), (0, 0));
    assert!(net.connection(conn).is_none() && net.find(peer_addr).is_none());
    TcpListener::bind(addr).expect("the port is free");
}

#[test]
fn peer_that_closes_ends_the_grace() {
    let (mut a, to_b, mut b, to_a) =
        pair(Config::default(), Recorder::default(), Recorder::default());
    a.net().send(to_b, b"last message").unwrap();
    a.net().shutdown(Duration::from_secs(3600));
    run_until([&mut a, &mut b], |[a, b]| {
        b.handler().ended(to_a).is_some() && turn(a, None) == Turn::Stopped
    });
    assert_eq!(b.handler().messages(to_a), [b"last message"]);
    assert_eq!(b.handler().ended(to_a), Some(DisconnectReason::PeerClosed));
    assert_eq!(a.handler().ended(to_b), Some(DisconnectReason::Shutdown));
}

#[test]
fn end_of_grace_cuts_what_is_queued() {
    let mut config = without_linger();
    config.sockets.send_buffer_bytes = Some(4096);
    config.connection.send_queue.max_bytes = 32 << 20;
    let (mut node, conn, _peer) = raw::wire(config, Recorder::default());
    node.net().send(conn, &[7; 8 << 20]).unwrap();
    let begun = Instant::now();
    node.net().shutdown(Duration::from_millis(60));
    run(&mut node);
    assert!(begun.elapsed() >= Duration::from_millis(60));
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
    assert!(node.net().metrics().bytes_lost > 0);
    assert_eq!(node.net().metrics().queued_bytes, 0);
}

#[test]
fn shortest_grace_counts() {
    for has_begun in [false, true] {
        let (mut node, conn, _peer) = raw::wire(without_linger(), Recorder::default());
        node.net().shutdown(Duration::from_secs(3600));
        if has_begun {
            raw::settle(&mut node);
            assert_eq!(node.handler().ended(conn), None, "the peer is open");
        }
        node.net().shutdown(Duration::ZERO);
        node.net().shutdown(Duration::from_secs(3600));
        run(&mut node);
        node.net().shutdown(Duration::ZERO);
        assert_eq!(turn(&mut node, None), Turn::Stopped);
        let ended = Event::Disconnect(conn, DisconnectReason::Shutdown);
        assert_eq!(node.handler().events[2..], [ended]);
    }
}

#[test]
fn shortest_grace_of_handles_counts() {
    const HOUR: Duration = Duration::from_secs(3600);
    for (first, second) in [(HOUR, Duration::ZERO), (Duration::ZERO, HOUR)] {
        for has_turn_between in [false, true] {
            let mut config = without_linger();
            config.budget.commands = 1;
            let (mut node, conn, _peer) = raw::wire(config, Recorder::default());
            let handle = node.handle();
            // The shutdown begins after these calls. Each takes a turn.
            for _ in 0..3 {
                handle.post(|_, _| ()).unwrap();
            }
            handle.shutdown(first);
            if has_turn_between {
                assert_eq!(turn(&mut node, None), Turn::MoreWork);
            }
            handle.shutdown(second);
            run(&mut node);
            assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
        }
    }
}

#[test]
fn node_without_connections_stops_at_once() {
    let mut node = node(Config::default(), Recorder::default());
    node.net().shutdown(Duration::from_secs(3600));
    node.run().unwrap();
    assert_eq!(turn(&mut node, None), Turn::Stopped);
    assert_eq!(node.handler().events, [Event::Start]);
}

#[test]
fn grace_requested_between_turns_ends() {
    let (mut node, conn, _peer) = raw::wire(without_linger(), Recorder::default());
    let grace = Duration::from_millis(20);
    let net = node.net();
    let asked = net.now();
    net.shutdown(grace);
    // The next turn ends later than this call: the grace does not count from
    // there.
    while asked.elapsed() < grace / 2 {
        thread::yield_now();
    }
    assert_eq!(node.run_for(PATIENCE).expect("it runs"), RunEnd::Stopped);
    assert!(asked.elapsed() < PATIENCE / 2, "the grace was missed");
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
    let stopped = node.turn(None).expect_err("it has stopped");
    assert_eq!(stopped.kind(), ErrorKind::BrokenPipe);
}
