//! The close notification of each cipher, and streams that end without one.

use super::TRUNCATED;
use crate::util::ciphers::{ciphers, real_ciphers};
use crate::util::outcome::{CLOSED, until_both_ended};
use crate::util::raw::until_ended;
use crate::util::session_end::{SessionEnd, assert_works_by_bytes};
use crate::util::session_peer::StreamEnd;
use crate::util::sessions::untimed;
use crate::util::{Recorder, frame, pair, run_until, unlimited_time};
use peerloop::session::Stage;
use peerloop::{Config, Direction, DisconnectReason, SendError};

fn config(half_open: bool) -> Config {
    let mut config = Config {
        budget: unlimited_time(),
        ..untimed()
    };
    config.connection.allow_half_open = half_open;
    config
}

/// The stream may end before each byte. That is a truncation after the handshake.
#[test]
fn bytes_one_at_a_time_are_enough() {
    for cipher in ciphers() {
        let [a, b] = [Direction::Outbound, Direction::Inbound]
            .map(|direction| SessionEnd::new(cipher.session(direction)));
        assert_works_by_bytes(a, b);
    }
}

#[test]
fn close_flushes_and_notifies() {
    for cipher in ciphers() {
        let (mut node, conn, mut peer) = cipher.with_raw_peer(config(false), Recorder::default());
        node.net().send(conn, &[7; 100_000]).expect("room");
        node.net().close(conn);
        assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
        assert!(
            peer.end.plaintext == frame(&[7; 100_000]),
            "{}",
            cipher.name
        );
        assert_eq!(peer.end.stage(), Stage::Finished);
        assert_eq!(node.handler().ended(conn), None, "the peer has not closed");
        let notification = peer.end.close_notify();
        peer.write(&notification);
        drop(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
        assert_eq!(node.net().metrics().session_errors, 0);
    }
}

/// The node does not wait for a FIN, and needs nothing else to send. It ignores what
/// follows the notification.
#[test]
fn peers_notification_ends_and_is_answered() {
    for cipher in ciphers() {
        for (echoes, late) in [(true, 0), (false, 0), (false, 200_000)] {
            let recorder = if echoes {
                Recorder::echo
            } else {
                Recorder::default
            };
            let (mut node, conn, mut peer) = cipher.with_raw_peer(config(false), recorder());
            let messages = [peer.end.frame(b"one"), peer.end.close_notify()].concat();
            peer.write(&[messages, vec![0xff; late]].concat());
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::PeerClosed, "{}", cipher.name);
            assert_eq!(node.handler().messages(conn), [b"one"]);
            if late == 0 {
                assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
                let answer = if echoes { frame(b"one") } else { vec![] };
                assert_eq!(peer.end.plaintext, answer);
                assert_eq!(peer.end.stage(), Stage::Finished, "{}", cipher.name);
            }
        }
    }
}

#[test]
fn fin_without_notification_is_truncation() {
    for cipher in ciphers() {
        for cut in [0, 1] {
            let (mut node, conn, mut peer) =
                cipher.with_raw_peer(config(false), Recorder::default());
            let bytes = [peer.end.frame(b"one"), peer.end.frame(b"two")].concat();
            peer.write(&bytes[..bytes.len() - cut]);
            peer.finish();
            assert_eq!(until_ended(&mut node, conn), TRUNCATED, "{}", cipher.name);
            assert_eq!(node.handler().messages(conn).len(), 2 - cut);
            assert_eq!(node.net().metrics().session_errors, 1);
        }
    }
}

#[test]
fn close_write_leaves_other_half_open() {
    for cipher in ciphers() {
        let recorder = || cipher.recorder(Recorder::default());
        let (mut a, to_b, mut b, to_a) = pair(config(true), recorder(), recorder());
        a.net().send(to_b, b"a question").expect("room");
        a.net().close_write(to_b);
        run_until([&mut a, &mut b], |[_, b]| {
            b.handler().messages(to_a).len() == 1
        });
        assert_eq!(a.net().send(to_b, b"more"), Err(SendError::Closed));
        b.net().send(to_a, &[7; 100_000]).expect("an open half");
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().messages(to_b).len() == 1
        });
        b.net().close(to_a);
        let reasons = until_both_ended(&mut b, to_a, &mut a, to_b);
        assert_eq!(reasons, CLOSED, "{}", cipher.name);
    }
}

/// The request and the FIN arrive at once, so that the answer is queued when the end
/// is seen.
#[test]
fn missing_notification_can_be_allowed() {
    for (allowed, half_open) in [(false, false), (false, true), (true, false), (true, true)] {
        for cipher in real_ciphers(allowed) {
            let (mut node, conn, mut peer) =
                cipher.with_raw_peer(config(half_open), Recorder::echo());
            let request = peer.end.frame(b"ask");
            peer.write(&request);
            peer.finish();
            peer.run_until(&mut node, |peer, node| {
                if allowed && half_open && !peer.end.plaintext.is_empty() {
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
            assert_eq!(peer.end.plaintext, answer, "{}", cipher.name);
            assert_eq!(until_ended(&mut node, conn), reason, "{}", cipher.name);
        }
    }
}

#[test]
fn end_within_record_is_never_allowed() {
    for cipher in real_ciphers(true) {
        let (mut node, conn, mut peer) = cipher.with_raw_peer(config(false), Recorder::echo());
        let record = peer.end.frame(b"ask");
        peer.write(&record[..record.len() - 1]);
        peer.finish();
        assert_eq!(until_ended(&mut node, conn), TRUNCATED, "{}", cipher.name);
        assert!(node.handler().messages(conn).is_empty());
    }
}
