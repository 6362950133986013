//! A message that the queues of several connections share.

use std::ops::Range;

use bytes::Bytes;

use crate::buffers::{BlockPool, BodyKey};
use crate::framing::{Codec, FrameHeader};

/// The message of a broadcast. It is copied at most once.
///
/// A body that was owned stays as it is, and each queue adds a header. A body
/// that had to be copied was copied into a frame, and queues with its framing
/// take the whole frame:
///
/// ```text
///   bytes   ├── header ──┼──── body ────┼─ delimiter ┤
/// ```
#[derive(Debug)]
pub(crate) struct SharedMessage {
    bytes: Bytes,
    body: Range<usize>,
    /// The framing of `bytes`. `None` if they are the body alone.
    codec: Option<Codec>,
    /// Its charge. `None` before a queue of this loop contains it.
    pub(crate) key: Option<BodyKey>,
}

/// The bytes of a [`SharedMessage`] that a queue takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// The body. The queue adds the header and the delimiter.
    Body,
    /// The complete frame.
    Frame,
}

impl SharedMessage {
    /// Makes a message of a body alone.
    pub(crate) fn of_body(bytes: Bytes) -> Self {
        Self {
            body: 0..bytes.len(),
            bytes,
            codec: None,
            key: None,
        }
    }

    /// Makes a message of a body of `len` bytes, which `append` copies. The
    /// message has the form of a frame, unless the framing has a state or
    /// cannot represent the body.
    pub(crate) fn copy(codec: &Codec, len: usize, append: impl FnOnce(&mut Vec<u8>)) -> Self {
        let framed = codec.stateless().zip(codec.header(len, usize::MAX).ok());
        let (codec, header) = framed.map_or((None, FrameHeader::EMPTY), |(codec, header)| {
            (Some(codec), header)
        });
        let end = codec.as_ref().and_then(Codec::tail);
        let body = header.len()..header.len() + len;
        let mut bytes = Vec::with_capacity(body.end + end.as_slice().len());
        bytes.extend_from_slice(header.as_slice(&mut [0; FrameHeader::BLOCK]));
        append(&mut bytes);
        bytes.extend_from_slice(end.as_slice());
        Self {
            codec: codec.filter(|codec| codec.check_body(&bytes[body.clone()]).is_ok()),
            bytes: bytes.into(),
            body,
            key: None,
        }
    }

    /// Returns the message for use by another thread. Each loop charges it
    /// separately.
    pub(crate) fn share(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            body: self.body.clone(),
            codec: self.codec.as_ref().and_then(Codec::stateless),
            key: None,
        }
    }

    /// Returns the memory of the message, in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn body_len(&self) -> usize {
        self.body.len()
    }

    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }

    /// Returns the form that a queue with this framing takes.
    #[inline]
    pub(crate) fn form_for(&self, codec: &Codec) -> Form {
        match &self.codec {
            Some(own) if own.frames_like(codec) => Form::Frame,
            _ => Form::Body,
        }
    }

    /// Returns the key of the charge. The caller adds a reader at once.
    #[inline]
    pub(crate) fn charge(&mut self, pool: &mut BlockPool) -> BodyKey {
        let len = self.bytes.len();
        *self.key.get_or_insert_with(|| pool.insert_body(len))
    }

    #[inline]
    pub(crate) fn bytes(&self, form: Form) -> Bytes {
        match form {
            Form::Frame => self.bytes.clone(),
            Form::Body => self.bytes.slice(self.body.clone()),
        }
    }
}
