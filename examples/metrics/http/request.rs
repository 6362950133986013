//! Requests: the request line and the fields (RFC 9112, sections 3, 5 and 6).

use std::borrow::Cow;

use super::chunks::Chunks;
use super::lines::{Lines, field, is_token, number};
use super::response::Status;
use super::{BODY_MAX, FIELDS_MAX, HEAD_MAX, require};

/// A request without the content of its body, or the part of one that has
/// arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Request {
    /// GET, HEAD or POST.
    pub(crate) method: String,
    /// Without the query. Empty until the request line has arrived.
    pub(crate) path: String,
    /// The client sends the body after a response with the status 100.
    pub(crate) expects_continue: bool,
    /// The version is HTTP/1.0.
    is_old: bool,
    has_close: bool,
    has_keep_alive: bool,
    lines: Lines,
    fields: usize,
    hosts: usize,
    length: Option<usize>,
    chunks: Option<Chunks>,
}

impl Request {
    /// Parses a head that [`Requests`](super::Requests) has delivered.
    ///
    /// # Errors
    ///
    /// - The head is malformed, too long or not implemented: the status of the
    ///   refusal.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Status> {
        let mut request = Self::default();
        request.head_end(head)?;
        Ok(request)
    }

    /// Returns the content of the body that [`Requests`](super::Requests) has
    /// delivered after the head.
    ///
    /// # Errors
    ///
    /// - The chunks are malformed or too long: the status of the refusal.
    pub(crate) fn content<'a>(&mut self, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Status> {
        let Some(chunks) = &mut self.chunks else {
            return Ok(body.into());
        };
        let mut content = Vec::new();
        chunks.end(body, |data| content.extend_from_slice(data))?;
        Ok(content.into())
    }

    /// Returns whether a body follows the head.
    pub(crate) fn has_body(&self) -> bool {
        self.chunks.is_some() || self.length.is_some_and(|length| length > 0)
    }

    /// Returns whether the connection stays open after the response (RFC 9112,
    /// section 9.3).
    pub(crate) fn keeps_connection(&self) -> bool {
        !self.has_close && (!self.is_old || self.has_keep_alive)
    }

    /// Returns the number of bytes up to the end of the body; see
    /// [`Chunks::end`].
    pub(super) fn body_end(&mut self, bytes: &[u8]) -> Result<usize, Status> {
        match &mut self.chunks {
            Some(chunks) => chunks.end(bytes, |_| ()),
            None => Ok(self.length.unwrap_or(0)),
        }
    }

    /// Returns the number of bytes up to the end of the head. If it has not
    /// arrived, returns a larger number than that of `bytes`, which are passed
    /// again with more of them.
    ///
    /// # Errors
    ///
    /// See [`Request::parse`]. The pieces in which the bytes arrive do not matter.
    pub(super) fn head_end(&mut self, bytes: &[u8]) -> Result<usize, Status> {
        let bytes = &bytes[..bytes.len().min(HEAD_MAX)];
        while let Some(line) = self.lines.next(bytes)? {
            if line == (0..0) {
                // Some clients send it after a body (RFC 9112, section 2.2).
                continue;
            }
            if self.path.is_empty() {
                self.request_line(&bytes[line])?;
            } else if !line.is_empty() {
                self.field(&bytes[line])?;
            } else {
                self.check()?;
                return Ok(self.lines.start);
            }
        }
        let has_room = bytes.len() < HEAD_MAX;
        require(has_room || !self.path.is_empty(), Status::URI_TOO_LONG)?;
        require(has_room, Status::FIELDS_TOO_LARGE)?;
        Ok(bytes.len() + 1)
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Status> {
        let line = std::str::from_utf8(line).map_err(|_| Status::BAD_REQUEST)?;
        let mut words = line.splitn(3, ' ');
        let [method, target, version] = [(); 3].map(|()| words.next().unwrap_or_default());
        self.is_old = match version.strip_prefix("HTTP/").map(str::as_bytes) {
            Some([b'1', b'.', minor @ b'0'..=b'9']) => *minor == b'0',
            Some([b'0'..=b'9', b'.', b'0'..=b'9']) => return Err(Status::VERSION_NOT_SUPPORTED),
            _ => return Err(Status::BAD_REQUEST),
        };
        require(is_token(method.as_bytes()), Status::BAD_REQUEST)?;
        let is_known = ["GET", "HEAD", "POST"].contains(&method);
        require(is_known, Status::NOT_IMPLEMENTED)?;
        self.method = method.to_owned();
        self.path = path(target).ok_or(Status::BAD_REQUEST)?.to_owned();
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Status> {
        self.fields += 1;
        require(self.fields <= FIELDS_MAX, Status::FIELDS_TOO_LARGE)?;
        let (name, value) = field(line)?;
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Host") {
            self.hosts += 1;
            let is_host = |byte: &u8| byte.is_ascii_graphic() && !b"/?#@,".contains(byte);
            require(value.iter().all(is_host), Status::BAD_REQUEST)?;
        } else if is("Content-Length") {
            require(self.length.is_none(), Status::BAD_REQUEST)?;
            self.length = Some(number(value, 10)?);
        } else if is("Transfer-Encoding") {
            // Without `chunked` at the end, the end of the body is unknown.
            let codings = value.to_ascii_lowercase();
            let is_delimited = self.chunks.is_none() && codings.ends_with(b"chunked");
            require(is_delimited, Status::BAD_REQUEST)?;
            require(codings == b"chunked", Status::NOT_IMPLEMENTED)?;
            self.chunks = Some(Chunks::default());
        } else if is("Connection") {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.has_close |= option.eq_ignore_ascii_case(b"close");
                self.has_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("Expect") && !self.is_old {
            self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            require(self.expects_continue, Status::EXPECTATION_FAILED)?;
        }
        Ok(())
    }

    /// Checks the fields against each other. A proxy could see another body or
    /// another host in a request that is refused here (RFC 9112, sections 3.2,
    /// 6.1 and 6.3).
    fn check(&self) -> Result<(), Status> {
        let hosts = if self.is_old { 0..=1 } else { 1..=1 };
        require(hosts.contains(&self.hosts), Status::BAD_REQUEST)?;
        let is_ambiguous = self.chunks.is_some() && (self.length.is_some() || self.is_old);
        require(!is_ambiguous, Status::BAD_REQUEST)?;
        require(self.length <= Some(BODY_MAX), Status::CONTENT_TOO_LARGE)
    }
}

/// Returns the path of a target such as `/path?query` or
/// `http://host/path?query` (RFC 9112, section 3.2).
fn path(target: &str) -> Option<&str> {
    let uri = target.split('?').next()?;
    let absolute = uri.split_at_checked("http://".len());
    let path = match absolute.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("http://")) {
        None => uri,
        Some((_, rest)) if rest.is_empty() || rest.starts_with('/') => return None,
        Some((_, rest)) => rest.find('/').map_or("/", |host| &rest[host..]),
    };
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let is_valid = path.starts_with('/') && target.bytes().all(is_allowed);
    is_valid.then_some(path)
}
