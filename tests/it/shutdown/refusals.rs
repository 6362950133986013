//! Connects and listeners from the call of `shutdown` on.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use super::grace::{run, without_linger};
use crate::util::sockets::saturated;
use crate::util::{Event, Recorder, frame, node, raw};
use peerloop::{Config, ConnectError, DisconnectReason};

#[test]
fn attempts_under_way_fail_once() {
    for grace in [Duration::ZERO, Duration::from_secs(3600)] {
        for has_begun in [false, true] {
            let silent = saturated();
            let mut node = node(Config::default(), Recorder::default());
            let conn = node.net().connect(silent.addr).unwrap();
            if has_begun {
                raw::settle(&mut node);
            }
            node.net().shutdown(grace);
            run(&mut node);
            let failed = Event::ConnectFailed(conn, ConnectError::ShuttingDown);
            assert_eq!(node.handler().events, [Event::Start, failed]);
        }
    }
}

#[test]
fn connect_and_listen_are_refused_at_once() {
    let (sender, answers) = mpsc::channel();
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Message(..) = event {
            net.shutdown(Duration::ZERO);
            let connect = net.connect("127.0.0.1:9").map(|_| ());
            let listen = net.listen("127.0.0.1:0").map_err(|error| error.kind());
            sender.send((connect, listen)).expect("the test waits");
        }
    });
    let (mut node, _, mut peer) = raw::wire(Config::default(), handler);
    peer.write_all(&frame(b"stop")).unwrap();
    run(&mut node);
    let refused = (Err(ConnectError::ShuttingDown), Err(ErrorKind::Other));
    assert_eq!(answers.try_iter().collect::<Vec<_>>(), [refused]);
    let events = node.handler().events.len();
    node.net().connect("127.0.0.1:9").unwrap_err();
    node.net().listen("127.0.0.1:0").unwrap_err();
    run(&mut node);
    assert_eq!(node.handler().events.len(), events);
    assert_eq!(node.net().listeners().count(), 0);
}

#[test]
fn inbound_connects_are_refused_during_grace() {
    let (mut node, conn, peer) = raw::wire(without_linger(), Recorder::default());
    let addr = node.net().listeners().next().unwrap().addr;
    node.net().shutdown(Duration::from_secs(3600));
    raw::settle(&mut node);
    TcpStream::connect(addr).expect_err("the listener is closed");
    assert_eq!(node.handler().ended(conn), None, "the peer is open");
    drop(peer);
    run(&mut node);
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
}
