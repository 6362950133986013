//! `Timeouts::write_stall`: a peer that takes nothing.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use peerloop::config::Timeouts;
use peerloop::error::TimeoutKind;
use peerloop::{Config, ConnId};

use super::{FRAME, IDLE, OFF, TIME, assert_times_out, config, counted, send_until_ended};
use crate::util::raw::{feed, join, settle};
use crate::util::streams::{self, queued_bytes};
use crate::util::{Recorder, TestNode, listening, run_for, run_until};

const WRITE_STALL: Timeouts = Timeouts {
    write_stall: Some(TIME),
    ..OFF
};

/// Returns a configuration in which the kernel holds little, and the queue much.
fn narrow(timeouts: Timeouts) -> Config {
    let mut config = config(timeouts);
    config.sockets.send_buffer_bytes = Some(16 * 1024);
    config.connection.send_queue.max_bytes = 64 << 20;
    config
}

fn narrow_wire(timeouts: Timeouts) -> (TestNode, ConnId, TcpStream) {
    streams::narrow_wire(narrow(timeouts), Recorder::default())
}

/// Queues more than the sockets hold.
fn fill(node: &mut TestNode, conn: ConnId, bytes: usize) {
    let block = vec![7; 1 << 20];
    for _ in 0..bytes.div_ceil(block.len()) {
        node.net().send(conn, &block).unwrap();
    }
    settle(node);
    assert!(queued_bytes(node.net(), conn) > 0);
}

#[test]
fn peer_that_takes_nothing_is_ended() {
    let (mut node, conn, _peer) = narrow_wire(WRITE_STALL);
    let begun = Instant::now();
    fill(&mut node, conn, 8 << 20);
    assert_times_out(&mut node, conn, TimeoutKind::WriteStall, begun);
    assert_eq!(counted(&mut node), [0, 0, 0, 1, 0]);
    let metrics = node.net().metrics();
    assert!(metrics.bytes_lost > 0);
    assert_eq!(metrics.queued_bytes, 0);
}

#[test]
fn peer_that_takes_a_little_is_served() {
    let total: usize = 32 << 20;
    let mut config = narrow(WRITE_STALL);
    config.sockets.send_buffer_bytes = Some(256 * 1024);
    let (mut node, addr) = listening(config, Recorder::default());
    let (conn, mut peer) = join(&mut node, addr);
    fill(&mut node, conn, total);
    peer.set_nonblocking(true).unwrap();
    let begun = Instant::now();
    let mut buffer = vec![0; 256 * 1024];
    // The socket may be empty until the node has run again.
    let mut take = || peer.read(&mut buffer).unwrap_or(0);
    let mut arrived = 0;
    // Slowly at first, for longer than the timeout, then all that is left.
    while begun.elapsed() < 2 * TIME {
        arrived += take();
        run_for(Duration::from_millis(10), [&mut node]);
    }
    assert!(queued_bytes(node.net(), conn) > 0);
    let wire = total + 4 * (total >> 20);
    run_until([&mut node], |_| {
        arrived += take();
        arrived == wire
    });
    assert_eq!(node.handler().ended(conn), None);
    assert_eq!(counted(&mut node), [0; 5]);
}

#[test]
fn empty_queue_has_none() {
    let (mut node, conn, mut peer) = narrow_wire(WRITE_STALL);
    run_for(2 * TIME, [&mut node]);
    node.net().send(conn, b"x").unwrap();
    run_for(2 * TIME, [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    peer.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn peer_that_only_sends_is_ended() {
    let (mut node, conn, mut peer) = narrow_wire(WRITE_STALL);
    let begun = Instant::now();
    fill(&mut node, conn, 8 << 20);
    send_until_ended(&mut node, conn, &mut peer, FRAME);
    assert_times_out(&mut node, conn, TimeoutKind::WriteStall, begun);
}

#[test]
fn full_queue_suspends_the_idle_timeout() {
    let (mut node, conn, _peer) = narrow_wire(IDLE);
    fill(&mut node, conn, 8 << 20);
    run_for(2 * TIME, [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
}

#[test]
fn no_timeout_is_armed_in_any_state() {
    let (mut node, conn, mut peer) = narrow_wire(OFF);
    feed(&mut node, &mut peer, &FRAME[..2]);
    assert_eq!(node.timeout(), None);
    node.net().send(conn, &vec![7; 4 << 20][..]).unwrap();
    settle(&mut node);
    assert!(queued_bytes(node.net(), conn) > 0);
    assert_eq!(node.timeout(), None);
    node.net().close(conn);
    settle(&mut node);
    assert_eq!(node.timeout(), None);
    assert_eq!(node.handler().ended(conn), None);
}
