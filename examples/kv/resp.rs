//! The Redis protocol (RESP2): commands in the bytes that a client sends.
//!
//! ```text
//! *2\r\n$3\r\nGET\r\n$1\r\nk\r\n       an array of bulk strings
//! GET k\r\n                            an inline command
//! ```

use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer};

/// Maximum length of a command in bytes.
pub(crate) const COMMAND_MAX: usize = 2 * 1024 * 1024;

/// Maximum length of an inline command in bytes.
const INLINE_MAX: usize = 4 * 1024;

/// Maximum number of arguments, the name included. A command that arrives byte by
/// byte is read from its start each time, and this bounds what that costs.
const ARGUMENTS_MAX: usize = 1024;

/// Maximum number of digits of a length.
const DIGITS_MAX: usize = 9;

/// The reason why a command cannot be read to its end.
enum Stop {
    /// Bytes are missing. This many are needed, from the start of the command.
    Incomplete(usize),
    Malformed(&'static str),
}

/// Finds the ends of commands. A message is one whole command.
///
/// A malformed command is a message too, so that the handler can answer:
/// [`arguments`] returns what is wrong with it. The next call of `decode` returns
/// the error that ends the connection.
#[derive(Default)]
pub(crate) struct Commands {
    problem: Option<&'static str>,
}

impl Framer for Commands {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        if let Some(problem) = self.problem {
            return Err(FramingError::Malformed(problem));
        }
        let (body, consumed) = match read(bytes, |_| {}) {
            Ok(end) => (0..end, end),
            Err(Stop::Incomplete(at_least)) => return Ok(Decoded::Incomplete { at_least }),
            Err(Stop::Malformed(problem)) => {
                self.problem = Some(problem);
                // One byte is left for the next call.
                (0..bytes.len(), bytes.len() - 1)
            }
        };
        Ok(Decoded::Frame { body, consumed })
    }

    fn encode(&mut self, answer: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(answer);
        Ok(())
    }
}

/// Returns the name and the arguments of a command, or what is wrong with it.
pub(crate) fn arguments(message: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let mut arguments = Vec::with_capacity(4);
    match read(message, |argument| arguments.push(argument)) {
        Err(Stop::Malformed(problem)) => Err(problem),
        _ => Ok(arguments),
    }
}

/// Reads the command at the start of `bytes`. Calls `take` with each argument, and
/// returns the length of the command.
fn read<'a>(bytes: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Result<usize, Stop> {
    if !bytes.starts_with(b"*") {
        return read_line(bytes, take);
    }
    let (count, mut at) = number(bytes, 0, b'*', ARGUMENTS_MAX)?;
    for _ in 0..count {
        let (len, start) = number(bytes, at, b'$', COMMAND_MAX)?;
        at = start + len + 2;
        match bytes.get(start..at).map(|bytes| bytes.split_at(len)) {
            Some((argument, b"\r\n")) => take(argument),
            None if at <= COMMAND_MAX => return Err(Stop::Incomplete(at)),
            _ => return Err(Stop::Malformed("ERR Protocol error: invalid bulk length")),
        }
    }
    Ok(at)
}

fn read_line<'a>(bytes: &'a [u8], take: impl FnMut(&'a [u8])) -> Result<usize, Stop> {
    let line = &bytes[..bytes.len().min(INLINE_MAX)];
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let words = line[..end].split(u8::is_ascii_whitespace);
            words.filter(|word| !word.is_empty()).for_each(take);
            Ok(end + 1)
        }
        None if line.len() < INLINE_MAX => Err(Stop::Incomplete(line.len() + 1)),
        None => Err(Stop::Malformed(
            "ERR Protocol error: too big inline request",
        )),
    }
}

/// Reads a line that is `kind` and a number, such as `$3`. Returns the number, and
/// where the next line begins.
fn number(bytes: &[u8], at: usize, kind: u8, max: usize) -> Result<(usize, usize), Stop> {
    let digits = bytes[at..].iter().skip(1).take(DIGITS_MAX);
    let (mut number, mut end) = (0, at + 1);
    for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
        number = 10 * number + usize::from(digit - b'0');
        end += 1;
    }
    match bytes.get(end..end + 2) {
        None => Err(Stop::Incomplete(end + 2)),
        Some(b"\r\n") if bytes[at] == kind && number <= max => Ok((number, end + 2)),
        Some(_) => Err(Stop::Malformed("ERR Protocol error: expected a length")),
    }
}
