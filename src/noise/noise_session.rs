//! A Noise handshake and the transport after it, as a session.

use std::fmt;
use std::io::IoSlice;

use super::Rekey;
use super::handshake::Handshake;
use super::transport::NoiseTransport;
use crate::error::SessionError;
use crate::session::{Identity, Output, Session, Stage};

/// A [`Session`] of the Noise protocol. [`Noise::build`](super::Noise::build)
/// returns it.
pub struct NoiseSession {
    state: NoiseState,
    rekey: Option<Rekey>,
    /// Identity from the handshake, until it is taken.
    identity: Option<Identity>,
    /// A FIN between two messages ends the stream without an error.
    allow_missing_close_notify: bool,
    /// The last byte that arrived is within a message.
    is_within_message: bool,
}

/// The state of a session. The state of the handshake is large, so it is boxed
/// and dropped at the end of the handshake.
enum NoiseState {
    Handshaking(Box<Handshake>),
    Established(NoiseTransport),
    /// The close notification of the peer has arrived.
    Finished(NoiseTransport),
    /// Placeholder while one state is replaced by another.
    Between,
}

impl NoiseSession {
    pub(super) fn new(
        handshake: Handshake,
        rekey: Option<Rekey>,
        allow_missing_close_notify: bool,
    ) -> Self {
        Self {
            state: NoiseState::Handshaking(Box::new(handshake)),
            rekey,
            identity: None,
            allow_missing_close_notify,
            is_within_message: false,
        }
    }

    /// Reads and answers handshake messages. Returns the number of bytes that
    /// were taken.
    fn advance_handshake(
        &mut self,
        bytes: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<usize, SessionError> {
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

    /// Begins the transport if the handshake has completed.
    fn establish(&mut self) -> Result<(), SessionError> {
        match std::mem::replace(&mut self.state, NoiseState::Between) {
            NoiseState::Handshaking(handshake) if handshake.is_complete() => {
                let (transport, identity) = handshake.finish()?;
                self.state = NoiseState::Established(NoiseTransport::new(transport, self.rekey));
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

    fn transport(&mut self) -> Option<&mut NoiseTransport> {
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

    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut taken = self.advance_handshake(wire, out.wire)?;
        if let NoiseState::Established(transport) = &mut self.state {
            let opened = transport.open(&wire[taken..], out.plaintext)?;
            taken += opened.taken;
            if opened.is_finished {
                self.finish();
            }
        }
        self.is_within_message = taken < wire.len();
        Ok(taken)
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
            None => Err(SessionError::Failed("the handshake has not completed")),
        }
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        let start = wire.len();
        let result = self.transport().map(|it| it.close_notify(wire));
        // After 2^64 messages no nonce is left for the notification.
        if let Some(Err(_)) = result {
            wire.truncate(start);
        }
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        let is_accepted = self.allow_missing_close_notify && !self.is_within_message;
        match self.state {
            NoiseState::Established(_) if !is_accepted => Err(SessionError::Truncated),
            _ => Ok(()),
        }
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    fn take_identity(&mut self) -> Option<Identity> {
        self.identity.take()
    }

    fn held_bytes(&self) -> usize {
        match &self.state {
            NoiseState::Handshaking(handshake) => handshake.peer_payload.capacity(),
            _ => 0,
        }
    }
}

impl fmt::Debug for NoiseSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoiseSession")
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}
