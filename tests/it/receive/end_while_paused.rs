//! The end of a paused connection, with bytes in the socket or half a message kept.

use std::io::Write;
use std::time::Duration;

use crate::util::raw::{feed, reset, until_ended, wire};
use crate::util::{Recorder, frame, run_for};
use peerloop::{Config, DisconnectReason};

#[test]
fn fin_behind_a_message_waits_for_the_resume() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    node.net().pause(conn);
    peer.write_all(&frame(b"last")).unwrap();
    drop(peer);
    run_for(Duration::from_millis(20), [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    node.net().resume(conn);
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::PeerClosed);
    assert_eq!(node.handler().messages(conn), [b"last"]);
}

#[test]
fn reset_with_half_a_message_kept_is_reported() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    feed(&mut node, &mut peer, b"\0\0\0\x09half");
    node.net().pause(conn);
    reset(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
}
