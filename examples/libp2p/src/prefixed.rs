//! Bytes after their length: lines, messages, and the fields of protobuf.
//!
//! The length is an unsigned LEB128 number. Here it has two bytes at most, so that
//! nothing from a peer is longer than 16 KiB.

use crate::Checked;

/// Appends a length and so many bytes, which are less than 16 KiB.
pub fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        len @ ..0x80 => out.push(len as u8),
        len => out.extend([len as u8 | 0x80, (len >> 7) as u8]),
    }
    out.extend_from_slice(bytes);
}

/// Takes a length and so many bytes from the start of `input`. Returns `None` if
/// they have not arrived completely.
pub fn take<'a>(input: &mut &'a [u8]) -> Checked<Option<&'a [u8]>> {
    let (len, mut rest) = match **input {
        [low @ ..0x80, ref rest @ ..] => (low as usize, rest),
        [low, high @ ..0x80, ref rest @ ..] => (low as usize % 0x80 + high as usize * 0x80, rest),
        [] | [_] => return Ok(None),
        _ => return Err("a length of 16 KiB or more"),
    };
    Ok(rest.split_off(..len).inspect(|_| *input = rest))
}

/// Returns a message of protobuf. Strings, bytes and messages in it are alike, and
/// this program has no other kind of field.
pub fn protobuf(fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, value) in fields {
        message.push(number << 3 | 2);
        write(&mut message, value);
    }
    message
}

/// Returns the numbers and values of the fields in a message of protobuf.
pub fn fields(mut message: &[u8]) -> Checked<Vec<(u8, &[u8])>> {
    let mut fields = Vec::new();
    while let Some(key) = message.split_off_first() {
        match take(&mut message)? {
            Some(value) if key & 7 == 2 => fields.push((key >> 3, value)),
            _ => return Err("a malformed protobuf"),
        }
    }
    Ok(fields)
}
