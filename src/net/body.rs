//! The body of a message, in the forms that it comes in.

use std::borrow::Cow;
use std::io::IoSlice;

use bytes::Bytes;

use crate::buffers::{BlockPool, CHAIN_MIN, SendQueue};
use crate::error::SendError;
use crate::framing::{Codec, FrameHeader};

/// The body of a message, in whatever form the caller has it: a slice, [`Bytes`] (large ones travel without a copy),
/// or several slices that make one message.
///
/// Made by `From`: where an `impl Into<Body>` is wanted, a `&[u8]`, a `&[u8; N]`, a `&str`, a `Vec<u8>` or a reference to
/// one, a `Bytes` or a `&[IoSlice]` can be given.
#[derive(Debug)]
pub struct Body<'a>(pub(super) BodyKind<'a>);

#[derive(Debug)]
pub(super) enum BodyKind<'a> {
    Slice(&'a [u8]),
    Parts(&'a [IoSlice<'a>]),
    Shared(Bytes),
    /// A whole frame made before, for a body of this length.
    FramedBody(&'a Bytes, usize),
    /// A whole frame as a user's framer made it.
    Encoded(&'a [u8]),
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(BodyKind::Slice(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Body<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(BodyKind::Slice(bytes))
    }
}

impl<'a> From<&'a str> for Body<'a> {
    fn from(text: &'a str) -> Self {
        Self(BodyKind::Slice(text.as_bytes()))
    }
}

impl<'a> From<&'a Vec<u8>> for Body<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(BodyKind::Slice(bytes))
    }
}

impl From<Vec<u8>> for Body<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(BodyKind::Shared(bytes.into()))
    }
}

impl From<Bytes> for Body<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(BodyKind::Shared(bytes))
    }
}

impl<'a> From<&'a [IoSlice<'a>]> for Body<'a> {
    fn from(parts: &'a [IoSlice<'a>]) -> Self {
        Self(BodyKind::Parts(parts))
    }
}

impl Body<'_> {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            BodyKind::Slice(bytes) => bytes.len(),
            BodyKind::Parts(parts) => parts.iter().map(|part| part.len()).sum(),
            BodyKind::Shared(bytes) => bytes.len(),
            BodyKind::FramedBody(_, len) => *len,
            BodyKind::Encoded(frame) => frame.len(),
        }
    }

    /// Whether the framing can carry it, and the header it needs.
    #[inline(always)]
    pub(super) fn header(&self, codec: &Codec, max_frame: usize) -> Result<FrameHeader, SendError> {
        let header = codec.header(self.len(), max_frame)?;
        match &self.0 {
            BodyKind::Slice(bytes) => codec.check_body(bytes)?,
            BodyKind::Shared(bytes) => codec.check_body(bytes)?,
            BodyKind::Parts(parts) => parts.iter().try_for_each(|part| codec.check_body(part))?,
            BodyKind::FramedBody(..) | BodyKind::Encoded(_) => {}
        }
        Ok(header)
    }

    #[inline(always)]
    pub(super) fn push(
        self,
        queue: &mut SendQueue,
        header: &FrameHeader,
        end: Option<u8>,
        pool: &mut BlockPool,
    ) {
        match self.0 {
            BodyKind::Slice(bytes) => queue.push(header, bytes, end, pool),
            BodyKind::Parts(parts) => queue.push_in_parts(header, parts, end, pool),
            BodyKind::Shared(bytes) if bytes.len() < CHAIN_MIN => {
                queue.push(header, &bytes, end, pool)
            }
            BodyKind::Shared(bytes) => queue.push_shared(header, bytes, end, pool),
            BodyKind::FramedBody(frame, _) if frame.len() < CHAIN_MIN => {
                queue.push(&FrameHeader::EMPTY, frame, None, pool);
            }
            BodyKind::FramedBody(frame, _) => {
                queue.push_shared(&FrameHeader::EMPTY, frame.clone(), None, pool)
            }
            BodyKind::Encoded(frame) => queue.push(&FrameHeader::EMPTY, frame, None, pool),
        }
    }

    /// The body in one piece, for a user's framer.
    pub(super) fn to_bytes(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            BodyKind::Slice(bytes) | BodyKind::Encoded(bytes) => Cow::Borrowed(bytes),
            BodyKind::Shared(bytes) => Cow::Borrowed(bytes),
            BodyKind::FramedBody(bytes, _) => Cow::Borrowed(bytes),
            BodyKind::Parts(parts) => parts.iter().flat_map(|part| part.iter().copied()).collect(),
        }
    }
}
