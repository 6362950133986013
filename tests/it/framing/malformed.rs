//! Malformed frames, and frames above the maximum length.

use std::io::{Read, Write};
use std::net::TcpStream;

use peerloop::DisconnectReason;
use peerloop::framing::{Framing, LengthPrefix};

use crate::util::framings::{
    Netstring, PREFIXES, body, config_with, encode, header, until_received,
};
use crate::util::raw::{feed, join, until_ended};
use crate::util::streams::ends;
use crate::util::{Recorder, TestNode, listening};

/// Maximum length of a message here.
pub(super) const MAX: usize = 100;

/// Returns malformed bytes, and the length that they are refused for; `None` if they
/// are no frame of any length.
pub(super) fn malformed() -> Vec<(Framing, Vec<u8>, Option<u64>)> {
    let mut malformed = Vec::new();
    for prefix in PREFIXES {
        let width = match prefix {
            LengthPrefix::Varint => 8,
            _ => header(prefix, 0).len(),
        };
        for len in [MAX as u64 + 1, u64::MAX >> (64 - 8 * width)] {
            let framing = Framing::LengthDelimited(prefix);
            malformed.push((framing, header(prefix, len), Some(len)));
        }
    }
    let over_64_bits = [[0xff; 9].as_slice(), &[2]].concat();
    let varints = [
        over_64_bits,
        vec![0x80; 10],
        vec![0x80, 0],
        vec![0xe4, 0x80, 0],
    ];
    for bytes in varints {
        malformed.push((Framing::LengthDelimited(LengthPrefix::Varint), bytes, None));
    }
    let line = vec![b'x'; MAX + 1];
    malformed.push((Framing::Delimited(b'\n'), line, Some(MAX as u64 + 1)));
    for (bytes, len) in [("200:", Some(205)), ("a", None), ("0:.", None)] {
        let framing = Framing::custom(|| Netstring);
        malformed.push((framing, bytes.into(), len));
    }
    malformed
}

/// Sends the longest frame that is allowed, and checks the answer.
fn assert_served(node: &mut TestNode, peer: &mut TcpStream, framing: &Framing) {
    let len = match framing {
        // The bytes of a custom framer count too.
        Framing::Custom(_) => MAX - "96:,".len(),
        _ => MAX,
    };
    let frame = encode(framing, &body(framing, len, 3));
    let received = node.net().traffic().bytes_received as usize;
    peer.write_all(&frame).unwrap();
    until_received(node, received + frame.len());
    let mut answer = vec![0; frame.len()];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, frame);
}

#[test]
fn malformed_header_ends_its_connection_only() {
    for (framing, bytes, len) in malformed() {
        println!("{framing:?} {bytes:?}");
        let mut config = config_with(&framing);
        config.connection.max_message_len = MAX;
        let (mut node, addr) = listening(config, Recorder::echo());
        let (honest, mut honest_peer) = join(&mut node, addr);
        let (other, mut other_peer) = join(&mut node, addr);
        assert_served(&mut node, &mut honest_peer, &framing);
        let (last, others) = bytes.split_last().unwrap();
        let legal = encode(&framing, b"hello");
        feed(&mut node, &mut other_peer, &[&legal, others].concat());
        assert_eq!(node.handler().ended(other), None, "it may still be a frame");
        feed(&mut node, &mut other_peer, &[*last]);
        let reason = until_ended(&mut node, other);
        match len {
            Some(len) => assert_eq!(reason, DisconnectReason::MessageTooLarge { len, max: MAX }),
            None => assert!(
                matches!(reason, DisconnectReason::MalformedFrame(_)),
                "{reason}"
            ),
        }
        assert_eq!(node.handler().messages(other), [b"hello"]);
        let mut answer = Vec::new();
        // A reset may follow the answer.
        let _ = other_peer.read_to_end(&mut answer);
        assert_eq!(answer, legal);
        assert_served(&mut node, &mut honest_peer, &framing);
        assert_eq!(
            node.net().connections().map(|c| c.id()).collect::<Vec<_>>(),
            [honest]
        );
        assert_eq!((ends(&node), node.net().metrics().framing_errors), (1, 1));
    }
}
