//! HTTP/1.1 (RFC 9112) for a server: requests as the messages of a [`Framer`].

mod chunks;
mod lines;
mod request;
mod response;

pub(crate) use request::Request;
pub(crate) use response::{Answer, CONTINUE, Status, response};

use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer};

/// Maximum length of a head: the request line and the fields. Every server should
/// take a request line of 8,000 bytes (RFC 9112, section 3).
pub(crate) const HEAD_MAX: usize = 16 * 1024;

/// Maximum number of fields of a head.
pub(crate) const FIELDS_MAX: usize = 64;

/// Maximum length of a body as it is sent: with its chunk sizes and trailers.
pub(crate) const BODY_MAX: usize = 1024 * 1024;

/// Separates requests. A message is a head, and the next message is its body if
/// the head announces one. They are separate because a client with
/// `Expect: 100-continue` sends the body only after an answer to the head.
///
/// A request that is wrong or too long is answered. It is therefore no error of
/// the framing: the bytes up to the error are the last message. The framer finds
/// the error while the bytes arrive, and [`Request::parse`] or
/// [`Request::content`] finds it again in the message, because both run the same
/// code.
///
/// A message that is sent is a complete response.
#[derive(Default)]
pub(crate) struct Requests {
    request: Request,
    /// The head of the request was delivered.
    is_in_body: bool,
}

impl Framer for Requests {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let end = match self.is_in_body {
            true => self.request.body_end(bytes),
            false => self.request.head_end(bytes),
        };
        let consumed = match end {
            Ok(at_least) if at_least > bytes.len() => return Ok(Decoded::Incomplete { at_least }),
            Ok(end) => end,
            Err(_) => bytes.len().min(BODY_MAX),
        };
        self.is_in_body = end.is_ok() && !self.is_in_body && self.request.has_body();
        if !self.is_in_body {
            self.request = Request::default();
        }
        let body = 0..consumed;
        Ok(Decoded::Frame { body, consumed })
    }

    fn encode(&mut self, response: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(response);
        Ok(())
    }
}

/// Returns the status of a refusal unless a rule holds.
fn require(holds: bool, refusal: Status) -> Result<(), Status> {
    holds.then_some(()).ok_or(refusal)
}
