//! Responses.

use super::Method;

/// The status of a response: code and reason phrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Status(&'static str);

impl Status {
    pub(crate) const OK: Self = Self("200 OK");
    pub(crate) const BAD_REQUEST: Self = Self("400 Bad Request");
    pub(crate) const NOT_FOUND: Self = Self("404 Not Found");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self("405 Method Not Allowed");
    pub(crate) const REQUEST_TIMEOUT: Self = Self("408 Request Timeout");
    pub(crate) const CONTENT_TOO_LARGE: Self = Self("413 Content Too Large");
    pub(crate) const URI_TOO_LONG: Self = Self("414 URI Too Long");
    pub(crate) const EXPECTATION_FAILED: Self = Self("417 Expectation Failed");
    pub(crate) const FIELDS_TOO_LARGE: Self = Self("431 Request Header Fields Too Large");
    pub(crate) const NOT_IMPLEMENTED: Self = Self("501 Not Implemented");
    pub(crate) const VERSION_NOT_SUPPORTED: Self = Self("505 HTTP Version Not Supported");
}

/// The response that has a client send the body for which it asked.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A final response.
pub(crate) struct Response<'a> {
    pub(crate) status: Status,
    /// The methods of the resource. Required with [`Status::METHOD_NOT_ALLOWED`].
    pub(crate) allow: Option<&'static str>,
    pub(crate) content_type: &'static str,
    pub(crate) content: &'a [u8],
}

impl Response<'static> {
    /// Returns a response that has only a status.
    pub(crate) fn empty(status: Status) -> Self {
        Self {
            status,
            allow: None,
            content_type: "text/plain",
            content: b"",
        }
    }
}

impl Response<'_> {
    /// Returns the bytes of the response. A response to HEAD has the fields of
    /// the content, but no content.
    pub(crate) fn to_bytes(&self, method: Method, connection: &str) -> Vec<u8> {
        let (status, content_type, length) = (self.status.0, self.content_type, self.content.len());
        let allow = self.allow.map(|methods| format!("Allow: {methods}\r\n"));
        let allow = allow.unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {status}\r\n\
             {allow}\
             Content-Type: {content_type}\r\n\
             Content-Length: {length}\r\n\
             Connection: {connection}\r\n\
             \r\n"
        );
        let content = match method {
            Method::Head => b"",
            Method::Get | Method::Post => self.content,
        };
        [head.as_bytes(), content].concat()
    }
}
