//! Bodies of unknown length: `Transfer-Encoding: chunked` (RFC 9112, section 7.1).

use super::lines::{Lines, field, is_text, number};
use super::response::Status;
use super::{BODY_MAX, require};

/// A chunked body, or the part of one that has arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Chunks {
    lines: Lines,
    /// The length of the chunk after the last line. Zero if a line follows.
    chunk: usize,
    /// The chunk of length zero has arrived. Trailers and an empty line follow.
    is_last: bool,
}

impl Chunks {
    /// Returns the number of bytes up to the end of the body. If it has not
    /// arrived, returns a larger number than that of `bytes`, which are passed
    /// again with more of them. `add` gets the data of each chunk once.
    /// Extensions and trailers are discarded.
    ///
    /// # Errors
    ///
    /// - Malformed chunks or trailers: 400.
    /// - A body longer than [`BODY_MAX`]: 413.
    pub(super) fn end(
        &mut self,
        bytes: &[u8],
        mut add: impl FnMut(&[u8]),
    ) -> Result<usize, Status> {
        let bytes = &bytes[..bytes.len().min(BODY_MAX)];
        let at_least = loop {
            if self.chunk > 0 {
                let (start, end) = (self.lines.start, self.lines.start + self.chunk + 2);
                let Some(data) = bytes.get(start..end) else {
                    break end;
                };
                add(data.strip_suffix(b"\r\n").ok_or(Status::BAD_REQUEST)?);
                self.lines.skip_to(end);
                self.chunk = 0;
            }
            let Some(line) = self.lines.next(bytes)? else {
                break bytes.len() + 1;
            };
            match &bytes[line] {
                b"" if self.is_last => return Ok(self.lines.start),
                trailer if self.is_last => _ = field(trailer)?,
                line => {
                    self.chunk = size(line)?;
                    self.is_last = self.chunk == 0;
                }
            }
        };
        require(at_least <= BODY_MAX, Status::CONTENT_TOO_LARGE)?;
        Ok(at_least)
    }
}

/// Returns the length of a chunk from the line before it.
fn size(line: &[u8]) -> Result<usize, Status> {
    require(is_text(line), Status::BAD_REQUEST)?;
    let digits = match line.iter().position(|byte| *byte == b';') {
        Some(extension) => line[..extension].trim_ascii_end(),
        None => line,
    };
    number(digits, 16)
}
