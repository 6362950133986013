//! The streams of a connection. This host opens two, to identify and to ping the
//! peer. The peer opens others. Each stream has flow control.
//!
//! ```text
//!   ┌───────────────────── `WINDOW` bytes of a stream ────────────────────┐
//!   │ answers that wait for the peer │ to be returned │ the peer may send │
//!   └────────────────────────────────┴────────────────┴───────────────────┘
//!     `out`
//!     `unreturned` ──────────────────────────────────►
//! ```
//!
//! The middle is returned to the peer when it is half of the window. A peer that
//! sends and does not read uses up its window: hardly more than `WINDOW` bytes
//! wait on each of `STREAMS_MAX` streams.

use std::{array, collections::HashMap, mem, time::Instant};

use peerloop::Direction::{self, Inbound, Outbound};

use crate::{Checked, check, identify, multistream::Negotiation, prefixed, yamux::*};

pub const PING: &str = "/ipfs/ping/1.0.0";
pub const IDENTIFY: &str = "/ipfs/id/1.0.0";

/// Number of pings.
const PINGS: usize = 5;

/// Maximum number of streams. A further one is reset.
pub const STREAMS_MAX: usize = 16;

/// The other end of a connection.
pub struct Peer {
    pub info: peerloop::ConnInfo,
    /// The answer of this host to identify.
    pub own: Vec<u8>,
}

pub struct Streams {
    peer: Peer,
    /// Both ends agree on yamux.
    negotiation: Negotiation,
    streams: HashMap<u32, Stream>,
    /// Number of streams that the peer has opened.
    asked: usize,
    /// Lines and frames to send.
    pub out: Vec<u8>,
}

impl Streams {
    pub fn new(peer: Peer) -> Self {
        let negotiation = Negotiation::new(peer.info.direction, &["/yamux/1.0.0"]);
        let mut out = Vec::new();
        negotiation.propose(&mut out);
        Self {
            peer,
            negotiation,
            streams: HashMap::new(),
            asked: 0,
            out,
        }
    }

    /// Returns whether the peer has answered everything.
    pub fn is_answered(&self) -> bool {
        self.negotiation.agreed.is_some() && !self.streams.keys().any(|id| self.is_own(*id))
    }

    /// Streams of the end that connected have odd numbers.
    fn is_own(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.peer.info.direction == Outbound)
    }

    /// Takes a line or a frame, or nothing at the start.
    pub fn receive(&mut self, mut message: &[u8]) -> Checked {
        if self.negotiation.agreed.is_none() {
            self.negotiation.advance(&mut message, &mut self.out)?;
            if self.negotiation.agreed.is_some() {
                let first = if self.is_own(1) { 1 } else { 2 };
                self.open(first, Outbound, &[IDENTIFY]);
                self.open(first + 2, Outbound, &[PING]);
            }
            return Ok(());
        }
        let (header, data) = message.split_first_chunk().ok_or("no frame")?;
        let [first, id, length] = read_header(header);
        match first {
            ..ECHO => self.receive_on([first, id, length], data)?,
            _ if first == ECHO | SYN => write_header(&mut self.out, ECHO | ACK, 0, length),
            GO_AWAY => return Err("the peer goes away"),
            _ => return Err("an unexpected frame"),
        }
        // A peer that has not asked yet has time until the idle timeout.
        check(self.asked < 2 || !self.streams.is_empty(), "all has ended")
    }

    /// Opens a stream, or accepts one of the peer (inbound).
    fn open(&mut self, id: u32, direction: Direction, protocols: &'static [&'static str]) {
        self.asked += usize::from(direction == Inbound);
        let flag = if direction == Outbound { SYN } else { ACK };
        write_header(&mut self.out, WINDOW_UPDATE | flag, id, 0);
        let mut stream = Stream {
            negotiation: Negotiation::new(direction, protocols),
            send_window: WINDOW,
            ..Stream::default()
        };
        stream.negotiation.propose(&mut stream.out);
        stream.send(id, &mut self.out);
        self.streams.insert(id, stream);
    }

    fn receive_on(&mut self, [first, id, length]: [u32; 3], data: &[u8]) -> Checked {
        if first & SYN != 0 {
            let is_new = id != 0 && !self.is_own(id) && !self.streams.contains_key(&id);
            check(is_new, "a new stream with a wrong number")?;
            match self.streams.len() {
                ..STREAMS_MAX => self.open(id, Inbound, &[PING, IDENTIFY]),
                _ => write_header(&mut self.out, WINDOW_UPDATE | RST, id, 0),
            }
        }
        // Other streams have ended here, and the peer did not know it yet.
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.receive(first, length, data, &self.peer)?;
            if stream.send(id, &mut self.out) || first & RST != 0 {
                self.streams.remove(&id);
                write_header(&mut self.out, DATA | FIN, id, 0);
            }
        }
        Ok(())
    }

    /// Returns the last frame, after what is to be sent before it.
    pub fn go_away(mut self) -> Vec<u8> {
        if self.negotiation.agreed.is_some() {
            let is_error = !self.is_answered();
            write_header(&mut self.out, GO_AWAY, 0, is_error.into());
        }
        self.out
    }
}

/// One stream: a negotiation, and then ping or identify.
#[derive(Default)]
struct Stream {
    negotiation: Negotiation,
    /// The beginning of something that has not arrived completely.
    input: Vec<u8>,
    /// Data that waits for `send_window`.
    out: Vec<u8>,
    /// This end says nothing after `out`, and ignores what comes.
    is_ending: bool,
    /// The pings from this host, and their times. All but the last one are answered.
    pings: Vec<([u8; 32], Instant)>,
    /// Received data that was not added to the peer's window again.
    unreturned: u32,
    send_window: u32,
}

impl Stream {
    /// Takes a frame of the peer. Its length is that of the data, or of what is
    /// added to the window.
    fn receive(&mut self, flags: u32, length: u32, data: &[u8], peer: &Peer) -> Checked {
        self.send_window = self.send_window.saturating_add(length - data.len() as u32);
        self.unreturned += data.len() as u32;
        check(self.unreturned <= WINDOW, "more data than the window")?;
        if !self.is_ending {
            let mut rest = &[&mem::take(&mut self.input), data].concat()[..];
            self.talk(&mut rest, peer)?;
            self.input = rest.to_vec();
        }
        let is_end = flags & (FIN | RST) != 0;
        let is_asking = self.negotiation.is_proposing && !self.is_ending;
        self.is_ending |= is_end;
        check(!(is_end && is_asking), "a stream without an answer")
    }

    /// Acts on what is complete at the start of `input`.
    fn talk(&mut self, input: &mut &[u8], peer: &Peer) -> Checked {
        self.negotiation.advance(input, &mut self.out)?;
        match (self.negotiation.agreed, self.negotiation.is_proposing) {
            (None, _) => {}
            (Some(PING), false) => self.out.extend_from_slice(mem::take(input)),
            (Some(_), false) => {
                prefixed::write(&mut self.out, &peer.own);
                self.is_ending = true;
            }
            (Some(PING), true) => self.ping(input, peer)?,
            (Some(_), true) => {
                if let Some(message) = prefixed::take(input)? {
                    println!("{}: {}", peer.info.addr, identify::to_text(message)?);
                    self.is_ending = true;
                }
            }
        }
        Ok(())
    }

    /// Takes the answer to a ping, if there was one, and sends the next.
    fn ping(&mut self, input: &mut &[u8], peer: &Peer) -> Checked {
        if let Some((ping, sent)) = self.pings.last() {
            match input.split_off(..ping.len()) {
                None => return Ok(()),
                Some(pong) => check(pong == ping, "an answer to another ping")?,
            }
            let (addr, time) = (peer.info.addr, sent.elapsed());
            println!("{addr}: ping {}: {time:.1?}", self.pings.len());
        }
        self.is_ending = self.pings.len() == PINGS;
        if !self.is_ending {
            let ping = array::from_fn(|_| fastrand::u8(..));
            self.pings.push((ping, Instant::now()));
            self.out.extend(ping);
        }
        Ok(())
    }

    /// Appends the frames that can be sent now. Returns whether nothing is left.
    fn send(&mut self, id: u32, out: &mut Vec<u8>) -> bool {
        let sendable = self.out.len().min(self.send_window as usize);
        self.send_window -= sendable as u32;
        if sendable > 0 {
            write_header(out, DATA, id, sendable as u32);
            out.extend(self.out.drain(..sendable));
        }
        let returned = self.unreturned.saturating_sub(self.out.len() as u32);
        if returned >= WINDOW / 2 {
            self.unreturned -= returned;
            write_header(out, WINDOW_UPDATE, id, returned);
        }
        self.is_ending && self.out.is_empty()
    }
}
