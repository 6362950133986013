//! Sends and reads behind a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::with_raw_peer;
use crate::util::ciphers::ciphers;
use crate::util::session_peer::{SessionPeer, read_len};
use crate::util::sessions::{Xor, untimed, with_sessions};
use crate::util::{Event, Recorder, TestNode, frame, listening, pair, raw, run_for, run_until};
use bytes::Bytes;
use peerloop::{ConnId, Direction};

fn queued(node: &mut TestNode, conn: ConnId) -> usize {
    let view = node.net().connection(conn).expect("a connection");
    view.queued_bytes()
}

/// The lengths are around the length of a record, of a batch and of a read.
#[test]
fn messages_of_all_lengths_arrive_both_ways() {
    let around = [1 << 14, 65_515, 1 << 16, 1 << 20].map(|len| [len - 1, len, len + 1]);
    let lens = [&[0, 1, 2], around.as_flattened()].concat();
    let bodies = lens
        .iter()
        .map(|len| (0..*len).map(|at| (at % 251) as u8).collect());
    let bodies: Vec<Vec<u8>> = bodies.collect();
    for cipher in ciphers() {
        let recorder = || cipher.recorder(Recorder::default());
        let (mut a, to_b, mut b, to_a) = pair(untimed(), recorder(), recorder());
        for body in &bodies {
            a.net().send(to_b, body).expect("room");
            b.net().send(to_a, body).expect("room");
        }
        run_until([&mut a, &mut b], |[a, b]| {
            let counts = [a.handler().messages(to_b), b.handler().messages(to_a)];
            counts.iter().all(|messages| messages.len() == bodies.len())
        });
        assert!(a.handler().messages(to_b) == bodies, "{}", cipher.name);
        assert!(b.handler().messages(to_a) == bodies, "{}", cipher.name);
    }
}

/// Output that waits is no reason not to read: with full sockets in both directions
/// both ends would wait for each other.
#[test]
fn full_sockets_in_both_directions_do_not_block() {
    let mut config = untimed();
    config.sockets.send_buffer_bytes = Some(4096);
    config.sockets.receive_buffer_bytes = Some(4096);
    // The sealed form is much longer than the plaintext.
    let recorder = || {
        with_sessions(Recorder::default(), |direction| {
            let mut session = Xor::new(direction);
            session.data_max = 2;
            session
        })
    };
    let (mut a, to_b, mut b, to_a) = pair(config, recorder(), recorder());
    for (node, conn) in [(&mut a, to_b), (&mut b, to_a)] {
        for _ in 0..16 {
            node.net().send(conn, &[7; 60_000]).expect("room");
        }
    }
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().messages(to_b).len() == 16 && b.handler().messages(to_a).len() == 16
    });
}

#[test]
fn sealed_bytes_count_as_queued_until_written() {
    const MESSAGES: usize = 8;
    const FRAME_LEN: usize = 60_004;
    let mut config = untimed();
    config.sockets.send_buffer_bytes = Some(4096);
    let (mut node, addr) = listening(config, crate::util::sessions::sealed(Recorder::default()));
    let session = Xor::new(Direction::Outbound);
    let socket = raw::connect_narrow(addr);
    let (conn, mut peer) = SessionPeer::connect_by(&mut node, socket, session);
    for token in 0..MESSAGES {
        let sent = node.net().send_tracked(conn, vec![7; 60_000], token as u64);
        sent.expect("room");
    }
    run_for(Duration::from_millis(20), [&mut node]);
    let sent = |node: &TestNode| {
        let is_sent = |event: &Event| matches!(event, Event::Sent(..));
        node.handler().count(is_sent)
    };
    let left = queued(&mut node, conn);
    assert!(left > 64 * 1024, "{left}");
    assert_eq!(sent(&node), (MESSAGES * FRAME_LEN - left) / FRAME_LEN);
    peer.run_until(&mut node, |peer, node| {
        peer.end.plaintext.len() == MESSAGES * FRAME_LEN && sent(node) == MESSAGES
    });
    assert_eq!(queued(&mut node, conn), 0);
    assert_eq!(node.net().metrics().queued_bytes, 0);
}

#[test]
fn flush_sends_a_record_within_the_turn() {
    let recorder = Recorder::reacting(|net, event| {
        if let Event::Message(conn, message) = event {
            net.send(*conn, message).expect("room");
            net.flush(*conn);
        }
    });
    let (mut node, conn, mut peer) = with_raw_peer(untimed(), recorder);
    let messages = [0, 1, 2, 3, 4].map(|number| peer.end.frame(&[number]));
    let before = peer.received;
    peer.feed(&mut node, &messages.concat());
    let expected = [0, 1, 2, 3, 4].map(|number| frame(&[number])).concat();
    peer.run_until(&mut node, |peer, _| {
        peer.end.plaintext.len() >= expected.len()
    });
    assert_eq!(peer.end.plaintext, expected);
    // One record each. At the end of the turn they would be one record.
    assert_eq!(peer.received - before, 5 * (2 + 1 + 5 + 4));
    assert_eq!(queued(&mut node, conn), 0);
}

#[test]
fn broadcast_reaches_plain_and_sealed_peers() {
    let mut number = 0;
    let recorder = Recorder {
        sessions: Box::new(move |_, _| {
            number += 1;
            let session = Xor::new(Direction::Inbound);
            Ok((number % 2 == 0).then(|| Box::new(session) as _))
        }),
        ..Recorder::default()
    };
    let (mut node, addr) = listening(untimed(), recorder);
    let (_, mut plain) = raw::join(&mut node, addr);
    let session = Xor::new(Direction::Outbound);
    let (_, mut peer) = SessionPeer::connect(&mut node, addr, session);
    for body in [vec![1; 10], vec![2; 100_000]] {
        let outcome = node.net().broadcast_all(Bytes::from(body), None);
        assert_eq!((outcome.queued, outcome.full, outcome.closed), (2, 0, 0));
    }
    let expected = [frame(&[1; 10]), frame(&[2; 100_000])].concat();
    let (bytes, _) = read_len(&mut node, &mut plain, expected.len());
    assert!(bytes == expected);
    peer.run_until(&mut node, |peer, _| {
        peer.end.plaintext.len() >= expected.len()
    });
    assert!(peer.end.plaintext == expected);
}

#[test]
fn one_read_is_one_step_of_the_session() {
    let receives = Arc::new(AtomicUsize::new(0));
    let count = receives.clone();
    let recorder = with_sessions(Recorder::default(), move |direction| {
        let mut session = Xor::new(direction);
        session.receives = count.clone();
        session
    });
    let (mut node, addr) = listening(untimed(), recorder);
    let session = Xor::new(Direction::Outbound);
    let (conn, mut peer) = SessionPeer::connect(&mut node, addr, session);
    let before = receives.load(Ordering::Relaxed);
    let bytes: Vec<u8> = (0..1000).flat_map(|_| peer.end.frame(b"x")).collect();
    peer.feed(&mut node, &bytes);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).len() == 1000
    });
    let steps = receives.load(Ordering::Relaxed) - before;
    assert!(steps <= 3, "{steps}");
}
