//! Bodies of messages.

use std::io::IoSlice;

use bytes::Bytes;

use crate::buffers::{BlockPool, CHAIN_MIN, Growth, SendQueue};
use crate::cross_shard::{Form, SharedMessage};
use crate::error::SendError;
use crate::framing::{Codec, FrameHeader};
use crate::mutants::mutant;

/// The body of a message.
///
/// It is created with `From`. Where an `impl Into<Body>` is expected, pass one
/// of these:
///
/// - A reference to bytes or text: `&[u8]`, `&[u8; N]`, `&str`, `&Vec<u8>`,
///   `&Bytes` or any other `&T` with `T: AsRef<[u8]>`. The bytes are copied
///   into the queue.
/// - A `Vec<u8>`, a `String` or a [`Bytes`]. From 16 KiB on they are queued
///   without a copy.
/// - [`Body::parts`], which makes one message of several slices.
#[derive(Debug)]
pub struct Body<'a>(pub(super) BodyKind<'a>);

#[derive(Debug)]
pub(super) enum BodyKind<'a> {
    Slice(&'a [u8]),
    Parts(&'a [IoSlice<'a>]),
    Shared(Bytes),
    /// The message of a broadcast.
    Broadcast(&'a mut SharedMessage, Form),
    /// A complete frame that a custom framer encoded.
    Encoded(&'a [u8]),
}

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Body<'a> {
    #[inline]
    fn from(bytes: &'a T) -> Self {
        Self(BodyKind::Slice(bytes.as_ref()))
    }
}

impl From<Vec<u8>> for Body<'_> {
    /// Shrinks a vector that is much longer in capacity than in length, because
    /// only the length is charged to the queue.
    fn from(mut bytes: Vec<u8>) -> Self {
        if bytes.len() >= CHAIN_MIN && bytes.capacity() - bytes.len() > bytes.len() / 8 {
            bytes.shrink_to_fit();
        }
        Self(BodyKind::Shared(bytes.into()))
    }
}

impl From<String> for Body<'_> {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Bytes> for Body<'_> {
    fn from(bytes: Bytes) -> Self {
        Self(BodyKind::Shared(bytes))
    }
}

impl<'a> Body<'a> {
    /// Creates one message from several slices, such as a header and a payload.
    ///
    /// ```
    /// use std::io::IoSlice;
    /// use peerloop::{Body, ConnId, Net, SendError};
    ///
    /// fn reply(net: &mut Net, conn: ConnId, payload: &[u8]) -> Result<(), SendError> {
    ///     let parts = [IoSlice::new(b"ok "), IoSlice::new(payload)];
    ///     net.send(conn, Body::parts(&parts))
    /// }
    /// ```
    pub fn parts(parts: &'a [IoSlice<'a>]) -> Self {
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
            BodyKind::Broadcast(message, Form::Body) => message.body_len(),
            BodyKind::Broadcast(message, Form::Frame) => message.len(),
            BodyKind::Encoded(frame) => frame.len(),
        }
    }

    /// Checks whether the framing can represent the body, and returns the
    /// header.
    #[inline(always)]
    pub(super) fn header(
        &self,
        codec: &Codec,
        max_message_len: usize,
    ) -> Result<FrameHeader, SendError> {
        let header = codec.header(self.len(), max_message_len)?;
        match &self.0 {
            BodyKind::Slice(bytes) => codec.check_body(bytes)?,
            BodyKind::Shared(bytes) => codec.check_body(bytes)?,
            BodyKind::Parts(parts) => parts.iter().try_for_each(|part| codec.check_body(part))?,
            BodyKind::Broadcast(_, Form::Frame) | BodyKind::Encoded(_) => {}
            BodyKind::Broadcast(message, Form::Body) => codec.check_body(message.body())?,
        }
        Ok(header)
    }

    /// Returns an upper bound of the growth of a queue that accepts the body.
    /// `frame` is the length of its frame.
    #[inline(always)]
    pub(super) fn growth(&self, queue: &SendQueue, frame: usize, pool: &BlockPool) -> Growth {
        match &self.0 {
            BodyKind::Shared(bytes) if bytes.len() >= CHAIN_MIN => {
                Growth::charged(queue.growth_of_chain() + bytes.len())
            }
            BodyKind::Broadcast(message, _) => {
                let bytes = message.len();
                let growth = queue.growth_of_chain() + bytes;
                let charged_before = if message.key.is_some() { bytes } else { 0 };
                Growth {
                    memory: growth,
                    charge: growth - charged_before,
                }
            }
            _ => Growth::charged(queue.growth_of_copy(frame, pool)),
        }
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
            BodyKind::Shared(bytes) => queue.push_body(header, bytes, end, pool),
            BodyKind::Broadcast(message, form) => {
                mutant!(ChargeEachReader => message.key = None);
                let key = message.charge(pool);
                queue.push_shared(header, message.bytes(form), end, key, pool);
            }
            BodyKind::Encoded(frame) => queue.push(&FrameHeader::EMPTY, frame, None, pool),
        }
    }

    /// Returns the body in one piece. Parts are copied to `joined`.
    pub(super) fn join<'a>(&'a self, joined: &'a mut Vec<u8>) -> &'a [u8] {
        match &self.0 {
            BodyKind::Slice(bytes) | BodyKind::Encoded(bytes) => bytes,
            BodyKind::Shared(bytes) => bytes,
            BodyKind::Broadcast(message, _) => message.body(),
            BodyKind::Parts(_) => {
                joined.clear();
                joined.reserve(self.len());
                self.append_to(joined);
                joined
            }
        }
    }

    /// Appends the body to `bytes`.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        match &self.0 {
            BodyKind::Parts(parts) => parts.iter().for_each(|part| bytes.extend_from_slice(part)),
            _ => bytes.extend_from_slice(self.join(&mut Vec::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_with_large_capacity_is_shrunk() {
        let mut bytes = Vec::with_capacity(1 << 20);
        bytes.resize(CHAIN_MIN, 7);
        let BodyKind::Shared(shared) = Body::from(bytes).0 else {
            panic!("the body is copied");
        };
        let kept: Vec<u8> = shared.into();
        assert!(kept.capacity() < 2 * CHAIN_MIN, "{}", kept.capacity());
    }
}
