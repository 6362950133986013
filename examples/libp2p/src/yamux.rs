//! Frames of [yamux](https://github.com/hashicorp/yamux/blob/master/spec.md), and
//! the lines before them, with which both ends agree on it.
//!
//! ```text
//!   0         1      2        4           8          12
//!   ┌─────────┬──────┬────────┬───────────┬──────────┬──────────── ─ ─
//!   │ version │ kind │ flags  │ stream id │ length   │ data of a stream
//!   └─────────┴──────┴────────┴───────────┴──────────┴──────────── ─ ─
//!     big-endian, unsigned                  of the data, or another number
//! ```

use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer};

use crate::multistream::take_prefixed;

pub const YAMUX: &str = "/yamux/1.0.0";

pub const HEADER_LEN: usize = 12;

/// Number of bytes that an end may send on a new stream, before the other end
/// allows more. A frame with more data breaks this rule on any stream.
pub const WINDOW: u32 = 256 * 1024;

pub const DATA: u8 = 0;
/// The length is the number of further bytes that the sender accepts.
pub const WINDOW_UPDATE: u8 = 1;
/// The length is any number, which is returned.
pub const PING: u8 = 2;
/// The length is the reason.
pub const GO_AWAY: u8 = 3;

pub const SYN: u16 = 1;
pub const ACK: u16 = 2;
pub const FIN: u16 = 4;
pub const RST: u16 = 8;

/// The header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub kind: u8,
    pub flags: u16,
    pub stream: u32,
    pub length: u32,
}

impl Header {
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let [
            0,
            kind @ DATA..=GO_AWAY,
            a,
            b,
            s0,
            s1,
            s2,
            s3,
            l0,
            l1,
            l2,
            l3,
        ] = *bytes
        else {
            return None;
        };
        Some(Self {
            kind,
            flags: u16::from_be_bytes([a, b]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

/// Appends the header of a frame.
pub fn write_header(out: &mut Vec<u8>, kind: u8, flags: u16, stream: u32, length: u32) {
    out.extend([0, kind]);
    out.extend(flags.to_be_bytes());
    out.extend(stream.to_be_bytes());
    out.extend(length.to_be_bytes());
}

/// The framing of the plaintext. A received message is a line or a frame, with its
/// length or header. A sent message is any number of them.
#[derive(Default)]
pub struct Frames {
    /// The lines are over.
    is_yamux: bool,
}

impl Framer for Frames {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let mut rest = bytes;
        let end = if !self.is_yamux {
            let Some(line) = take_prefixed(&mut rest).map_err(FramingError::Malformed)? else {
                let at_least = bytes.len() + 1;
                return Ok(Decoded::Incomplete { at_least });
            };
            // Both ends send the name of the protocol last.
            self.is_yamux = line.strip_suffix(b"\n") == Some(YAMUX.as_bytes());
            bytes.len() - rest.len()
        } else if let Some(header) = bytes.first_chunk() {
            let header = Header::read(header).ok_or(FramingError::Malformed("not yamux"))?;
            match header.length {
                _ if header.kind != DATA => HEADER_LEN,
                len if len <= WINDOW => HEADER_LEN + len as usize,
                len => {
                    let (len, max) = (len.into(), WINDOW as usize);
                    return Err(FramingError::TooLarge { len, max });
                }
            }
        } else {
            HEADER_LEN
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
