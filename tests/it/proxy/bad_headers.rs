//! Forged, cut, malformed and dripping headers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{addr, behind, connect, join, listen, service, trusting};
use crate::util::proxy_header::{binary, line, with_block};
use crate::util::{Event, Recorder, TestNode, config_with, frame, node, raw, run_until};
use peerloop::Config;
use peerloop::framing::Framing;

/// Waits until the node has counted this many errors, and checks that no
/// callback was called.
#[track_caller]
fn assert_errors(node: &mut TestNode, errors: u64) {
    run_until([node], |[node]| {
        node.net().metrics().proxy_header_errors == errors
    });
    assert_eq!(node.handler().events, [Event::Start]);
    assert_eq!(node.net().metrics().accepted, 0);
}

/// The node has closed the connection, without a byte.
#[track_caller]
fn assert_closed(peer: &mut TcpStream) {
    match peer.read(&mut [0]) {
        Ok(count) => assert_eq!(count, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn header_cut_at_any_byte_is_closed() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let source = addr("203.0.113.9:1000");
    let mut errors = 0;
    for header in [line(source, service()), binary(source, service(), 10)] {
        for len in 0..header.len() {
            let mut peer = connect(here, &header[..len]);
            peer.shutdown(Shutdown::Write).unwrap();
            errors += 1;
            assert_errors(&mut node, errors);
            assert_closed(&mut peer);
        }
    }
}

#[test]
fn reset_inside_header_is_counted() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let header = line(addr("203.0.113.9:1000"), service());
    for errors in 1..=20 {
        raw::reset(connect(here, &header[..20]));
        // The kernel may drop a connection that was reset before the accept.
        run_until([&mut node], |[node]| {
            let metrics = node.net().metrics();
            metrics.proxy_header_errors + metrics.accept_errors >= errors
        });
    }
    assert_eq!(node.net().metrics().accepted, 0);
}

#[test]
fn malformed_header_is_closed_at_once() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let headers = [
        frame(b"a client without a proxy"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9 10.0.0.1 1 65536\r\n".to_vec(),
        vec![b'P'; 200],
        with_block(0x21, 0x12, &[1; 12]),
        with_block(0x21, 0x11, &[1; 11]),
        with_block(0x31, 0x11, &[1; 12]),
    ];
    for (header, errors) in headers.iter().zip(1..) {
        let mut peer = connect(here, header);
        assert_errors(&mut node, errors);
        assert_closed(&mut peer);
    }
}

#[test]
fn dripping_header_ends_by_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(200);
    let config = config_with(|config| {
        config.connection.timeouts.handshake = Some(DEADLINE);
    });
    let (mut node, here) = behind(config, Recorder::default());
    let mut drops = b"PROXY UNKNOWN ".iter().chain(std::iter::repeat(&b'x'));
    let mut peer = raw::connect(here);
    let begun = Instant::now();
    run_until([&mut node], |[node]| {
        // It fails once the node has closed the connection.
        let _ = peer.write(&[*drops.next().expect("no end")]);
        std::thread::sleep(Duration::from_millis(10));
        node.net().metrics().proxy_header_errors == 1
    });
    assert!(begun.elapsed() >= DEADLINE);
    assert_errors(&mut node, 1);
}

#[test]
fn host_outside_the_networks_is_refused() {
    let mut node = node(Config::default(), Recorder::default());
    let here = listen(node.net(), trusting("10.0.0.0/8"));
    let forged = line(addr("10.0.0.1:1000"), service());
    let mut peer = connect(here, &[forged, frame(b"hello")].concat());
    run_until([&mut node], |[node]| {
        node.net().metrics().refused_untrusted == 1
    });
    assert_closed(&mut peer);
    assert_errors(&mut node, 0);
}

#[test]
fn header_to_a_direct_listener_is_data() {
    let mut node = node(Config::default(), Recorder::default());
    let mut options = node.net().listen_options();
    options.connection_mut().framing = Framing::Delimited(b'\n');
    let here = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
    let forged = line(addr("203.0.113.9:1000"), service());
    let (conn, peer) = join(&mut node, here, &forged);
    run_until([&mut node], |[node]| {
        node.handler().messages(conn) == [&forged[..forged.len() - 1]]
    });
    let info = node.net().connection(conn).expect("it is open").info();
    assert_eq!(info.addr, peer.local_addr().unwrap());
}

#[test]
fn shutdown_closes_pending_headers() {
    let (mut node, here) = behind(Config::default(), Recorder::default());
    let mut peers = [(); 3].map(|()| connect(here, b"PROXY TCP4"));
    // The listener accepts in order, so the others were accepted before.
    let header = line(addr("203.0.113.9:1000"), service());
    let (_, _last) = join(&mut node, here, &header);
    node.net().shutdown(Duration::ZERO);
    node.run().unwrap();
    peers.iter_mut().for_each(assert_closed);
}
