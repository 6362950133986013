//! multistream-select 1.0: two ends agree on a protocol.
//!
//! Each end sends lines. The first is the name of this protocol itself. Then the
//! end that opened the connection or stream proposes a protocol, and the other
//! end repeats the proposal, or answers `na` (not available).
//!
//! ```text
//!   ┌────────┬────────────────────┬────┐
//!   │ length │ text               │ \n │
//!   └────────┴────────────────────┴────┘
//!     LEB128, counts the \n
//! ```

use peerloop::Direction;
use peerloop::error::SessionError;
use peerloop::session::{Output, Session, Stage};

use crate::Reason;

const HEADER: &str = "/multistream/1.0.0";

/// Number of proposals that are answered with `na`, before the peer is refused.
const REFUSALS_MAX: u32 = 16;

/// One end of a negotiation.
pub struct Negotiation {
    is_proposing: bool,
    protocols: &'static [&'static str],
    has_header: bool,
    refusals: u32,
    agreed: Option<&'static str>,
}

impl Negotiation {
    /// Returns the end that proposes the first protocol (outbound), or the end
    /// that accepts any of them (inbound).
    pub fn new(direction: Direction, protocols: &'static [&'static str]) -> Self {
        Self {
            is_proposing: direction == Direction::Outbound,
            protocols,
            has_header: false,
            refusals: 0,
            agreed: None,
        }
    }

    /// Appends the first lines of this end. There is only one proposal, so that it
    /// need not wait for the header of the peer.
    pub fn start(&self, out: &mut Vec<u8>) {
        if self.is_proposing {
            write_line(out, HEADER);
            write_line(out, self.protocols[0]);
        }
    }

    /// Takes lines from the start of `bytes`, and appends the answers to `out`.
    /// Returns the protocol once both ends agree. What follows belongs to it.
    pub fn advance(
        &mut self,
        bytes: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<&'static str>, Reason> {
        while self.agreed.is_none() {
            let Some(line) = take_prefixed(bytes)? else {
                break;
            };
            if let Some(answer) = self.take(line)? {
                write_line(out, answer);
            }
        }
        Ok(self.agreed)
    }

    /// Takes a line, and returns the answer.
    fn take(&mut self, line: &[u8]) -> Result<Option<&'static str>, Reason> {
        let line = line.strip_suffix(b"\n").ok_or("a line without its end")?;
        let answer = if !self.has_header {
            if line != HEADER.as_bytes() {
                return Err("the peer does not speak multistream-select 1.0");
            }
            self.has_header = true;
            HEADER
        } else if let Some(protocol) = self.protocols.iter().find(|it| it.as_bytes() == line) {
            self.agreed = Some(protocol);
            protocol
        } else if self.is_proposing {
            return Err("the peer does not speak the proposed protocol");
        } else if self.refusals == REFUSALS_MAX {
            return Err("the peer proposed too many unknown protocols");
        } else {
            self.refusals += 1;
            "na"
        };
        Ok((!self.is_proposing).then_some(answer))
    }
}

/// Appends a line of less than 128 bytes, whose length takes one byte.
fn write_line(out: &mut Vec<u8>, line: &str) {
    out.push(line.len() as u8 + 1);
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

/// Takes a length and so many bytes from the start of `bytes`. Returns `None` if
/// they are incomplete. The length has 14 bits at most.
pub fn take_prefixed<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Reason> {
    let (low, high, rest) = match **bytes {
        [low, ref rest @ ..] if low < 0x80 => (low, 0, rest),
        [low, high, ref rest @ ..] if high < 0x80 => (low & 0x7f, high, rest),
        [] | [_] => return Ok(None),
        _ => return Err("a length of 16 KiB or more"),
    };
    let len = usize::from(low) | usize::from(high) << 7;
    let Some((body, rest)) = rest.split_at_checked(len) else {
        return Ok(None);
    };
    *bytes = rest;
    Ok(Some(body))
}

/// The negotiation at the start of a TCP connection is a session, which becomes
/// transparent when both ends agree.
impl Session for Negotiation {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        Negotiation::start(self, wire);
        Ok(())
    }

    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut rest = &*wire;
        self.advance(&mut rest, out.wire)
            .map_err(SessionError::Refused)?;
        Ok(wire.len() - rest.len())
    }

    fn stage(&self) -> Stage {
        match self.agreed {
            Some(_) => Stage::Transparent,
            None => Stage::Handshaking,
        }
    }
}
