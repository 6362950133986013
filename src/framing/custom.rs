//! The trait that a framing of the user implements.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::FramingError;
use crate::panics::Contained;

/// Decodes and encodes the frames of one connection.
///
/// [`Framing::custom`](crate::framing::Framing::custom) takes a function that
/// returns a framer and calls it twice for every connection: one framer
/// decodes, the other one encodes. Both may keep state.
///
/// # Examples
///
/// One byte of length, which counts from 1, so that a frame is never empty:
///
/// ```
/// use peerloop::error::FramingError;
/// use peerloop::framing::{Decoded, Framer, Framing};
///
/// struct CountFromOne;
///
/// impl Framer for CountFromOne {
///     fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
///         let Some(&count) = bytes.first() else {
///             return Ok(Decoded::Incomplete { at_least: 1 });
///         };
///         let end = 2 + usize::from(count);
///         if bytes.len() < end {
///             return Ok(Decoded::Incomplete { at_least: end });
///         }
///         Ok(Decoded::Frame { body: 1..end, consumed: end })
///     }
///
///     fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
///         match body.len() {
///             0 => Err(FramingError::Malformed("an empty body")),
///             1..=256 => {
///                 wire.push((body.len() - 1) as u8);
///                 wire.extend_from_slice(body);
///                 Ok(())
///             }
///             len => Err(FramingError::TooLarge { len: len as u64, max: 256 }),
///         }
///     }
/// }
///
/// let framing = Framing::custom(|| CountFromOne);
/// # let _ = framing;
/// ```
pub trait Framer: Send {
    /// Looks for one frame at the start of `bytes`.
    ///
    /// After [`Decoded::Incomplete`] the next call gets the same bytes with
    /// more behind them. After [`Decoded::Frame`] it gets the bytes that follow
    /// the frame. A frame, its header included, may be as long as the maximum
    /// message length of the connection. The connection ends when more bytes
    /// than that have arrived without a frame, or when `at_least` exceeds it.
    ///
    /// # Errors
    ///
    /// Any [`FramingError`] ends the connection, with the reason that it names.
    /// No call follows it.
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError>;

    /// Appends the frame that carries `body` to `wire`, which may hold earlier
    /// frames.
    ///
    /// A frame that is longer than the maximum message length of the connection
    /// is removed again, and the send fails with
    /// [`SendError::TooLarge`](crate::SendError::TooLarge). A framer whose
    /// state changes with every frame must know that limit and return the error
    /// itself, because it is not told of the removal.
    ///
    /// # Errors
    ///
    /// The connection goes on after an error, and what was appended is removed.
    ///
    /// - [`FramingError::TooLarge`]: the send fails with
    ///   [`SendError::TooLarge`](crate::SendError::TooLarge).
    /// - [`FramingError::Malformed`]: the send fails with
    ///   [`SendError::Unframable`](crate::SendError::Unframable).
    ///
    /// # Panics
    ///
    /// A contained panic ends the connection, and the send fails with
    /// [`SendError::Closed`](crate::SendError::Closed); see
    /// [`OnPanic`](crate::config::OnPanic).
    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError>;
}

/// The framing that [`Framing::custom`](crate::framing::Framing::custom)
/// returns.
///
/// A clone shares the function that makes the framers.
#[derive(Clone)]
pub struct CustomFraming {
    make: Arc<Contained<dyn Fn() -> Box<dyn Framer> + Send + Sync>>,
}

impl CustomFraming {
    pub(super) fn new<F: Framer + 'static>(make: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(Contained::new(Box::new(move || Box::new(make())))),
        }
    }

    /// Returns a new framer, in its initial state.
    pub(crate) fn framer(&self) -> Box<dyn Framer> {
        (self.make)()
    }
}

impl fmt::Debug for CustomFraming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomFraming").finish_non_exhaustive()
    }
}

/// The result of [`Framer::decode`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Decoded {
    /// The bytes begin with a complete frame.
    Frame {
        /// The position of the message in the bytes given.
        body: Range<usize>,
        /// The length of the frame in bytes, header and trailer included. At
        /// least one.
        consumed: usize,
    },
    /// The frame at the start of the bytes is not complete.
    Incomplete {
        /// The number of bytes, from the start of the frame, that must have
        /// arrived before the next call. When the length is not known yet, one
        /// more than were given.
        at_least: usize,
    },
}
