//! A Noise handshake and what comes after it, as a session.

use std::fmt;
use std::io::IoSlice;

use super::Rekey;
use super::handshake::Handshake;
use super::transport::Transport;
use crate::error::SessionError;
use crate::session::{Identity, Output, Session, Stage};

/// A [`Session`] that speaks Noise; made by [`Noise::build`](super::Noise::build).
pub struct NoiseSession {
    state: NoiseState,
    rekey: Option<Rekey>,
    identity: Option<Identity>,
}

/// Where it stands. The state of the handshake is large and goes when that is over.
enum NoiseState {
    Handshaking(Box<Handshake>),
    Established(Transport),
    /// The peer has said goodbye.
    Finished(Transport),
    /// Only between two of the others.
    Between,
}

impl NoiseSession {
    pub(super) fn new(handshake: Handshake, rekey: Option<Rekey>) -> Self {
        Self {
            state: NoiseState::Handshaking(Box::new(handshake)),
            rekey,
            identity: None,
        }
    }

    /// Reads handshake messages, and answers them, for as long as there are any; how many bytes they took.
    fn shake_hands(&mut self, bytes: &[u8], wire: &mut Vec<u8>) -> Result<usize, SessionError> {
        let mut taken = 0;
        while let NoiseState::Handshaking(handshake) = &mut self.state {
            match handshake.read(&bytes[taken..])? {
                0 => break,
                count => taken += count,
            }
            handshake.write(wire)?;
            self.establish()?;
        }
        Ok(taken)
    }

    /// Goes over to the transport if the handshake is over.
    fn establish(&mut self) -> Result<(), SessionError> {
        match std::mem::replace(&mut self.state, NoiseState::Between) {
            NoiseState::Handshaking(handshake) if handshake.is_over() => {
                let (transport, identity) = handshake.finish()?;
                self.state = NoiseState::Established(Transport::new(transport, self.rekey));
                self.identity = identity;
            }
            other => self.state = other,
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.state = match std::mem::replace(&mut self.state, NoiseState::Between) {
            NoiseState::Established(transport) => NoiseState::Finished(transport),
            other => other,
        };
    }

    fn transport(&mut self) -> Option<&mut Transport> {
        match &mut self.state {
            NoiseState::Established(transport) | NoiseState::Finished(transport) => Some(transport),
            NoiseState::Handshaking(_) | NoiseState::Between => None,
        }
    }
}

impl Session for NoiseSession {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        match &mut self.state {
            NoiseState::Handshaking(handshake) => handshake.write(wire),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
        let taken = self.shake_hands(bytes, output.wire)?;
        let NoiseState::Established(transport) = &mut self.state else {
            return Ok(taken);
        };
        let opened = transport.open(&bytes[taken..], output.plaintext)?;
        if opened.is_over {
            self.finish();
        }
        Ok(taken + opened.taken)
    }

    fn stage(&self) -> Stage {
        match self.state {
            NoiseState::Handshaking(_) | NoiseState::Between => Stage::Handshaking,
            NoiseState::Established(_) => Stage::Established,
            NoiseState::Finished(_) => Stage::Finished,
        }
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        match self.transport() {
            Some(transport) => transport.seal(plaintext, wire),
            None => Err(SessionError::Failed("the handshake is not over")),
        }
    }

    fn goodbye(&mut self, wire: &mut Vec<u8>) {
        let start = wire.len();
        let said = self.transport().map(|transport| transport.goodbye(wire));
        // After 2^64 messages there is no nonce left to say it with.
        if let Some(Err(_)) = said {
            wire.truncate(start);
        }
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        match self.state {
            NoiseState::Established(_) => Err(SessionError::Truncated),
            _ => Ok(()),
        }
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }
}

impl fmt::Debug for NoiseSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoiseSession")
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}
