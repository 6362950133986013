//! The streams of a connection: those of this host, which asks what the peer is
//! and pings it, and those of the peer. Each has flow control.
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

use crate::{Checked, identify, multistream::Negotiation, prefixed, yamux::*};

pub const PING: &str = "/ipfs/ping/1.0.0";
pub const IDENTIFY: &str = "/ipfs/id/1.0.0";

/// Number of pings.
const PINGS: u32 = 5;

/// Maximum number of streams. A further one is reset.
pub const STREAMS_MAX: usize = 16;

/// The other end of a connection.
pub struct Peer {
    pub info: peerloop::ConnInfo,
    /// What this host says to it about itself.
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
        let (streams, asked, out) = (HashMap::new(), 0, Vec::new());
        Self {
            peer,
            negotiation,
            streams,
            asked,
            out,
        }
    }

    /// Returns whether the peer has answered everything.
    pub fn outcome(&self) -> Checked {
        let is_asking = self.streams.keys().any(|id| self.is_own(*id));
        if is_asking || self.negotiation.agreed.is_none() {
            Err("no answer")
        } else {
            Ok(())
        }
    }

    /// Streams of the end that connected have odd numbers.
    fn is_own(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.peer.info.direction == Outbound)
    }

    /// Takes a line or a frame, or nothing at the start.
    pub fn receive(&mut self, mut message: &[u8]) -> Checked {
        if self.negotiation.agreed.is_none() {
            self.negotiation.advance(&mut message)?;
            self.out.append(&mut self.negotiation.out);
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
            ECHO..GO_AWAY if first & SYN == 0 => {}
            ECHO..GO_AWAY => write_header(&mut self.out, ECHO | ACK, 0, length),
            GO_AWAY => return Err("the peer goes away"),
            _ => return Err("a line instead of a frame"),
        }
        // The peer may not have begun yet. It is waited for until the idle timeout.
        if self.asked > 1 && self.streams.is_empty() {
            Err("all is said")
        } else {
            Ok(())
        }
    }

    /// Opens a stream, or accepts one of the peer (inbound).
    fn open(&mut self, id: u32, direction: Direction, protocols: &'static [&'static str]) {
        self.asked += usize::from(direction == Inbound);
        let flag = if direction == Outbound { SYN } else { ACK };
        write_header(&mut self.out, WINDOW_UPDATE | flag, id, 0);
        let mut negotiation = Negotiation::new(direction, protocols);
        let out = mem::take(&mut negotiation.out);
        let mut stream = Stream {
            negotiation,
            out,
            send_window: WINDOW,
            ..Stream::default()
        };
        stream.send(id, &mut self.out);
        self.streams.insert(id, stream);
    }

    fn receive_on(&mut self, [first, id, length]: [u32; 3], data: &[u8]) -> Checked {
        let is_wrong = id == 0 || self.is_own(id) || self.streams.contains_key(&id);
        match self.streams.len() {
            _ if first & SYN == 0 => {}
            _ if is_wrong => return Err("a new stream with a wrong number"),
            ..STREAMS_MAX => self.open(id, Inbound, &[PING, IDENTIFY]),
            _ => write_header(&mut self.out, WINDOW_UPDATE | RST, id, 0),
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
            let is_error = self.outcome().is_err();
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
    /// The latest ping from this host, its time, and the number of answers.
    ping: Option<([u8; 32], Instant)>,
    pongs: u32,
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
        WINDOW
            .checked_sub(self.unreturned)
            .ok_or("more data than the window of a stream")?;
        if !self.is_ending {
            let mut rest = &[&mem::take(&mut self.input), data].concat()[..];
            self.talk(&mut rest, peer)?;
            self.input = rest.to_vec();
        }
        let is_end = flags & (FIN | RST) != 0;
        if is_end && self.negotiation.is_proposing && !self.is_ending {
            return Err("a stream without an answer");
        }
        self.is_ending |= is_end;
        Ok(())
    }

    /// Acts on what is complete at the start of `input`.
    fn talk(&mut self, input: &mut &[u8], peer: &Peer) -> Checked {
        self.negotiation.advance(input)?;
        self.out.append(&mut self.negotiation.out);
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
        if let Some((ping, sent)) = &self.ping {
            match input.split_off(..ping.len()) {
                None => return Ok(()),
                Some(pong) if pong != ping => return Err("an answer to another ping"),
                Some(_) => self.pongs += 1,
            }
            println!(
                "{}: ping {}: {:.1?}",
                peer.info.addr,
                self.pongs,
                sent.elapsed()
            );
        }
        self.is_ending = self.pongs == PINGS;
        if !self.is_ending {
            let ping = array::from_fn(|_| fastrand::u8(..));
            self.ping = Some((ping, Instant::now()));
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
