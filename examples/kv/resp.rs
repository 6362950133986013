//! The Redis protocol (RESP2): commands in the bytes that a client sends.
//!
//! ```text
//! *2\r\n$3\r\nGET\r\n$1\r\nk\r\n       an array of bulk strings
//! GET k\r\n                            an inline command
//! ```

use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer};

/// Maximum length of a command in bytes. An answer is not longer either.
pub(crate) const COMMAND_MAX: usize = 1024 * 1024;

/// Maximum length of a message in bytes: a command, and the line of a length that is
/// too long, so that [`read`] sees what is wrong.
pub(crate) const MESSAGE_MAX: usize = COMMAND_MAX + 64;

/// Maximum length of an inline command in bytes.
const INLINE_MAX: usize = 4 * 1024;

/// Maximum number of arguments, the name included. A command that arrives byte by
/// byte is read from its start each time, and this bounds what that costs.
const ARGUMENTS_MAX: usize = 1024;

/// Finds the ends of commands. A message is one whole command.
///
/// Malformed bytes are a message too, so that the handler can answer and close the
/// connection: [`read`] tells it what is wrong.
pub(crate) struct Commands;

impl Framer for Commands {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let consumed = match read(bytes, |_| {}) {
            Ok(end) => end,
            Err(Stop::Incomplete(at_least)) => return Ok(Decoded::Incomplete { at_least }),
            Err(Stop::Malformed(_)) => bytes.len().min(MESSAGE_MAX),
        };
        let body = 0..consumed;
        Ok(Decoded::Frame { body, consumed })
    }

    fn encode(&mut self, answer: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(answer);
        Ok(())
    }
}

/// The reason why a command cannot be read to its end.
pub(crate) enum Stop {
    /// Bytes are missing. This many are needed, from the start of the command.
    Incomplete(usize),
    Malformed(&'static str),
}

/// Reads the command at the start of `bytes`. Calls `take` with each argument, and
/// returns the length of the command.
pub(crate) fn read<'a>(bytes: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Result<usize, Stop> {
    if !bytes.starts_with(b"*") {
        let line = &bytes[..bytes.len().min(INLINE_MAX)];
        let end = match line.iter().position(|byte| *byte == b'\n') {
            Some(end) => end,
            None if line.len() < INLINE_MAX => return Err(Stop::Incomplete(line.len() + 1)),
            None => return Err(Stop::Malformed("ERR Protocol error: inline too long")),
        };
        let words = line[..end].split(u8::is_ascii_whitespace);
        words.filter(|word| !word.is_empty()).for_each(take);
        return Ok(end + 1);
    }
    let (count, mut at) = number(bytes, 0, b'*', ARGUMENTS_MAX)?;
    for _ in 0..count {
        let (len, start) = number(bytes, at, b'$', COMMAND_MAX)?;
        at = start + len + 2;
        match bytes.get(start..at).map(|bytes| bytes.split_at(len)) {
            Some((argument, b"\r\n")) if at <= COMMAND_MAX => take(argument),
            None if at <= COMMAND_MAX => return Err(Stop::Incomplete(at)),
            _ => return Err(Stop::Malformed("ERR Protocol error: invalid bulk length")),
        }
    }
    Ok(at)
}

/// Reads a line that is `kind` and a number, such as `$3`. Returns the number, and
/// where the next line begins.
fn number(bytes: &[u8], at: usize, kind: u8, max: usize) -> Result<(usize, usize), Stop> {
    let (mut number, mut end) = (0, at + 1);
    // More digits than nine are malformed.
    while let Some(digit @ b'0'..=b'9') = bytes.get(end).filter(|_| end < at + 10) {
        number = 10 * number + usize::from(digit - b'0');
        end += 1;
    }
    let is_valid = bytes.get(at) == Some(&kind) && end > at + 1 && number <= max;
    match bytes.get(end..end + 2) {
        None => Err(Stop::Incomplete(end + 2)),
        Some(b"\r\n") if is_valid => Ok((number, end + 2)),
        Some(_) => Err(Stop::Malformed("ERR Protocol error: expected a length")),
    }
}
