//! `close_listener`.

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::util::{Recorder, frame, node, raw, run_for};
use peerloop::{Config, Listening};

#[test]
fn port_is_free_and_connections_stay() {
    let mut node = node(Config::default(), Recorder::echo());
    let listening = node.net().listen("127.0.0.1:0").unwrap();
    let addr = listening.addr;
    let (_, mut peer) = raw::join(&mut node, addr);
    let mut in_backlog = raw::connect(addr);
    node.net().close_listener(listening.id);
    let reset = in_backlog.read(&mut [0]).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    assert_eq!(node.net().listeners().count(), 0);
    let other = TcpListener::bind(addr).expect("the port is free");
    raw::feed(&mut node, &mut peer, &frame(b"still open"));
    let mut answer = [0; 14];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..], frame(b"still open"));
    let _accepted_by_other = raw::connect(addr);
    other.accept().unwrap();
    run_for(Duration::from_millis(5), [&mut node]);
    assert_eq!(node.handler().connected().len(), 1);
}

#[test]
fn stale_id_closes_no_other_listener() {
    let mut node = node(Config::default(), Recorder::default());
    let [first, second] = [(); 2].map(|()| node.net().listen("127.0.0.1:0").unwrap());
    node.net().close_listener(first.id);
    let refused = TcpStream::connect(first.addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    node.net().close_listener(first.id);
    let third = node.net().listen(first.addr).expect("the port is free");
    assert_ne!(third.id, first.id);
    node.net().close_listener(first.id);
    let mut listeners: Vec<Listening> = node.net().listeners().collect();
    listeners.sort_by_key(|listening| listening.id);
    assert_eq!(listeners, [second, third]);
    for listening in [second, third] {
        let (conn, _peer) = raw::join(&mut node, listening.addr);
        let connection = node.net().connection(conn).unwrap();
        assert_eq!(connection.listener(), Some(listening.id));
    }
}
