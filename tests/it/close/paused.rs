//! A close of a paused connection.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use peerloop::DisconnectReason;

use crate::util::raw::{feed, settle, until_ended, wire};
use crate::util::streams::{
    assert_same, fill, frames, narrow_config, narrow_wire, patient_config, run_with,
};
use crate::util::{Recorder, frame, run_for};

#[test]
fn close_while_paused_waits_for_the_peers_fin() {
    for ended_before in [true, false] {
        let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
        node.net().pause(conn);
        // In one write: with poll(2), data that is not read brings no second event.
        feed(&mut node, &mut peer, &frame(b"dropped").repeat(3));
        if ended_before {
            // No event is left to come for this connection.
            peer.shutdown(Shutdown::Write).unwrap();
            run_for(Duration::from_millis(5), [&mut node]);
        }
        node.net().close(conn);
        settle(&mut node);
        drop(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
        assert!(node.handler().messages(conn).is_empty());
    }
}

#[test]
fn close_while_paused_drains_a_blocked_peer() {
    let (mut node, conn, mut peer) = narrow_wire(narrow_config(), Recorder::default());
    node.net().pause(conn);
    let count = fill(&mut node, conn, 0, 996);
    let peer = thread::spawn(move || {
        peer.write_all(&frames(0..4000, 1000))?;
        peer.shutdown(Shutdown::Write)?;
        let mut arrived = Vec::new();
        peer.read_to_end(&mut arrived).map(|_| arrived)
    });
    // Both directions are blocked now, and no event is left to come.
    run_for(Duration::from_millis(20), [&mut node]);
    node.net().close(conn);
    let arrived = run_with(&mut node, peer).expect("a clean end");
    assert_same(&arrived, &frames(0..count, 996));
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert!(node.handler().messages(conn).is_empty());
}
