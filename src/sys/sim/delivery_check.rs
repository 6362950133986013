//! A second, simple decoder for the bytes that a connection's framing gets from
//! its socket or session. It is exact to the byte, so it detects each message
//! that is delivered twice, out of order, in part or not at all.

use crate::framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};

/// The bytes of one socket that are not delivered yet, and counters.
#[derive(Debug)]
pub(super) struct DeliveryCheck {
    source: Source,
    reference: Reference,
    /// `start..` is not delivered yet.
    bytes: Vec<u8>,
    start: usize,
    header: u64,
    delivered: u64,
    sealed: u64,
    wire: u64,
}

/// The source of the framing's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Wire,
    Session,
}

/// Numbers of bytes that have passed between a connection's session or socket
/// and its framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PassedBytes {
    /// Bytes that were read before there was a session or a framing: a PROXY
    /// header.
    pub(crate) header: u64,
    /// Bytes of the delivered messages, framing included.
    pub(crate) delivered: u64,
    /// Bytes that a session has sealed.
    pub(crate) sealed: u64,
    /// Bytes that a session has appended to the wire, including its handshake.
    pub(crate) wire: u64,
}

/// The framing, decoded in the simplest way.
pub(super) enum Reference {
    BuiltIn(Framing),
    Custom(Box<dyn Framer>),
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn(framing) => framing.fmt(f),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

impl Reference {
    pub(super) fn new(framing: &Framing) -> Self {
        match framing {
            Framing::Custom(custom) => Self::Custom(custom.framer()),
            other => Self::BuiltIn(other.clone()),
        }
    }

    /// Returns the range of the body of the first frame in `bytes`, and the end
    /// of the frame. `len` is the length of the body, for framings without
    /// boundaries.
    fn first(&mut self, bytes: &[u8], len: usize) -> Option<(std::ops::Range<usize>, usize)> {
        let framing = match self {
            Self::BuiltIn(framing) => framing,
            Self::Custom(framer) => {
                return match framer.decode(bytes) {
                    Ok(Decoded::Frame { body, consumed }) => Some((body, consumed)),
                    _ => None,
                };
            }
        };
        match framing {
            Framing::LengthDelimited(prefix) => {
                let (head, len) = length(*prefix, bytes)?;
                let end = head.checked_add(usize::try_from(len).ok()?)?;
                Some((head..end, end))
            }
            Framing::Fixed(len) => Some((0..*len, *len)),
            Framing::Delimited(delimiter) => {
                let end = bytes.iter().position(|byte| byte == delimiter)?;
                Some((0..end, end + 1))
            }
            _ => Some((0..len, len)),
        }
    }
}

/// Returns the width of a length prefix and its value.
fn length(prefix: LengthPrefix, bytes: &[u8]) -> Option<(usize, u64)> {
    let (width, order) = match prefix {
        LengthPrefix::One => (1, ByteOrder::BigEndian),
        LengthPrefix::Two(order) => (2, order),
        LengthPrefix::Three(order) => (3, order),
        LengthPrefix::Four(order) => (4, order),
        LengthPrefix::Eight(order) => (8, order),
        LengthPrefix::Varint => {
            let width = 1 + bytes.iter().position(|byte| byte & 0x80 == 0)?;
            let groups = bytes[..width].iter().rev();
            let value = groups.fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
            return Some((width, value));
        }
    };
    let digits = bytes.get(..width)?;
    let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
    let value = match order {
        ByteOrder::BigEndian => digits.iter().fold(0, join),
        ByteOrder::LittleEndian => digits.iter().rev().fold(0, join),
    };
    Some((width, value))
}

impl DeliveryCheck {
    /// `header` bytes were read before.
    pub(super) fn new(source: Source, framing: &Framing, header: u64) -> Self {
        Self {
            source,
            reference: Reference::new(framing),
            bytes: Vec::new(),
            start: 0,
            header,
            delivered: 0,
            sealed: 0,
            wire: 0,
        }
    }

    /// The bytes that are not delivered yet have another framing.
    pub(super) fn change_framing(&mut self, reference: Reference) {
        self.reference = reference;
    }

    pub(super) fn is_of_wire(&self) -> bool {
        self.source == Source::Wire
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next message, which must equal `message`.
    pub(super) fn deliver(&mut self, message: &[u8]) -> Result<(), &'static str> {
        let bytes = &self.bytes[self.start..];
        let first = self.reference.first(bytes, message.len());
        let Some((body, end)) = first.filter(|(_, end)| *end <= bytes.len()) else {
            return Err("it has not arrived");
        };
        if &bytes[body] != message {
            return Err("it is not the next one");
        }
        self.start += end;
        self.delivered += end as u64;
        Ok(())
    }

    /// Ends the session: all later bytes come from the socket.
    pub(super) fn end_session(&mut self) {
        self.source = Source::Wire;
    }

    pub(super) fn count_sealed(&mut self, plaintext: usize, wire: usize) {
        self.sealed += plaintext as u64;
        self.wire += wire as u64;
    }

    pub(super) fn undelivered(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn passed(&self) -> PassedBytes {
        PassedBytes {
            header: self.header,
            delivered: self.delivered,
            sealed: self.sealed,
            wire: self.wire,
        }
    }

    /// Discards all bytes, because no message will be delivered any more.
    pub(super) fn clear(&mut self) {
        (self.bytes, self.start) = (Vec::new(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(framing: &Framing) -> DeliveryCheck {
        DeliveryCheck::new(Source::Wire, framing, 0)
    }

    /// Returns framings, each with two messages on the wire.
    fn wires() -> Vec<(Framing, &'static [u8])> {
        use ByteOrder::{BigEndian, LittleEndian};
        let prefixed = Framing::LengthDelimited;
        vec![
            (prefixed(LengthPrefix::One), b"\x02ab\x02cd"),
            (
                prefixed(LengthPrefix::Two(LittleEndian)),
                b"\x02\0ab\x02\0cd",
            ),
            (
                prefixed(LengthPrefix::Three(BigEndian)),
                b"\0\0\x02ab\0\0\x02cd",
            ),
            (prefixed(LengthPrefix::Varint), b"\x02ab\x02cd"),
            (Framing::Fixed(2), b"abcd"),
            (Framing::Delimited(b'\n'), b"ab\ncd\n"),
            (Framing::Raw, b"abcd"),
        ]
    }

    #[test]
    fn the_next_message_is_taken_once() {
        for (framing, wire) in wires() {
            let mut check = check(&framing);
            check.append(wire);
            assert_eq!(check.deliver(b"ab"), Ok(()), "{framing:?}");
            assert!(check.deliver(b"ab").is_err(), "{framing:?}: twice");
            assert_eq!(check.deliver(b"cd"), Ok(()), "{framing:?}");
            assert!(check.deliver(b"cd").is_err(), "{framing:?}: twice");
            assert_eq!(check.delivered, wire.len() as u64);
        }
    }

    #[test]
    fn other_messages_are_refused() {
        for (framing, wire) in wires() {
            let mut check = check(&framing);
            check.append(&wire[..1]);
            assert!(check.deliver(b"ab").is_err(), "{framing:?}: too early");
            check.append(&wire[1..]);
            assert!(check.deliver(b"cd").is_err(), "{framing:?}: in disorder");
            assert!(check.deliver(b"aB").is_err(), "{framing:?}: changed");
            assert_eq!(check.deliver(b"ab"), Ok(()), "{framing:?}");
        }
    }

    #[test]
    fn a_long_varint_is_read_from_its_low_end() {
        let bytes = [&[0x80, 0x01][..], &[b'x'; 128]].concat();
        assert_eq!(length(LengthPrefix::Varint, &bytes), Some((2, 128)));
    }
}
