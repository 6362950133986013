//! `ListenOptions`.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::util::{Recorder, frame, node, raw, run_until};
use peerloop::config::ConnectionConfig;
use peerloop::framing::{Framing, LengthPrefix};
use peerloop::{Config, DisconnectReason, SendError};

#[test]
fn framing_is_that_of_the_listener() {
    let mut node = node(Config::default(), Recorder::default());
    type Case = (Framing, &'static [u8], &'static [&'static [u8]]);
    let one_byte = Framing::LengthDelimited(LengthPrefix::One);
    let cases: [Case; 4] = [
        (Framing::default(), b"\0\0\0\x02ab\0\0\0\0", &[b"ab", b""]),
        (Framing::Delimited(b'\n'), b"one\ntwo\n", &[b"one", b"two"]),
        (Framing::Fixed(3), b"abcdef", &[b"abc", b"def"]),
        (one_byte, b"\x01a\x02bc", &[b"a", b"bc"]),
    ];
    let peers = cases.each_ref().map(|(framing, wire, _)| {
        let mut options = node.net().listen_options();
        options.connection_mut().framing = framing.clone();
        let listening = node.net().listen_with("127.0.0.1:0", options).unwrap();
        let (conn, mut peer) = raw::join(&mut node, listening.addr);
        peer.write_all(wire).unwrap();
        (conn, peer)
    });
    for ((framing, wire, messages), (conn, mut peer)) in cases.iter().zip(peers) {
        run_until([&mut node], |[node]| {
            node.handler().messages(conn).len() == messages.len()
        });
        assert_eq!(node.handler().messages(conn), *messages, "{framing:?}");
        for message in *messages {
            node.net().send(conn, message).unwrap();
        }
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        let mut answer = vec![0; wire.len()];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *wire, "{framing:?}");
    }
}

#[test]
fn max_message_len_is_that_of_the_listener() {
    let mut node = node(Config::default(), Recorder::default());
    let mut options = node.net().listen_options();
    options.connection_mut().max_message_len = 4;
    let listening = node.net().listen_with("127.0.0.1:0", options).unwrap();
    let (conn, mut peer) = raw::join(&mut node, listening.addr);
    assert_eq!(node.net().send(conn, b"hello"), Err(SendError::TooLarge));
    node.net().send(conn, b"four").unwrap();
    peer.write_all(&[frame(b"four"), frame(b"hello")].concat())
        .unwrap();
    let reason = raw::until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::MessageTooLarge { len: 5, max: 4 });
    assert_eq!(node.handler().messages(conn), [b"four"]);
}

#[test]
fn invalid_option_is_named() {
    let mut node = node(Config::default(), Recorder::default());
    type Change = fn(&mut ConnectionConfig);
    let cases: [(&str, Change); 2] = [
        ("max_message_len", |it| it.max_message_len = 0),
        ("framing", |it| it.framing = Framing::Fixed(0)),
    ];
    for (field, change) in cases {
        let mut options = node.net().listen_options();
        change(options.connection_mut());
        let error = node.net().listen_with("127.0.0.1:0", options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(field), "{error}");
    }
    assert_eq!(node.net().listeners().count(), 0);
}

#[test]
fn reuse_port_shares_a_port_between_nodes() {
    let [mut first, mut second] = [(); 2].map(|()| node(Config::default(), Recorder::default()));
    let mut sharing = first.net().listen_options();
    sharing.reuse_port = true;
    let listening = first.net().listen_with("127.0.0.1:0", sharing.clone());
    let addr = listening.unwrap().addr;
    second.net().listen(addr).unwrap_err();
    let listening = second.net().listen_with(addr, sharing).unwrap();
    assert_eq!(listening.addr, addr);
    let peers: Vec<TcpStream> = (0..8).map(|_| raw::connect(addr)).collect();
    run_until([&mut first, &mut second], |nodes| {
        let connected = nodes.iter().map(|node| node.handler().connected().len());
        connected.sum::<usize>() == peers.len()
    });
}

#[test]
fn v6_only_refuses_ipv4() {
    let mut node = node(Config::default(), Recorder::default());
    for v6_only in [false, true] {
        let mut options = node.listen_options();
        options.v6_only = v6_only;
        let listening = node.net().listen_with("[::]:0", options).unwrap();
        let addr = (Ipv4Addr::LOCALHOST, listening.addr.port());
        assert_eq!(TcpStream::connect(addr).is_err(), v6_only);
    }
}
