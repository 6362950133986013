//! The session around the user's session. It forwards each call and counts the
//! bytes.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::SessionError;
use crate::session::{Identity, Output, Session, Stage};
use crate::sys::sim::{SharedInternet, SocketId};

/// Reports the bytes of a session to the delivery check of its connection.
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

    /// Counts the bytes that a call appends to the wire.
    fn count_wire<R>(
        &mut self,
        wire: &mut Vec<u8>,
        call: impl FnOnce(&mut dyn Session, &mut Vec<u8>) -> R,
    ) -> R {
        let before = wire.len();
        let result = call(&mut *self.session, wire);
        let written = wire.len().saturating_sub(before);
        self.internet.lock().sealed(self.socket, 0, written);
        result
    }
}

impl Session for SessionProbe {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let result = self.count_wire(wire, |session, wire| session.start(wire));
        if result.is_ok() && self.session.stage() == Stage::Transparent {
            self.internet.lock().opened(self.socket, &[], true);
        }
        result
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        let (plaintext, wire) = (output.plaintext.len(), output.wire.len());
        // Bytes that were appended before a panic are delivered as well.
        let result = catch_unwind(AssertUnwindSafe(|| self.session.receive(bytes, output)));
        let written = output.wire.len().saturating_sub(wire);
        let opened = output.plaintext.get(plaintext..).unwrap_or_default();
        let mut internet = self.internet.lock();
        internet.sealed(self.socket, 0, written);
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
        self.count_wire(wire, |session, wire| session.seal(plaintext, wire))?;
        let len = plaintext.iter().map(|part| part.len()).sum();
        self.internet.lock().sealed(self.socket, len, 0);
        Ok(())
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        self.count_wire(wire, |session, wire| session.close_notify(wire));
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        self.session.wire_ended()
    }

    fn identity(&self) -> Option<Identity> {
        self.session.identity()
    }
}
