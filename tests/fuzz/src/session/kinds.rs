//! The sessions under test.

use std::io::IoSlice;

use peerloop::Direction;
use peerloop::error::SessionError;
use peerloop::session::{Output, Sequence, Session, Stage};

use crate::input::Input;
use crate::{noise, tls};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Tls,
    Noise,
    /// A greeting, followed by Noise.
    Sequence,
    /// No protection: changed bytes are delivered as they are.
    Chunks,
}

impl Kind {
    pub(super) fn chosen(input: &mut Input<'_>) -> Self {
        [Self::Tls, Self::Noise, Self::Sequence, Self::Chunks][input.below(4)]
    }

    pub(super) fn session(self, side: Direction) -> Box<dyn Session> {
        match self {
            Self::Tls => Box::new(tls::session(side)),
            Self::Noise => Box::new(noise::session(side)),
            Self::Sequence => Box::new(Sequence::new(Greeting::new(), noise::session(side))),
            Self::Chunks => Box::new(Chunks::new()),
        }
    }
}

pub(super) const MAGIC: [u8; 5] = *b"hello";

/// Exchanges a magic number in both directions.
struct Greeting(Stage);

impl Greeting {
    fn new() -> Self {
        Self(Stage::Handshaking)
    }
}

impl Session for Greeting {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        wire.extend(MAGIC);
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
        match bytes.first_chunk() {
            None => Ok(0),
            Some(&MAGIC) => {
                self.0 = Stage::Transparent;
                Ok(MAGIC.len())
            }
            Some(_) => Err(SessionError::Refused("another protocol")),
        }
    }

    fn stage(&self) -> Stage {
        self.0
    }
}

/// Exchanges a magic number, and then chunks: a byte of length, and that many
/// inverted bytes. An empty chunk is the close notification.
pub(super) struct Chunks(Stage);

impl Chunks {
    pub(super) fn new() -> Self {
        Self(Stage::Handshaking)
    }
}

impl Session for Chunks {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        wire.extend(MAGIC);
        Ok(())
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        let mut taken = 0;
        if self.0 == Stage::Handshaking {
            match bytes.first_chunk() {
                None => return Ok(0),
                Some(&MAGIC) => taken = MAGIC.len(),
                Some(_) => return Err(SessionError::Malformed("no magic number")),
            }
            self.0 = Stage::Established;
        }
        while let (Stage::Established, Some((len, after))) =
            (self.0, bytes[taken..].split_first_mut())
        {
            let Some(chunk) = after.get_mut(..usize::from(*len)) else {
                break;
            };
            if chunk.is_empty() {
                self.0 = Stage::Finished;
            }
            // The chunk is changed in place, as a cipher may do it.
            chunk.iter_mut().for_each(|byte| *byte = !*byte);
            output.plaintext.extend_from_slice(chunk);
            taken += 1 + chunk.len();
        }
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        self.0
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        for chunk in plaintext.iter().flat_map(|slice| slice.chunks(255)) {
            wire.push(chunk.len() as u8);
            wire.extend(chunk.iter().map(|byte| !byte));
        }
        Ok(())
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        wire.push(0);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        match self.0 {
            Stage::Established => Err(SessionError::Truncated),
            _ => Ok(()),
        }
    }
}
