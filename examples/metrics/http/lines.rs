//! Lines, fields and numbers, of which heads and chunked bodies consist.

use std::ops::Range;

use super::response::Status;
use super::{BODY_MAX, require};

/// A position in the lines of a message. The message is passed from its
/// beginning whenever more of it has arrived, but each byte is searched once.
///
/// ```text
/// GET / HTTP/1.1 CR LF Host: exa
///                      ^ start  ^ searched
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Lines {
    /// The end of the last line.
    pub(super) start: usize,
    searched: usize,
}

impl Lines {
    /// Returns the next line without CR LF, if it has arrived.
    ///
    /// # Errors
    ///
    /// - CR without LF, or LF without CR: 400. Programs differ in what they take
    ///   for the end of a line, and would see different requests.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, Status> {
        let unsearched = &bytes[self.searched..];
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = bytes.len();
            return Ok(None);
        };
        let (start, end) = (self.start, self.searched + found);
        self.skip_to(end + 1);
        match bytes[start..end].split_last() {
            Some((b'\r', line)) if !line.contains(&b'\r') => Ok(Some(start..end - 1)),
            _ => Err(Status::BAD_REQUEST),
        }
    }

    /// Continues after bytes that are not lines.
    pub(super) fn skip_to(&mut self, start: usize) {
        (self.start, self.searched) = (start, start);
    }
}

/// Splits a field line into name and value.
///
/// # Errors
///
/// - Whitespace before the colon or at the start of the line, and control
///   characters: 400 (RFC 9112, section 5).
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Status> {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next());
    let value = value.filter(|value| is_token(name) && is_text(value));
    Ok((name, value.ok_or(Status::BAD_REQUEST)?.trim_ascii()))
}

/// Returns whether there is no control character except tabs.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let is_allowed = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    bytes.iter().all(is_allowed)
}

/// Returns whether this is a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(word: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(is_allowed)
}

/// Returns the number that consists of these digits, or `BODY_MAX + 1` if it is
/// larger.
///
/// # Errors
///
/// - Something else than digits, such as a sign: 400.
pub(super) fn number(digits: &[u8], radix: u32) -> Result<usize, Status> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let is_number = !digits.is_empty() && digits.iter().all(is_digit);
    require(is_number, Status::BAD_REQUEST)?;
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    let number = usize::from_str_radix(digits, radix).unwrap_or(usize::MAX);
    Ok(number.min(BODY_MAX + 1))
}
