//! The address and the id of a listener.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};

use crate::util::{Recorder, frame, node, raw, run_until};
use peerloop::{Config, DisconnectReason};
use socket2::SockRef;

#[test]
fn address_in_use_is_an_error_or_skipped() {
    let mut node = node(Config::default(), Recorder::default());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_addr = taken.local_addr().unwrap();
    let error = node.net().listen(taken_addr).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let listening = node.net().listen(&[taken_addr, free][..]).unwrap();
    assert_ne!(listening.addr, taken_addr);
    assert_eq!(node.net().listeners().collect::<Vec<_>>(), [listening]);
}

#[test]
fn empty_list_of_addresses_is_an_error() {
    let mut node = node(Config::default(), Recorder::default());
    let nothing: &[SocketAddr] = &[];
    let error = node.net().listen(nothing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(node.net().listeners().count(), 0);
}

#[test]
fn connections_name_their_listener() {
    let mut node = node(Config::default(), Recorder::default());
    let listeners = ["0.0.0.0:0", "0.0.0.0:0", "[::]:0"]
        .map(|addr| node.net().listen(addr).expect("a port, and IPv6"));
    for listening in listeners {
        let addr = SocketAddr::from(([127, 0, 0, 1], listening.addr.port()));
        let (conn, _peer) = raw::join(&mut node, addr);
        let connection = node.net().connection(conn).unwrap();
        assert_eq!(connection.listener(), Some(listening.id));
        assert_eq!(connection.info().listener, Some(listening.id));
        assert_eq!(listening.to_string(), listening.addr.to_string());
    }
    let mut listed: Vec<_> = node.net().listeners().collect();
    listed.sort_by_key(|listening| listening.id);
    assert_eq!(listed, listeners);
}

#[test]
fn inherited_socket_has_the_options() {
    let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = inherited.local_addr().unwrap();
    // This connection is in the backlog before the node has the socket.
    let first = raw::connect(addr);
    let mut node = node(Config::default(), Recorder::default());
    let mut options = node.listen_options();
    options.connection_mut().max_message_len = 3;
    let listening = node.net().listen_on(inherited, options).unwrap();
    assert_eq!(listening.addr, addr);
    let peers = [first, raw::connect(addr)];
    run_until([&mut node], |[node]| node.handler().connected().len() == 2);
    let conns = node.handler().connected();
    for conn in &conns {
        let listener = node.net().connection(*conn).unwrap().listener();
        assert_eq!(listener, Some(listening.id));
        let socket = node.net().socket(*conn).expect("it is open");
        assert!(SockRef::from(&socket).tcp_nodelay().unwrap());
    }
    for mut peer in peers {
        peer.write_all(&frame(b"long")).unwrap();
    }
    for conn in conns {
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::MessageTooLarge { len: 4, max: 3 });
    }
}
