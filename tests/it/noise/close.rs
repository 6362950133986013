//! The close notification, and streams that end without one.

use super::body;
use crate::util::outcome::{CLOSED, until_both_ended};
use crate::util::raw::until_ended;
use crate::util::session_peer::{SessionPeer, StreamEnd};
use crate::util::snow_peer::Deal;
use crate::util::{Recorder, TestNode, frame, listening, pair, run_until, unlimited_time};
use peerloop::error::SessionError;
use peerloop::noise::NoiseSession;
use peerloop::session::{Role, Stage};
use peerloop::{Config, ConnId, DisconnectReason, SendError};

const TRUNCATED: DisconnectReason = DisconnectReason::Session(SessionError::Truncated);

fn config(half_open: bool) -> Config {
    let mut config = Config {
        budget: unlimited_time(),
        ..Config::default()
    };
    config.connection.allow_half_open = half_open;
    config
}

/// A node that echoes, and a raw peer.
fn with_raw_peer(deal: &Deal, half_open: bool) -> (TestNode, ConnId, SessionPeer<NoiseSession>) {
    let recorder = deal.recorder(Recorder::echo());
    let (mut node, addr) = listening(config(half_open), recorder);
    let (conn, peer) = SessionPeer::connect(&mut node, addr, deal.session(Role::Initiator));
    (node, conn, peer)
}

#[test]
fn close_sends_notification_and_fin() {
    let (mut node, conn, mut peer) = with_raw_peer(&Deal::xx(), false);
    node.net().send(conn, b"last words").expect("room");
    node.net().close(conn);
    assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
    assert_eq!(peer.end.plaintext, frame(b"last words"));
    assert_eq!(peer.end.stage(), Stage::Finished);
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
}

#[test]
fn peers_notification_ends_connection() {
    let (mut node, conn, mut peer) = with_raw_peer(&Deal::xx(), false);
    let bytes = [peer.end.frame(b"last words"), peer.end.close_notify()].concat();
    peer.write(&bytes);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    assert_eq!(node.handler().messages(conn), [b"last words"]);
}

#[test]
fn close_write_leaves_other_half_open() {
    let recorder = || Deal::xx().recorder(Recorder::default());
    let (mut a, to_b, mut b, to_a) = pair(config(true), recorder(), recorder());
    a.net().send(to_b, b"a question").expect("room");
    a.net().close_write(to_b);
    run_until([&mut a, &mut b], |[_, b]| {
        b.handler().messages(to_a).len() == 1
    });
    assert_eq!(a.net().send(to_b, b"more"), Err(SendError::Closed));
    b.net().send(to_a, body(100_000)).expect("an open half");
    run_until([&mut a, &mut b], |[a, _]| {
        a.handler().messages(to_b).len() == 1
    });
    b.net().close(to_a);
    let [at_a, at_b] = until_both_ended(&mut a, to_b, &mut b, to_a);
    assert_eq!([at_b, at_a], CLOSED);
}

/// The request and the FIN arrive at once, so that the answer is queued when the end
/// is seen.
#[test]
fn missing_close_notify_can_be_allowed() {
    let mut deal = Deal::xx();
    for allowed in [false, true] {
        deal.allow_missing_close_notify = allowed;
        for half_open in [false, true] {
            let (mut node, conn, mut peer) = with_raw_peer(&deal, half_open);
            let request = peer.end.frame(b"ask");
            peer.write(&request);
            peer.finish();
            peer.run_until(&mut node, |peer, node| {
                if allowed && half_open && peer.end.plaintext.len() == 7 {
                    node.net().close(conn);
                }
                peer.stream_end.is_some()
            });
            assert_eq!(node.handler().messages(conn), [b"ask"]);
            let (answer, reason) = match (allowed, half_open) {
                (false, _) => (vec![], TRUNCATED),
                (true, false) => (frame(b"ask"), DisconnectReason::PeerClosed),
                (true, true) => (frame(b"ask"), DisconnectReason::Local),
            };
            assert_eq!(peer.end.plaintext, answer);
            assert_eq!(until_ended(&mut node, conn), reason);
        }
    }
}

#[test]
fn end_within_message_is_always_truncation() {
    let mut deal = Deal::xx();
    for allowed in [false, true] {
        deal.allow_missing_close_notify = allowed;
        let (mut node, conn, mut peer) = with_raw_peer(&deal, false);
        let bytes = [peer.end.frame(b"whole"), peer.end.frame(b"cut off")].concat();
        peer.write(&bytes[..bytes.len() - 1]);
        peer.finish();
        assert_eq!(until_ended(&mut node, conn), TRUNCATED);
        assert_eq!(node.handler().messages(conn), [b"whole"]);
    }
}
