//! A close makes no turn without work.

use std::time::{Duration, Instant};

use peerloop::{Config, ConnectionState, DisconnectReason, Turn};

use crate::util::raw::{until_ended, wire};
use crate::util::{PATIENCE, Recorder};

#[test]
fn close_of_an_idle_connection_takes_one_turn() {
    let (mut node, conn, peer) = wire(Config::default(), Recorder::default());
    // Commands run after the visits of their turn.
    let handle = node.handle();
    handle.post(move |_, net| net.close(conn)).unwrap();
    // The turn sends FIN. Nothing is left to read.
    let turn = node.turn(Some(PATIENCE)).unwrap();
    let state = node.net().connection(conn).map(|it| it.state());
    assert_eq!(
        (turn, state),
        (Turn::Waiting, Some(ConnectionState::Closing))
    );
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
