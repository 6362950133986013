//! Counts the bytes that are copied between the socket and the handler.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::addr::ConnInfo;
use crate::config::{Config, OnPanic};
use crate::counts::Count;
use crate::error::SessionError;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::net::Net;
use crate::node::{Node, RunEnd, Turn};
use crate::session::{Output, Session, Stage, Transport};

const RECORD: usize = 16 * 1024;

/// A session with records of a fixed length, which it consumes when they are
/// complete.
struct Records;

impl Session for Records {
    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        let taken = bytes.len() - bytes.len() % RECORD;
        output.plaintext.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        Stage::Established
    }
}

struct Receiver {
    is_sealed: bool,
    /// Pauses after each message and resumes in the next turn.
    is_one_at_a_time: bool,
    paused: Option<ConnId>,
    received: usize,
}

impl Receiver {
    fn new(is_sealed: bool, is_one_at_a_time: bool) -> Self {
        Self {
            is_sealed,
            is_one_at_a_time,
            paused: None,
            received: 0,
        }
    }
}

impl Handler for Receiver {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(if self.is_sealed {
            Records.into()
        } else {
            Transport::Plain
        })
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.received += message.len();
        if self.is_one_at_a_time {
            net.pause(conn);
            self.paused = Some(conn);
        }
    }

    fn on_turn(&mut self, net: &mut Net) {
        if let Some(conn) = self.paused.take() {
            net.resume(conn);
        }
    }
}

fn listening(receiver: Receiver) -> (Node<Receiver>, TcpStream) {
    let config = Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    };
    let mut node = Node::new(config, receiver).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let peer = TcpStream::connect(addr).unwrap();
    peer.set_nodelay(true).unwrap();
    (node, peer)
}

/// Returns the number of copied bytes per byte of these messages, which arrive
/// in pieces that are read one by one.
fn copied_per_byte(is_sealed: bool, message: usize, piece: usize) -> f64 {
    let (mut node, mut peer) = listening(Receiver::new(is_sealed, false));
    let mut wire = u32::try_from(message).unwrap().to_be_bytes().to_vec();
    wire.resize(4 + message, 1);
    let mut stream = wire.repeat(MESSAGES);
    // Empty messages complete the last record.
    stream.resize(stream.len().next_multiple_of(RECORD), 0);
    let _ = Count::CopiedBytes.take();
    for piece in stream.chunks(piece) {
        peer.write_all(piece).unwrap();
        while node.turn(Some(Duration::from_millis(5))).unwrap() == Turn::MoreWork {}
    }
    let patience = Duration::from_secs(30);
    let run = node.run_until(patience, |it, _| it.received == MESSAGES * message);
    assert_eq!(run.unwrap(), RunEnd::Done);
    Count::CopiedBytes.take() as f64 / stream.len() as f64
}

const MESSAGES: usize = 3;
const KIB: usize = 1024;

const SIZES: [(usize, usize); 8] = [
    (KIB, 1),
    (16 * KIB, 1448),
    (128 * KIB, 1448),
    (1024 * KIB, 1448),
    (KIB, 65_536),
    (128 * KIB, 65_536),
    (1024 * KIB, 65_536),
    (8 * KIB * KIB, 65_536),
];

#[test]
fn message_in_pieces_is_copied_once() {
    for (message, piece) in SIZES {
        let ratio = copied_per_byte(false, message, piece);
        println!("{message} bytes in pieces of {piece}: {ratio:.2}");
        assert!(
            ratio <= 1.0,
            "{message} bytes in pieces of {piece}: {ratio}"
        );
    }
}

/// Each byte is copied once into the record and once into the message. The
/// beginning of the next record is moved.
#[test]
fn sealed_message_in_pieces_is_copied_twice() {
    for (message, piece) in SIZES {
        let ratio = copied_per_byte(true, message, piece);
        println!("{message} bytes in pieces of {piece}: {ratio:.2}");
        assert!(
            ratio <= 2.1,
            "{message} bytes in pieces of {piece}: {ratio}"
        );
    }
}

/// The rest of a batch is copied once, and not again with each message.
#[test]
fn messages_taken_one_by_one_are_copied_once() {
    const COUNT: usize = 2000;
    for is_sealed in [false, true] {
        let (mut node, mut peer) = listening(Receiver::new(is_sealed, true));
        let mut stream = [&[0, 0, 0, 16][..], &[1; 16]].concat().repeat(COUNT);
        stream.resize(stream.len().next_multiple_of(RECORD), 0);
        let _ = Count::CopiedBytes.take();
        peer.write_all(&stream).unwrap();
        let patience = Duration::from_secs(30);
        let run = node.run_until(patience, |it, _| it.received == COUNT * 16);
        assert_eq!(run.unwrap(), RunEnd::Done);
        let ratio = Count::CopiedBytes.take() as f64 / stream.len() as f64;
        let most = if is_sealed { 2.1 } else { 1.1 };
        assert!(ratio <= most, "{ratio}");
    }
}

/// Counts how often a connection is looked up for a message that arrives alone.
#[test]
fn plain_message_takes_few_lookups() {
    let (mut node, mut peer) = listening(Receiver::new(false, false));
    let patience = Duration::from_secs(30);
    let mut lookups = Vec::new();
    for count in 1..=10 {
        peer.write_all(b"\0\0\0\x01x").unwrap();
        let _ = Count::Lookups.take();
        let run = node.run_until(patience, |it, _| it.received == count);
        assert_eq!(run.unwrap(), RunEnd::Done);
        lookups.push(Count::Lookups.take());
    }
    println!("{lookups:?}");
    assert!(
        lookups[1..].iter().all(|lookups| *lookups <= 6),
        "{lookups:?}"
    );
}
