//! The loop over frames. It is compiled once for each kind of framing, and the
//! kind is chosen once for each batch of bytes.

use super::Framing;
use super::custom::{Decoded, Framer};
use super::header::FrameHeader;
use super::length::{ByteOrder, LengthPrefix, LengthReader, ReadLength};
use crate::error::{FramingError, SendError};
use crate::panics::Contained;

/// Whether decoding continues after a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    Continue,
    Stop,
}

/// The result of [`Codec::decode`] for a batch of bytes.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Batch {
    /// The length of the delivered frames from the start of the batch, in
    /// bytes. The bytes after them must be kept.
    pub(crate) consumed: usize,
    pub(crate) outcome: Outcome,
}

/// The reason why a batch ended.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The rest is not a complete frame. It need not be decoded again before it
    /// has `need` bytes, which is more than it has now.
    Incomplete { need: usize },
    /// The sink returned [`Flow::Stop`]. Complete frames may be left.
    Stopped,
    /// The rest is malformed or too long.
    Bad(FramingError),
}

/// The framing of one direction of one connection.
pub(crate) enum Codec {
    Length(LengthPrefix),
    Raw,
    Fixed(usize),
    Delimited(u8),
    /// Boxed twice, because a pointer to a trait object has twice the size of a
    /// pointer to a box, and each connection has two codecs.
    Custom(Box<Contained<dyn Framer>>),
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codec")
    }
}

impl Codec {
    const DEFAULT: LengthPrefix = LengthPrefix::Four(ByteOrder::BigEndian);

    /// Returns whether this is the default framing, which has a fast path.
    pub(crate) fn is_default(&self) -> bool {
        matches!(self, Self::Length(Self::DEFAULT))
    }

    /// Returns a codec for one direction of a new connection. For a custom
    /// framing it calls a function of the program.
    pub(crate) fn new(framing: &Framing) -> Self {
        match framing {
            Framing::LengthDelimited(prefix) => Self::Length(*prefix),
            Framing::Raw => Self::Raw,
            Framing::Fixed(len) => Self::Fixed(*len),
            Framing::Delimited(byte) => Self::Delimited(*byte),
            Framing::Custom(custom) => Self::Custom(Box::new(Contained::new(custom.framer()))),
        }
    }

    /// Calls `sink` with every complete frame at the start of `bytes` and the
    /// number of bytes up to its end, until `sink` returns [`Flow::Stop`].
    ///
    /// `need` is the value of the last batch if that was incomplete, and zero
    /// otherwise. A framing with a delimiter derives from it how many bytes
    /// were already searched.
    #[inline]
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        need: usize,
        max: usize,
        sink: impl FnMut(&[u8], usize) -> Flow,
    ) -> Batch {
        match self {
            Self::Length(prefix) => {
                let max = max.min(prefix.max_body());
                match prefix.reader() {
                    LengthReader::FourBigEndian(reader) => {
                        split_by_length(reader, bytes, max, sink)
                    }
                    LengthReader::FixedWidth(reader) => split_by_length(reader, bytes, max, sink),
                    LengthReader::Varint(reader) => split_by_length(reader, bytes, max, sink),
                }
            }
            Self::Raw => split_raw(bytes, max, sink),
            Self::Fixed(len) => split_fixed(*len, bytes, sink),
            Self::Delimited(byte) => {
                split_by_delimiter(*byte, bytes, need.saturating_sub(1), max, sink)
            }
            Self::Custom(framer) => split_by_framer(&mut ***framer, bytes, max, sink),
        }
    }

    /// Returns the header for a body of `len` bytes. The header is empty for
    /// `Custom`, because its framer writes it.
    #[inline]
    pub(crate) fn header(&self, len: usize, max: usize) -> Result<FrameHeader, SendError> {
        if len > max {
            return Err(SendError::TooLarge);
        }
        match self {
            // The default comes first, outside of the jump table of the others.
            Self::Length(Self::DEFAULT) if len <= u32::MAX as usize => {
                Ok(Self::default_header(len as u32))
            }
            _ => self.other_header(len),
        }
    }

    /// Returns the header of the default framing.
    #[inline]
    pub(crate) fn default_header(len: u32) -> FrameHeader {
        FrameHeader::little_endian(u64::from(len.to_be()), 0, 4)
    }

    #[inline(never)]
    fn other_header(&self, len: usize) -> Result<FrameHeader, SendError> {
        match self {
            Self::Length(prefix) if len > prefix.max_body() => Err(SendError::TooLarge),
            Self::Length(prefix) => Ok(prefix.header(len)),
            Self::Fixed(fixed) if len != *fixed => Err(SendError::Unframable),
            Self::Raw if len == 0 => Err(SendError::Unframable),
            Self::Raw | Self::Fixed(_) | Self::Delimited(_) | Self::Custom(_) => {
                Ok(FrameHeader::EMPTY)
            }
        }
    }

    /// Checks that the peer decodes the body as one message.
    #[inline]
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), SendError> {
        match self {
            Self::Delimited(byte) if body.contains(byte) => Err(SendError::Unframable),
            _ => Ok(()),
        }
    }

    /// Returns the byte that follows each body, if any.
    #[inline]
    pub(crate) fn tail(&self) -> Option<u8> {
        match self {
            Self::Delimited(byte) => Some(*byte),
            _ => None,
        }
    }

    /// Returns a copy of the codec if it has no state.
    pub(crate) fn stateless(&self) -> Option<Self> {
        match self {
            Self::Length(prefix) => Some(Self::Length(*prefix)),
            Self::Raw => Some(Self::Raw),
            Self::Fixed(len) => Some(Self::Fixed(*len)),
            Self::Delimited(byte) => Some(Self::Delimited(*byte)),
            Self::Custom(_) => None,
        }
    }

    /// Returns whether both codecs encode a body in the same way.
    pub(crate) fn frames_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Length(a), Self::Length(b)) => a == b,
            (Self::Raw, Self::Raw) => true,
            (Self::Fixed(a), Self::Fixed(b)) => a == b,
            (Self::Delimited(a), Self::Delimited(b)) => a == b,
            _ => false,
        }
    }
}

/// The progress of a loop over frames.
struct Progress<'a> {
    bytes: &'a [u8],
    consumed: usize,
}

impl<'a> Progress<'a> {
    #[inline]
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, consumed: 0 }
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.consumed..]
    }

    #[inline]
    fn advance(&mut self, len: usize) {
        self.consumed += len;
    }

    #[inline]
    fn end(self, outcome: Outcome) -> Batch {
        Batch {
            consumed: self.consumed,
            outcome,
        }
    }
}

fn split_by_length<L: ReadLength>(
    reader: L,
    bytes: &[u8],
    max: usize,
    mut sink: impl FnMut(&[u8], usize) -> Flow,
) -> Batch {
    let mut progress = Progress::new(bytes);
    loop {
        let rest = progress.rest();
        let (header, body) = match reader.read(rest) {
            Ok(Some(found)) => found,
            Ok(None) => {
                let need = reader.width_min().max(rest.len() + 1);
                return progress.end(Outcome::Incomplete { need });
            }
            Err(error) => return progress.end(Outcome::Bad(error)),
        };
        if body > max as u64 {
            return progress.end(Outcome::Bad(FramingError::TooLarge { len: body, max }));
        }
        // No overflow: `body` is at most `max`, which the configuration keeps
        // below half the address space.
        let end = header + body as usize;
        let Some(frame) = rest.get(header..end) else {
            return progress.end(Outcome::Incomplete { need: end });
        };
        progress.advance(end);
        if sink(frame, progress.consumed) == Flow::Stop {
            return progress.end(Outcome::Stopped);
        }
    }
}

fn split_raw(bytes: &[u8], max: usize, mut sink: impl FnMut(&[u8], usize) -> Flow) -> Batch {
    let mut progress = Progress::new(bytes);
    for chunk in bytes.chunks(max) {
        progress.advance(chunk.len());
        if sink(chunk, progress.consumed) == Flow::Stop {
            return progress.end(Outcome::Stopped);
        }
    }
    progress.end(Outcome::Incomplete { need: 1 })
}

fn split_fixed(len: usize, bytes: &[u8], mut sink: impl FnMut(&[u8], usize) -> Flow) -> Batch {
    let mut progress = Progress::new(bytes);
    for frame in bytes.chunks_exact(len) {
        progress.advance(len);
        if sink(frame, progress.consumed) == Flow::Stop {
            return progress.end(Outcome::Stopped);
        }
    }
    progress.end(Outcome::Incomplete { need: len })
}

fn split_by_delimiter(
    delimiter: u8,
    bytes: &[u8],
    mut searched: usize,
    max: usize,
    mut sink: impl FnMut(&[u8], usize) -> Flow,
) -> Batch {
    let mut progress = Progress::new(bytes);
    loop {
        let rest = progress.rest();
        let found = find(delimiter, &rest[searched.min(rest.len())..]).map(|at| at + searched);
        searched = 0;
        let len = found.unwrap_or(rest.len());
        if len > max {
            let error = FramingError::TooLarge {
                len: len as u64,
                max,
            };
            return progress.end(Outcome::Bad(error));
        }
        if found.is_none() {
            return progress.end(Outcome::Incomplete { need: len + 1 });
        }
        progress.advance(len + 1);
        if sink(&rest[..len], progress.consumed) == Flow::Stop {
            return progress.end(Outcome::Stopped);
        }
    }
}

/// Returns the first position of `byte`. Tests whole blocks first, because
/// `contains` compares many bytes at once.
fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let blocks = bytes
        .chunks(BLOCK)
        .position(|block| block.contains(&byte))?;
    let start = blocks * BLOCK;
    bytes[start..]
        .iter()
        .position(|candidate| *candidate == byte)
        .map(|at| start + at)
}

fn split_by_framer(
    framer: &mut dyn Framer,
    bytes: &[u8],
    max: usize,
    mut sink: impl FnMut(&[u8], usize) -> Flow,
) -> Batch {
    let mut progress = Progress::new(bytes);
    loop {
        let rest = progress.rest();
        if rest.is_empty() {
            return progress.end(Outcome::Incomplete { need: 1 });
        }
        let (body, consumed) = match framer.decode(rest) {
            Ok(Decoded::Frame { body, consumed }) => (body, consumed),
            Ok(Decoded::Incomplete { at_least }) => {
                let need = at_least.max(rest.len() + 1);
                if need > max {
                    let error = FramingError::TooLarge {
                        len: need as u64,
                        max,
                    };
                    return progress.end(Outcome::Bad(error));
                }
                return progress.end(Outcome::Incomplete { need });
            }
            Err(error) => return progress.end(Outcome::Bad(error)),
        };
        // The framer belongs to the program. Its result is checked like input.
        let frame = match rest.get(body) {
            Some(frame) if (1..=rest.len()).contains(&consumed) => frame,
            _ => {
                let error =
                    FramingError::Malformed("the framer returned a range outside of its input");
                return progress.end(Outcome::Bad(error));
            }
        };
        if consumed > max {
            let error = FramingError::TooLarge {
                len: consumed as u64,
                max,
            };
            return progress.end(Outcome::Bad(error));
        }
        progress.advance(consumed);
        if sink(frame, progress.consumed) == Flow::Stop {
            return progress.end(Outcome::Stopped);
        }
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
