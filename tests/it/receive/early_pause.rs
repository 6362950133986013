//! `pause` and `resume` before `on_connect`.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::util::{
    Recorder, TestNode, config_with, frame, listening, node, raw, run_for, run_until,
};
use peerloop::error::TimeoutKind;
use peerloop::{Config, ConnId, DisconnectReason};

/// Connects to a raw listener.
fn connecting(config: Config) -> (TestNode, ConnId, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = node(config, Recorder::default());
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    (node, conn, listener)
}

/// Has the peer of a connect send a message, and waits for `on_connect`.
fn sent_early(node: &mut TestNode, conn: ConnId, listener: &TcpListener) -> TcpStream {
    run_until([node], |[node]| node.handler().connected() == [conn]);
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(&frame(b"early")).unwrap();
    peer
}

#[test]
fn paused_connect_keeps_messages_for_later() {
    for has_begun in [false, true] {
        let (mut node, conn, listener) = connecting(Config::default());
        if has_begun {
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(node.net().connecting_count(), 1);
        }
        node.net().pause(conn);
        let _peer = sent_early(&mut node, conn, &listener);
        run_for(Duration::from_millis(5), [&mut node]);
        assert!(node.handler().messages(conn).is_empty());
        assert_eq!(node.net().traffic().bytes_received, 0);
        node.net().resume(conn);
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"early"]
        });
    }
}

#[test]
fn resumed_connect_receives_and_times_out() {
    let idle = Some(Duration::from_millis(100));
    let config = config_with(|config| config.connection.timeouts.idle = idle);
    let (mut node, conn, listener) = connecting(config);
    node.net().pause(conn);
    node.net().resume(conn);
    let _peer = sent_early(&mut node, conn, &listener);
    let reason = raw::until_ended(&mut node, conn);
    assert_eq!(node.handler().messages(conn), [b"early"]);
    assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::Idle));
}

#[test]
fn pause_and_resume_in_transport_deliver() {
    let handler = Recorder {
        sessions: Box::new(|net, conn| {
            net.pause(conn);
            net.resume(conn);
            Ok(None)
        }),
        ..Recorder::default()
    };
    let (mut node, addr) = listening(Config::default(), handler);
    let mut peer = raw::connect(addr);
    peer.write_all(&frame(b"x")).unwrap();
    let conn = raw::accepted(&mut node);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn) == [b"x"]
    });
}
