//! Errors of framings.

use std::error::Error;
use std::fmt;

/// Why bytes cannot be a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FramingError {
    /// The message is longer than allowed.
    TooLarge {
        /// The announced length, or how much had arrived without an end.
        len: u64,
        /// The maximum length.
        max: usize,
    },
    /// The bytes are no frame. The text says what is wrong with them.
    Malformed(&'static str),
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { len, max } => {
                write!(f, "a message of {len} bytes where {max} are allowed")
            }
            Self::Malformed(what) => write!(f, "malformed frame: {what}"),
        }
    }
}

impl Error for FramingError {}
