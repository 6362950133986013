//! The commands of the example `kv` against a simple parser.

use peerloop::framing::{Decoded, Framer};

use crate::input::Input;

#[path = "../../../examples/kv/resp.rs"]
mod resp;

use resp::{Commands, Stop, read};

/// The end of a stream of commands.
#[derive(PartialEq, Eq, Debug)]
enum End {
    Incomplete,
    Malformed,
}

/// The arguments of each command, and how the stream ends.
type Stream = (Vec<Vec<Vec<u8>>>, End);

/// Passes a stream to the framer, in pieces and in one. The first byte decides
/// whether the pieces are long. A simple parser finds the same commands.
pub fn kv(data: &[u8]) {
    let mut input = Input::new(data);
    let longest = [1, 5, 40][input.below(3)];
    let bytes = input.take(usize::MAX);
    let expected = parse(bytes);
    assert_eq!(decode(bytes, bytes.len().max(1)), expected);
    assert_eq!(decode(bytes, longest), expected);
}

fn decode(bytes: &[u8], piece: usize) -> Stream {
    let (mut commands, mut framer) = (Vec::new(), Commands);
    let (mut start, mut arrived, mut needed) = (0, 0, 0);
    while arrived < bytes.len() {
        arrived = bytes.len().min(arrived + piece);
        while start < arrived && arrived - start >= needed {
            let rest = &bytes[start..arrived];
            match framer.decode(rest).expect("errors are messages") {
                Decoded::Frame { body, consumed } => {
                    assert_eq!(body, 0..consumed);
                    let mut arguments = Vec::new();
                    match read(&rest[body], |argument| arguments.push(argument.to_vec())) {
                        Ok(len) => assert_eq!(len, consumed),
                        Err(Stop::Malformed(problem)) => {
                            assert!(!problem.is_empty());
                            return (commands, End::Malformed);
                        }
                        Err(Stop::Incomplete(_)) => panic!("a whole command is incomplete"),
                    }
                    commands.push(arguments);
                    (start, needed) = (start + consumed, 0);
                }
                Decoded::Incomplete { at_least } => {
                    assert!(at_least > rest.len(), "{at_least}");
                    needed = at_least;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    (commands, End::Incomplete)
}

/// The simple parser: it looks for whole lines.
fn parse(mut bytes: &[u8]) -> Stream {
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        match parse_one(bytes) {
            Ok((arguments, rest)) => {
                commands.push(arguments);
                bytes = rest;
            }
            Err(end) => return (commands, end),
        }
    }
    (commands, End::Incomplete)
}

fn parse_one(bytes: &[u8]) -> Result<(Vec<Vec<u8>>, &[u8]), End> {
    if bytes[0] != b'*' {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(End::Incomplete)?;
        let words = bytes[..end].split(|byte| b" \t\r\x0c".contains(byte));
        let words = words.filter(|word| !word.is_empty());
        return Ok((words.map(<[u8]>::to_vec).collect(), &bytes[end + 1..]));
    }
    let (count, mut rest) = number(bytes, b'*', 1024)?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let (len, bytes) = number(rest, b'$', 1024 * 1024)?;
        let Some((argument, after)) = bytes.split_at_checked(len) else {
            return Err(End::Incomplete);
        };
        if after.len() < 2 {
            return Err(End::Incomplete);
        }
        rest = after.strip_prefix(b"\r\n").ok_or(End::Malformed)?;
        arguments.push(argument.to_vec());
    }
    Ok((arguments, rest))
}

/// Returns the number of a line, and what follows the line.
fn number(bytes: &[u8], kind: u8, max: usize) -> Result<(usize, &[u8]), End> {
    let digits = bytes.get(1..).unwrap_or_default();
    let count = digits
        .iter()
        .take(9)
        .take_while(|byte| byte.is_ascii_digit());
    let (digits, rest) = digits.split_at(count.count());
    // Two bytes are seen before anything is wrong.
    if rest.len() < 2 {
        return Err(End::Incomplete);
    }
    let rest = rest.strip_prefix(b"\r\n").ok_or(End::Malformed)?;
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|it| it.parse().ok());
    match number {
        Some(number) if bytes[0] == kind && number <= max => Ok((number, rest)),
        _ => Err(End::Malformed),
    }
}
