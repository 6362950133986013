//! Peers that send what the protocol does not allow.

use std::time::{Duration, Instant};

use super::{server, with_raw_client};
use crate::util::outcome::failures;
use crate::util::raw::until_ended;
use crate::util::session_end::SessionEnd;
use crate::util::session_peer::SessionPeer;
use crate::util::tls::{
    EACH_VERSION, ONLY_12, ONLY_13, Versions, client, configs, ends, established_ends,
};
use crate::util::{listening, run_until};
use peerloop::config::MinRate;
use peerloop::error::{SessionError, TimeoutKind};
use peerloop::session::{Session, Stage};
use peerloop::tls::Tls;
use peerloop::{Config, DisconnectReason};

const NO_RECORD: SessionError = SessionError::Malformed("not a TLS record");
const LONG_RECORD: SessionError = SessionError::Malformed("a record that is too long");
const LONG_MESSAGE: SessionError = SessionError::Malformed("a handshake message that is too long");
const UNDECRYPTABLE: SessionError = SessionError::Malformed("a record that does not decrypt");
const OUT_OF_ORDER: SessionError = SessionError::Malformed("a TLS message out of order");

const HTTP: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Everything that a client sends in an honest handshake.
fn recorded(versions: Versions) -> (Vec<u8>, SessionEnd<Tls>) {
    let (there, here) = configs(versions);
    let [mut a, mut b] = [client(&there), crate::util::tls::server(&here)].map(SessionEnd::new);
    let mut sent = Vec::new();
    while !a.wire.is_empty() {
        sent.extend(&a.wire);
        b.receive(&a.take_wire()).expect("an honest client");
        a.receive(&b.take_wire()).expect("an honest server");
    }
    (sent, SessionEnd::new(crate::util::tls::server(&here)))
}

#[test]
fn message_and_close_may_follow_the_last_flight() {
    let [mut a, mut b] = ends(ONLY_13);
    b.receive(&a.take_wire()).expect("an honest client");
    a.receive(&b.take_wire()).expect("an honest server");
    let last = [a.take_wire(), a.seal(b"a message"), a.close_notify()].concat();
    b.receive(&last).expect("honest records");
    assert_eq!(b.plaintext, b"a message");
    assert_eq!(b.stage(), Stage::Finished);
    assert!(!b.take_wire().is_empty(), "the tickets");
}

#[test]
fn forged_record_fails_after_messages_before_it() {
    type Attack = fn(&mut SessionEnd<Tls>) -> Vec<u8>;
    let attacks: [(SessionError, &[u8], Attack); 7] = [
        (NO_RECORD, b"", |_| HTTP.to_vec()),
        (UNDECRYPTABLE, b"", |_| {
            [&[23, 3, 3, 0, 64][..], &[0x55; 64]].concat()
        }),
        (UNDECRYPTABLE, b"before", |peer| {
            let mut bytes = [peer.seal(b"before"), peer.seal(b"changed")].concat();
            *bytes.last_mut().expect("a record") ^= 1;
            bytes
        }),
        (UNDECRYPTABLE, b"once", |peer| peer.seal(b"once").repeat(2)),
        (UNDECRYPTABLE, b"", |peer| {
            let first = peer.seal(b"first");
            [peer.seal(b"second"), first].concat()
        }),
        (LONG_RECORD, b"", |_| vec![23, 3, 3, 0xff, 0xff]),
        (UNDECRYPTABLE, b"", |_| vec![21, 3, 3, 0, 2, 1, 0]),
    ];
    for versions in EACH_VERSION {
        for (error, plaintext, attack) in &attacks {
            let [mut client, mut server] = established_ends(versions);
            assert_eq!(server.receive(&attack(&mut client)), Err(*error));
            assert_eq!(server.plaintext, *plaintext);
            assert!(server.wire.len() >= 7, "an alert: {:?}", server.wire);
        }
    }
}

#[test]
fn bytes_after_close_notify_are_ignored() {
    for versions in EACH_VERSION {
        for late in [HTTP, &[23, 3, 3, 0xff, 0xff], &[0; 100_000]] {
            let [mut client, mut server] = established_ends(versions);
            let bytes = [&client.seal(b"last"), &client.close_notify(), late].concat();
            server.receive(&bytes).expect("a clean end");
            assert_eq!(server.plaintext, b"last");
            assert_eq!(server.stage(), Stage::Finished);
            assert_eq!(server.session.held_bytes(), 0);
        }
    }
}

#[test]
fn first_bytes_of_no_handshake_are_malformed() {
    for versions in EACH_VERSION {
        let [mut honest, _] = ends(versions);
        let hello = honest.take_wire();
        let repeated = if versions == ONLY_12 {
            OUT_OF_ORDER
        } else {
            UNDECRYPTABLE
        };
        for (bytes, error) in [
            (HTTP.to_vec(), NO_RECORD),
            (b"\0\0\0\x05hello".to_vec(), NO_RECORD),
            (vec![23, 3, 3, 0, 4, 1, 2, 3, 4], OUT_OF_ORDER),
            (vec![22, 3, 1, 0xff, 0xff], LONG_RECORD),
            (vec![22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff], LONG_MESSAGE),
            (hello.repeat(2), repeated),
        ] {
            let [_, mut server] = ends(versions);
            assert_eq!(server.receive(&bytes), Err(error), "{bytes:?}");
            assert_eq!(server.stage(), Stage::Handshaking);
        }
    }
}

/// A certificate may be longer than a record, but has a limit.
#[test]
fn endless_handshake_message_is_malformed() {
    let piece = [&[22, 3, 1, 0x40, 0][..], &[1; 0x4000]].concat();
    let endless = [&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff][..], &piece.repeat(5)].concat();
    let [_, mut server] = ends(ONLY_13);
    let error = server.receive(&endless);
    assert!(matches!(error, Err(SessionError::Malformed(_))));
}

#[test]
fn replayed_handshake_does_not_complete() {
    for versions in EACH_VERSION {
        let (sent, mut server) = recorded(versions);
        let error = server.receive(&sent).expect_err("another key");
        assert!(matches!(error, SessionError::Malformed(_)), "{error}");
        assert_eq!(server.stage(), Stage::Handshaking);
    }
}

/// A debug assertion of rustls does not expect an error after the close notification
/// of this end. The loop contains the panic.
#[test]
fn garbage_after_own_notification_ends() {
    for versions in EACH_VERSION {
        let (mut node, conn, mut peer) = with_raw_client(Config::default(), versions);
        node.net().close_write(conn);
        let _ = peer.until_stream_end(&mut node);
        peer.write(HTTP);
        // Without it the node would wait for the linger timeout.
        peer.finish();
        let expected = if cfg!(debug_assertions) {
            SessionError::Panicked
        } else {
            NO_RECORD
        };
        let reason = until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::Session(expected));
    }
}

/// Each byte restarts the timeout of an incomplete message, but not the minimum rate.
#[test]
fn record_byte_by_byte_is_below_minimum_rate() {
    let mut config = Config::default();
    config.connection.timeouts.partial_message = Some(Duration::from_millis(100));
    config.connection.timeouts.idle = None;
    config.connection.min_rate = MinRate {
        after: Duration::from_millis(200),
        ..MinRate::default()
    };
    let (there, here) = configs(ONLY_13);
    let (mut node, addr) = listening(config, server(here));
    let (conn, mut peer) = SessionPeer::connect(&mut node, addr, client(&there));
    let record = peer.end.seal(&[0; 16 * 1024]);
    let (mut bytes, mut last) = (record.chunks(1), Instant::now());
    run_until([&mut node], |[node]| {
        if last.elapsed() > Duration::from_millis(4) {
            let byte = bytes.next().expect("a byte before the end");
            // The connection may have ended.
            let _ = std::io::Write::write(&mut peer.socket, byte);
            last = Instant::now();
        }
        node.handler().ended(conn).is_some()
    });
    let reason = DisconnectReason::Timeout(TimeoutKind::ReceiveRate);
    assert_eq!(node.handler().ended(conn), Some(reason));
    assert!(failures(&node).is_empty());
}
