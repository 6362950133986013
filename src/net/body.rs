//! The body of a message, in the forms that it comes in.

use std::borrow::Cow;
use std::io::IoSlice;

use bytes::Bytes;

use crate::error::SendError;
use crate::framing::{Codec, Head};
use crate::queue::{CHAIN_MIN, SendQueue, Spares};

/// The body of a message, in whatever form the caller has it: a slice, [`Bytes`] (large ones travel without a copy),
/// or several slices that make one message.
///
/// Made by `From`: where an `impl Into<Body>` is wanted, a `&[u8]`, a `&[u8; N]`, a `&str`, a `Vec<u8>` or a reference to
/// one, a `Bytes` or a `&[IoSlice]` can be given.
#[derive(Debug)]
pub struct Body<'a>(pub(super) Kind<'a>);

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Slice(&'a [u8]),
    Parts(&'a [IoSlice<'a>]),
    Shared(Bytes),
    /// A whole frame made before, for a body of this length.
    Framed(&'a Bytes, usize),
    /// A whole frame as a user's framer made it.
    Encoded(&'a [u8]),
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Kind::Slice(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Body<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self(Kind::Slice(bytes))
    }
}

impl<'a> From<&'a str> for Body<'a> {
    fn from(text: &'a str) -> Self {
        Self(Kind::Slice(text.as_bytes()))
    }
}

impl<'a> From<&'a Vec<u8>> for Body<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self(Kind::Slice(bytes))
    }
}

impl From<Vec<u8>> for Body<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Kind::Shared(bytes.into()))
    }
}

impl From<Bytes> for Body<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Shared(bytes))
    }
}

impl<'a> From<&'a [IoSlice<'a>]> for Body<'a> {
    fn from(parts: &'a [IoSlice<'a>]) -> Self {
        Self(Kind::Parts(parts))
    }
}

impl Body<'_> {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Kind::Slice(bytes) => bytes.len(),
            Kind::Parts(parts) => parts.iter().map(|part| part.len()).sum(),
            Kind::Shared(bytes) => bytes.len(),
            Kind::Framed(_, len) => *len,
            Kind::Encoded(frame) => frame.len(),
        }
    }

    /// Whether the framing can carry it, and the header it needs.
    #[inline(always)]
    pub(super) fn head(&self, codec: &Codec, max_frame: usize) -> Result<Head, SendError> {
        let head = codec.head(self.len(), max_frame)?;
        match &self.0 {
            Kind::Slice(bytes) => codec.check_body(bytes)?,
            Kind::Shared(bytes) => codec.check_body(bytes)?,
            Kind::Parts(parts) => parts.iter().try_for_each(|part| codec.check_body(part))?,
            Kind::Framed(..) | Kind::Encoded(_) => {}
        }
        Ok(head)
    }

    #[inline(always)]
    pub(super) fn push(
        self,
        queue: &mut SendQueue,
        head: &Head,
        end: Option<u8>,
        spares: &mut Spares,
    ) {
        match self.0 {
            Kind::Slice(bytes) => queue.push(head, bytes, end, spares),
            Kind::Parts(parts) => queue.push_in_parts(head, parts, end, spares),
            Kind::Shared(bytes) if bytes.len() < CHAIN_MIN => queue.push(head, &bytes, end, spares),
            Kind::Shared(bytes) => queue.push_shared(head, bytes, end, spares),
            Kind::Framed(frame, _) if frame.len() < CHAIN_MIN => {
                queue.push(&Head::EMPTY, frame, None, spares);
            }
            Kind::Framed(frame, _) => queue.push_shared(&Head::EMPTY, frame.clone(), None, spares),
            Kind::Encoded(frame) => queue.push(&Head::EMPTY, frame, None, spares),
        }
    }

    /// The body in one piece, for a user's framer.
    pub(super) fn to_bytes(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Kind::Slice(bytes) | Kind::Encoded(bytes) => Cow::Borrowed(bytes),
            Kind::Shared(bytes) => Cow::Borrowed(bytes),
            Kind::Framed(bytes, _) => Cow::Borrowed(bytes),
            Kind::Parts(parts) => parts.iter().flat_map(|part| part.iter().copied()).collect(),
        }
    }
}
