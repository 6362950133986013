//! Errors of a session after its handshake.

use std::time::Duration;

use super::with_raw_peer;
use crate::util::raw::until_ended;
use crate::util::session_peer::{SessionPeer, StreamEnd};
use crate::util::sessions::{SealFault, Xor, untimed, with_sessions};
use crate::util::{Event, Recorder, listening};
use peerloop::error::{SessionError, TimeoutKind};
use peerloop::{Direction, DisconnectReason, SendOutcome};

const REFUSED_BY_NODE: SessionError = SessionError::RefusedByPeer("alert");

#[test]
fn messages_before_forged_record_are_delivered() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    let mut bytes = [peer.end.frame(b"one"), peer.end.frame(b"two")].concat();
    bytes.extend([0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    bytes.extend(vec![0; 10_000]);
    peer.write(&bytes);
    assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
    assert_eq!(peer.error, Some(REFUSED_BY_NODE));
    drop(peer);
    let forged = SessionError::Malformed("checksum");
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Session(forged));
    assert_eq!(node.handler().messages(conn), [b"one", b"two"]);
    let metrics = node.net().metrics();
    assert_eq!((metrics.session_errors, metrics.disconnected), (1, 1));
    assert_eq!(metrics.handshakes_failed, 0);
}

/// A session that seals nothing must not make the loop spin.
#[test]
fn fault_in_seal_ends_the_connection() {
    for (fault, error, alert, panics) in [
        (
            SealFault::Error,
            SessionError::Failed("required by the test"),
            Some(REFUSED_BY_NODE),
            0,
        ),
        (SealFault::Panic, SessionError::Panicked, None, 1),
        (
            SealFault::Nothing,
            SessionError::Failed("the session sealed no bytes"),
            None,
            0,
        ),
    ] {
        let recorder = with_sessions(Recorder::default(), move |direction| {
            let mut session = Xor::new(direction);
            session.seal_fails = Some(fault);
            session
        });
        let (mut node, addr) = listening(untimed(), recorder);
        let session = Xor::new(Direction::Outbound);
        let (conn, mut peer) = SessionPeer::connect(&mut node, addr, session);
        let sent = node.net().send_tracked(conn, &b"never"[..], 3);
        sent.expect("room");
        assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
        assert_eq!(peer.error, alert, "{fault:?}");
        assert!(peer.end.plaintext.is_empty());
        drop(peer);
        let reason = until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::Session(error));
        let lost = Event::Sent(conn, 3, SendOutcome::Lost);
        assert_eq!(node.handler().count(|event| *event == lost), 1);
        let metrics = node.net().metrics();
        assert_eq!((metrics.queued_bytes, metrics.panics), (0, panics));
    }
}

#[test]
fn incomplete_record_is_a_partial_message() {
    let mut config = untimed();
    config.connection.timeouts.partial_message = Some(Duration::from_millis(50));
    let (mut node, conn, mut peer) = with_raw_peer(config, Recorder::default());
    let record = peer.end.frame(b"never whole");
    peer.feed(&mut node, &record[..7]);
    let reason = DisconnectReason::Timeout(TimeoutKind::PartialMessage);
    assert_eq!(until_ended(&mut node, conn), reason);
}

#[test]
fn message_too_large_is_refused_on_its_header() {
    let mut config = untimed();
    config.connection.max_message_len = 1000;
    let (mut node, conn, mut peer) = with_raw_peer(config, Recorder::default());
    let header = peer.end.seal(&1001_u32.to_be_bytes());
    peer.write(&header);
    let (len, max) = (1001, 1000);
    let reason = DisconnectReason::MessageTooLarge { len, max };
    assert_eq!(until_ended(&mut node, conn), reason);
}
