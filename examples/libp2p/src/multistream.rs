//! multistream-select 1.0: two ends agree on a protocol.
//!
//! Each end sends lines. The first is the name of this protocol itself. Then the
//! end that opened the connection or the stream proposes a protocol. The other end
//! repeats the proposal, or answers `na` (not available).
//!
//! ```text
//!   ┌────────┬────────────────────┬────┐
//!   │ length │ text               │ \n │
//!   └────────┴────────────────────┴────┘
//!     LEB128, counts the \n
//! ```

use peerloop::session::{Output, Session, Stage};
use peerloop::{Direction, error::SessionError};

use crate::{Checked, check, prefixed};

const HEADER: &str = "/multistream/1.0.0";

/// Maximum number of lines from a peer: its header and its proposals.
const LINES_MAX: u32 = 16;

/// One end of a negotiation. The end that opened a connection or stream (outbound)
/// proposes the first protocol. The other end accepts any of its protocols.
#[derive(Default)]
pub struct Negotiation {
    pub is_proposing: bool,
    protocols: &'static [&'static str],
    /// Number of lines from the peer.
    lines: u32,
    /// The protocol, when both ends agree.
    pub agreed: Option<&'static str>,
}

impl Negotiation {
    pub fn new(direction: Direction, protocols: &'static [&'static str]) -> Self {
        Self {
            is_proposing: direction == Direction::Outbound,
            protocols,
            ..Self::default()
        }
    }

    /// Appends the first lines of the end that proposes.
    pub fn propose(&self, out: &mut Vec<u8>) {
        if self.is_proposing {
            // With only one proposal it need not wait for the header of the peer.
            write_line(out, HEADER);
            write_line(out, self.protocols[0]);
        }
    }

    /// Takes lines from the start of `input`, and appends the answers to `out`. The
    /// bytes after the agreement are not taken.
    pub fn advance(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Checked {
        while self.agreed.is_none()
            && let Some(line) = prefixed::take(input)?
        {
            let is_first = self.lines == 0;
            let known: &[&str] = if is_first { &[HEADER] } else { self.protocols };
            let text = line.strip_suffix(b"\n").unwrap_or_default();
            let name = known.iter().find(|name| name.as_bytes() == text);
            let is_allowed = name.is_some() || !self.is_proposing && !is_first;
            check(is_allowed && self.lines < LINES_MAX, "no common protocol")?;
            if !self.is_proposing {
                write_line(out, name.unwrap_or(&"na"));
            }
            self.agreed = name.copied().filter(|_| !is_first);
            self.lines += 1;
        }
        Ok(())
    }
}

fn write_line(out: &mut Vec<u8>, line: &str) {
    prefixed::write(out, format!("{line}\n").as_bytes());
}

/// The negotiation at the start of a TCP connection is a session, which becomes
/// transparent when both ends agree.
impl Session for Negotiation {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.propose(wire);
        Ok(())
    }

    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut rest = &*wire;
        let result = self.advance(&mut rest, out.wire);
        result.map_err(SessionError::Refused)?;
        Ok(wire.len() - rest.len())
    }

    fn stage(&self) -> Stage {
        self.agreed
            .map_or(Stage::Handshaking, |_| Stage::Transparent)
    }
}
