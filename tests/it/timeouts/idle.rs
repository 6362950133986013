//! `Timeouts::idle`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use peerloop::ConnId;
use peerloop::config::Timeouts;
use peerloop::error::TimeoutKind;

use super::{
    FRAME, IDLE, LONG_HEADER, OFF, TIME, assert_times_out, config, counted, send_until_ended, turn,
};
use crate::util::raw::{feed, join, until_ended, wire};
use crate::util::{PATIENCE, Recorder, TestNode, listening, run_for};

#[test]
fn silent_peer_is_ended_and_not_early() {
    let begun = Instant::now();
    let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
    assert_times_out(&mut node, conn, TimeoutKind::Idle, begun);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    assert_eq!(counted(&mut node), [0, 1, 0, 0, 0]);
    assert_eq!(node.timeout(), None);
}

#[test]
fn messages_keep_a_connection_alive() {
    let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
    let begun = Instant::now();
    let mut last = begun;
    while begun.elapsed() < 2 * TIME {
        last = Instant::now();
        feed_now(&mut node, &mut peer, FRAME);
    }
    assert_eq!(node.handler().ended(conn), None);
    assert_times_out(&mut node, conn, TimeoutKind::Idle, last);
}

/// Writes, and waits in one turn until the node has read it.
fn feed_now(node: &mut TestNode, peer: &mut TcpStream, bytes: &[u8]) {
    peer.write_all(bytes).unwrap();
    let _ = node.turn(Some(PATIENCE)).unwrap();
}

#[test]
fn incomplete_message_is_no_activity() {
    let begun = Instant::now();
    let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
    feed(&mut node, &mut peer, LONG_HEADER);
    send_until_ended(&mut node, conn, &mut peer, b"x");
    assert_times_out(&mut node, conn, TimeoutKind::Idle, begun);
    assert_eq!(counted(&mut node), [0, 1, 0, 0, 0]);
}

#[test]
fn sent_messages_keep_a_connection_alive() {
    // Longer than others, because a turn sends after it has looked at timeouts, and
    // the test must not be late.
    let idle = 3 * TIME;
    let timeouts = Timeouts {
        idle: Some(idle),
        ..OFF
    };
    let (mut node, conn, mut peer) = wire(config(timeouts), Recorder::default());
    let begun = Instant::now();
    let mut last = begun;
    while begun.elapsed() < idle + TIME {
        last = Instant::now();
        node.net().send(conn, b"x").unwrap();
        turn(&mut node);
        peer.read_exact(&mut [0; 5]).unwrap();
    }
    assert_eq!(node.handler().ended(conn), None);
    until_ended(&mut node, conn);
    assert!(last.elapsed() >= idle);
}

#[test]
fn pause_time_does_not_count() {
    let (mut node, conn, mut peer) = wire(config(IDLE), Recorder::default());
    node.net().pause(conn);
    peer.write_all(FRAME).unwrap();
    run_for(2 * TIME, [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    let resumed = Instant::now();
    node.net().resume(conn);
    assert_times_out(&mut node, conn, TimeoutKind::Idle, resumed);
    assert_eq!(node.handler().messages(conn), [b"x"]);
}

#[test]
fn listener_and_connect_have_their_own() {
    let (mut node, patient) = listening(config(OFF), Recorder::default());
    let mut options = node.net().listen_options();
    options.connection_mut().timeouts = IDLE;
    let hasty = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = node.net().connect_options();
    options.connection_mut().timeouts = IDLE;
    let there = other.local_addr().unwrap();
    let begun = Instant::now();
    let (stays, _peer) = join(&mut node, patient);
    let (goes, _other_peer) = join(&mut node, hasty);
    let connected = node.net().connect_with(there, options).unwrap();
    assert_times_out(&mut node, goes, TimeoutKind::Idle, begun);
    assert_times_out(&mut node, connected, TimeoutKind::Idle, begun);
    run_for(TIME, [&mut node]);
    assert_eq!(node.handler().ended(stays), None);
}

#[test]
fn stale_deadline_spares_the_next_in_the_slot() {
    let slot = |conn: ConnId| conn.to_string().split('.').next().map(str::to_owned);
    let (mut node, stale, _peer) = wire(config(IDLE), Recorder::default());
    let addr = node.net().listeners().next().unwrap().addr;
    run_for(TIME / 2, [&mut node]);
    node.net().abort(stale);
    until_ended(&mut node, stale);
    let begun = Instant::now();
    let (fresh, _peer) = join(&mut node, addr);
    assert_eq!(slot(stale), slot(fresh), "the slot is used again");
    assert_times_out(&mut node, fresh, TimeoutKind::Idle, begun);
}
