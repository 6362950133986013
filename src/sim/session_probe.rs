//! The session between a connection and the user's own: it lets everything pass, and tells what did.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::SessionError;
use crate::session::{Identity, Output, Session, Stage};
use crate::sys::sim::{SharedInternet, SocketId};

/// What the world hears of a session's bytes.
pub(super) struct SessionProbe {
    session: Box<dyn Session>,
    internet: SharedInternet,
    socket: SocketId,
}

impl SessionProbe {
    pub(super) fn new(
        session: Box<dyn Session>,
        internet: SharedInternet,
        socket: SocketId,
    ) -> Self {
        Self {
            session,
            internet,
            socket,
        }
    }

    /// Has the session say something.
    fn hear<R>(
        &mut self,
        wire: &mut Vec<u8>,
        call: impl FnOnce(&mut dyn Session, &mut Vec<u8>) -> R,
    ) -> R {
        let before = wire.len();
        let result = call(&mut *self.session, wire);
        let said = wire.len().saturating_sub(before);
        self.internet.lock().sealed(self.socket, 0, said);
        result
    }
}

impl Session for SessionProbe {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let result = self.hear(wire, |session, wire| session.start(wire));
        if result.is_ok() && self.session.stage() == Stage::Transparent {
            self.internet.lock().opened(self.socket, &[], true);
        }
        result
    }

    fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
        let (plaintext, wire) = (output.plaintext.len(), output.wire.len());
        // What was appended before a panic is delivered, too.
        let result = catch_unwind(AssertUnwindSafe(|| self.session.receive(bytes, output)));
        let said = output.wire.len().saturating_sub(wire);
        let opened = output.plaintext.get(plaintext..).unwrap_or_default();
        let mut internet = self.internet.lock();
        internet.sealed(self.socket, 0, said);
        internet.opened(self.socket, opened, false);
        let result = result.unwrap_or_else(|panic| {
            drop(internet);
            resume_unwind(panic)
        });
        if let (Ok(taken), Stage::Transparent) = (result, self.session.stage()) {
            let rest = bytes.get(taken..).unwrap_or_default();
            self.internet.lock().opened(self.socket, rest, true);
        }
        result
    }

    fn stage(&self) -> Stage {
        self.session.stage()
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.hear(wire, |session, wire| session.seal(plaintext, wire))?;
        let len = plaintext.iter().map(|part| part.len()).sum();
        self.internet.lock().sealed(self.socket, len, 0);
        Ok(())
    }

    fn goodbye(&mut self, wire: &mut Vec<u8>) {
        self.hear(wire, |session, wire| session.goodbye(wire));
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        self.session.wire_ended()
    }

    fn identity(&self) -> Option<Identity> {
        self.session.identity()
    }
}
