//! Handshakes that are refused, or that the peer does not complete.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::time::Duration;

use crate::util::outcome::{assert_only_failures, failures};
use crate::util::session_end::SessionEnd;
use crate::util::session_peer::{StreamEnd, read_to_end};
use crate::util::sessions::{
    ALERT, Greeting, MAGIC, Manner, Xor, greeting, sealed, untimed, with_sessions,
};
use crate::util::{Recorder, frame, listening, node, raw, run_until};
use peerloop::error::SessionError;
use peerloop::{ConnectError, Direction};

fn rejecting() -> Recorder {
    with_sessions(Recorder::default(), |_| Greeting::new(Manner::Rejects))
}

#[test]
fn refusal_is_reported_at_both_ends() {
    let mut a = node(untimed(), greeting(Recorder::default()));
    let (mut b, addr) = listening(untimed(), rejecting());
    a.net().connect(addr).expect("a connect");
    run_until([&mut a, &mut b], |[a, b]| {
        !failures(a).is_empty() && !failures(b).is_empty()
    });
    let refused = SessionError::RefusedByPeer("greeting");
    assert_only_failures(&mut a, &[ConnectError::Session(refused)]);
    let refused = SessionError::Refused("greeting");
    assert_only_failures(&mut b, &[ConnectError::Session(refused)]);
    for node in [&mut a, &mut b] {
        assert_eq!(node.net().metrics().handshakes_failed, 1);
    }
    assert_eq!(a.net().metrics().connects_failed, 1);
}

#[test]
fn refusal_sends_alert_and_drops_the_message() {
    let (mut node, addr) = listening(untimed(), rejecting());
    let mut peer = raw::connect(addr);
    let bytes = [&MAGIC[..], &frame(&[7; 50_000])].concat();
    peer.write_all(&bytes).expect("room");
    let read = read_to_end(&mut node, &mut peer);
    assert_eq!(read, (ALERT.to_vec(), StreamEnd::Fin));
    drop(peer);
    run_until([&mut node], |[node]| !failures(node).is_empty());
    assert_eq!(node.net().traffic().messages_received, 0);
    let refused = SessionError::Refused("greeting");
    assert_only_failures(&mut node, &[ConnectError::Session(refused)]);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Fin,
    Reset,
    Silence,
}

/// The node has one place for handshakes. Each handshake gives it back.
#[test]
fn end_after_each_byte_fails_the_handshake() {
    for stop in [Stop::Fin, Stop::Reset, Stop::Silence] {
        end_after_each_byte(stop);
    }
}

fn end_after_each_byte(stop: Stop) {
    let mut config = untimed();
    config.limits.max_connections = 1;
    config.limits.max_inbound_handshakes = 1;
    if stop == Stop::Silence {
        config.connection.timeouts.handshake = Some(Duration::from_millis(20));
    }
    let error = match stop {
        Stop::Fin => ConnectError::Io(ErrorKind::UnexpectedEof.into()),
        Stop::Reset => ConnectError::Io(ErrorKind::ConnectionReset.into()),
        Stop::Silence => ConnectError::HandshakeTimedOut,
    };
    let (mut node, addr) = listening(config, sealed(Recorder::default()));
    let hello = SessionEnd::new(Xor::new(Direction::Outbound)).take_wire();
    for len in 0..hello.len() {
        let mut peer = raw::connect(addr);
        run_until([&mut node], |[node]| node.net().connecting_count() == 1);
        raw::settle(&mut node);
        for byte in hello[..len].chunks(1) {
            // With the shortest timeout the node may have closed.
            let _ = peer.write_all(byte);
            let _ = node.turn(Some(Duration::from_millis(1))).expect("a turn");
        }
        match stop {
            Stop::Fin => peer.shutdown(Shutdown::Write).expect("an open half"),
            Stop::Reset => raw::reset(peer),
            Stop::Silence => assert_eq!(read_to_end(&mut node, &mut peer).0, b""),
        }
        run_until([&mut node], |[node]| node.net().connecting_count() == 0);
        let (metrics, count) = (node.net().metrics(), 1 + len as u64);
        assert_eq!(metrics.handshakes_failed, count, "{stop:?} {len}");
        assert_eq!((metrics.refused_by_total, metrics.accept_errors), (0, 0));
        let timeouts = if stop == Stop::Silence { count } else { 0 };
        assert_eq!(metrics.handshake_timeouts, timeouts);
        assert_only_failures(&mut node, &vec![error; 1 + len]);
    }
}

/// The node keeps 128 KiB that a session does not take, and no more.
#[test]
fn untaken_bytes_above_the_limit_fail() {
    let silent = with_sessions(Recorder::default(), |_| Greeting::new(Manner::Silent));
    let (mut node, addr) = listening(untimed(), silent);
    let mut peer = raw::connect(addr);
    raw::pour(&mut node, &mut peer, &[7; 128 * 1024]);
    run_until([&mut node], |[node]| node.net().connecting_count() == 1);
    raw::settle(&mut node);
    assert!(failures(&node).is_empty());
    peer.write_all(&[7]).expect("room");
    raw::settle(&mut node);
    drop(peer);
    run_until([&mut node], |[node]| !failures(node).is_empty());
    let endless = SessionError::Malformed("a message without an end");
    assert_only_failures(&mut node, &[ConnectError::Session(endless)]);
}
