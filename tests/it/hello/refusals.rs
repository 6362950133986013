//! Refusals of hellos.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::util::outcome::failures;
use crate::util::raw;
use crate::util::session_peer::{StreamEnd, read_to_end};
use crate::util::sessions::untimed;
use peerloop::error::SessionError;
use peerloop::hello::HelloRefusal;
use peerloop::{Config, ConnectError};

const REFUSED: fn(HelloRefusal) -> ConnectError =
    |refusal| ConnectError::Session(SessionError::Hello(refusal));

/// Sends bytes to a node with the id 5, which refuses them. Returns the error, and the
/// bytes that follow the hello of the node.
fn refused(bytes: &[u8]) -> (ConnectError, Vec<u8>) {
    let (mut node, addr) = listening(untimed(), greeter(hello(5)));
    let mut peer = raw::connect(addr);
    peer.write_all(bytes).expect("room");
    let (received, end) = read_to_end(&mut node, &mut peer);
    assert_eq!(
        end,
        StreamEnd::Fin,
        "the answer is not overtaken by a reset"
    );
    drop(peer);
    run_until([&mut node], |[node]| !failures(node).is_empty());
    let failures = failures(&node);
    assert_eq!(failures.len(), 1);
    assert_eq!(node.handler().events.len(), 2);
    let ours = RawHello::new(5).bytes();
    (failures[0], received[ours.len()..].to_vec())
}

#[test]
fn other_magic_is_refused_at_its_first_byte() {
    for len in 1..=4 {
        let mut bytes = MAGIC[..len].to_vec();
        bytes[len - 1] ^= 1;
        let expected = REFUSED(HelloRefusal::AnotherProtocol);
        assert_eq!(refused(&bytes), (expected, Vec::new()), "{len}");
    }
    let (error, _) = refused(b"GET / HTTP/1.1\r\n\r\n");
    assert!(error.is_peers_fault());
}

#[test]
fn each_wrong_field_has_its_refusal() {
    type Change = fn(&mut RawHello);
    let cases: [(Change, HelloRefusal, u8); 7] = [
        (|it| it.format = 2, HelloRefusal::UnsupportedVersion, 3),
        (|it| it.network += 1, HelloRefusal::AnotherNetwork, 2),
        (|it| it.version = 1, HelloRefusal::UnsupportedVersion, 3),
        (|it| it.blob_len = 41, HelloRefusal::BlobTooLong, 4),
        (|it| it.blob_len = u16::MAX, HelloRefusal::BlobTooLong, 4),
        (|it| *it = RawHello::new(5), HelloRefusal::SelfConnection, 5),
        (|it| it.id = [5; 32], HelloRefusal::NodeIdInUse, 6),
    ];
    for (change, refusal, answer) in cases {
        let mut theirs = RawHello::new(7);
        change(&mut theirs);
        // The blob does not have to arrive.
        theirs.blob.clear();
        assert_eq!(refused(&theirs.bytes()), (REFUSED(refusal), vec![answer]));
    }
}

#[test]
fn blob_of_the_maximum_is_accepted() {
    let (mut node, addr) = listening(untimed(), greeter(hello(5)));
    let mut peer = raw::connect(addr);
    let mut theirs = RawHello::new(7);
    (theirs.blob_len, theirs.blob) = (40, vec![1; 40]);
    accepted(&mut node, &mut peer, &theirs);
}

#[test]
fn answer_of_the_peer_is_reported() {
    for answer in 0..=u8::MAX {
        let expected = match answer {
            0 | 1 => None,
            2 => Some(HelloRefusal::AnotherNetwork),
            3 => Some(HelloRefusal::UnsupportedVersion),
            4 => Some(HelloRefusal::BlobTooLong),
            5 => Some(HelloRefusal::SelfConnection),
            6 => Some(HelloRefusal::NodeIdInUse),
            _ => Some(HelloRefusal::Other),
        };
        let (mut node, addr) = listening(untimed(), greeter(hello(5)));
        let mut peer = raw::connect(addr);
        peer.write_all(&RawHello::new(7).answered(answer))
            .expect("room");
        peer.shutdown(Shutdown::Write).expect("it is open");
        run_until([&mut node], |[node]| {
            !failures(node).is_empty() || !node.handler().connected().is_empty()
        });
        let error = failures(&node).first().copied();
        let expected = expected
            .map(|refusal| ConnectError::Session(SessionError::HelloRefusedByPeer(refusal)));
        assert_eq!(error, expected, "{answer}");
        assert!(!error.is_some_and(|error| error.is_peers_fault()));
    }
}

#[test]
fn both_ends_learn_why() {
    let other = Hello {
        min_version: 4,
        version: 4,
        ..hello(2)
    };
    let (mut a, addr) = listening(untimed(), greeter(hello(1)));
    let mut b = crate::util::node(untimed(), greeter(other));
    b.net().connect(addr).expect("a connect");
    run_until([&mut a, &mut b], |[a, b]| {
        !failures(a).is_empty() && !failures(b).is_empty()
    });
    let refusal = HelloRefusal::UnsupportedVersion;
    let error = ConnectError::Session(SessionError::HelloRefusedByPeer(refusal));
    assert_eq!(
        (failures(&b), failures(&a)),
        (vec![REFUSED(refusal)], vec![error])
    );
}

/// Copies bytes between two streams, in both directions, until both end.
fn relay(addr: SocketAddr) -> (SocketAddr, thread::JoinHandle<()>) {
    fn copy(mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 100];
        loop {
            match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) if to.write_all(&bytes[..count]).is_ok() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let own_addr = listener.local_addr().expect("an address");
    let thread = thread::spawn(move || {
        let (inbound, _) = listener.accept().expect("a connection");
        let outbound = raw::connect(addr);
        let there = [&inbound, &outbound].map(|it| it.try_clone().expect("a stream"));
        let [from, to] = there;
        let back = thread::spawn(move || copy(to, from));
        copy(inbound, outbound);
        back.join().expect("no panic");
    });
    (own_addr, thread)
}

#[test]
fn self_connection_through_a_relay_is_found() {
    let (mut node, addr) = listening(Config::default(), greeter(hello(5)));
    let (relay_addr, relay) = relay(addr);
    node.net().connect(relay_addr).expect("a connect");
    run_until([&mut node], |[node]| failures(node).len() == 2);
    run_until([&mut node], |_| relay.is_finished());
    let error = REFUSED(HelloRefusal::SelfConnection);
    assert_eq!(failures(&node), [error; 2]);
    assert!(!error.is_peers_fault(), "a node does not ban itself");
    assert_eq!(node.handler().events.len(), 3);
}
