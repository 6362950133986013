//! Replies that a session gives on its own.

use std::io::Write;
use std::time::Duration;

use crate::util::raw;
use crate::util::session_peer::SessionPeer;
use crate::util::sessions::{Kind, Xor, untimed, with_sessions};
use crate::util::{Recorder, TestNode, listening, run_for, run_until};
use peerloop::{ConnId, Direction, DisconnectReason};
use socket2::SockRef;

const PONG_LEN: usize = 1024;

/// A peer that sends pings and reads nothing until the node receives no more.
struct Flood {
    node: TestNode,
    conn: ConnId,
    peer: SessionPeer<Xor>,
    /// The number of pings that were sent.
    sent: usize,
    /// The rest of one more.
    rest: Vec<u8>,
}

fn flood() -> Flood {
    let mut config = untimed();
    config.read_buffer_bytes = 4096;
    config.sockets.send_buffer_bytes = Some(4096);
    config.sockets.receive_buffer_bytes = Some(4096);
    let recorder = with_sessions(Recorder::default(), |direction| {
        let mut session = Xor::new(direction);
        session.pong_len = PONG_LEN;
        session
    });
    let (mut node, addr) = listening(config, recorder);
    let session = Xor::new(Direction::Outbound);
    let socket = raw::connect_narrow(addr);
    let (conn, mut peer) = SessionPeer::connect_by(&mut node, socket, session);
    // All that the kernel keeps has to be answered a hundredfold.
    let kernel = SockRef::from(&peer.socket);
    kernel.set_send_buffer_size(4096).expect("a size");
    peer.socket.set_nonblocking(true).expect("a socket");
    let (mut sent, mut idle) = (0, 0);
    let mut rest = peer.end.session.record(Kind::Ping, b"");
    while idle < 50 {
        match peer.socket.write(&rest) {
            Ok(count) => {
                idle = 0;
                rest.drain(..count);
            }
            Err(_) => idle += 1,
        }
        if rest.is_empty() {
            sent += 1;
            rest = peer.end.session.record(Kind::Ping, b"");
        }
        let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
        assert!(sent < 10_000, "the node receives everything");
    }
    Flood {
        node,
        conn,
        peer,
        sent,
        rest,
    }
}

#[test]
fn peer_is_answered_once_it_reads() {
    let mut flood = flood();
    assert_eq!(flood.node.handler().ended(flood.conn), None);
    flood.rest.extend(flood.peer.end.frame(b"done"));
    // Each pong is a record.
    let expected = (flood.sent + 1) * (2 + 1 + PONG_LEN + 4);
    let before = flood.peer.received;
    let mut rest = flood.rest;
    flood.peer.run_until(&mut flood.node, |peer, _| {
        peer.socket.set_nonblocking(true).expect("a socket");
        if let Ok(count) = peer.socket.write(&rest) {
            rest.drain(..count);
        }
        assert_eq!((peer.stream_end, peer.error), (None, None));
        peer.received - before >= expected && rest.is_empty()
    });
    assert_eq!(flood.peer.received - before, expected);
    run_until([&mut flood.node], |[node]| {
        node.handler().messages(flood.conn) == [b"done"]
    });
}

#[test]
fn reset_of_a_held_peer_is_seen_without_timeout() {
    let Flood {
        mut node,
        conn,
        peer,
        ..
    } = flood();
    raw::reset(peer.socket);
    let reason = raw::until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Reset);
}

#[test]
fn held_peer_is_not_silent() {
    let mut flood = flood();
    let time = Duration::from_millis(200);
    let mut timeouts = untimed().connection.timeouts;
    timeouts.receive_idle = Some(time);
    let set = flood.node.net().set_timeouts(flood.conn, timeouts);
    set.expect("no timeout is zero");
    run_for(3 * time, [&mut flood.node]);
    assert_eq!(flood.node.handler().ended(flood.conn), None);
}

#[test]
fn held_peer_can_be_closed_and_aborted() {
    let mut flood = flood();
    flood.node.net().close(flood.conn);
    flood.node.net().abort(flood.conn);
    let reason = raw::until_ended(&mut flood.node, flood.conn);
    assert_eq!(reason, DisconnectReason::Local);
}
