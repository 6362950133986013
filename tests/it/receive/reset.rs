//! Streams that end with a reset: it is reported once, after what arrived before.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use peerloop::framing::Framing;
use peerloop::{Config, ConnectError, DisconnectReason};

use super::fin::connecting;
use crate::util::framings::{bodies_in, config_with, encode_all};
use crate::util::raw::{connect, feed, reset, until_ended, wire};
use crate::util::streams::{assert_callbacks, ends, frames};
use crate::util::{Event, Recorder, frame, listening, run_for, run_until};

#[test]
fn reset_with_outbound_connect_is_reported_once() {
    let (mut node, conn, peer) = connecting();
    reset(peer);
    run_until([&mut node], |[node]| node.handler().events.len() > 1);
    run_for(Duration::from_millis(5), [&mut node]);
    let refused = Event::ConnectFailed(conn, ConnectError::Io(ErrorKind::ConnectionReset.into()));
    match &node.handler().events[1..] {
        [failed] => assert_eq!(*failed, refused),
        _ => assert_callbacks(&node, conn, &[], DisconnectReason::Reset),
    }
}

#[test]
fn reset_at_any_place_is_reported_once() {
    let cases: [(&[u8], &[Vec<u8>]); 4] = [
        (b"", &[]),
        (&frame(b"whole"), &[b"whole".to_vec()]),
        (b"\0\0\0\x05ab", &[]),
        (
            &[frame(b"whole"), vec![0, 0]].concat(),
            &[b"whole".to_vec()],
        ),
    ];
    for (bytes, bodies) in cases {
        let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
        if !bytes.is_empty() {
            feed(&mut node, &mut peer, bytes);
        }
        reset(peer);
        until_ended(&mut node, conn);
        run_for(Duration::from_millis(5), [&mut node]);
        assert_callbacks(&node, conn, bodies, DisconnectReason::Reset);
        assert_eq!(node.net().metrics().resets, 1);
    }
}

/// Linux keeps what arrived before a reset. Other systems discard it.
#[cfg(target_os = "linux")]
#[test]
fn messages_before_reset_are_delivered() {
    for total in [18, 4096, 4097, 40_000] {
        let bodies = bodies_in(total);
        let stream = encode_all(&Framing::default(), &bodies);
        let (mut node, conn, mut peer) =
            wire(config_with(&Framing::default()), Recorder::default());
        peer.write_all(&stream).unwrap();
        reset(peer);
        until_ended(&mut node, conn);
        assert_callbacks(&node, conn, &bodies, DisconnectReason::Reset);
    }
}

#[test]
fn reset_found_by_a_write_loses_no_message() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    // A write that is requested between turns comes before the read of its turn.
    peer.write_all(&frames(0..10, 100)).unwrap();
    reset(peer);
    node.net().send(conn, b"late").unwrap();
    node.net().flush(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
    if cfg!(target_os = "linux") {
        assert_eq!(node.handler().messages(conn).len(), 10);
    }
    assert_eq!(ends(&node), 1);
}

#[test]
fn reset_before_accept_is_reported_in_pairs() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    for _ in 0..20 {
        reset(connect(addr));
    }
    let mut honest_peer = connect(addr);
    let honest = {
        run_until([&mut node], |[node]| node.net().connection_count() == 1);
        node.net().connections().next().unwrap().id()
    };
    feed(&mut node, &mut honest_peer, &frame(b"hello"));
    assert_eq!(node.handler().messages(honest), [b"hello"]);
    for conn in node.handler().connected() {
        let ends = |event: &Event| matches!(event, Event::Disconnect(which, _) if *which == conn);
        let expected = usize::from(conn != honest);
        assert_eq!(node.handler().count(ends), expected);
    }
}
