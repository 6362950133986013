//! Frames of [yamux](https://github.com/hashicorp/yamux/blob/master/spec.md).
//!
//! ```text
//!   0         1      2        4           8          12
//!   ┌─────────┬──────┬────────┬───────────┬──────────┬──────────── ─ ─
//!   │ 0       │ kind │ flags  │ stream id │ length   │ data of a stream
//!   └─────────┴──────┴────────┴───────────┴──────────┴──────────── ─ ─
//!     version   big-endian, unsigned        of the data, or another number
//! ```

use peerloop::error::FramingError::{self, Malformed};
use peerloop::framing::{Decoded, Framer};

use crate::{Reason, prefixed};

pub const HEADER_LEN: usize = 12;

/// Number of bytes that an end may send on a new stream, before the other end
/// allows more.
pub const WINDOW: u32 = 256 * 1024;

pub const DATA: u8 = 0;
/// The length is the number of further bytes that the sender accepts.
pub const WINDOW_UPDATE: u8 = 1;
/// The length is any number, which the peer returns.
pub const PING: u8 = 2;
/// The length is a reason: 0 is a normal end, 1 an error of the peer.
pub const GO_AWAY: u8 = 3;

pub const SYN: u16 = 1;
pub const ACK: u16 = 2;
pub const FIN: u16 = 4;
pub const RST: u16 = 8;

/// The header of a frame: kind, flags, stream id, length.
pub struct Header(pub u8, pub u16, pub u32, pub u32);

impl Header {
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend([0, self.0]);
        out.extend(self.1.to_be_bytes());
        out.extend(self.2.to_be_bytes());
        out.extend(self.3.to_be_bytes());
    }

    pub fn read(bytes: &[u8; HEADER_LEN]) -> Result<Self, Reason> {
        let [0, kind @ DATA..=GO_AWAY, a, b, stream @ .., l, m, n, o] = *bytes else {
            return Err("no frame of yamux");
        };
        let (flags, length) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([l, m, n, o]));
        Ok(Self(kind, flags, u32::from_be_bytes(stream), length))
    }
}

/// The framing of the plaintext: at first the lines of a negotiation, then frames.
/// The first byte of a line is its length, which is not 0. The first byte of a
/// frame is the version, which is 0.
///
/// A received message is one of them, with its length or header. A sent message is
/// any number of them.
pub struct Frames;

impl Framer for Frames {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let mut rest = bytes;
        let end = match (bytes, bytes.first_chunk()) {
            ([0, ..], Some(header)) => match Header::read(header).map_err(Malformed)? {
                Header(DATA, _, _, length) => HEADER_LEN + length as usize,
                _ => HEADER_LEN,
            },
            ([0, ..], None) => HEADER_LEN,
            _ => match prefixed::take(&mut rest).map_err(Malformed)? {
                Some(_) => bytes.len() - rest.len(),
                None => bytes.len() + 1,
            },
        };
        if bytes.len() < end {
            return Ok(Decoded::Incomplete { at_least: end });
        }
        let body = 0..end;
        Ok(Decoded::Frame {
            body,
            consumed: end,
        })
    }

    fn encode(&mut self, frames: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(frames);
        Ok(())
    }
}
