//! Handshakes that complete.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use crate::util::session_end::SessionEnd;
use crate::util::session_peer::read_len;
use crate::util::sessions::{MAGIC, Xor, greeting, sealed, untimed};
use crate::util::{
    Event, Recorder, TestNode, frame, listening, node, pair, raw, run_for, run_until,
};
use peerloop::config::OnPanic;
use peerloop::{
    Config, ConnId, ConnectError, ConnectionState, Direction, DisconnectReason, Net, SendError,
};

/// Asserts the state of a connection whose handshake has not completed.
#[track_caller]
fn assert_connecting(net: &mut Net, conn: ConnId) {
    let view = net.connecting().next().expect("a connection");
    assert_eq!((view.id(), view.identity()), (conn, None));
    assert_eq!(view.state(), ConnectionState::Connecting);
    assert_eq!(net.send(conn, b"early"), Err(SendError::Closed));
    assert!(!net.is_writable(conn));
    let early = net.broadcast([conn], b"early");
    assert_eq!((early.queued, early.closed), (0, 1));
    assert_eq!((net.connection_count(), net.connections().count()), (0, 0));
    assert_eq!(net.connecting_count(), 1);
}

#[test]
fn inbound_refuses_sends_until_complete() {
    let (mut node, addr) = listening(untimed(), greeting(Recorder::default()));
    let mut peer = raw::connect(addr);
    run_until([&mut node], |[node]| node.net().connecting_count() == 1);
    raw::settle(&mut node);
    let local = peer.local_addr().expect("a connection");
    let conn = node.net().find(local).expect("a connection");
    assert_connecting(node.net(), conn);
    let view = node.net().connection(conn).expect("a connection");
    assert_eq!(view.info().direction, Direction::Inbound);
    assert_eq!(view.info().addr, local);
    assert_eq!(view.info().local_addr, Some(addr));
    let accepted = view.since();
    assert_eq!(node.handler().connected(), []);

    peer.write_all(&MAGIC).expect("room");
    assert_eq!(raw::accepted(&mut node), conn);
    let net = node.net();
    let view = net.connection(conn).expect("a connection");
    assert_eq!(view.state(), ConnectionState::Connected);
    assert!(view.since() > accepted);
    assert_eq!((net.connection_count(), net.connecting_count()), (1, 0));
    net.send(conn, b"now").expect("room");
    let expected = [&MAGIC[..], &frame(b"now")].concat();
    let (bytes, _) = read_len(&mut node, &mut peer, expected.len());
    assert_eq!(bytes, expected, "the handshake comes first");
}

#[test]
fn outbound_keeps_its_place_until_complete() {
    let mut config = untimed();
    config.limits.max_outbound_connecting = 1;
    let [server, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let addr_of = |listener: &TcpListener| listener.local_addr().expect("an address");
    let mut node = node(config, greeting(Recorder::default()));
    let conn = node.net().connect(addr_of(&server)).expect("a connect");
    raw::settle(&mut node); // The connect begins at the end of a turn.
    let (mut peer, _) = server.accept().expect("a connection");
    assert_eq!(read_len(&mut node, &mut peer, 4).0, MAGIC);
    assert_connecting(node.net(), conn);
    let second = node.net().connect(addr_of(&other));
    assert_eq!(second, Err(ConnectError::TooManyConnecting));
    peer.write_all(&MAGIC).expect("room");
    assert_eq!(raw::accepted(&mut node), conn);
    let second = node.net().connect(addr_of(&other));
    second.expect("the place is free");
}

#[test]
fn identity_is_known_in_on_connect() {
    let config = Config {
        on_panic: OnPanic::Unwind,
        ..untimed()
    };
    let recorder = |expected: &'static [u8]| {
        sealed(Recorder::reacting(move |net, event| {
            if let Event::Connect(conn) = event {
                let identity = net.connection(*conn).expect("a connection").identity();
                let key = identity.expect("an identity").public_key.as_deref();
                assert_eq!(key, Some(expected));
            }
        }))
    };
    let _nodes = pair(config, recorder(b"accepted"), recorder(b"outbound"));
}

/// A node that receives two messages together with the end of a handshake.
fn burst(recorder: Recorder, is_sealed: bool) -> TestNode {
    let recorder = if is_sealed { sealed } else { greeting }(recorder);
    let (mut node, addr) = listening(untimed(), recorder);
    let bytes = if is_sealed {
        let mut end = SessionEnd::new(Xor::agreed());
        [end.take_wire(), end.frame(b"one"), end.frame(b"two")].concat()
    } else {
        [&MAGIC[..], &frame(b"one"), &frame(b"two")].concat()
    };
    let mut peer = raw::connect(addr);
    peer.write_all(&bytes).expect("room");
    run_until([&mut node], |[node]| !node.handler().connected().is_empty());
    run_for(Duration::from_millis(10), [&mut node]);
    node
}

#[test]
fn message_in_last_read_follows_on_connect() {
    for is_sealed in [false, true] {
        let node = burst(Recorder::default(), is_sealed);
        let conn = node.handler().connected()[0];
        let expected = [
            Event::Start,
            Event::Connect(conn),
            Event::Message(conn, b"one".to_vec()),
            Event::Message(conn, b"two".to_vec()),
        ];
        assert_eq!(node.handler().events[..4], expected, "sealed: {is_sealed}");
    }
}

#[test]
fn message_in_last_read_waits_for_resume() {
    let pauses = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.pause(*conn);
        }
    });
    let mut node = burst(pauses, false);
    let conn = node.handler().connected()[0];
    assert!(node.handler().messages(conn).is_empty());
    node.net().resume(conn);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).len() == 2
    });
    assert_eq!(node.handler().messages(conn), [b"one", b"two"]);
}

#[test]
fn message_in_last_read_is_lost_after_close() {
    let closes = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.close(*conn);
        }
    });
    let mut node = burst(closes, false);
    let conn = node.handler().connected()[0];
    let reason = raw::until_ended(&mut node, conn);
    // The peer resets if it has closed before it has read everything.
    let expected = [DisconnectReason::Local, DisconnectReason::Reset];
    assert!(expected.contains(&reason), "{reason}");
    assert!(node.handler().messages(conn).is_empty());
}
