//! `Timeouts::partial_message` and the minimum rate of receiving.

use std::io::Write;
use std::time::Instant;

use peerloop::config::{MinRate, Timeouts};
use peerloop::error::TimeoutKind;

use super::{FRAME, LONG_HEADER, OFF, TIME, assert_times_out, config, counted, send_until_ended};
use crate::util::raw::{feed, wire};
use crate::util::{PATIENCE, Recorder, run_for, run_until};

const PARTIAL_MESSAGE: Timeouts = Timeouts {
    partial_message: Some(TIME),
    ..OFF
};

#[test]
fn half_a_message_times_out_and_not_early() {
    let (mut node, conn, mut peer) = wire(config(PARTIAL_MESSAGE), Recorder::default());
    let begun = Instant::now();
    feed(&mut node, &mut peer, &FRAME[..2]);
    assert_times_out(&mut node, conn, TimeoutKind::PartialMessage, begun);
    assert_eq!(counted(&mut node), [0, 0, 1, 0, 0]);
}

#[test]
fn slow_bytes_reset_it_and_fail_the_rate() {
    let mut config = config(PARTIAL_MESSAGE);
    config.connection.min_rate = MinRate {
        receive_bytes_per_second: Some(100 << 20),
        after: 2 * TIME,
        ..MinRate::default()
    };
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let begun = Instant::now();
    feed(&mut node, &mut peer, LONG_HEADER);
    send_until_ended(&mut node, conn, &mut peer, b"x");
    assert!(begun.elapsed() >= 2 * TIME);
    assert_times_out(&mut node, conn, TimeoutKind::ReceiveRate, begun);
}

#[test]
fn each_message_has_its_own_time() {
    let (mut node, conn, mut peer) = wire(config(PARTIAL_MESSAGE), Recorder::default());
    let begun = Instant::now();
    peer.write_all(&FRAME[..2]).unwrap();
    let mut last = begun;
    // Each piece completes one message and begins the next, so that one is always
    // incomplete.
    let piece = [&FRAME[2..], &FRAME[..2]].concat();
    while begun.elapsed() < 2 * TIME {
        last = Instant::now();
        peer.write_all(&piece).unwrap();
        let _ = node.turn(Some(PATIENCE)).unwrap();
    }
    assert_eq!(node.handler().ended(conn), None);
    assert_times_out(&mut node, conn, TimeoutKind::PartialMessage, last);
}

#[test]
fn complete_message_ends_it() {
    let (mut node, conn, mut peer) = wire(config(PARTIAL_MESSAGE), Recorder::default());
    feed(&mut node, &mut peer, &FRAME[..2]);
    feed(&mut node, &mut peer, &FRAME[2..]);
    run_for(2 * TIME, [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    assert_eq!(counted(&mut node), [0; 5]);
}

#[test]
fn pause_time_does_not_count() {
    let (mut node, conn, mut peer) = wire(config(PARTIAL_MESSAGE), Recorder::default());
    feed(&mut node, &mut peer, &FRAME[..2]);
    node.net().pause(conn);
    run_for(2 * TIME, [&mut node]);
    peer.write_all(&FRAME[2..]).unwrap();
    node.net().resume(conn);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn) == [b"x"]
    });
    let begun = Instant::now();
    feed(&mut node, &mut peer, &FRAME[..2]);
    node.net().pause(conn);
    run_for(2 * TIME, [&mut node]);
    let resumed = Instant::now();
    node.net().resume(conn);
    assert_times_out(&mut node, conn, TimeoutKind::PartialMessage, resumed);
    assert!(begun.elapsed() >= 3 * TIME);
}
