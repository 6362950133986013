//! A close makes no turn without work.

use std::time::{Duration, Instant};

use peerloop::{Config, DisconnectReason, Turn};

use crate::util::Recorder;
use crate::util::raw::{until_ended, wire};

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

/// An accepted connection has room from the beginning, and after its FIN was
/// acknowledged, which is no event.
#[test]
fn room_of_an_accepted_connection_is_no_event() {
    const QUIET: Duration = Duration::from_millis(20);
    let (mut node, conn, _peer) = wire(Config::default(), Recorder::default());
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
}
