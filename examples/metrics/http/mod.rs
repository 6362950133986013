//! HTTP/1.1 (RFC 9112) for a server: requests as the messages of a [`Framer`].

mod chunks;
mod head;
mod lines;
mod response;

pub(crate) use head::{Method, Request};
pub(crate) use response::{CONTINUE, Response, Status};

use std::borrow::Cow;
use std::mem;

use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer};

use chunks::Chunks;
use head::Head;

/// Maximum length of a request line. Every server should take 8,000 bytes
/// (RFC 9112, section 3).
pub(crate) const REQUEST_LINE_MAX: usize = 8000;

/// Maximum length of a head: the request line and the fields.
pub(crate) const HEAD_MAX: usize = 16 * 1024;

/// Maximum number of fields of a head, and of a trailer section.
pub(crate) const FIELDS_MAX: usize = 64;

/// Maximum length of a body as it is sent: with its chunk sizes and trailers.
pub(crate) const BODY_MAX: usize = 1024 * 1024;

/// The form of the body of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Body {
    /// No bytes follow the head.
    #[default]
    Empty,
    /// `Content-Length`, which is not zero.
    Sized(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

impl Body {
    /// Returns the content of a body that [`Requests`] has delivered.
    ///
    /// # Errors
    ///
    /// - The chunks are wrong or too long: the status of the refusal.
    pub(crate) fn content(self, body: &[u8]) -> Result<Cow<'_, [u8]>, Status> {
        if self != Self::Chunked {
            return Ok(body.into());
        }
        let mut content = Vec::new();
        Chunks::default().advance(body, |data| content.extend_from_slice(data))?;
        Ok(content.into())
    }
}

/// Separates requests. A message is a head, and the next message is its body if
/// the head announces one. They are separate because a client with
/// `Expect: 100-continue` sends the body only after an answer to the head.
///
/// A request that is wrong or too long is answered. It is therefore no error of
/// the framing: the bytes up to the error are the last message. The framer finds
/// the error while the bytes arrive, and [`Request::parse`] or [`Body::content`]
/// finds it again in the message, because both run the same code.
///
/// A message that is sent is a complete response.
#[derive(Default)]
pub(crate) struct Requests(Next);

/// The message that is next.
enum Next {
    Head(Head),
    Sized(usize),
    Chunked(Chunks),
    /// A request was refused.
    Nothing,
}

impl Default for Next {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Next {
    /// Returns the message that follows a complete one.
    fn after(self) -> Self {
        match self {
            Self::Head(head) => match head.request.body {
                Body::Empty => Self::default(),
                Body::Sized(len) => Self::Sized(len),
                Body::Chunked => Self::Chunked(Chunks::default()),
            },
            _ => Self::default(),
        }
    }
}

impl Framer for Requests {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let decoded = match &mut self.0 {
            Next::Head(head) => head.advance(bytes),
            Next::Sized(len) => Ok(first(*len, bytes)),
            Next::Chunked(chunks) => chunks.advance(bytes, |_| ()),
            Next::Nothing => return Err(FramingError::Malformed("bytes after a refused request")),
        };
        match decoded {
            Ok(Decoded::Frame { .. }) => self.0 = mem::take(&mut self.0).after(),
            Ok(_) => {}
            Err(_) => self.0 = Next::Nothing,
        }
        Ok(decoded.unwrap_or_else(|_| first(bytes.len().min(BODY_MAX), bytes)))
    }

    fn encode(&mut self, response: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(response);
        Ok(())
    }
}

/// Returns a message of the first `len` bytes, if they have arrived.
fn first(len: usize, bytes: &[u8]) -> Decoded {
    if bytes.len() < len {
        return Decoded::Incomplete { at_least: len };
    }
    Decoded::Frame {
        body: 0..len,
        consumed: len,
    }
}
