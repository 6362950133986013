//! What a connection's bytes are at the seam between its wire, or its session, and its framing: what has come out there
//! and was not delivered, and how much went in. Exact to the byte, so that a message delivered twice, out of order, in part
//! or never shows at once.

use super::internet::Internet;
use super::socket::SocketId;
use crate::framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};

/// Kept for a socket of a node from the moment that its messages can begin.
#[derive(Debug)]
pub(super) struct DeliveryCheck {
    source: Source,
    reference: Reference,
    /// `start..` is not delivered yet.
    bytes: Vec<u8>,
    start: usize,
    delivered: u64,
    sealed: u64,
    said: u64,
}

/// Where the bytes for the framing come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Wire,
    Session,
}

/// How much has passed the seam.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Passed {
    /// Bytes of the messages that were delivered, framing included.
    pub(crate) delivered: u64,
    /// Bytes that a session has sealed.
    pub(crate) sealed: u64,
    /// Bytes that a session has put on the wire for whatever reason.
    pub(crate) said: u64,
}

/// The framing, read in the plainest way.
enum Reference {
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
    fn new(framing: &Framing) -> Self {
        match framing {
            Framing::Custom(framer) => Self::Custom(framer.fresh()),
            other => Self::BuiltIn(other.clone()),
        }
    }

    /// Where in `bytes`, which begin with a frame, its body lies, and where it ends. `len` is that of the body, for
    /// framings without boundaries.
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

/// How long a length is, and what it says.
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
    fn new(source: Source, framing: &Framing) -> Self {
        Self {
            source,
            reference: Reference::new(framing),
            bytes: Vec::new(),
            start: 0,
            delivered: 0,
            sealed: 0,
            said: 0,
        }
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

    fn deliver(&mut self, message: &[u8]) -> Result<(), &'static str> {
        let bytes = &self.bytes[self.start..];
        let first = self.reference.first(bytes, message.len());
        let Some((body, end)) = first.filter(|(_, end)| *end <= bytes.len()) else {
            return Err("which has not arrived");
        };
        if &bytes[body] != message {
            return Err("which is not what comes next");
        }
        self.start += end;
        self.delivered += end as u64;
        Ok(())
    }
}

impl Internet {
    /// The socket of a host with these two ends.
    pub(crate) fn socket_between(
        &self,
        host: std::net::IpAddr,
        local: std::net::SocketAddr,
        remote: std::net::SocketAddr,
    ) -> Option<SocketId> {
        self.by_addresses.get(&(host, local, remote)).copied()
    }

    /// Begins to follow what passes the seam.
    pub(crate) fn follow(&mut self, id: SocketId, source: Source, framing: &Framing) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        socket.witness = Some(Box::new(DeliveryCheck::new(source, framing)));
    }

    fn witness(&mut self, id: SocketId) -> Option<&mut DeliveryCheck> {
        self.sockets.get_mut(&id)?.witness.as_deref_mut()
    }

    /// A session has opened these bytes; with `is_over` they are its last, and what follows is the wire's.
    pub(crate) fn opened(&mut self, id: SocketId, plaintext: &[u8], is_over: bool) {
        if let Some(witness) = self.witness(id) {
            witness.append(plaintext);
            if is_over {
                witness.source = Source::Wire;
            }
        }
    }

    /// A session has sealed so many bytes, and put so many on the wire.
    pub(crate) fn sealed(&mut self, id: SocketId, plaintext: usize, wire: usize) {
        if let Some(witness) = self.witness(id) {
            witness.sealed += plaintext as u64;
            witness.said += wire as u64;
        }
    }

    /// A message was delivered: it has to be the next one.
    pub(crate) fn delivered(&mut self, id: SocketId, message: &[u8]) -> Result<(), &'static str> {
        self.witness(id)
            .map_or(Ok(()), |witness| witness.deliver(message))
    }

    /// What is to be delivered yet, and how much has passed; `None` for a socket that nobody follows.
    pub(crate) fn undelivered(&self, id: SocketId) -> Option<(&[u8], Passed)> {
        let witness = self.sockets.get(&id)?.witness.as_deref()?;
        let passed = Passed {
            delivered: witness.delivered,
            sealed: witness.sealed,
            said: witness.said,
        };
        Some((&witness.bytes[witness.start..], passed))
    }

    /// Nothing will be delivered any more.
    pub(crate) fn forget_undelivered(&mut self, id: SocketId) {
        if let Some(witness) = self.witness(id) {
            (witness.bytes, witness.start) = (Vec::new(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(framing: &Framing) -> DeliveryCheck {
        DeliveryCheck::new(Source::Wire, framing)
    }

    /// Framings, and two messages on the wire of each.
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
    fn what_comes_next_is_taken_once() {
        for (framing, wire) in wires() {
            let mut witness = witness(&framing);
            witness.append(wire);
            assert_eq!(witness.deliver(b"ab"), Ok(()), "{framing:?}");
            assert!(witness.deliver(b"ab").is_err(), "{framing:?}: twice");
            assert_eq!(witness.deliver(b"cd"), Ok(()), "{framing:?}");
            assert!(witness.deliver(b"cd").is_err(), "{framing:?}: twice");
            assert_eq!(witness.delivered, wire.len() as u64);
        }
    }

    #[test]
    fn what_comes_too_early_changed_or_in_part_is_refused() {
        for (framing, wire) in wires() {
            let mut witness = witness(&framing);
            witness.append(&wire[..1]);
            assert!(witness.deliver(b"ab").is_err(), "{framing:?}: too early");
            witness.append(&wire[1..]);
            assert!(witness.deliver(b"cd").is_err(), "{framing:?}: in disorder");
            assert!(witness.deliver(b"aB").is_err(), "{framing:?}: changed");
            assert_eq!(witness.deliver(b"ab"), Ok(()), "{framing:?}");
        }
    }

    #[test]
    fn a_long_varint_is_read_from_its_low_end() {
        let bytes = [&[0x80, 0x01][..], &[b'x'; 128]].concat();
        assert_eq!(length(LengthPrefix::Varint, &bytes), Some((2, 128)));
    }
}
