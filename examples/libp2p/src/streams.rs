//! The streams of a connection, with flow control for each.
//!
//! ```text
//!   ┌──────────────────── `WINDOW` bytes of a stream ─────────────────────┐
//!   │ answers that wait for the peer │ to be returned │ the peer may send │
//!   └────────────────────────────────┴────────────────┴───────────────────┘
//!     `waiting`                                         `receive_window`
//! ```
//!
//! The middle is returned to the peer when it is half of the window. A peer that
//! sends and does not read uses up its window: about `WINDOW` bytes wait on each
//! of `STREAMS_MAX` streams, not more.

use std::collections::HashMap;
use std::mem;

use peerloop::Direction;

use crate::Reason;
use crate::talk::{self, Talk};
use crate::yamux::*;

/// Maximum number of streams. A further one is reset.
pub const STREAMS_MAX: usize = 16;

/// Maximum number of bytes in a frame, so that the streams take turns.
const CHUNK: usize = 16 * 1024;

pub struct Streams {
    is_initiator: bool,
    streams: HashMap<u32, Stream>,
    /// What this host answers to identify.
    identify: Vec<u8>,
    /// Number of questions of this host without an answer.
    pub unanswered: u32,
    /// Frames to send.
    pub out: Vec<u8>,
}

struct Stream {
    talk: Talk,
    /// The flag of the first frame of this end.
    owed: u16,
    receive_window: u32,
    send_window: u32,
    /// Data that waits for `send_window`.
    waiting: Vec<u8>,
    /// This end ends after `waiting`.
    is_ending: bool,
    is_ended: bool,
    is_ended_by_peer: bool,
}

impl Streams {
    /// Opens the streams of this host, on which it asks what the peer is, and
    /// pings it. `identify` is what it answers to the same question.
    pub fn new(direction: Direction, identify: Vec<u8>) -> Self {
        let mut streams = Self {
            is_initiator: direction == Direction::Outbound,
            streams: HashMap::new(),
            identify,
            unanswered: 2,
            out: Vec::new(),
        };
        // The initiator has odd numbers.
        let first = 2 - u32::from(streams.is_initiator);
        for (id, protocol) in [(first, talk::IDENTIFY), (first + 2, talk::PING)] {
            let mut stream = Stream::new(Talk::new(Direction::Outbound, protocol), SYN);
            stream.talk.start(&mut stream.waiting);
            stream.send(id, &mut streams.out);
            streams.streams.insert(id, stream);
        }
        streams
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Takes a frame of the peer. Returns what the peer says, to be printed.
    pub fn receive(&mut self, frame: &[u8]) -> Result<Option<String>, Reason> {
        let (header, data) = frame.split_first_chunk().ok_or("no header")?;
        let header = Header::read(header).ok_or("no header")?;
        match header.kind {
            GO_AWAY => return Err("the peer goes away"),
            PING if header.flags & SYN != 0 => {
                write_header(&mut self.out, PING, ACK, 0, header.length);
            }
            PING => {}
            _ => return self.receive_on_stream(header, data),
        }
        Ok(None)
    }

    fn receive_on_stream(&mut self, head: Header, data: &[u8]) -> Result<Option<String>, Reason> {
        let id = head.stream;
        if head.flags & SYN != 0 {
            self.open(id)?;
        }
        let Some(mut stream) = self.streams.remove(&id) else {
            return Ok(None); // A stream that this host has reset.
        };
        let is_asking = stream.talk.is_asking();
        let is_end = head.flags & FIN != 0;
        if head.flags & RST != 0 {
            return if is_asking {
                Err("the peer refuses a stream")
            } else {
                Ok(None)
            };
        }
        stream.account(head)?;
        let reply = match stream.talk.receive(data, is_end, &self.identify) {
            Ok(reply) => reply,
            Err(reason) if is_asking => return Err(reason),
            Err(_) => {
                write_header(&mut self.out, WINDOW_UPDATE, RST, id, 0);
                return Ok(None);
            }
        };
        self.unanswered -= u32::from(is_asking && reply.is_end);
        stream.waiting.extend(reply.data);
        stream.is_ending |= reply.is_end;
        stream.is_ended_by_peer |= is_end;
        stream.send(id, &mut self.out);
        if !(stream.is_ended && stream.is_ended_by_peer) {
            self.streams.insert(id, stream);
        }
        Ok(reply.news)
    }

    /// Adds a stream of the peer, or resets it if there are too many.
    fn open(&mut self, id: u32) -> Result<(), Reason> {
        let is_theirs = id != 0 && (id % 2 == 0) == self.is_initiator;
        if !is_theirs || self.streams.contains_key(&id) {
            return Err("a new stream with a wrong number");
        }
        if self.streams.len() < STREAMS_MAX {
            let talk = Talk::new(Direction::Inbound, talk::PROTOCOLS);
            self.streams.insert(id, Stream::new(talk, ACK));
        } else {
            write_header(&mut self.out, WINDOW_UPDATE, RST, id, 0);
        }
        Ok(())
    }
}

impl Stream {
    fn new(talk: Talk, owed: u16) -> Self {
        Self {
            talk,
            owed,
            receive_window: WINDOW,
            send_window: WINDOW,
            waiting: Vec::new(),
            is_ending: false,
            is_ended: false,
            is_ended_by_peer: false,
        }
    }

    /// Changes the windows according to a frame of the peer.
    fn account(&mut self, head: Header) -> Result<(), Reason> {
        if head.kind == WINDOW_UPDATE {
            let window = self.send_window.checked_add(head.length);
            self.send_window = window.ok_or("a window that is too large")?;
        } else if self.is_ended_by_peer {
            return Err("data after the end of a stream");
        } else {
            let window = self.receive_window.checked_sub(head.length);
            self.receive_window = window.ok_or("more data than the window of a stream")?;
        }
        Ok(())
    }

    /// Appends the frames that can be sent now.
    fn send(&mut self, id: u32, out: &mut Vec<u8>) {
        let sendable = self.waiting.len().min(self.send_window as usize);
        self.send_window -= sendable as u32;
        for chunk in self.waiting[..sendable].chunks(CHUNK) {
            write_header(out, DATA, mem::take(&mut self.owed), id, chunk.len() as u32);
            out.extend_from_slice(chunk);
        }
        self.waiting.drain(..sendable);
        if self.is_ending && !self.is_ended && self.waiting.is_empty() {
            self.is_ended = true;
            write_header(out, DATA, mem::take(&mut self.owed) | FIN, id, 0);
        }
        let taken = self.waiting.len() as u32 + self.receive_window;
        let returned = WINDOW.saturating_sub(taken);
        if returned >= WINDOW / 2 && !self.is_ended_by_peer {
            self.receive_window += returned;
            write_header(out, WINDOW_UPDATE, mem::take(&mut self.owed), id, returned);
        }
    }
}
