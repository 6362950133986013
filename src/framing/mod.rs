//! The separation of messages on the wire.

mod codec;
mod custom;
mod header;
mod length;

pub use custom::{CustomFraming, Decoded, Framer};
pub use length::{ByteOrder, LengthPrefix};

pub(crate) use codec::{Codec, Flow, Outcome};
pub(crate) use header::FrameHeader;

/// How messages are separated on the wire.
///
/// The configuration of a node sets it; the options of a listener or of a
/// connect can set another one. Both ends of a connection must use the same
/// framing. A message of length zero is legal wherever the framing can express
/// it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Framing {
    /// A length, then that many bytes.
    LengthDelimited(LengthPrefix),
    /// No framing. The bytes of one read are one message, which is never empty;
    /// its boundaries have no meaning.
    Raw,
    /// Every message has exactly this many bytes, with nothing between them.
    Fixed(usize),
    /// Every message ends with this byte, which is not part of the message and
    /// must not occur in it.
    ///
    /// Lines are `Delimited(b'\n')`; a `\r` before the delimiter is part of the
    /// message. Bytes after the last delimiter are not a message: when the
    /// stream ends after them, the reason is
    /// [`DisconnectReason::Truncated`](crate::DisconnectReason::Truncated).
    Delimited(u8),
    /// A framing of the user; made by [`Framing::custom`].
    Custom(CustomFraming),
}

impl Framing {
    /// Returns a framing whose frames a [`Framer`] decodes and encodes.
    ///
    /// `make` is called twice for every connection: one framer decodes what
    /// arrives, the other one encodes what is sent. Each of them belongs to one
    /// connection and may keep state.
    ///
    /// A panic in `make` is a panic of the node's code: see
    /// [`OnPanic`](crate::config::OnPanic). If it is contained, an inbound
    /// connection that the framer was for is closed, and nothing is reported.
    /// In [`Net::connect`](crate::Net::connect) the panic unwinds into the
    /// caller.
    ///
    /// See [`Framer`] for an example.
    pub fn custom<F: Framer + 'static>(make: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self::Custom(CustomFraming::new(make))
    }
}

impl Default for Framing {
    /// Returns the framing of tokio-util's `LengthDelimitedCodec`: a length of
    /// four bytes, big-endian.
    fn default() -> Self {
        Self::LengthDelimited(LengthPrefix::Four(ByteOrder::BigEndian))
    }
}
