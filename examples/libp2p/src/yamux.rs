//! Frames of [yamux](https://github.com/hashicorp/yamux/blob/master/spec.md).
//!
//! ```text
//!   0         1      2        4           8          12
//!   ┌─────────┬──────┬────────┬───────────┬──────────┬──────────── ─ ─
//!   │ version │ kind │ flags  │ stream id │ length   │ data of a stream
//!   └─────────┴──────┴────────┴───────────┴──────────┴──────────── ─ ─
//!     0         big-endian, unsigned        of the data, or another number
//! ```
//!
//! A header is read and written as three numbers of 32 bits. The first one is the
//! kind and the flags, because the version is 0.

use peerloop::error::FramingError::{self, Malformed};
use peerloop::framing::{Decoded, Framer};

use crate::prefixed;

pub const HEADER_LEN: usize = 12;

/// Number of bytes that an end may send on a new stream, before the other end
/// allows more.
pub const WINDOW: u32 = 256 * 1024;

/// Kinds of frames.
pub const DATA: u32 = 0 << 16;
/// The length is the number of further bytes that the sender accepts.
pub const WINDOW_UPDATE: u32 = 1 << 16;
/// A ping. The length is any number, which the peer returns.
pub const ECHO: u32 = 2 << 16;
/// The length is a reason: 0 is a normal end, 1 an error of the peer.
pub const GO_AWAY: u32 = 3 << 16;

/// Flags.
pub const SYN: u32 = 1;
pub const ACK: u32 = 2;
pub const FIN: u32 = 4;
pub const RST: u32 = 8;

/// Returns kind and flags, stream id, and length.
pub fn read_header(header: &[u8; HEADER_LEN]) -> [u32; 3] {
    [0, 4, 8].map(|at| u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[at + byte])))
}

/// Appends a header.
pub fn write_header(out: &mut Vec<u8>, first: u32, stream: u32, length: u32) {
    out.extend([first, stream, length].map(u32::to_be_bytes).as_flattened());
}

/// The framing of the plaintext: at first the lines of a negotiation, then frames.
/// The first byte of a line is its length, which is not 0. The first byte of a
/// frame is 0.
///
/// A received message is one of them, with its length or header. A sent message is
/// any number of them.
pub struct Frames;

impl Framer for Frames {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let mut rest = bytes;
        let consumed = match (bytes, bytes.first_chunk().map(read_header)) {
            ([0, ..], Some([..WINDOW_UPDATE, _, len])) => HEADER_LEN.saturating_add(len as usize),
            ([0, ..], _) => HEADER_LEN,
            _ if prefixed::take(&mut rest).map_err(Malformed)?.is_none() => bytes.len() + 1,
            _ => bytes.len() - rest.len(),
        };
        if bytes.len() < consumed {
            return Ok(Decoded::Incomplete { at_least: consumed });
        }
        let body = 0..consumed;
        Ok(Decoded::Frame { body, consumed })
    }

    fn encode(&mut self, frames: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(frames);
        Ok(())
    }
}
