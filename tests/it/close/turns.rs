//! A close makes no turn without work.

use std::io::Write;
use std::time::{Duration, Instant};

use peerloop::{Config, DisconnectReason, Turn};

use crate::util::raw::{feed, reset, until_ended, wire};
use crate::util::{Recorder, frame};

#[test]
fn close_of_an_idle_connection_takes_one_turn() {
    let (mut node, conn, peer) = wire(Config::default(), Recorder::default());
    node.net().close(conn);
    // Sends FIN. Nothing is left to read.
    let turn = node.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(turn, Turn::Waiting);
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
}

#[test]
fn close_with_unread_input_takes_another_turn() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    node.net().pause(conn);
    feed(&mut node, &mut peer, &frame(b"dropped"));
    node.net().close(conn);
    let turn = node.turn(Some(Duration::ZERO)).unwrap();
    // Reads what was left, and waits for the end.
    assert_eq!(turn, Turn::Waiting);
    reset(peer);
    until_ended(&mut node, conn);
}

/// An accepted connection has room from the beginning, and after its FIN was
/// acknowledged, which is no event.
#[test]
fn room_of_an_accepted_connection_is_no_event() {
    const QUIET: Duration = Duration::from_millis(20);
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    for step in 0..3 {
        match step {
            0 => {}
            1 => node.net().send(conn, b"hello").unwrap(),
            _ => node.net().close(conn),
        }
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        let begun = Instant::now();
        assert_eq!(node.turn(Some(QUIET)).unwrap(), Turn::Waiting);
        assert!(begun.elapsed() >= QUIET, "an event in step {step}");
    }
    peer.write_all(b"x").unwrap();
}
