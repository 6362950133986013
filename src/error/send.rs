//! Errors of sending.

use std::error::Error;
use std::fmt;
use std::io;

/// The reason why a message was not queued.
///
/// No byte of the message is sent, and the connection stays open unless the
/// variant states otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The id is unknown or stale, or the connection is not established yet, is
    /// closing, or has closed its sending side.
    Closed,
    /// A limit on queued bytes is reached:
    /// - the limit of the connection or of the loop.
    ///   [`Handler::on_drain`](crate::Handler::on_drain) is called when there
    ///   is room. With
    ///   [`OnFull::Disconnect`](crate::config::OnFull::Disconnect) a full queue
    ///   of the connection ends it;
    /// - the limit of the command queue, for sends from other threads and
    ///   shards. No callback follows.
    Full,
    /// The body is longer than
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len),
    /// or than the length prefix can represent.
    TooLarge,
    /// The framing cannot represent the body:
    /// - [`Framing::Fixed`](crate::framing::Framing::Fixed) and a different
    ///   length;
    /// - [`Framing::Raw`](crate::framing::Framing::Raw) and an empty body;
    /// - [`Framing::Delimited`](crate::framing::Framing::Delimited) and a body
    ///   that contains the delimiter;
    /// - an error of a custom framer.
    Unframable,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is not open for sending",
            Self::Full => "the queue is full",
            Self::TooLarge => "the body is longer than a message may be",
            Self::Unframable => "the framing cannot carry this body",
        })
    }
}

impl Error for SendError {}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::Closed => io::ErrorKind::NotConnected,
            SendError::Full => io::ErrorKind::WouldBlock,
            SendError::TooLarge | SendError::Unframable => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
