//! The seam for a user's own framing.

use std::ops::Range;

use crate::error::FramingError;

/// A framing of the user's own; see [`Framing::Custom`](crate::Framing::Custom).
///
/// Two instances are made for every connection with [`Framer::fresh`], one that decodes and one that encodes, so
/// both may keep state.
///
/// # Examples
///
/// One byte of length, counted from 1 so that a frame is never empty:
///
/// ```
/// use peerloop::{Decoded, FramingError, Framer, Framing};
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
///
///     fn fresh(&self) -> Box<dyn Framer> {
///         Box::new(CountFromOne)
///     }
/// }
///
/// let framing = Framing::Custom(Box::new(CountFromOne));
/// # let _ = framing;
/// ```
pub trait Framer: Send + Sync {
    /// Looks for one frame at the start of `bytes`.
    ///
    /// Called again with the same bytes and more behind them after [`Decoded::Incomplete`], and with what follows
    /// the frame after [`Decoded::Frame`]. A frame, its header included, may be as long as `max_frame`; the loop
    /// ends the connection when more than that arrived without a frame, or is asked for.
    ///
    /// # Errors
    ///
    /// Any [`FramingError`] ends this connection with the reason that it names. It is the last call.
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError>;

    /// Appends the frame that carries `body` to `wire`, which may hold earlier frames.
    ///
    /// A frame that turns out longer than `max_frame` is taken back too, with
    /// [`SendError::TooLarge`](crate::SendError::TooLarge). A framer that counts what it encodes has to know that limit
    /// and refuse by itself, since nothing tells it.
    ///
    /// # Errors
    ///
    /// [`FramingError::TooLarge`] becomes [`SendError::TooLarge`](crate::SendError::TooLarge) and
    /// [`FramingError::Malformed`] becomes [`SendError::Unframable`](crate::SendError::Unframable); what was appended
    /// is taken back, and the connection goes on. After a panic it does not, and the send answers
    /// [`SendError::Closed`](crate::SendError::Closed); see [`Panics`](crate::Panics).
    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError>;

    /// Makes an instance for a new connection, in its initial state.
    fn fresh(&self) -> Box<dyn Framer>;
}

/// What [`Framer::decode`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A whole frame.
    Frame {
        /// Where the message lies in the bytes given.
        body: Range<usize>,
        /// How many of the bytes given the frame takes, header and trailer included; at least one.
        consumed: usize,
    },
    /// Not a whole frame yet.
    Incomplete {
        /// How many bytes must be there, from the start of the frame, before it is worth asking again. When in
        /// doubt, one more than were given.
        at_least: usize,
    },
}
