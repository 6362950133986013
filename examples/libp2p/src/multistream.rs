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

use std::iter::once;

use peerloop::session::{Output, Session, Stage};
use peerloop::{Direction, error::SessionError};

use crate::{Checked, prefixed};

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
    /// Lines to send.
    pub out: Vec<u8>,
}

impl Negotiation {
    pub fn new(direction: Direction, protocols: &'static [&'static str]) -> Self {
        let (is_proposing, mut out) = (direction == Direction::Outbound, Vec::new());
        if is_proposing {
            // With only one proposal it need not wait for the header of the peer.
            write_line(&mut out, HEADER);
            write_line(&mut out, protocols[0]);
        }
        Self {
            is_proposing,
            protocols,
            out,
            ..Self::default()
        }
    }

    /// Takes lines from the start of `input`. What follows `agreed` is not taken.
    pub fn advance(&mut self, input: &mut &[u8]) -> Checked {
        while self.agreed.is_none() {
            let Some(line) = prefixed::take(input)? else {
                break;
            };
            let mut known = once(&HEADER).chain(self.protocols);
            let name = known.find(|name| line.strip_suffix(b"\n") == Some(name.as_bytes()));
            let is_wrong = (name == Some(&HEADER)) != (self.lines == 0);
            if is_wrong || self.is_proposing && name.is_none() || self.lines == LINES_MAX {
                return Err("no protocol that both ends speak");
            }
            if !self.is_proposing {
                write_line(&mut self.out, name.unwrap_or(&"na"));
            }
            self.agreed = name.copied().filter(|_| self.lines > 0);
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
        wire.append(&mut self.out);
        Ok(())
    }

    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut rest = &*wire;
        let result = self.advance(&mut rest).map_err(SessionError::Refused);
        out.wire.append(&mut self.out);
        result.map(|()| wire.len() - rest.len())
    }

    fn stage(&self) -> Stage {
        self.agreed
            .map_or(Stage::Handshaking, |_| Stage::Transparent)
    }
}
