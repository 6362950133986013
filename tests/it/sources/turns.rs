//! Sources in a turn: changes inside `on_ready`, budgets and panics.

use std::time::Duration;

use peerloop::config::{OnPanic, TurnBudget};
use peerloop::mio::Interest;
use peerloop::{Config, Node, Turn};

use super::{Sources, node, receive, register, run_for, run_until, udp};
use crate::util::unlimited_time;

/// Both are ready in one turn. The first that is reported removes the other.
#[test]
fn event_after_deregister_is_not_delivered() {
    let mut node = node(|sources, net, source| {
        receive(sources, net, source);
        let other = sources.sources.iter().find(|(id, _)| *id != source);
        let other = other.expect("two sources").0;
        net.deregister(other, sources.source(other)).unwrap();
    });
    let (mut ids, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (source, peer) = udp();
        ids.push(register(&mut node, source));
        peers.push(peer);
    }
    peers.iter().for_each(|peer| {
        peer.send(b"x").unwrap();
    });
    run_for(&mut node, Duration::from_millis(10));
    let sources = node.handler();
    assert_eq!(sources.ready.len(), 1);
    assert_eq!(sources.read, b"x");
}

#[test]
fn source_is_deregistered_in_its_callback() {
    let mut node = node(|sources, net, source| {
        net.deregister(source, sources.source(source)).unwrap();
    });
    let (source, peer) = udp();
    let id = register(&mut node, source);
    peer.send(b"x").unwrap();
    run_until(&mut node, |sources| sources.count(id) == 1);
    peer.send(b"y").unwrap();
    run_for(&mut node, Duration::from_millis(5));
    assert_eq!(node.handler().ready.len(), 1);
}

/// The new source takes the slot of the old one, and is reported in the next
/// turn.
#[test]
fn source_is_registered_in_a_callback() {
    let mut node = node(|sources, net, source| {
        receive(sources, net, source);
        if sources.ready.len() == 1 {
            let mut source = sources.take(source);
            let (id, _) = sources.ready[0];
            net.deregister(id, &mut source).unwrap();
            sources.register(net, source);
        }
    });
    let (source, peer) = udp();
    let first = register(&mut node, source);
    peer.send(b"x").unwrap();
    run_until(&mut node, |sources| sources.count(first) == 1);
    peer.send(b"y").unwrap();
    run_until(&mut node, |sources| sources.read == b"xy");
    let second = node.handler().sources[0].0;
    assert_ne!(first, second);
    assert_eq!(node.handler().count(second), 1);
}

/// A callback that uses up the time ends the sources of the turn. The others
/// follow, and no edge is lost.
#[test]
fn slow_sources_share_the_time_of_turns() {
    const SOURCES: usize = 5;
    let budget = TurnBudget {
        max_turn_time: Duration::from_millis(4),
        ..TurnBudget::default()
    };
    let config = Config {
        budget,
        on_panic: OnPanic::Unwind,
        slow_turn: Some(Duration::from_millis(1)),
        ..Config::default()
    };
    let sources = Sources::new(|sources, net, source| {
        receive(sources, net, source);
        std::thread::sleep(Duration::from_millis(2));
    });
    let mut node = Node::new(config, sources).unwrap();
    let mut peers = Vec::new();
    for _ in 0..SOURCES {
        let (source, peer) = udp();
        peer.send(b"x").unwrap();
        register(&mut node, source);
        peers.push(peer);
    }
    crate::util::eventually(|| {
        let before = node.handler().ready.len();
        let turn = node.turn(Some(Duration::from_millis(1))).unwrap();
        let ready = node.handler().ready.len();
        assert!(ready <= before + 1, "one slow callback ends the turn");
        // A turn that leaves sources has more work.
        assert!(ready == 0 || ready == SOURCES || turn == Turn::MoreWork);
        ready == SOURCES
    });
    assert!(node.net().metrics().slow_turns >= SOURCES as u64);
}

#[test]
fn fast_sources_are_reported_in_one_turn() {
    let config = Config {
        budget: unlimited_time(),
        on_panic: OnPanic::Unwind,
        ..Config::default()
    };
    let mut node = Node::new(config, Sources::new(receive)).unwrap();
    let mut peers = Vec::new();
    for _ in 0..5 {
        let (source, peer) = udp();
        register(&mut node, source);
        peers.push(peer);
    }
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    for peer in &peers {
        peer.send(b"x").unwrap();
    }
    let _ = node.turn(Some(crate::util::PATIENCE)).unwrap();
    assert_eq!(node.handler().ready.len(), 5);
}

#[test]
fn panic_in_on_ready_is_contained() {
    let sources = Sources::new(|sources, net, source| {
        receive(sources, net, source);
        if sources.read.ends_with(b"panic") {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    });
    let mut node = Node::new(Config::default(), sources).unwrap();
    let (source, peer) = udp();
    let id = register(&mut node, source);
    for round in 1..=2 {
        peer.send(b"panic").unwrap();
        run_until(&mut node, |sources| sources.count(id) == 2 * round - 1);
        peer.send(b"more").unwrap();
        run_until(&mut node, |sources| sources.count(id) == 2 * round);
    }
    let net = node.net();
    assert_eq!(net.metrics().panics, 2);
    node.with(|sources, net| {
        let source = sources.source(id);
        net.reregister(id, source, Interest::READABLE).unwrap();
    });
}
