//! Streams that arrive in pieces: every way to cut a short one, random cuts of a
//! long one.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use peerloop::ConnId;
use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer, Framing, LengthPrefix};

use crate::util::framings::{
    BUFFER, assert_arrived, body, config_with, encode_all, framings, read_in_pieces, until_received,
};
use crate::util::raw::{pour, wire};
use crate::util::{Random, Recorder, TestNode};

fn framed(framing: &Framing) -> (TestNode, ConnId, TcpStream) {
    wire(config_with(framing), Recorder::default())
}

/// Returns every way to cut `stream` at some of the places in `cuts`.
fn splits<'a>(stream: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = Vec<&'a [u8]>> {
    (0u32..1 << cuts.len()).map(move |mask| {
        let mut pieces = Vec::new();
        let mut start = 0;
        for (bit, &cut) in cuts.iter().enumerate() {
            if mask >> bit & 1 == 1 {
                pieces.push(&stream[start..cut]);
                start = cut;
            }
        }
        pieces.push(&stream[start..]);
        pieces
    })
}

#[test]
fn every_split_gives_the_same_messages() {
    // Every set of cuts among this many neighbouring places. For prefixes of one and
    // two bytes, lines, fixed frames and raw bytes, these are all.
    const WINDOW: usize = 8;
    for framing in framings() {
        let lens = [1, 0, 3];
        let bodies: Vec<_> = (0..3)
            .map(|seed| body(&framing, lens[seed], seed))
            .collect();
        let stream = encode_all(&framing, &bodies);
        let places: Vec<usize> = (1..stream.len()).collect();
        let mut wire = framed(&framing);
        for window in places.windows(WINDOW.min(places.len())) {
            for pieces in splits(&stream, window) {
                read_in_pieces(&mut wire, &framing, &pieces, &bodies);
            }
        }
    }
}

#[test]
fn long_varint_is_read_at_every_split() {
    let framing = Framing::LengthDelimited(LengthPrefix::Varint);
    let bodies = [0, 20_000, 1, 130].map(|len| body(&framing, len, len));
    let stream = encode_all(&framing, &bodies);
    let mut wire = framed(&framing);
    let second = 1 + 3 + 20_000;
    let cuts = [1, 2, 3, 4, 5, second - 1, second, second + 1, second + 3];
    for pieces in splits(&stream, &cuts) {
        read_in_pieces(&mut wire, &framing, &pieces, &bodies);
    }
}

/// Records how many bytes it is called with. A frame has ten.
struct Witness(Arc<Mutex<Vec<usize>>>);

impl Framer for Witness {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        self.0.lock().unwrap().push(bytes.len());
        let at_least = bytes.len() + 1;
        Ok(match bytes.len() {
            0..10 => Decoded::Incomplete { at_least },
            _ => Decoded::Frame {
                body: 0..10,
                consumed: 10,
            },
        })
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(body);
        Ok(())
    }
}

#[test]
fn framer_gets_kept_bytes_and_the_next_piece() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&seen);
    let framing = Framing::custom(move || Witness(Arc::clone(&shared)));
    let mut wire = framed(&framing);
    let stream = body(&framing, 20, 0);
    let bodies = [stream[..10].to_vec(), stream[10..].to_vec()];
    let cuts = [0, 1, 4, 6, 13, 19, 20];
    let pieces: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
    read_in_pieces(&mut wire, &framing, &pieces, &bodies);
    assert_eq!(*seen.lock().unwrap(), [1, 4, 6, 13, 3, 9, 10]);
}

#[test]
fn random_splits_give_the_same_messages() {
    for framing in framings() {
        for seed in 0..4 {
            println!("{framing:?}, seed {seed}");
            random_split(&framing, seed);
        }
    }
}

fn random_split(framing: &Framing, seed: u64) {
    let mut random = Random::new(seed);
    let bodies: Vec<_> = (0..400)
        .map(|number| {
            let len = match random.below(50) {
                0 => random.below(50_000),
                1..10 => random.below(5000),
                _ => random.below(40),
            };
            body(framing, len, number)
        })
        .collect();
    let stream = encode_all(framing, &bodies);
    let mut config = config_with(framing);
    config.read_buffer_bytes = [BUFFER, BUFFER + 1, 50_000, 256 * 1024][random.below(4)];
    config.budget.read_bytes = 500 + random.below(20_000);
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let mut rest = stream.as_slice();
    while !rest.is_empty() {
        let most = [3, 100, 10_000][random.below(3)];
        let (piece, later) = rest.split_at((1 + random.below(most)).min(rest.len()));
        match random.below(3) {
            // The next read gets it together with what follows.
            0 => peer.write_all(piece).unwrap(),
            _ => pour(&mut node, &mut peer, piece),
        }
        rest = later;
    }
    until_received(&mut node, stream.len());
    let messages = node.net().traffic().messages_received;
    let arrived = node.handler().messages(conn);
    assert_eq!(messages as usize, arrived.len());
    assert_arrived(framing, &arrived, &bodies, seed);
}
