//! Bytes after their length: lines, messages, and the fields of protobuf.
//!
//! The length is an unsigned LEB128 number.

use unsigned_varint::{decode, encode};

use crate::{Checked, check};

/// Appends the length of the bytes, and the bytes.
pub fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(encode::usize(bytes.len(), &mut encode::usize_buffer()));
    out.extend_from_slice(bytes);
}

/// Takes a length and so many bytes from the start of `input`. Returns `None` if
/// they have not arrived completely. Nothing from a peer is longer than 16 KiB.
pub fn take<'a>(input: &mut &'a [u8]) -> Checked<Option<&'a [u8]>> {
    let (len, mut rest) = match decode::usize(input) {
        Ok((len @ ..0x4000, rest)) => (len, rest),
        Err(decode::Error::Insufficient) => return Ok(None),
        _ => return Err("a malformed length, or one of 16 KiB or more"),
    };
    Ok(rest.split_off(..len).inspect(|_| *input = rest))
}

/// Returns a field of protobuf. A message is a sequence of fields. Strings, bytes
/// and messages are the same kind of field (2), the only one in this program.
pub fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    write(&mut field, value.as_ref());
    field
}

/// Returns the numbers and values of the fields in a message of protobuf.
pub fn fields(mut message: &[u8]) -> Checked<Vec<(u8, &[u8])>> {
    let mut fields = Vec::new();
    while let Some(key) = message.split_off_first() {
        check(key & 7 == 2, "another kind of protobuf field")?;
        let value = take(&mut message)?.ok_or("a malformed protobuf")?;
        fields.push((key >> 3, value));
    }
    Ok(fields)
}
