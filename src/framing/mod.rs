//! Where one message ends and the next begins.

mod codec;
mod custom;
mod header;
mod length;

use std::fmt;

pub use custom::{Decoded, Framer};
pub use length::{ByteOrder, LengthPrefix};

pub(crate) use codec::{Codec, Flow, Outcome};
pub(crate) use header::FrameHeader;

/// How messages are told apart on the wire.
///
/// Chosen per node in [`Config::framing`](crate::Config::framing), and per listener or dial in their options. Both
/// ends must agree. Frames of length zero are legal wherever the framing can say them.
#[derive(Debug)]
pub enum Framing {
    /// A length, then that many bytes.
    LengthDelimited(LengthPrefix),
    /// No framing: whatever one read brings is one message, never empty, and its boundaries mean nothing.
    Raw,
    /// Every message has exactly this many bytes; nothing else is on the wire.
    Fixed(usize),
    /// Every message ends with this byte, which is not part of it and must not occur in it. Lines are
    /// `Delimited(b'\n')`; a `\r` before it is part of the message. Bytes after the last delimiter are no message, and an
    /// end of stream after them is [`DisconnectReason::Truncated`](crate::DisconnectReason::Truncated).
    Delimited(u8),
    /// A framing of the user's own.
    Custom(Box<dyn Framer>),
}

impl Default for Framing {
    /// A 4-byte big-endian length, as tokio-util's `LengthDelimitedCodec` has it.
    fn default() -> Self {
        Self::LengthDelimited(LengthPrefix::Four(ByteOrder::BigEndian))
    }
}

impl Clone for Framing {
    fn clone(&self) -> Self {
        match self {
            Self::LengthDelimited(prefix) => Self::LengthDelimited(*prefix),
            Self::Raw => Self::Raw,
            Self::Fixed(len) => Self::Fixed(*len),
            Self::Delimited(byte) => Self::Delimited(*byte),
            Self::Custom(framer) => Self::Custom(framer.fresh()),
        }
    }
}

impl fmt::Debug for dyn Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Framer")
    }
}
