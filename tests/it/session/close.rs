//! Ends of connections behind a session.

use std::time::Duration;

use super::with_raw_peer;
use crate::util::outcome::until_both_ended;
use crate::util::raw::{reset, until_ended};
use crate::util::session_peer::StreamEnd;
use crate::util::sessions::{Kind, sealed, untimed};
use crate::util::{Event, Recorder, frame, pair, run_for};
use peerloop::session::Stage;
use peerloop::{DisconnectReason, SendOutcome};

#[test]
fn shutdown_flushes_and_notifies() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    node.net().send(conn, b"last words").expect("room");
    node.net().shutdown(Duration::from_secs(20));
    assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
    assert_eq!(peer.end.stage(), Stage::Finished);
    assert_eq!(peer.end.plaintext, frame(b"last words"));
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Shutdown);
}

#[test]
fn close_of_both_ends_at_once_is_local() {
    let recorder = || sealed(Recorder::default());
    let (mut a, to_b, mut b, to_a) = pair(untimed(), recorder(), recorder());
    a.net().close(to_b);
    b.net().close(to_a);
    let reasons = until_both_ended(&mut a, to_b, &mut b, to_a);
    assert_eq!(reasons, [DisconnectReason::Local; 2]);
}

#[test]
fn abort_resets_without_notification() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    let sent = node.net().send_tracked(conn, &b"never"[..], 1);
    sent.expect("room");
    node.net().abort(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Reset);
    assert_eq!(peer.end.stage(), Stage::Established);
    assert!(peer.end.plaintext.is_empty());
    let lost = Event::Sent(conn, 1, SendOutcome::Lost);
    assert_eq!(node.handler().count(|event| *event == lost), 1);
}

#[test]
fn notification_within_frame_is_truncated_frame() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    let part = peer.end.seal(&frame(b"one")[..6]);
    let bytes = [part, peer.end.close_notify()].concat();
    peer.write(&bytes);
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Truncated { bytes: 6 });
}

#[test]
fn reset_is_reported_as_reset() {
    let (mut node, conn, peer) = with_raw_peer(untimed(), Recorder::default());
    reset(peer.socket);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
}

#[test]
fn bytes_after_notification_are_ignored() {
    let mut config = untimed();
    config.connection.allow_half_open = true;
    config.connection.timeouts.partial_message = Some(Duration::from_millis(50));
    let (mut node, conn, mut peer) = with_raw_peer(config, Recorder::default());
    let messages = [peer.end.frame(b"one"), peer.end.close_notify()].concat();
    peer.feed(&mut node, &[messages, vec![0xff; 100]].concat());
    run_for(Duration::from_millis(200), [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    node.net().send(conn, b"still open").expect("an open half");
    node.net().close(conn);
    let _ = peer.until_stream_end(&mut node);
    assert_eq!(peer.end.plaintext, frame(b"still open"));
}

#[test]
fn session_sends_no_replies_after_close_write() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    node.net().send(conn, b"all").expect("room");
    node.net().close_write(conn);
    assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
    assert_eq!(peer.end.plaintext, frame(b"all"));
    for number in 0..3 {
        let ping = peer.end.session.record(Kind::Ping, b"");
        let bytes = [ping, peer.end.frame(&[number])].concat();
        peer.feed(&mut node, &bytes);
    }
    let notification = peer.end.close_notify();
    peer.write(&notification);
    peer.finish();
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    assert_eq!(node.handler().messages(conn), [[0], [1], [2]]);
}
