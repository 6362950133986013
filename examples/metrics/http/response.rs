//! Responses.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::request::Request;

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

/// The response after which a client sends the body that it has announced.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The status, a field such as `Allow: POST`, and the content of a final response.
pub(crate) type Answer<'a> = (Status, &'static str, Cow<'a, [u8]>);

/// Returns a final response. A response to HEAD has the fields of the content,
/// but no content. Without a request, the connection is closed.
pub(crate) fn response(request: Option<&Request>, answer: &Answer<'_>) -> Vec<u8> {
    let (Status(status), field, content) = answer;
    let kept = request.filter(|request| request.keeps_connection());
    let connection = kept.map_or("close", |_| "keep-alive");
    let length = content.len();
    // A clock before 1970 has no date in this format.
    let date = httpdate::fmt_http_date(SystemTime::now().max(UNIX_EPOCH));
    let head = format!(
        "HTTP/1.1 {status}\r\n\
         Date: {date}\r\n\
         {field}\r\n\
         Content-Length: {length}\r\n\
         Connection: {connection}\r\n\
         \r\n"
    );
    let has_content = request.is_none_or(|request| request.method != "HEAD");
    let content = if has_content { content } else { &b""[..] };
    [head.as_bytes(), content].concat()
}
