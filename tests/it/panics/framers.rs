//! Panics of a custom framer.

use std::io::{Read, Write};
use std::time::Duration;

use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer, Framing};
use peerloop::{Bytes, Config, DisconnectReason, SendError};

use super::{assert_served, config, is_closed, panic_quietly, panicking};
use crate::util::raw::{join, until_ended};
use crate::util::{frame, run_for};

/// The default framing. Panics when it decodes the body `decode`, and when it
/// encodes the body `encode`.
struct PanickingFramer;

impl Framer for PanickingFramer {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let Some(header) = bytes.first_chunk() else {
            return Ok(Decoded::Incomplete { at_least: 4 });
        };
        let end = 4 + u32::from_be_bytes(*header) as usize;
        match bytes.get(4..end) {
            Some(b"decode") => panic_quietly(),
            Some(_) => Ok(Decoded::Frame {
                body: 4..end,
                consumed: end,
            }),
            None => Ok(Decoded::Incomplete { at_least: end }),
        }
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(&frame(body)[..4]);
        if body == b"encode" {
            panic_quietly();
        }
        wire.extend_from_slice(body);
        Ok(())
    }
}

fn framed() -> Config {
    let mut config = config();
    config.connection.framing = Framing::custom(|| PanickingFramer);
    config
}

#[test]
fn panic_of_a_framer_ends_its_connection() {
    for body in [b"decode", b"encode"] {
        let (mut node, addr, _) = panicking(framed());
        let (honest, mut honest_peer) = join(&mut node, addr);
        for times in 1..=2 {
            let (conn, mut peer) = join(&mut node, addr);
            // In two pieces, so that one is decoded from kept bytes.
            peer.write_all(&frame(body)[..7]).unwrap();
            run_for(Duration::from_millis(5), [&mut node]);
            peer.write_all(&frame(body)[7..]).unwrap();
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::HandlerPanicked);
            assert!(is_closed(&mut peer));
            assert_eq!(node.net().metrics().panics, times);
            assert_served(&mut node, &mut honest_peer);
        }
        assert_eq!(node.handler().ended(honest), None);
    }
}

/// The send may be made in a callback of another connection, or by a thread.
#[test]
fn panic_in_encode_ends_its_own_connection() {
    let (mut node, addr, _) = panicking(framed());
    let (honest, mut honest_peer) = join(&mut node, addr);
    let handle = node.handle();
    let (first, _peer) = join(&mut node, addr);
    handle.send(first, Bytes::from_static(b"encode")).unwrap();
    let reason = until_ended(&mut node, first);
    assert_eq!(reason, DisconnectReason::HandlerPanicked);
    let (second, _peer) = join(&mut node, addr);
    let both = handle.post(move |_, net| {
        assert_eq!(net.send(second, b"encode"), Err(SendError::Closed));
        net.send(honest, b"next").unwrap();
    });
    both.unwrap();
    let reason = until_ended(&mut node, second);
    assert_eq!(reason, DisconnectReason::HandlerPanicked);
    assert_eq!(node.net().metrics().panics, 2);
    let mut message = [0; 8];
    honest_peer.read_exact(&mut message).unwrap();
    assert_eq!(message, *frame(b"next"));
    assert_served(&mut node, &mut honest_peer);
}
