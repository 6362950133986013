//! `Timeouts::receive_idle`.

use std::io::Read;
use std::time::Instant;

use peerloop::config::Timeouts;
use peerloop::error::TimeoutKind;

use super::{OFF, TIME, assert_times_out, config, turn};
use crate::util::raw::{feed, wire};
use crate::util::{Recorder, run_for};

const RECEIVE_IDLE: Timeouts = Timeouts {
    receive_idle: Some(TIME),
    ..OFF
};

#[test]
fn silent_peer_is_ended_although_we_send() {
    let begun = Instant::now();
    let (mut node, conn, mut peer) = wire(config(RECEIVE_IDLE), Recorder::default());
    while node.handler().ended(conn).is_none() && begun.elapsed() < 20 * TIME {
        let _ = node.net().send(conn, b"x");
        turn(&mut node);
        if node.handler().ended(conn).is_none() {
            peer.read_exact(&mut [0; 5]).unwrap();
        }
    }
    assert_times_out(&mut node, conn, TimeoutKind::ReceiveIdle, begun);
    assert_eq!(node.net().metrics().receive_idle_timeouts, 1);
    assert_eq!(node.timeout(), None);
}

#[test]
fn byte_of_a_message_counts() {
    let (mut node, conn, mut peer) = wire(config(RECEIVE_IDLE), Recorder::default());
    let begun = Instant::now();
    let mut last = begun;
    for byte in [0, 0, 1, 0].into_iter().chain([7; 255]) {
        if begun.elapsed() > 2 * TIME {
            break;
        }
        last = Instant::now();
        feed(&mut node, &mut peer, &[byte]);
        assert_eq!(node.handler().ended(conn), None);
        run_for(TIME / 20, [&mut node]);
    }
    assert_times_out(&mut node, conn, TimeoutKind::ReceiveIdle, last);
}
