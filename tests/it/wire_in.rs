//! What raw peers send us: every way to cut a stream, frames of every size, bytes that are no frames, ends in every
//! place, and what a pause leaves over.

use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::util::raw::{connect, feed, join, pour, reset, settle, until_ended, wire};
use crate::util::{Event, Recorder, TestNode, listening, run_for, run_until};
use peerloop::config::ConnectionConfig;
use peerloop::error::FramingError;
use peerloop::framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};
use peerloop::{Config, ConnId, ConnectError, DisconnectReason, Net};

/// The smallest read buffer there may be.
const BUFFER: usize = 4096;

/// A decimal length, a colon, the body, a comma: a header without a fixed width and something behind the body.
struct Netstring;

impl Framer for Netstring {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let digits = bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        match bytes.get(digits) {
            None => {
                return Ok(Decoded::Incomplete {
                    at_least: digits + 1,
                });
            }
            Some(b':') => {}
            Some(_) => return Err(FramingError::Malformed("no length")),
        }
        let step = |number, digit: &u8| 10 * number + usize::from(digit - b'0');
        let start = digits + 1;
        let end = start + bytes[..digits].iter().fold(0, step);
        match bytes.get(end) {
            None => Ok(Decoded::Incomplete { at_least: end + 1 }),
            Some(b',') => Ok(Decoded::Frame {
                body: start..end,
                consumed: end + 1,
            }),
            Some(_) => Err(FramingError::Malformed("no comma")),
        }
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend(netstring(body));
        Ok(())
    }
}

fn netstring(body: &[u8]) -> Vec<u8> {
    [format!("{}:", body.len()).as_bytes(), body, b","].concat()
}

const PREFIXES: [LengthPrefix; 10] = [
    LengthPrefix::One,
    LengthPrefix::Two(ByteOrder::BigEndian),
    LengthPrefix::Two(ByteOrder::LittleEndian),
    LengthPrefix::Three(ByteOrder::BigEndian),
    LengthPrefix::Three(ByteOrder::LittleEndian),
    LengthPrefix::Four(ByteOrder::BigEndian),
    LengthPrefix::Four(ByteOrder::LittleEndian),
    LengthPrefix::Eight(ByteOrder::BigEndian),
    LengthPrefix::Eight(ByteOrder::LittleEndian),
    LengthPrefix::Varint,
];

/// All framings there are. Fixed frames have three bytes.
fn framings() -> Vec<Framing> {
    let others = [
        Framing::Raw,
        Framing::Fixed(3),
        Framing::Delimited(b'\n'),
        Framing::custom(|| Netstring),
    ];
    PREFIXES
        .map(Framing::LengthDelimited)
        .into_iter()
        .chain(others)
        .collect()
}

/// The framings that can carry a body of any length and keep it in one piece; fixed frames have this length.
fn framings_for(len: usize) -> Vec<Framing> {
    let fits = |framing: &Framing| !matches!(framing, Framing::Raw | Framing::Fixed(_));
    let prefixes = [
        LengthPrefix::Four(ByteOrder::BigEndian),
        LengthPrefix::Eight(ByteOrder::LittleEndian),
        LengthPrefix::Varint,
    ];
    framings()
        .into_iter()
        .filter(fits)
        .filter(|framing| match framing {
            Framing::LengthDelimited(prefix) => prefixes.contains(prefix),
            _ => true,
        })
        .chain([Framing::Fixed(len)])
        .collect()
}

/// The prefix of a body of `len` bytes, written down anew and not with the library's own means.
fn header(prefix: LengthPrefix, len: u64) -> Vec<u8> {
    let fixed = |order, width| match order {
        ByteOrder::BigEndian => len.to_be_bytes()[8 - width..].to_vec(),
        ByteOrder::LittleEndian => len.to_le_bytes()[..width].to_vec(),
    };
    match prefix {
        LengthPrefix::One => fixed(ByteOrder::BigEndian, 1),
        LengthPrefix::Two(order) => fixed(order, 2),
        LengthPrefix::Three(order) => fixed(order, 3),
        LengthPrefix::Four(order) => fixed(order, 4),
        LengthPrefix::Eight(order) => fixed(order, 8),
        _ => leb128(len),
    }
}

fn leb128(number: u64) -> Vec<u8> {
    match number {
        0..0x80 => vec![number as u8],
        _ => [vec![number as u8 | 0x80], leb128(number >> 7)].concat(),
    }
}

fn encode(framing: &Framing, body: &[u8]) -> Vec<u8> {
    match framing {
        Framing::LengthDelimited(prefix) => [&header(*prefix, body.len() as u64), body].concat(),
        Framing::Raw | Framing::Fixed(_) => body.to_vec(),
        Framing::Delimited(byte) => [body, &[*byte]].concat(),
        _ => netstring(body),
    }
}

fn encode_all(framing: &Framing, bodies: &[Vec<u8>]) -> Vec<u8> {
    let frames: Vec<_> = bodies.iter().map(|body| encode(framing, body)).collect();
    frames.concat()
}

/// A body of `len` letters, or as near to it as the framing comes. Bodies of different seeds differ, and none looks
/// the same shifted by a buffer's size.
fn body(framing: &Framing, len: usize, seed: usize) -> Vec<u8> {
    let len = match framing {
        Framing::Fixed(fixed) => *fixed,
        Framing::Raw => len.max(1),
        Framing::LengthDelimited(LengthPrefix::One) => len.min(255),
        _ => len,
    };
    let mut letters = *b"abcdefghijklmnopqrstuvw";
    letters.rotate_left(7 * seed % 23);
    letters.repeat(len / 23 + 1)[..len].to_vec()
}

fn config(framing: &Framing, read_buffer: usize) -> Config {
    Config {
        connection: ConnectionConfig {
            framing: framing.clone(),
            ..Default::default()
        },
        read_buffer_bytes: read_buffer,
        ..Config::default()
    }
}

/// A small generator (splitmix64), so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ bits >> 31) % bound as u64) as usize
    }
}

/// Runs the node until it has delivered this many bytes, framing included, on all its connections.
#[track_caller]
fn until_received(node: &mut TestNode, bytes: usize) {
    run_until([&mut *node], |[node]| {
        node.net().traffic().bytes_received as usize >= bytes
    });
    assert_eq!(node.net().traffic().bytes_received as usize, bytes);
}

/// What arrived is what was sent. Raw bytes have no boundaries; there the bytes count.
#[track_caller]
fn assert_arrived(framing: &Framing, arrived: &[&[u8]], sent: &[Vec<u8>], context: impl Debug) {
    if matches!(framing, Framing::Raw) {
        assert!(arrived.iter().all(|message| !message.is_empty()));
        assert!(arrived.concat() == sent.concat(), "{context:?}");
        return;
    }
    let differs = arrived.iter().zip(sent).position(|(a, b)| a != b);
    let (came, went) = (arrived.len(), sent.len());
    assert!(
        came == went && differs.is_none(),
        "{framing:?}, {context:?}: {came} of {went} messages came, the first wrong one is {differs:?}"
    );
}

fn ends(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Disconnect(..)))
}

// How a stream is cut into reads.

/// Every way to cut `stream` at some of the places in `cuts`.
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

/// Has the node read the pieces one by one, and compares what comes of them.
fn read_in_pieces(
    (node, conn, peer): &mut (TestNode, ConnId, TcpStream),
    framing: &Framing,
    pieces: &[&[u8]],
    bodies: &[Vec<u8>],
) {
    node.handler_mut().events.clear();
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    let before = node.net().traffic().bytes_received as usize;
    for piece in pieces {
        feed(node, peer, piece);
    }
    until_received(node, before + total);
    let arrived = node.handler().messages(*conn);
    assert_arrived(framing, &arrived, bodies, pieces);
    if matches!(framing, Framing::Raw) {
        assert_eq!(arrived, pieces, "each read is a message");
    }
}

#[test]
fn every_split_of_a_short_stream_gives_the_same_frames() {
    // Every set of cuts among this many neighbouring places: all there are for prefixes of one and two bytes, for
    // lines, fixed frames and raw bytes.
    const WINDOW: usize = 8;
    for framing in framings() {
        let lens = [1, 0, 3];
        let bodies: Vec<_> = (0..3)
            .map(|seed| body(&framing, lens[seed], seed))
            .collect();
        let stream = encode_all(&framing, &bodies);
        let places: Vec<usize> = (1..stream.len()).collect();
        let mut wire = wire(config(&framing, BUFFER), Recorder::default());
        for window in places.windows(WINDOW.min(places.len())) {
            for pieces in splits(&stream, window) {
                read_in_pieces(&mut wire, &framing, &pieces, &bodies);
            }
        }
    }
}

#[test]
fn a_long_varint_is_read_at_every_split_around_its_frame() {
    let framing = Framing::LengthDelimited(LengthPrefix::Varint);
    let bodies = [0, 20_000, 1, 130].map(|len| body(&framing, len, len));
    let stream = encode_all(&framing, &bodies);
    let mut wire = wire(config(&framing, BUFFER), Recorder::default());
    let second = 1 + 3 + 20_000;
    let cuts = [1, 2, 3, 4, 5, second - 1, second, second + 1, second + 3];
    for pieces in splits(&stream, &cuts) {
        read_in_pieces(&mut wire, &framing, &pieces, &bodies);
    }
}

/// Writes down how many bytes it is shown; a frame has ten.
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
fn a_framer_is_shown_each_piece_behind_what_is_kept_and_nothing_twice() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&seen);
    let framing = Framing::custom(move || Witness(Arc::clone(&shared)));
    let mut wire = wire(config(&framing, BUFFER), Recorder::default());
    let stream = body(&framing, 20, 0);
    let bodies = [stream[..10].to_vec(), stream[10..].to_vec()];
    let cuts = [0, 1, 4, 6, 13, 19, 20];
    let pieces: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
    read_in_pieces(&mut wire, &framing, &pieces, &bodies);
    assert_eq!(*seen.lock().unwrap(), [1, 4, 6, 13, 3, 9, 10]);
}

#[test]
fn random_splits_of_a_long_stream_give_the_same_frames() {
    for framing in framings() {
        for seed in 0..4 {
            // Shown if the test fails.
            println!("{framing:?}, seed {seed}");
            random_split(&framing, seed);
        }
    }
}

fn random_split(framing: &Framing, seed: u64) {
    let mut random = Random(seed);
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
    let read_buffer = [BUFFER, BUFFER + 1, 50_000, 256 * 1024][random.below(4)];
    let mut config = config(framing, read_buffer);
    config.budget.read_bytes = 500 + random.below(20_000);
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let mut rest = stream.as_slice();
    while !rest.is_empty() {
        let most = [3, 100, 10_000][random.below(3)];
        let (piece, later) = rest.split_at((1 + random.below(most)).min(rest.len()));
        match random.below(3) {
            // Left for the next read, together with what follows.
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

// How long a frame is.

#[test]
fn a_thousand_frames_in_one_segment_are_all_delivered() {
    for framing in framings() {
        let bodies: Vec<_> = (0..1000)
            .map(|number| body(&framing, number % 17, number))
            .collect();
        let stream = encode_all(&framing, &bodies);
        let (mut node, conn, mut peer) = wire(config(&framing, BUFFER), Recorder::default());
        feed(&mut node, &mut peer, &stream);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn a_frame_that_arrives_byte_by_byte_is_delivered_once_and_whole() {
    for framing in framings_for(5000) {
        let bodies = [body(&framing, 5000, 1)];
        let stream = encode_all(&framing, &bodies);
        let (mut node, conn, mut peer) = wire(config(&framing, BUFFER), Recorder::default());
        let (last, others) = stream.split_last().unwrap();
        for byte in others {
            feed(&mut node, &mut peer, &[*byte]);
        }
        assert!(node.handler().messages(conn).is_empty(), "{framing:?}");
        feed(&mut node, &mut peer, &[*last]);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn a_frame_larger_than_the_read_buffer_arrives_whole() {
    const LONG: usize = 3 * 1024 * 1024 + 17;
    for read_buffer in [BUFFER, Config::default().read_buffer_bytes] {
        for framing in framings_for(LONG) {
            let bodies = [LONG, 5, 0, LONG, LONG - 1].map(|len| body(&framing, len, len));
            let stream = encode_all(&framing, &bodies);
            let (mut node, conn, mut peer) =
                wire(config(&framing, read_buffer), Recorder::default());
            pour(&mut node, &mut peer, &stream);
            until_received(&mut node, stream.len());
            let arrived = node.handler().messages(conn);
            assert_arrived(&framing, &arrived, &bodies, read_buffer);
        }
    }
}

#[test]
fn frames_about_as_long_as_the_read_buffer_arrive_whole() {
    let mut random = Random(1);
    for framing in framings_for(BUFFER) {
        let mut wire = wire(config(&framing, BUFFER), Recorder::default());
        for around in [BUFFER / 2, BUFFER, 2 * BUFFER] {
            for len in around - 14..around + 6 {
                let bodies = [len, 3, len, 0].map(|len| body(&framing, len, len));
                let stream = encode_all(&framing, &bodies);
                let (before, after) = stream.split_at(1 + random.below(stream.len() - 1));
                read_in_pieces(&mut wire, &framing, &[&stream], &bodies);
                read_in_pieces(&mut wire, &framing, &[before, after], &bodies);
            }
        }
    }
}

// Bytes that are no frames.

/// The longest frame in the tests of attacks.
const MAX: usize = 100;

/// What an attacker sends, and the length that it is refused for; `None` when the bytes are no frame at all.
fn attacks() -> Vec<(Framing, Vec<u8>, Option<u64>)> {
    let mut attacks = Vec::new();
    for prefix in PREFIXES {
        let width = match prefix {
            LengthPrefix::Varint => 8,
            _ => header(prefix, 0).len(),
        };
        for len in [MAX as u64 + 1, u64::MAX >> (64 - 8 * width)] {
            let framing = Framing::LengthDelimited(prefix);
            attacks.push((framing, header(prefix, len), Some(len)));
        }
    }
    let over_64_bits = [[0xff; 9].as_slice(), &[2]].concat();
    let malformed = [
        over_64_bits,
        vec![0x80; 10],
        vec![0x80, 0],
        vec![0xe4, 0x80, 0],
    ];
    for bytes in malformed {
        attacks.push((Framing::LengthDelimited(LengthPrefix::Varint), bytes, None));
    }
    let line = vec![b'x'; MAX + 1];
    attacks.push((Framing::Delimited(b'\n'), line, Some(MAX as u64 + 1)));
    for (bytes, len) in [("200:", Some(205)), ("a", None), ("0:.", None)] {
        let framing = Framing::custom(|| Netstring);
        attacks.push((framing, bytes.into(), len));
    }
    attacks
}

/// The longest legal frame, to the node and back.
fn talk(node: &mut TestNode, peer: &mut TcpStream, framing: &Framing) {
    let len = match framing {
        // What a framer of the user's own adds counts too.
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
fn an_attack_is_refused_on_its_header_and_closes_nobody_else() {
    for (framing, bytes, len) in attacks() {
        println!("{framing:?} {bytes:?}");
        let mut config = config(&framing, BUFFER);
        config.connection.max_message_len = MAX;
        let (mut node, addr) = listening(config, Recorder::echo());
        let (honest, mut friend) = join(&mut node, addr);
        let (evil, mut attacker) = join(&mut node, addr);
        talk(&mut node, &mut friend, &framing);
        let (last, others) = bytes.split_last().unwrap();
        let legal = encode(&framing, b"hello");
        feed(&mut node, &mut attacker, &[&legal, others].concat());
        assert_eq!(node.handler().ended(evil), None, "it may still be a frame");
        feed(&mut node, &mut attacker, &[*last]);
        let reason = until_ended(&mut node, evil);
        match len {
            Some(len) => assert_eq!(reason, DisconnectReason::MessageTooLarge { len, max: MAX }),
            None => assert!(
                matches!(reason, DisconnectReason::MalformedFrame(_)),
                "{reason}"
            ),
        }
        assert_eq!(node.handler().messages(evil), [b"hello"]);
        let mut answer = Vec::new();
        // A reset may follow the answer; what counts is that the connection is over.
        let _ = attacker.read_to_end(&mut answer);
        assert_eq!(answer, legal);
        talk(&mut node, &mut friend, &framing);
        assert_eq!(
            node.net().connections().map(|c| c.id()).collect::<Vec<_>>(),
            [honest]
        );
        assert_eq!((ends(&node), node.net().metrics().framing_errors), (1, 1));
    }
}

// Ends, with and without data.

/// Bodies that take `total` bytes on the wire with a prefix of four bytes.
fn bodies_in(total: usize) -> Vec<Vec<u8>> {
    let framing = Framing::default();
    let mut bodies = Vec::new();
    let mut left = total;
    while left > 0 {
        let frame = if left < 28 { left } else { 14 };
        bodies.push(body(&framing, frame - 4, bodies.len()));
        left -= frame;
    }
    bodies
}

/// What a connection that sent `bodies` and ended must have led to, from `on_connect` on.
#[track_caller]
fn assert_story(node: &TestNode, conn: ConnId, bodies: &[Vec<u8>], reason: DisconnectReason) {
    let mut expected = vec![Event::Connect(conn)];
    expected.extend(bodies.iter().map(|body| Event::Message(conn, body.clone())));
    expected.push(Event::Disconnect(conn, reason));
    let of_conn = |event: &&Event| {
        matches!(event, Event::Connect(which) | Event::Message(which, _) | Event::Disconnect(which, _)
            if *which == conn)
    };
    let happened: Vec<_> = node.handler().events.iter().filter(of_conn).collect();
    let same = happened.len() == expected.len() && happened.into_iter().eq(&expected);
    assert!(
        same,
        "{} messages: the story of {conn} differs",
        bodies.len()
    );
}

/// Ends the connection with everything written before: the last bytes and the FIN arrive as one.
fn finish(peer: TcpStream, closing: bool) -> Option<TcpStream> {
    if closing {
        return None;
    }
    peer.shutdown(Shutdown::Write).unwrap();
    Some(peer)
}

#[test]
fn frames_before_a_fin_are_all_delivered() {
    let totals = [
        4, 18, 4095, 4096, 4097, 4100, 8191, 8192, 8193, 12_288, 14_336, 40_000,
    ];
    let (mut node, addr) = listening(config(&Framing::default(), BUFFER), Recorder::default());
    for total in totals {
        let bodies = bodies_in(total);
        let stream = encode_all(&Framing::default(), &bodies);
        assert_eq!(stream.len(), total);
        for round in 0..20 {
            let (conn, mut peer) = join(&mut node, addr);
            peer.write_all(&stream).unwrap();
            let _peer = finish(peer, round % 2 == 0);
            until_ended(&mut node, conn);
            assert_story(&node, conn, &bodies, DisconnectReason::PeerClosed);
            node.handler_mut().events.clear();
        }
    }
}

#[test]
fn frames_before_a_fin_are_all_delivered_within_any_read_budget() {
    let bodies = bodies_in(10_000);
    let stream = encode_all(&Framing::default(), &bodies);
    for read_budget in [1, 13, 100, 2500, 4095, 4096, 4097, 5000, 9999, 10_000] {
        let mut config = config(&Framing::default(), BUFFER);
        config.budget.read_bytes = read_budget;
        let (mut node, conn, mut peer) = wire(config, Recorder::default());
        peer.write_all(&stream).unwrap();
        drop(peer);
        until_ended(&mut node, conn);
        assert_story(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
}

#[test]
fn frames_before_a_fin_are_all_delivered_in_blocks_of_the_default_buffer() {
    let size = Config::default().read_buffer_bytes;
    for total in [size - 1, size, size + 1, 2 * size, 3 * size + 5] {
        let bodies = bodies_in(total);
        let stream = encode_all(&Framing::default(), &bodies);
        let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
        let writer = thread::spawn(move || peer.write_all(&stream));
        until_ended(&mut node, conn);
        writer.join().unwrap().unwrap();
        assert_story(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
}

#[test]
fn peers_that_were_gone_before_they_were_accepted_have_all_their_frames_delivered() {
    let (mut node, addr) = listening(config(&Framing::default(), BUFFER), Recorder::default());
    let bodies = bodies_in(BUFFER);
    let stream = encode_all(&Framing::default(), &bodies);
    for _ in 0..100 {
        connect(addr).write_all(&stream).unwrap();
    }
    run_until([&mut node], |[node]| ends(node) == 100);
    let conns = node.handler().connected();
    assert_eq!(conns.len(), 100);
    for conn in conns {
        assert_story(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
}

#[test]
fn frames_before_a_fin_are_all_delivered_while_the_node_is_busy() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    let (flood, mut flooding) = join(&mut node, addr);
    let block = encode_all(&Framing::default(), &bodies_in(64 * 1024));
    // Ends when the node is dropped.
    let flooder = thread::spawn(move || while flooding.write_all(&block).is_ok() {});
    for round in 0..200 {
        let bodies = bodies_in(100 * round + 4);
        let (conn, mut peer) = join_flooded(&mut node, addr, flood);
        let stream = encode_all(&Framing::default(), &bodies);
        peer.write_all(&stream).unwrap();
        let _peer = finish(peer, round % 2 == 0);
        run_until([&mut node], |[node]| {
            forget_messages(node, flood);
            node.handler().ended(conn).is_some()
        });
        assert_story(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
    assert_eq!(node.handler().ended(flood), None);
    drop(node);
    flooder.join().unwrap();
}

/// As `join`, without keeping what the flooding peer sends meanwhile.
fn join_flooded(node: &mut TestNode, addr: SocketAddr, flood: ConnId) -> (ConnId, TcpStream) {
    let peer = connect(addr);
    let before = node.handler().connected().len();
    run_until([&mut *node], |[node]| {
        forget_messages(node, flood);
        node.handler().connected().len() > before
    });
    (node.handler().connected()[before], peer)
}

fn forget_messages(node: &mut TestNode, of: ConnId) {
    let events = &mut node.handler_mut().events;
    events.retain(|event| !matches!(event, Event::Message(conn, _) if *conn == of));
}

/// A node that has begun to connect to a raw peer, and the peer, before the node knows that it is connected.
fn connected() -> (TestNode, ConnId, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = crate::util::node(config(&Framing::default(), BUFFER), Recorder::default());
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    assert!(node.handler().connected().is_empty());
    let (peer, _) = listener.accept().unwrap();
    (node, conn, peer)
}

#[test]
fn frames_and_a_fin_that_arrive_together_with_the_connection_we_opened_are_all_delivered() {
    for total in [4, 4096, 14_336] {
        let bodies = bodies_in(total);
        let (mut node, conn, mut peer) = connected();
        peer.write_all(&encode_all(&Framing::default(), &bodies))
            .unwrap();
        drop(peer);
        until_ended(&mut node, conn);
        assert_story(&node, conn, &bodies, DisconnectReason::PeerClosed);
    }
}

#[test]
fn a_reset_that_arrives_together_with_the_connection_we_opened_is_reported_once() {
    let (mut node, conn, peer) = connected();
    reset(peer);
    run_until([&mut node], |[node]| node.handler().events.len() > 1);
    run_for(Duration::from_millis(5), [&mut node]);
    let refused = Event::ConnectFailed(conn, ConnectError::Io(ErrorKind::ConnectionReset.into()));
    match &node.handler().events[1..] {
        [failed] => assert_eq!(*failed, refused),
        _ => assert_story(&node, conn, &[], DisconnectReason::Reset),
    }
}

#[test]
fn a_fin_in_the_middle_of_a_frame_tells_how_much_of_it_had_arrived() {
    let four = Framing::default;
    let varint = || Framing::LengthDelimited(LengthPrefix::Varint);
    let long = || [header(LengthPrefix::Varint, 1 << 20), vec![1; 100_000]].concat();
    let cases: [(Framing, Vec<u8>, Option<usize>); 13] = [
        (four(), vec![0, 0, 1], Some(3)),
        (four(), b"\0\0\0\x05ab".to_vec(), Some(6)),
        (four(), b"\0\0\0\x05abcd".to_vec(), Some(8)),
        (
            four(),
            [&[0, 0x20, 0, 0][..], &[9; 50_000]].concat(),
            Some(50_004),
        ),
        (varint(), vec![0x80], Some(1)),
        (varint(), long(), Some(100_003)),
        (Framing::Fixed(10), b"1234567".to_vec(), Some(7)),
        (Framing::Fixed(9000), vec![7; 8999], Some(8999)),
        (Framing::Delimited(b'\n'), b"abc".to_vec(), Some(3)),
        (Framing::Delimited(b'\n'), vec![b'a'; 9000], Some(9000)),
        (Framing::custom(|| Netstring), b"12:ab".to_vec(), Some(5)),
        (Framing::Raw, b"abc".to_vec(), None),
        (four(), Vec::new(), None),
    ];
    for (framing, bytes, truncated) in cases {
        println!("{framing:?}, {} bytes", bytes.len());
        let whole = body(&framing, 4, 0);
        for before in [Vec::new(), vec![whole]] {
            let stream = [encode_all(&framing, &before), bytes.clone()].concat();
            let (mut node, conn, mut peer) = wire(config(&framing, BUFFER), Recorder::default());
            pour(&mut node, &mut peer, &stream);
            drop(peer);
            let reason = match truncated {
                Some(bytes) => DisconnectReason::Truncated { bytes },
                None => DisconnectReason::PeerClosed,
            };
            assert_eq!(until_ended(&mut node, conn), reason);
            let sent = match framing {
                Framing::Raw => vec![stream],
                _ => before,
            };
            assert_arrived(&framing, &node.handler().messages(conn), &sent, "");
        }
    }
}

#[test]
fn a_reset_is_reported_once_wherever_it_strikes() {
    let frame = |body: &[u8]| encode(&Framing::default(), body);
    let cases: [(&[u8], &[Vec<u8>]); 4] = [
        (b"", &[]),
        (&frame(b"whole"), &[b"whole".to_vec()]),
        (b"\0\0\0\x05ab", &[]),
        (
            &[frame(b"whole"), vec![0, 0]].concat(),
            &[b"whole".to_vec()],
        ),
    ];
    for (bytes, bodies) in cases {
        let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
        if !bytes.is_empty() {
            feed(&mut node, &mut peer, bytes);
        }
        reset(peer);
        until_ended(&mut node, conn);
        run_for(Duration::from_millis(5), [&mut node]);
        assert_story(&node, conn, bodies, DisconnectReason::Reset);
        assert_eq!(node.net().metrics().resets, 1);
    }
}

/// Linux keeps what had arrived before a reset; others throw it away with the connection.
#[cfg(target_os = "linux")]
#[test]
fn frames_that_arrived_before_a_reset_are_delivered_before_it() {
    for total in [18, 4096, 4097, 40_000] {
        let bodies = bodies_in(total);
        let stream = encode_all(&Framing::default(), &bodies);
        let (mut node, conn, mut peer) =
            wire(config(&Framing::default(), BUFFER), Recorder::default());
        peer.write_all(&stream).unwrap();
        reset(peer);
        until_ended(&mut node, conn);
        assert_story(&node, conn, &bodies, DisconnectReason::Reset);
    }
}

#[test]
fn peers_that_were_reset_before_they_were_accepted_are_told_of_in_pairs_or_not_at_all() {
    let (mut node, addr) = listening(Config::default(), Recorder::default());
    for _ in 0..20 {
        reset(connect(addr));
    }
    let mut friend = connect(addr);
    let honest = {
        run_until([&mut node], |[node]| node.net().connection_count() == 1);
        node.net().connections().next().unwrap().id()
    };
    feed(
        &mut node,
        &mut friend,
        &encode(&Framing::default(), b"hello"),
    );
    assert_eq!(node.handler().messages(honest), [b"hello"]);
    for conn in node.handler().connected() {
        let ends = |event: &Event| matches!(event, Event::Disconnect(which, _) if *which == conn);
        let expected = usize::from(conn != honest);
        assert_eq!(node.handler().count(ends), expected);
    }
}

// What a pause leaves over.

/// A framing's batch of six messages, and a configuration in which even raw bytes come as six: raw messages are cut
/// at the longest frame.
fn batch(framing: &Framing) -> (Config, Vec<Vec<u8>>, Vec<u8>) {
    let bodies: Vec<_> = (0..6).map(|seed| body(framing, 3, seed)).collect();
    let max_message_len = match framing {
        Framing::Raw => 3,
        _ => 1000,
    };
    let mut config = config(framing, BUFFER);
    config.connection.max_message_len = max_message_len;
    let stream = encode_all(framing, &bodies);
    (config, bodies, stream)
}

/// Does something from inside the callback of every message from the `first` one on, counted from one.
fn at_messages_from(
    first: usize,
    mut act: impl FnMut(&mut Net, ConnId) + Send + 'static,
) -> Recorder {
    let mut seen = 0;
    Recorder::reacting(move |net, event| {
        if let Event::Message(conn, _) = event {
            seen += 1;
            if seen >= first {
                act(net, *conn);
            }
        }
    })
}

#[test]
fn a_pause_inside_a_batch_stops_it_and_a_resume_goes_on_there_in_every_framing() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = at_messages_from(1, |net, conn| net.pause(conn));
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        for count in 1..=bodies.len() {
            for _ in 0..3 {
                settle(&mut node);
                let arrived = node.handler().messages(conn);
                assert_eq!(arrived, bodies[..count], "{framing:?}");
            }
            node.net().resume(conn);
        }
        // The pause is over: what is sent now is heard at once.
        feed(&mut node, &mut peer, &stream);
        assert_eq!(node.handler().messages(conn).len(), bodies.len() + 1);
    }
}

#[test]
fn a_batch_that_waited_in_the_socket_is_delivered_after_the_resume_in_every_framing() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = Recorder::reacting(|net, event| {
            if let Event::Connect(conn) = event {
                net.pause(*conn);
            }
        });
        let (mut node, conn, mut peer) = wire(config, handler);
        let (before, after) = stream.split_at(stream.len() / 2);
        feed(&mut node, &mut peer, before);
        // With poll(2) what is not read brings no second event.
        peer.write_all(after).unwrap();
        run_for(Duration::from_millis(5), [&mut node]);
        assert!(node.handler().messages(conn).is_empty());
        node.net().resume(conn);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn a_fin_during_a_pause_waits_for_all_that_came_before_it_in_every_framing() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = at_messages_from(2, |net, conn| net.pause(conn));
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        // These stay in the socket, and the end behind them.
        peer.write_all(&stream).unwrap();
        drop(peer);
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(node.handler().messages(conn), bodies[..2], "{framing:?}");
        assert_eq!(node.handler().ended(conn), None);
        node.handler_mut().reaction = Box::new(|_, _| {});
        node.net().resume(conn);
        until_ended(&mut node, conn);
        run_for(Duration::from_millis(5), [&mut node]);
        let sent = [bodies.clone(), bodies].concat();
        assert_story(&node, conn, &sent, DisconnectReason::PeerClosed);
    }
}

#[test]
fn a_fin_during_a_pause_in_the_middle_of_a_frame_is_still_a_truncation() {
    let handler = at_messages_from(1, |net, conn| net.pause(conn));
    let (mut node, conn, mut peer) = wire(Config::default(), handler);
    feed(&mut node, &mut peer, b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x09c");
    drop(peer);
    for _ in 0..2 {
        settle(&mut node);
        assert_eq!(node.handler().ended(conn), None);
        node.net().resume(conn);
    }
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Truncated { bytes: 5 });
    assert_eq!(node.handler().messages(conn), [b"a", b"b"]);
}

#[test]
fn a_pause_among_frames_longer_than_the_buffer_loses_none() {
    for framing in framings_for(3 * BUFFER) {
        let lens = [3 * BUFFER, 1, 0, BUFFER, BUFFER - 4, 9 * BUFFER];
        let bodies = lens.map(|len| body(&framing, len, len));
        let stream = encode_all(&framing, &bodies);
        let handler = at_messages_from(1, |net, conn| net.pause(conn));
        let (mut node, conn, mut peer) = wire(config(&framing, BUFFER), handler);
        let writer = thread::spawn(move || peer.write_all(&stream));
        for count in 1..=bodies.len() {
            run_until([&mut node], |[node]| {
                node.handler().messages(conn).len() >= count
            });
            settle(&mut node);
            assert_eq!(node.handler().messages(conn).len(), count);
            node.net().resume(conn);
        }
        until_ended(&mut node, conn);
        writer.join().unwrap().unwrap();
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn a_pause_taken_back_in_the_same_callback_changes_nothing() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = at_messages_from(1, |net, conn| {
            net.pause(conn);
            net.resume(conn);
        });
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn an_answer_flushed_after_every_message_leaves_the_batch_as_it_is() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = Recorder::reacting(|net, event| {
            if let Event::Message(conn, message) = event {
                net.send(*conn, message).unwrap();
                net.flush(*conn);
            }
        });
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
        let mut answers = vec![0; stream.len()];
        peer.read_exact(&mut answers).unwrap();
        assert_eq!(answers, stream, "{framing:?}");
    }
}

// Guarantee 3: no message after a close or an abort.

#[test]
fn a_close_or_abort_from_a_message_is_followed_by_none_of_those_already_read() {
    let verbs: [fn(&mut Net, ConnId); 2] = [Net::close, Net::abort];
    for framing in framings() {
        for verb in verbs {
            let (config, bodies, stream) = batch(&framing);
            let (mut node, conn, mut peer) = wire(config, at_messages_from(3, verb));
            feed(&mut node, &mut peer, &stream);
            assert_eq!(node.handler().messages(conn), bodies[..3], "{framing:?}");
            drop(peer);
            until_ended(&mut node, conn);
            assert_story(&node, conn, &bodies[..3], DisconnectReason::Local);
        }
    }
}

#[test]
fn a_close_or_abort_is_followed_by_none_of_those_that_a_pause_left_over() {
    let verbs: [fn(&mut Net, ConnId); 2] = [Net::close, Net::abort];
    for framing in framings() {
        for verb in verbs {
            for resumed in [false, true] {
                let (config, bodies, stream) = batch(&framing);
                let handler = at_messages_from(2, |net, conn| net.pause(conn));
                let (mut node, conn, mut peer) = wire(config, handler);
                feed(&mut node, &mut peer, &stream);
                let delivered = if resumed {
                    node.handler_mut().reaction = at_messages_from(2, verb).reaction;
                    node.net().resume(conn);
                    settle(&mut node);
                    4
                } else {
                    verb(node.net(), conn);
                    node.net().resume(conn);
                    2
                };
                drop(peer);
                until_ended(&mut node, conn);
                assert_story(&node, conn, &bodies[..delivered], DisconnectReason::Local);
            }
        }
    }
}
