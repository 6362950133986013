//! The head of a request: the request line and the fields (RFC 9112, sections 3,
//! 5 and 6).

use std::ops::Range;

use peerloop::framing::Decoded;

use super::lines::{Lines, field, is_token};
use super::{BODY_MAX, Body, FIELDS_MAX, HEAD_MAX, REQUEST_LINE_MAX, Status, first};

/// The methods that are implemented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Method {
    #[default]
    Get,
    Head,
    Post,
}

/// A request, without the content of its body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: Method,
    path: Range<usize>,
    /// The version is HTTP/1.0.
    is_old: bool,
    has_close: bool,
    has_keep_alive: bool,
    /// The client sends the body after a response with the status 100.
    pub(crate) expects_continue: bool,
    pub(crate) body: Body,
}

impl Request {
    /// Parses a message of [`Requests`](super::Requests) that is a head.
    ///
    /// # Errors
    ///
    /// - The head is wrong, too long or not implemented: the status of the
    ///   refusal.
    pub(crate) fn parse(message: &[u8]) -> Result<Self, Status> {
        let mut head = Head::default();
        head.advance(message)?;
        Ok(head.request)
    }

    /// Returns the path of the target, without the query. `message` is the one
    /// that was parsed.
    pub(crate) fn path<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        &message[self.path.clone()]
    }

    /// Returns whether the connection stays open after the response (RFC 9112,
    /// section 9.3).
    pub(crate) fn keeps_connection(&self) -> bool {
        !self.has_close && (!self.is_old || self.has_keep_alive)
    }
}

/// A head of which a part has arrived.
#[derive(Default)]
pub(super) struct Head {
    pub(super) request: Request,
    lines: Lines,
    has_request_line: bool,
    fields: usize,
    hosts: usize,
    length: Option<usize>,
}

impl Head {
    /// Continues with the bytes that have arrived since the last call.
    ///
    /// # Errors
    ///
    /// See [`Request::parse`]. The error does not depend on the pieces in which
    /// the bytes arrive.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Decoded, Status> {
        let bytes = &bytes[..bytes.len().min(HEAD_MAX)];
        while let Some(line) = self.lines.next(bytes)? {
            if !self.has_request_line {
                // One empty line before it is ignored (RFC 9112, section 2.2).
                if line != (0..0) {
                    self.request_line(bytes, line)?;
                }
            } else if !line.is_empty() {
                self.field(&bytes[line])?;
            } else {
                self.check()?;
                return Ok(first(self.lines.start, bytes));
            }
        }
        match bytes.len() {
            HEAD_MAX if self.has_request_line => Err(Status::FIELDS_TOO_LARGE),
            HEAD_MAX => Err(Status::URI_TOO_LONG),
            len => Ok(Decoded::Incomplete { at_least: len + 1 }),
        }
    }

    fn request_line(&mut self, bytes: &[u8], line: Range<usize>) -> Result<(), Status> {
        if line.len() > REQUEST_LINE_MAX {
            return Err(Status::URI_TOO_LONG);
        }
        let mut words = bytes[line.clone()].split(|byte| *byte == b' ');
        let words = [(); 4].map(|()| words.next());
        let [Some(method), Some(target), Some(version), None] = words else {
            return Err(Status::BAD_REQUEST);
        };
        self.request.is_old = match version.strip_prefix(b"HTTP/") {
            Some([b'1', b'.', minor @ b'0'..=b'9']) => *minor == b'0',
            Some([b'0'..=b'9', b'.', b'0'..=b'9']) => return Err(Status::VERSION_NOT_SUPPORTED),
            _ => return Err(Status::BAD_REQUEST),
        };
        self.request.method = match method {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            _ if is_token(method) => return Err(Status::NOT_IMPLEMENTED),
            _ => return Err(Status::BAD_REQUEST),
        };
        let path = path(target).ok_or(Status::BAD_REQUEST)?;
        let start = line.start + method.len() + 1;
        self.request.path = start + path.start..start + path.end;
        self.has_request_line = true;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Status> {
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(Status::FIELDS_TOO_LARGE);
        }
        let (name, value) = field(line)?;
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"Host") {
            self.hosts += 1;
            let is_host = |byte: &u8| byte.is_ascii_graphic() && !b"/?#@,".contains(byte);
            if !value.iter().all(is_host) {
                return Err(Status::BAD_REQUEST);
            }
        } else if is(b"Content-Length") {
            if self.length.is_some() {
                return Err(Status::BAD_REQUEST);
            }
            self.length = Some(length(value)?);
        } else if is(b"Transfer-Encoding") {
            self.transfer_encoding(value)?;
        } else if is(b"Connection") {
            for option in list(value) {
                self.request.has_close |= option.eq_ignore_ascii_case(b"close");
                self.request.has_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is(b"Expect") && !self.request.is_old {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Status::EXPECTATION_FAILED);
            }
            self.request.expects_continue = true;
        }
        Ok(())
    }

    /// Takes `chunked`. Other codings are not implemented. Without `chunked` as
    /// the last one, and with two of it, the end of the body is unknown
    /// (RFC 9112, section 6.1).
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Status> {
        let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let chunked = list(value).filter(is_chunked).count();
        let is_last = list(value).last().is_some_and(|last| is_chunked(&last));
        if self.request.body == Body::Chunked || chunked != 1 || !is_last {
            return Err(Status::BAD_REQUEST);
        }
        if !is_chunked(&value) {
            return Err(Status::NOT_IMPLEMENTED);
        }
        self.request.body = Body::Chunked;
        Ok(())
    }

    /// Checks the fields against each other. A request in which a proxy can see
    /// another body than this server, or another host, is refused (RFC 9112,
    /// sections 3.2, 6.1 and 6.3).
    fn check(&mut self) -> Result<(), Status> {
        let hosts = if self.request.is_old { 0..=1 } else { 1..=1 };
        let is_chunked = self.request.body == Body::Chunked;
        let is_ambiguous = is_chunked && (self.length.is_some() || self.request.is_old);
        if is_ambiguous || !hosts.contains(&self.hosts) {
            return Err(Status::BAD_REQUEST);
        }
        match self.length {
            None | Some(0) => {}
            Some(len) if len > BODY_MAX => return Err(Status::CONTENT_TOO_LARGE),
            Some(len) => self.request.body = Body::Sized(len),
        }
        Ok(())
    }
}

/// Returns the place of the path in a target such as `/path?query` or
/// `http://host/path?query` (RFC 9112, section 3.2).
fn path(target: &[u8]) -> Option<Range<usize>> {
    const SCHEME: &[u8] = b"http://";
    let is_allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    if !target.iter().all(is_allowed) {
        return None;
    }
    let find = |from: usize, wanted: &[u8]| {
        let found = target[from..].iter().position(|byte| wanted.contains(byte));
        found.map_or(target.len(), |at| from + at)
    };
    let start = match target.split_at_checked(SCHEME.len()) {
        _ if target.starts_with(b"/") => 0,
        Some((scheme, [host, ..])) if scheme.eq_ignore_ascii_case(SCHEME) => {
            if b"/?:".contains(host) {
                return None;
            }
            find(SCHEME.len(), b"/?")
        }
        _ => return None,
    };
    Some(start..find(start, b"?"))
}

/// Returns the value of `Content-Length`. A list of lengths is an error too.
fn length(value: &[u8]) -> Result<usize, Status> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    // Digits that are not a number of this type are too large for it.
    let number = |text: &str| text.parse().unwrap_or(usize::MAX);
    text.map(number).ok_or(Status::BAD_REQUEST)
}

/// Returns the elements of a list that are not empty.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty())
}
