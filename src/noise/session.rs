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
    phase: Phase,
    rekey: Option<Rekey>,
    identity: Option<Identity>,
}

/// Where it stands. The state of the handshake is large and goes when that is over.
enum Phase {
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
            phase: Phase::Handshaking(Box::new(handshake)),
            rekey,
            identity: None,
        }
    }

    /// Reads handshake messages, and answers them, for as long as there are any; how many bytes they took.
    fn shake_hands(&mut self, bytes: &[u8], wire: &mut Vec<u8>) -> Result<usize, SessionError> {
        let mut taken = 0;
        while let Phase::Handshaking(handshake) = &mut self.phase {
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
        match std::mem::replace(&mut self.phase, Phase::Between) {
            Phase::Handshaking(handshake) if handshake.is_over() => {
                let (transport, identity) = handshake.finish()?;
                self.phase = Phase::Established(Transport::new(transport, self.rekey));
                self.identity = identity;
            }
            other => self.phase = other,
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Between) {
            Phase::Established(transport) => Phase::Finished(transport),
            other => other,
        };
    }

    fn transport(&mut self) -> Option<&mut Transport> {
        match &mut self.phase {
            Phase::Established(transport) | Phase::Finished(transport) => Some(transport),
            Phase::Handshaking(_) | Phase::Between => None,
        }
    }
}

impl Session for NoiseSession {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        match &mut self.phase {
            Phase::Handshaking(handshake) => handshake.write(wire),
            _ => Ok(()),
        }
    }

    fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
        let taken = self.shake_hands(bytes, output.wire)?;
        let Phase::Established(transport) = &mut self.phase else {
            return Ok(taken);
        };
        let opened = transport.open(&bytes[taken..], output.plaintext)?;
        if opened.is_over {
            self.finish();
        }
        Ok(taken + opened.taken)
    }

    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Handshaking(_) | Phase::Between => Stage::Handshaking,
            Phase::Established(_) => Stage::Established,
            Phase::Finished(_) => Stage::Finished,
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
        match self.phase {
            Phase::Established(_) => Err(SessionError::Truncated),
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
