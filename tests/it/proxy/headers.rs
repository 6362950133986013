//! Valid headers.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use super::{addr, behind, join, service};
use crate::util::proxy_header::{binary, line, local, with_block};
use crate::util::sessions::{MAGIC, greeting};
use crate::util::{Recorder, TestNode, frame, node, raw, run_until};
use peerloop::config::TrustedProxies;
use peerloop::{Config, ConnId};

/// Waits for the message of [`join`], and returns the addresses of the
/// connection.
fn ends(node: &mut TestNode, conn: ConnId) -> (SocketAddr, Option<SocketAddr>) {
    run_until([node], |[node]| node.handler().messages(conn) == [b"hello"]);
    let info = node.net().connection(conn).expect("it is open").info();
    assert_eq!(node.net().find(info.addr), Some(conn));
    (info.addr, info.local_addr)
}

#[test]
fn addresses_are_those_of_the_header() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let v6 = addr("[2001:db8::1]:443");
    let cases = [
        (addr("203.0.113.9:1000"), service()),
        (addr("[2001:db8::9]:1000"), v6),
    ];
    for (source, destination) in cases {
        let headers = [
            line(source, destination),
            binary(source, destination, 0),
            binary(source, destination, 3),
            binary(source, destination, 50_000),
        ];
        for header in headers {
            let (conn, _peer) = join(&mut node, here, &[header, frame(b"hello")].concat());
            assert_eq!(ends(&mut node, conn), (source, Some(destination)));
            node.net().abort(conn);
            raw::until_ended(&mut node, conn);
        }
    }
    let metrics = node.net().metrics();
    assert_eq!((metrics.accepted, metrics.proxy_header_errors), (8, 0));
}

#[test]
fn mapped_address_becomes_canonical() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let mapped = line(
        addr("[::ffff:203.0.113.9]:1000"),
        addr("[::ffff:198.51.100.1]:443"),
    );
    let (conn, _peer) = join(&mut node, here, &[mapped, frame(b"hello")].concat());
    let expected = (addr("203.0.113.9:1000"), Some(service()));
    assert_eq!(ends(&mut node, conn), expected);
}

#[test]
fn own_connection_of_proxy_keeps_address() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let headers = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN whatever it says\r\n".to_vec(),
        local(),
        with_block(0x20, 0x11, &[7; 12]),
        with_block(0x21, 0x00, &[]),
        with_block(0x21, 0x31, &[b'/'; 216]),
    ];
    for header in headers {
        let (conn, peer) = join(&mut node, here, &[header, frame(b"hello")].concat());
        let expected = (peer.local_addr().unwrap(), Some(here));
        assert_eq!(ends(&mut node, conn), expected);
    }
}

#[test]
fn header_in_single_bytes_is_read() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let source = addr("203.0.113.9:1000");
    for header in [line(source, service()), binary(source, service(), 20)] {
        let mut peer = raw::connect(here);
        for byte in header {
            assert_eq!(node.net().connection_count(), 0);
            raw::feed(&mut node, &mut peer, &[byte]);
        }
        let conn = node.handler().connected().pop().expect("it is complete");
        peer.write_all(&frame(b"hello")).unwrap();
        assert_eq!(ends(&mut node, conn).0, source);
        node.net().abort(conn);
        raw::until_ended(&mut node, conn);
    }
}

#[test]
fn bytes_after_header_begin_the_session() {
    let (mut node, here) = behind(Config::default(), greeting(Recorder::echo()));
    let header = binary(addr("203.0.113.9:1000"), service(), 0);
    let bytes = [&header[..], &MAGIC, &frame(b"hello")].concat();
    let (conn, mut peer) = join(&mut node, here, &bytes);
    assert_eq!(ends(&mut node, conn).0, addr("203.0.113.9:1000"));
    raw::settle(&mut node);
    let mut answer = [0; 13];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..], [&MAGIC[..], &frame(b"hello")].concat());
}

#[test]
fn client_that_has_left_is_reported() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let header = binary(addr("203.0.113.9:1000"), service(), 0);
    let peer = super::connect(here, &[header, frame(b"hello")].concat());
    drop(peer);
    run_until([&mut node], |[node]| node.net().metrics().disconnected == 1);
    let conn = node.handler().connected()[0];
    assert_eq!(node.handler().messages(conn), [b"hello"]);
}

#[test]
fn empty_list_of_proxies_is_invalid() {
    let mut node = node(Config::default(), Recorder::default());
    let mut options = node.net().listen_options();
    options.proxy_protocol = Some(TrustedProxies::new([]));
    let error = node.net().listen_with("127.0.0.1:0", options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("proxy_protocol"), "{error}");
}
