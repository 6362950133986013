//! The trait for framings of the program.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::FramingError;
use crate::panics::Contained;

/// Decodes and encodes the frames of one connection.
///
/// [`Framing::custom`](crate::framing::Framing::custom) takes a function that
/// returns a framer. It is called twice for every connection: one framer
/// decodes, and the other one encodes. Both may keep state.
///
/// # Examples
///
/// A length prefix of one byte that counts from 1, so that a message is never
/// empty:
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
    /// Decodes one frame at the start of `bytes`.
    ///
    /// - After [`Decoded::Incomplete`], the next call gets the same bytes
    ///   followed by more. After
    ///   [`Net::set_max_message_len`](crate::Net::set_max_message_len) it may
    ///   get the same bytes only.
    /// - After [`Decoded::Frame`], the next call gets the bytes after the
    ///   frame.
    ///
    /// A frame, including its header, may be as long as
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len).
    /// The connection ends if that many bytes are not enough for a frame, or if
    /// `at_least` exceeds it.
    ///
    /// # Errors
    ///
    /// - Any [`FramingError`] ends the connection with the corresponding
    ///   [`DisconnectReason`](crate::DisconnectReason). The framer is not
    ///   called again.
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError>;

    /// Appends a frame that contains `body` to `wire`. `wire` may contain
    /// earlier frames.
    ///
    /// If the frame is longer than
    /// [`max_message_len`](crate::config::ConnectionConfig::max_message_len),
    /// it is removed, and the send fails with
    /// [`SendError::TooLarge`](crate::SendError::TooLarge). The framer does not
    /// learn of the removal. A framer whose state changes with every frame must
    /// therefore check the limit and return the error itself.
    ///
    /// # Errors
    ///
    /// After an error the connection stays open, and the bytes that were
    /// appended are removed.
    ///
    /// - [`FramingError::TooLarge`]: the send fails with
    ///   [`SendError::TooLarge`](crate::SendError::TooLarge).
    /// - [`FramingError::Malformed`]: the send fails with
    ///   [`SendError::Unframable`](crate::SendError::Unframable).
    ///
    /// # Panics
    ///
    /// A panic that is contained ends the connection, and the send fails with
    /// [`SendError::Closed`](crate::SendError::Closed); see
    /// [`OnPanic`](crate::config::OnPanic).
    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError>;
}

/// The framing that [`Framing::custom`](crate::framing::Framing::custom)
/// returns.
///
/// A clone shares the function that creates the framers.
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

    /// Returns a new framer in its initial state.
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
        /// The range of the message within the given bytes.
        body: Range<usize>,
        /// The length of the frame in bytes, including header and trailer. At
        /// least 1.
        consumed: usize,
    },
    /// The frame at the start of the bytes is not complete.
    Incomplete {
        /// The number of bytes, from the start of the frame, that must have
        /// arrived before the next call. If the length is not known yet, the
        /// number of given bytes plus one.
        at_least: usize,
    },
}
