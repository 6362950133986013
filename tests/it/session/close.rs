//! Ends of connections behind a session.

use std::time::Duration;

use super::{TRUNCATED, with_raw_peer};
use crate::util::outcome::until_both_ended;
use crate::util::raw::{reset, until_ended};
use crate::util::session_peer::StreamEnd;
use crate::util::sessions::{Kind, sealed, untimed};
use crate::util::{Event, Recorder, frame, pair, run_for};
use peerloop::session::Stage;
use peerloop::{DisconnectReason, SendError, SendOutcome};

#[test]
fn close_and_shutdown_flush_and_notify() {
    for (reason, is_shutdown) in [
        (DisconnectReason::Local, false),
        (DisconnectReason::Shutdown, true),
    ] {
        let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
        node.net().send(conn, &[7; 100_000]).expect("room");
        if is_shutdown {
            node.net().shutdown(Duration::from_secs(20));
        } else {
            node.net().close(conn);
        }
        assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
        assert_eq!(peer.end.stage(), Stage::Finished);
        assert!(peer.end.plaintext == frame(&[7; 100_000]));
        assert_eq!(node.handler().ended(conn), None, "the peer has not closed");
        let notification = peer.end.close_notify();
        peer.write(&notification);
        drop(peer);
        assert_eq!(until_ended(&mut node, conn), reason);
        assert_eq!(node.net().metrics().session_errors, 0);
    }
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

/// Bytes after the notification are ignored, however many they are.
#[test]
fn peers_notification_ends_and_is_answered() {
    for has_fin in [true, false] {
        for late in [0, 1, 200_000] {
            let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
            let bytes = [
                peer.end.frame(b"one"),
                peer.end.close_notify(),
                vec![0xff; late],
            ];
            peer.write(&bytes.concat());
            if has_fin {
                peer.finish();
            }
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::PeerClosed, "{late} bytes");
            assert_eq!(node.handler().messages(conn), [b"one"]);
            if late == 0 {
                assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
                assert_eq!(peer.end.stage(), Stage::Finished);
            }
        }
    }
}

#[test]
fn fin_without_notification_is_truncation() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    let bytes = [&peer.end.frame(b"one")[..], &peer.end.frame(b"two")[..5]].concat();
    peer.write(&bytes);
    peer.finish();
    assert_eq!(until_ended(&mut node, conn), TRUNCATED);
    assert_eq!(node.handler().messages(conn), [b"one"]);
    assert_eq!(node.net().metrics().session_errors, 1);
}

#[test]
fn notification_within_frame_is_truncated_frame() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    let bytes = [peer.end.seal(&frame(b"one")[..6]), peer.end.close_notify()].concat();
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
fn bytes_after_notification_are_no_partial_message() {
    let mut config = untimed();
    config.connection.allow_half_open = true;
    config.connection.timeouts.partial_message = Some(Duration::from_millis(50));
    let (mut node, conn, mut peer) = with_raw_peer(config, Recorder::default());
    let bytes = [
        peer.end.frame(b"one"),
        peer.end.close_notify(),
        vec![0xff; 100],
    ];
    peer.feed(&mut node, &bytes.concat());
    run_for(Duration::from_millis(200), [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    node.net().send(conn, b"still open").expect("an open half");
    node.net().close(conn);
    let _ = peer.until_stream_end(&mut node);
    assert_eq!(peer.end.plaintext, frame(b"still open"));
}

#[test]
fn close_write_still_receives_but_sends_no_replies() {
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), Recorder::default());
    node.net().send(conn, b"all").expect("room");
    node.net().close_write(conn);
    assert_eq!(node.net().send(conn, b"no"), Err(SendError::Closed));
    assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
    assert_eq!(peer.end.stage(), Stage::Finished);
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
