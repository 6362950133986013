//! Errors of sending.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a message was not queued. None of its bytes were taken, and the
/// connection is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The id is unknown or stale, or the connection is not established yet, is
    /// closing, or has closed its sending side.
    Closed,
    /// The queue of this connection, of the whole loop, or of commands from
    /// other threads, is full. For the first two,
    /// [`Handler::on_drain`](crate::Handler::on_drain) says when to try again.
    Full,
    /// The body is longer than
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len),
    /// or than the length prefix can say.
    TooLarge,
    /// The framing cannot carry this body: the wrong length for
    /// [`Framing::Fixed`](crate::framing::Framing::Fixed), an empty one for
    /// [`Framing::Raw`](crate::framing::Framing::Raw), the delimiter inside a
    /// body for [`Framing::Delimited`](crate::framing::Framing::Delimited), or
    /// an error of a custom framer.
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
