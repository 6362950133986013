//! Framings, which separate messages on the wire.

mod codec;
mod custom;
mod header;
mod length;

pub use custom::{CustomFraming, Decoded, Framer};
pub use length::{ByteOrder, LengthPrefix};

pub(crate) use codec::{Codec, Flow, Outcome};
pub(crate) use header::FrameHeader;

/// The framing of a connection: how messages are separated on the wire.
///
/// Set by
/// [`ConnectionConfig::framing`](crate::config::ConnectionConfig::framing), for
/// a node, a listener or one connect. [`Net::set_framing`](crate::Net::set_framing)
/// changes it during a connection. Both ends of a connection must use the same
/// framing. Empty messages are valid if the framing can represent them.
///
/// Default: `LengthDelimited(LengthPrefix::Four(ByteOrder::BigEndian))`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Framing {
    /// Every message follows its length.
    LengthDelimited(LengthPrefix),
    /// No framing. A message consists of bytes that were read together, at most
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len).
    /// It is never empty, and its boundaries have no meaning.
    Raw,
    /// Every message has exactly this number of bytes. Nothing is sent between
    /// messages.
    Fixed(usize),
    /// Every message is followed by this byte, which must not occur in a
    /// message.
    ///
    /// For lines, use `Delimited(b'\n')`. A `\r` before the delimiter is a part
    /// of the message. Bytes after the last delimiter are not a message. If the
    /// stream ends after them, the reason is
    /// [`DisconnectReason::Truncated`](crate::DisconnectReason::Truncated).
    Delimited(u8),
    /// A framing of the program, created by [`Framing::custom`].
    Custom(CustomFraming),
}

impl Framing {
    /// Returns a framing whose frames a [`Framer`] decodes and encodes.
    ///
    /// `make` is called twice for every connection, and twice for every
    /// [`Net::set_framing`](crate::Net::set_framing). One framer decodes received
    /// bytes, and the other one encodes sent messages. A framer belongs to one
    /// connection and may keep state.
    ///
    /// A panic in `make` is handled like a panic of a callback; see
    /// [`OnPanic`](crate::config::OnPanic). If it is contained, the inbound
    /// connection is closed without a callback. In
    /// [`Net::connect`](crate::Net::connect) it unwinds into the caller. In
    /// [`Net::set_framing`](crate::Net::set_framing) it ends that connection.
    ///
    /// See [`Framer`] for an example.
    pub fn custom<F: Framer + 'static>(make: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self::Custom(CustomFraming::new(make))
    }
}

impl Default for Framing {
    /// Returns a 4-byte big-endian length prefix, as in tokio-util's
    /// `LengthDelimitedCodec`.
    fn default() -> Self {
        Self::LengthDelimited(LengthPrefix::Four(ByteOrder::BigEndian))
    }
}
