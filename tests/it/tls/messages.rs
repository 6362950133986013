//! Messages in records.

use std::sync::Arc;

use super::with_raw_client;
use crate::util::frame;
use crate::util::session_end::{SessionEnd, exchange};
use crate::util::tls::{Authority, NAME, ONLY_13, client, client_config, server, server_config};
use peerloop::Config;
use peerloop::session::Session;

#[test]
fn messages_of_one_turn_share_records() {
    const MESSAGES: usize = 1000;
    let (mut node, conn, mut peer) = with_raw_client(Config::default(), ONLY_13);
    let before = peer.received;
    for _ in 0..MESSAGES {
        node.net().send(conn, &[7; 28]).expect("room");
    }
    let expected = frame(&[7; 28]).repeat(MESSAGES);
    peer.run_until(&mut node, |peer, _| {
        peer.end.plaintext.len() >= expected.len()
    });
    assert!(peer.end.plaintext == expected);
    // The plaintext needs two records.
    let overhead = peer.received - before - expected.len();
    assert!(overhead < 100, "{overhead} bytes");
}

#[test]
fn held_bytes_are_of_an_incomplete_handshake() {
    let authority = Authority::new("the authority");
    let mut config = client_config(&authority, ONLY_13);
    // A client hello of 20,000 bytes, in several records.
    config.alpn_protocols = vec![vec![7; 200]; 100];
    let here = Arc::new(server_config(&authority.issue(NAME), ONLY_13));
    let mut a = SessionEnd::new(client(&Arc::new(config)));
    let mut b = SessionEnd::new(server(&here));
    let hello = a.take_wire();
    let first = 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]));
    assert!(first > 16_000 && hello.len() > first);
    b.receive(&hello[..first]).expect("one part");
    let held = b.session.held_bytes();
    assert!((first..=first + 4096).contains(&held), "{held} of {first}");
    b.receive(&hello[first..]).expect("the other part");
    assert_eq!(b.session.held_bytes(), 0);
    exchange(&mut a, &mut b).expect("a handshake");
    assert_eq!(b.session.held_bytes(), 0);
    let sealed = b.seal(&[5; 100_000]);
    a.receive(&sealed).expect("a message");
    assert_eq!(a.session.held_bytes(), 0, "a message follows the tickets");
}
