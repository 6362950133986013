//! The works that are counted: a node at one end of a connection, and as little
//! as possible at the other.

use std::error::Error;
use std::fmt;
use std::hint::black_box;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::str::FromStr;
use std::time::Duration;

use peerloop::config::TurnBudget;
use peerloop::{Config, ConnId, Handler, Net, Node};

/// Bytes that the other end writes or reads at once.
const BLOCK: usize = 64 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// The node receives. The other end writes blocks of frames.
    Receive,
    /// The node sends while its connection is writable. The other end reads.
    Send,
    /// The node answers each message with itself.
    Echo,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Echo => "echo",
        })
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Receive, Self::Send, Self::Echo];
        let found = all.into_iter().find(|work| work.to_string() == text);
        found.ok_or_else(|| format!("no work is called {text}"))
    }
}

struct Counter {
    work: Work,
    body: Vec<u8>,
    left_to_send: u64,
    received: u64,
}

impl Handler for Counter {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.on_drain(net, conn);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        while self.left_to_send > 0 && net.is_writable(conn) {
            net.send(conn, &self.body).expect("it is writable");
            self.left_to_send -= 1;
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.received += 1;
        if self.work == Work::Echo {
            net.send(conn, message).expect("the other end reads");
        } else {
            black_box(message);
        }
    }
}

impl Work {
    /// Does the work.
    pub(crate) fn run(self, size: usize, messages: u64) -> Result<(), Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let handler = Counter {
            work: self,
            body: vec![b'x'; size],
            left_to_send: if self == Self::Send { messages } else { 0 },
            received: 0,
        };
        // Under valgrind the node is about fifty times slower, and a visit
        // would end early. The clock is read as often as with the default.
        let budget = TurnBudget {
            max_visit_time: Duration::from_secs(60),
            max_turn_time: Duration::from_secs(600),
            ..TurnBudget::default()
        };
        let config = Config {
            budget,
            ..Config::default()
        };
        let mut node = Node::new(config, handler)?;
        node.net().connect(listener.local_addr()?)?;
        turn(&mut node)?;
        let (peer, _) = listener.accept()?;
        peer.set_nonblocking(true)?;
        let mut other = Other::new(peer, self, size, messages);
        for _ in 0..PATIENCE {
            other.write()?;
            turn(&mut node)?;
            other.read()?;
            let is_received = self == Self::Send || node.handler().received == messages;
            if is_received && other.is_done() {
                return Ok(());
            }
        }
        Err("the work did not end".into())
    }
}

/// Maximum number of turns.
const PATIENCE: usize = 10_000_000;

/// The other end, which does not interpret the bytes.
struct Other {
    peer: TcpStream,
    block: Vec<u8>,
    /// Number of written bytes of the block.
    offset: usize,
    left_to_write: u64,
    left_to_read: u64,
    buffer: Vec<u8>,
}

impl Other {
    fn new(peer: TcpStream, work: Work, size: usize, messages: u64) -> Self {
        let bytes = messages * (4 + size as u64);
        Self {
            peer,
            block: block_of(size),
            offset: 0,
            left_to_write: if work == Work::Send { 0 } else { bytes },
            left_to_read: if work == Work::Receive { 0 } else { bytes },
            buffer: vec![0; BLOCK],
        }
    }

    fn is_done(&self) -> bool {
        self.left_to_write == 0 && self.left_to_read == 0
    }

    fn write(&mut self) -> Result<(), Box<dyn Error>> {
        let rest = &self.block[self.offset..];
        let rest = &rest[..rest.len().min(self.left_to_write as usize)];
        let written = or_nothing(if rest.is_empty() {
            Ok(0)
        } else {
            self.peer.write(rest)
        })?;
        self.left_to_write -= written as u64;
        self.offset = (self.offset + written) % self.block.len();
        Ok(())
    }

    fn read(&mut self) -> Result<(), Box<dyn Error>> {
        if self.left_to_read > 0 {
            let read = or_nothing(self.peer.read(&mut self.buffer))?;
            self.left_to_read -= read as u64;
        }
        Ok(())
    }
}

fn turn(node: &mut Node<Counter>) -> Result<(), Box<dyn Error>> {
    let _ = node.turn(Some(Duration::ZERO))?;
    Ok(())
}

/// Returns as many frames as fit a block.
fn block_of(size: usize) -> Vec<u8> {
    let mut frame = (size as u32).to_be_bytes().to_vec();
    frame.resize(4 + size, b'x');
    frame.repeat(BLOCK / frame.len())
}

/// Returns zero if the socket is full or empty.
fn or_nothing(moved: io::Result<usize>) -> io::Result<usize> {
    match moved {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
