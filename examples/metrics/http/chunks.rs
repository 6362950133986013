//! Bodies of unknown length: `Transfer-Encoding: chunked` (RFC 9112, section 7.1).

use peerloop::framing::Decoded;

use super::lines::{Lines, field, is_text};
use super::{BODY_MAX, FIELDS_MAX, Status, first};

/// Maximum length of the line before a chunk: its size and its extensions.
const SIZE_LINE_MAX: usize = 256;

/// A chunked body of which a part has arrived.
#[derive(Default)]
pub(super) struct Chunks {
    lines: Lines,
    next: Next,
    trailers: usize,
}

/// The part of the body that follows the last line.
#[derive(Clone, Copy, Default)]
enum Next {
    #[default]
    SizeLine,
    /// The data of a chunk, of this length.
    Data(usize),
    /// Trailers, and the empty line at the end of the body.
    Trailer,
}

impl Chunks {
    /// Continues with the bytes that have arrived since the last call. `take`
    /// gets the data of each chunk once. Trailers are checked and discarded.
    ///
    /// # Errors
    ///
    /// - Not chunks: 400.
    /// - Too long: 413, or 431 for trailers.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<Decoded, Status> {
        let bytes = &bytes[..bytes.len().min(BODY_MAX)];
        loop {
            if let Next::Data(len) = self.next {
                let start = self.lines.start;
                let end = start + len + 2;
                let Some(data) = bytes.get(start..end) else {
                    return incomplete(end);
                };
                take(data.strip_suffix(b"\r\n").ok_or(Status::BAD_REQUEST)?);
                self.lines.skip_to(end);
                self.next = Next::SizeLine;
            }
            let Some(line) = self.lines.next(bytes)? else {
                return incomplete(bytes.len() + 1);
            };
            match (&bytes[line], self.next) {
                (b"", Next::Trailer) => return Ok(first(self.lines.start, bytes)),
                (line, Next::Trailer) => self.trailer(line)?,
                (line, _) => {
                    self.next = match size(line)? {
                        0 => Next::Trailer,
                        len => Next::Data(len),
                    }
                }
            }
        }
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), Status> {
        self.trailers += 1;
        if self.trailers > FIELDS_MAX {
            return Err(Status::FIELDS_TOO_LARGE);
        }
        field(line).map(|_| ())
    }
}

fn incomplete(at_least: usize) -> Result<Decoded, Status> {
    if at_least > BODY_MAX {
        return Err(Status::CONTENT_TOO_LARGE);
    }
    Ok(Decoded::Incomplete { at_least })
}

/// Returns the size in the line before a chunk. Extensions are ignored.
fn size(line: &[u8]) -> Result<usize, Status> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, extensions) = line.split_at(digits.count());
    let is_end = extensions.is_empty() || extensions.trim_ascii_start().starts_with(b";");
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let is_valid = !digits.is_empty() && is_end && is_text(extensions);
    if !is_valid || line.len() > SIZE_LINE_MAX {
        return Err(Status::BAD_REQUEST);
    }
    // Only an overflow is left.
    let size = usize::from_str_radix(text, 16).unwrap_or(usize::MAX);
    if size > BODY_MAX {
        return Err(Status::CONTENT_TOO_LARGE);
    }
    Ok(size)
}
