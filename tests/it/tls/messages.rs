//! Messages in records.

use std::sync::Arc;

use super::{connected, with_raw_client};
use crate::util::outcome::{CLOSED, until_both_ended};
use crate::util::session_end::{SessionEnd, exchange};
use crate::util::tls::{
    Authority, EACH_VERSION, NAME, ONLY_13, client, client_config, server, server_config,
};
use crate::util::{frame, run_until};
use peerloop::Config;
use peerloop::session::Session;

#[test]
fn message_of_any_length_is_echoed() {
    // Around the length of a record, of a batch, and of a read.
    let around = [1 << 14, 1 << 16, 1 << 20].map(|len| [len - 1, len, len + 1]);
    let lens = [&[0, 1, 2], around.as_flattened()].concat();
    for versions in EACH_VERSION {
        let (mut a, to_b, mut b, to_a) = connected(Config::default(), versions);
        for (at, len) in lens.iter().copied().enumerate() {
            let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            a.net().send(to_b, &body).expect("room");
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().messages(to_b).len() > at
            });
            assert!(a.handler().messages(to_b)[at] == body, "{len} bytes");
        }
        a.net().close(to_b);
        assert_eq!(until_both_ended(&mut a, to_b, &mut b, to_a), CLOSED);
    }
}

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
