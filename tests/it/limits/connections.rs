//! Maximum numbers of connections and of attempts to connect.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::util::raw::{accepted, connect, feed, join, until_ended};
use crate::util::sockets::{connect_from, refusing, saturated};
use crate::util::{Event, Recorder, TestNode, config_with, frame, listening, run_until};
use peerloop::config::PrefixLimit;
use peerloop::{Config, ConnId, ConnectError, Metrics, Net};

/// Asserts that the node closed this connection.
#[track_caller]
fn assert_refused(mut peer: TcpStream) {
    match peer.read(&mut [0]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// Has an echoing node answer this peer.
#[track_caller]
fn assert_served(node: &mut TestNode, peer: &mut TcpStream) {
    feed(node, peer, &frame(b"hello"));
    let mut answer = [0; 9];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..], frame(b"hello"));
}

/// Connections refused: in total, per address, per network.
fn refusals(metrics: &Metrics) -> [u64; 3] {
    [
        metrics.refused_by_total,
        metrics.refused_by_address,
        metrics.refused_by_prefix,
    ]
}

fn until_refused(node: &mut TestNode, expected: [u64; 3]) {
    run_until([node], |[node]| refusals(&node.net().metrics()) == expected);
}

#[test]
fn full_address_is_refused_and_another_is_not() {
    let config = config_with(|config| config.limits.max_connections_per_address = 2);
    let (mut node, addr) = listening(config, Recorder::echo());
    let (conn, first) = join(&mut node, addr);
    let (_, mut second) = join(&mut node, addr);
    let surplus = connect(addr);
    until_refused(&mut node, [0, 1, 0]);
    assert_refused(surplus);
    let mut other = connect_from([127, 0, 0, 2], addr);
    accepted(&mut node);
    drop(first);
    until_ended(&mut node, conn);
    let (_, mut third) = join(&mut node, addr);
    for peer in [&mut second, &mut other, &mut third] {
        assert_served(&mut node, peer);
    }
    assert_eq!(refusals(&node.net().metrics()), [0, 1, 0]);
    assert_eq!(node.net().metrics().accepted, 4);
}

#[test]
fn address_counts_inbound_and_outbound_together() {
    let config = config_with(|config| config.limits.max_connections_per_address = 2);
    let (mut node, addr) = listening(config, Recorder::echo());
    let _first = join(&mut node, addr);
    let silent = saturated();
    let connecting = node.net().connect(silent.addr).unwrap();
    let refused = node.net().connect("127.0.0.1:1");
    assert_eq!(refused, Err(ConnectError::TooManyFromAddress));
    let surplus = connect(addr);
    until_refused(&mut node, [0, 1, 0]);
    assert_refused(surplus);
    node.net().close(connecting);
    let _second = join(&mut node, addr);
}

#[test]
fn full_network_is_refused_and_the_next_is_not() {
    let config = config_with(|config| {
        config.limits.max_connections_per_prefix = Some(PrefixLimit {
            max: 2,
            ..PrefixLimit::default()
        });
    });
    let (mut node, addr) = listening(config, Recorder::echo());
    let first = connect_from([127, 0, 0, 1], addr);
    let conn = accepted(&mut node);
    let _second = connect_from([127, 0, 0, 200], addr);
    accepted(&mut node);
    let surplus = connect_from([127, 0, 0, 3], addr);
    until_refused(&mut node, [0, 0, 1]);
    assert_refused(surplus);
    let refused = node.net().connect("127.0.0.4:1");
    assert_eq!(refused, Err(ConnectError::TooManyFromPrefix));
    let mut next_network = connect_from([127, 0, 1, 1], addr);
    accepted(&mut node);
    assert_served(&mut node, &mut next_network);
    drop(first);
    until_ended(&mut node, conn);
    let mut third = connect_from([127, 0, 0, 3], addr);
    accepted(&mut node);
    assert_served(&mut node, &mut third);
    assert_eq!(refusals(&node.net().metrics()), [0, 0, 1]);
}

#[test]
fn full_node_refuses_and_serves_its_connections() {
    let config = config_with(|config| config.limits.max_connections = 3);
    let (mut node, addr) = listening(config, Recorder::echo());
    let mut peers: Vec<_> = (0..3).map(|_| join(&mut node, addr)).collect();
    let surplus: Vec<_> = (0..4).map(|_| connect(addr)).collect();
    until_refused(&mut node, [4, 0, 0]);
    surplus.into_iter().for_each(assert_refused);
    let refused = node.net().connect(addr);
    assert_eq!(refused, Err(ConnectError::TooManyConnections));
    for (_, peer) in &mut peers {
        assert_served(&mut node, peer);
    }
    let (conn, peer) = peers.remove(1);
    drop(peer);
    until_ended(&mut node, conn);
    let (_, mut fourth) = join(&mut node, addr);
    assert_served(&mut node, &mut fourth);
    assert_eq!(node.net().connection_count(), 3);
    let metrics = node.net().metrics();
    assert_eq!(refusals(&metrics), [4, 0, 0]);
    assert_eq!((metrics.accepted, metrics.accept_errors), (4, 0));
    assert_eq!(metrics.refused_by_handler, 0);
}

#[test]
fn attempts_are_limited_apart_from_inbound() {
    let config = config_with(|config| {
        config.limits.max_outbound_connecting = 4;
        config.allow_duplicates = true;
    });
    let saturated = saturated();
    let silent = saturated.addr;
    let (mut node, addr) = listening(config, Recorder::echo());
    let attempts: Vec<ConnId> = (0..4)
        .map(|_| node.net().connect(silent).unwrap())
        .collect();
    for _ in 0..2 {
        let refused = node.net().connect(silent);
        assert_eq!(refused, Err(ConnectError::TooManyConnecting));
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
    }
    let mut peers: Vec<_> = (0..8).map(|_| join(&mut node, addr)).collect();
    for (_, peer) in &mut peers {
        assert_served(&mut node, peer);
    }
    assert_eq!(node.net().connecting_count(), 4);
    node.net().close(attempts[0]);
    node.net().connect(silent).unwrap();
    let refused = node.net().connect(silent);
    assert_eq!(refused, Err(ConnectError::TooManyConnecting));
    assert_eq!(node.net().metrics().connects_started, 5);
}

#[test]
fn ended_attempt_makes_room_for_the_next() {
    let config = config_with(|config| {
        config.limits.max_outbound_connecting = 1;
        config.allow_duplicates = true;
    });
    let (mut listener, addr) = listening(Config::default(), Recorder::default());
    let (_socket, refusing) = refusing();
    // A listener is no attempt to connect.
    let (mut node, _) = listening(config, Recorder::default());
    for count in 1..=3 {
        for addr in [addr, refusing] {
            node.net().connect(addr).unwrap();
            run_until([&mut node, &mut listener], |[node, _]| {
                node.net().connecting_count() == 0
            });
        }
        assert_eq!(node.handler().events.len(), 1 + 2 * count);
        assert_eq!(node.handler().connected().len(), count);
    }
}

#[test]
fn connects_at_once_never_pass_the_maximum() {
    let peak = Arc::new(AtomicUsize::new(0));
    let highest = Arc::clone(&peak);
    let watch = move |net: &mut Net, _: &Event| {
        let count = net.connection_count() + net.connecting_count();
        highest.fetch_max(count, Ordering::Relaxed);
    };
    let config = config_with(|config| {
        config.limits.max_connections = 10;
        config.limits.reserved_outbound = Some(0);
    });
    let (mut node, addr) = listening(config, Recorder::reacting(watch));
    let connects: Vec<_> = (0..50)
        .map(|_| thread::spawn(move || connect(addr)))
        .collect();
    until_refused(&mut node, [40, 0, 0]);
    let _peers: Vec<_> = connects
        .into_iter()
        .map(|connect| connect.join().unwrap())
        .collect();
    assert_eq!(peak.load(Ordering::Relaxed), 10);
    let ended = |event: &Event| matches!(event, Event::Disconnect(..));
    assert_eq!(node.handler().count(ended), 0);
    assert_eq!(node.net().metrics().accepted, 10);
    assert_eq!(node.net().connection_count(), 10);
}
