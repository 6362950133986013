//! A slow and simple parser: it takes one message at a time from the front of
//! all bytes.

/// The rule of a framing, independent of the library's own code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    Big(usize),
    Little(usize),
    Varint,
    Fixed(usize),
    Until(u8),
}

/// The messages in the bytes so far.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) messages: Vec<Vec<u8>>,
    /// The bytes after the messages are malformed.
    pub(crate) is_bad: bool,
}

enum Front {
    Message {
        start: usize,
        end: usize,
        next: usize,
    },
    Incomplete,
    Bad,
}

pub(crate) fn parse(rule: Rule, max: usize, mut bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    loop {
        match front(rule, max, bytes) {
            Front::Message { start, end, next } => {
                parsed.messages.push(bytes[start..end].to_vec());
                bytes = &bytes[next..];
            }
            Front::Incomplete => return parsed,
            Front::Bad => {
                parsed.is_bad = true;
                return parsed;
            }
        }
    }
}

fn front(rule: Rule, max: usize, bytes: &[u8]) -> Front {
    match rule {
        Rule::Big(width) | Rule::Little(width) => {
            if bytes.len() < width {
                return Front::Incomplete;
            }
            let mut digits = bytes[..width].to_vec();
            if matches!(rule, Rule::Little(_)) {
                digits.reverse();
            }
            let len = digits
                .iter()
                .fold(0u128, |sum, digit| sum * 256 + u128::from(*digit));
            body(width, len, max, bytes)
        }
        Rule::Varint => {
            let mut len = 0u128;
            for (place, byte) in bytes.iter().enumerate() {
                len += u128::from(byte & 0x7f) << (7 * place);
                if len > u128::from(u64::MAX) || place > 9 {
                    return Front::Bad;
                }
                if byte & 0x80 == 0 {
                    // Only the shortest form is valid.
                    if *byte == 0 && place > 0 {
                        return Front::Bad;
                    }
                    return body(place + 1, len, max, bytes);
                }
            }
            if bytes.len() > 9 {
                Front::Bad
            } else {
                Front::Incomplete
            }
        }
        Rule::Fixed(len) => body(0, len as u128, max, bytes),
        Rule::Until(end) => match bytes.iter().position(|byte| *byte == end) {
            Some(len) if len <= max => Front::Message {
                start: 0,
                end: len,
                next: len + 1,
            },
            Some(_) => Front::Bad,
            None if bytes.len() > max => Front::Bad,
            None => Front::Incomplete,
        },
    }
}

fn body(header: usize, len: u128, max: usize, bytes: &[u8]) -> Front {
    if len > max as u128 {
        return Front::Bad;
    }
    let end = header + len as usize;
    if bytes.len() < end {
        return Front::Incomplete;
    }
    Front::Message {
        start: header,
        end,
        next: end,
    }
}
