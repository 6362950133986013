//! A node that connects to itself through its proxy.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::behind;
use crate::util::proxy_header::binary;
use crate::util::{Event, Recorder, run_until};
use peerloop::{Config, ConnectError, DisconnectReason};

/// Relays one connection to `to`, behind a header, until either end closes.
fn relay(proxy: &TcpListener, to: SocketAddr) {
    let (mut client, source) = proxy.accept().expect("a client");
    let mut server = TcpStream::connect(to).expect("a listener");
    let destination = proxy.local_addr().expect("an address");
    server
        .write_all(&binary(source, destination, 0))
        .expect("room");
    let mut bytes = [0; 100];
    while let Ok(count @ 1..) = server.read(&mut bytes) {
        if client.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
}

#[test]
fn self_connection_through_proxy_is_found() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let public = proxy.local_addr().unwrap();
    let relaying = thread::spawn(move || relay(&proxy, here));
    let conn = node.net().connect(public).unwrap();
    run_until([&mut node], |[node]| {
        node.net().metrics().self_connections == 1 && relaying.is_finished()
    });
    let events = &node.handler().events[1..];
    // The connect may be complete before the proxy has connected.
    let failed = [Event::ConnectFailed(conn, ConnectError::SelfConnection)];
    let ended = [
        Event::Connect(conn),
        Event::Disconnect(conn, DisconnectReason::SelfConnection),
    ];
    assert!(events == failed || events == ended, "{events:?}");
    assert_eq!(node.net().metrics().accepted, 0);
}
