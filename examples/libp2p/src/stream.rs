//! One stream: a negotiation, then ping or identify, with flow control below.
//!
//! ```text
//!   ┌──────────────────── `WINDOW` bytes of a stream ─────────────────────┐
//!   │ answers that wait for the peer │ to be returned │ the peer may send │
//!   └────────────────────────────────┴────────────────┴───────────────────┘
//!     `out`                                             `receive_window`
//! ```
//!
//! The middle is returned to the peer when it is half of the window. A peer that
//! sends and does not read uses up its window: hardly more than `WINDOW` bytes
//! wait.

use std::mem;
use std::time::Instant;

use peerloop::Direction::{self, Inbound, Outbound};
use ring::rand::{SecureRandom, SystemRandom};

use crate::multistream::Negotiation;
use crate::streams::Peer;
use crate::yamux::{ACK, DATA, FIN, Header, RST, SYN, WINDOW, WINDOW_UPDATE};
use crate::{Reason, identify, prefixed};

pub const PING: &str = "/ipfs/ping/1.0.0";
pub const IDENTIFY: &str = "/ipfs/id/1.0.0";

/// Number of pings.
const PINGS: u32 = 5;

/// Maximum number of bytes in a frame, so that streams take turns.
const CHUNK: usize = 16 * 1024;

pub struct Stream {
    negotiation: Negotiation,
    /// The beginning of something that has not arrived completely.
    input: Vec<u8>,
    /// Data that waits for `send_window`.
    out: Vec<u8>,
    /// This end says nothing after `out`, and ignores what comes.
    is_ending: bool,
    /// The number of the latest ping from this host, its data and time.
    ping: Option<(u32, [u8; 32], Instant)>,
    receive_window: u32,
    send_window: u32,
    /// The flag of the first frame from this end.
    owed: u16,
}

impl Stream {
    /// Returns a stream that this host (outbound) or the peer opens.
    pub fn new(direction: Direction, protocols: &'static [&'static str]) -> Self {
        let mut negotiation = Negotiation::new(direction, protocols);
        Self {
            out: mem::take(&mut negotiation.out),
            negotiation,
            input: Vec::new(),
            is_ending: false,
            ping: None,
            receive_window: WINDOW,
            send_window: WINDOW,
            owed: [SYN, ACK][usize::from(direction == Inbound)],
        }
    }

    /// Takes a frame of the peer.
    pub fn receive(&mut self, header: &Header, data: &[u8], peer: &Peer) -> Result<(), Reason> {
        let Header(kind, flags, _, length) = *header;
        if kind == DATA {
            let window = self.receive_window.checked_sub(length);
            self.receive_window = window.ok_or("more data than the window of a stream")?;
        } else {
            let window = self.send_window.checked_add(length);
            self.send_window = window.ok_or("a window that is too large")?;
        }
        if !self.is_ending {
            let input = [&mem::take(&mut self.input), data].concat();
            let mut rest = input.as_slice();
            self.talk(&mut rest, peer)?;
            self.input = rest.to_vec();
        }
        if flags & (FIN | RST) != 0 {
            if self.negotiation.direction == Outbound && !self.is_ending {
                return Err("a stream without an answer");
            }
            self.is_ending = true;
        }
        if flags & RST != 0 {
            self.out.clear();
        }
        Ok(())
    }

    /// Acts on what is complete at the start of `input`.
    fn talk(&mut self, input: &mut &[u8], peer: &Peer) -> Result<(), Reason> {
        self.negotiation.advance(input)?;
        self.out.append(&mut self.negotiation.out);
        match (self.negotiation.direction, self.negotiation.agreed) {
            (_, None) => {}
            (Inbound, Some(PING)) => self.out.extend_from_slice(mem::take(input)),
            (Inbound, Some(_)) => {
                prefixed::write(&mut self.out, &peer.own);
                self.is_ending = true;
            }
            (Outbound, Some(PING)) => self.ping(input, peer)?,
            (Outbound, Some(_)) => {
                if let Some(message) = prefixed::take(input)? {
                    println!("{}: {}", peer.info.addr, identify::to_text(message)?);
                    self.is_ending = true;
                }
            }
        }
        Ok(())
    }

    /// Takes the answer to a ping, if there was one, and sends the next.
    fn ping(&mut self, input: &mut &[u8], peer: &Peer) -> Result<(), Reason> {
        let (last, ping, sent) = self.ping.unwrap_or((0, [0; 32], Instant::now()));
        if last > 0 {
            let Some(pong) = input.split_off(..ping.len()) else {
                return Ok(());
            };
            if pong != ping {
                return Err("an answer to another ping");
            }
            println!("{}: ping {last}: {:.1?}", peer.info.addr, sent.elapsed());
        }
        let mut ping = [0; 32];
        let random = SystemRandom::new().fill(&mut ping);
        random.map_err(|_| "no random bytes")?;
        self.is_ending = last == PINGS;
        if !self.is_ending {
            self.out.extend(ping);
            self.ping = Some((last + 1, ping, Instant::now()));
        }
        Ok(())
    }

    /// Appends the frames that can be sent now. Returns whether the last frame is
    /// among them.
    pub fn send(&mut self, id: u32, out: &mut Vec<u8>) -> bool {
        let sendable = self.out.len().min(self.send_window as usize);
        self.send_window -= sendable as u32;
        for chunk in self.out[..sendable].chunks(CHUNK) {
            Header(DATA, mem::take(&mut self.owed), id, chunk.len() as u32).write(out);
            out.extend_from_slice(chunk);
        }
        self.out.drain(..sendable);
        let unused = self.out.len() as u32 + self.receive_window;
        let returned = WINDOW.saturating_sub(unused);
        if returned >= WINDOW / 2 {
            self.receive_window += returned;
            Header(WINDOW_UPDATE, mem::take(&mut self.owed), id, returned).write(out);
        }
        let has_ended = self.is_ending && self.out.is_empty();
        if has_ended {
            Header(DATA, mem::take(&mut self.owed) | FIN, id, 0).write(out);
        }
        has_ended
    }
}
