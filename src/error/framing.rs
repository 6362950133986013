//! Errors of framings.

use std::error::Error;
use std::fmt;

/// The reason why bytes are not a valid frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FramingError {
    /// The message is longer than the maximum.
    TooLarge {
        /// The announced length in bytes, or the number of bytes that had
        /// arrived without an end.
        len: u64,
        /// The maximum length in bytes.
        max: usize,
    },
    /// The bytes are not a frame. Contains a description.
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
