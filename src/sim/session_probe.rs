//! The session around the user's session. It forwards each call and counts the
//! bytes.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::error::SessionError;
use crate::session::{Identity, Output, Session, Stage};
use crate::sys::sim::{SharedInternet, SocketId};

/// Reports the bytes of a session to the delivery check of its connection.
pub(super) struct SessionProbe {
    session: Box<dyn Session>,
    internet: SharedInternet,
    socket: SocketId,
    /// The bytes that the session did not take in the last call of `receive`.
    untaken: Vec<u8>,
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
            untaken: Vec::new(),
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

    /// Counts the bytes that a call appends to both buffers.
    fn count_output<R>(
        &mut self,
        output: &mut Output<'_>,
        call: impl FnOnce(&mut dyn Session, &mut Output<'_>) -> R,
    ) -> R {
        let (plaintext, wire) = (output.plaintext.len(), output.wire.len());
        // Bytes that were appended before a panic are delivered as well.
        let result = catch_unwind(AssertUnwindSafe(|| call(&mut *self.session, output)));
        let written = output.wire.len().saturating_sub(wire);
        let opened = output.plaintext.get(plaintext..).unwrap_or_default();
        let mut internet = self.internet.lock();
        internet.sealed(self.socket, 0, written);
        internet.opened(self.socket, opened, false);
        drop(internet);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Records that the untaken bytes are plaintext, if the session is
    /// transparent.
    fn note_transparent(&mut self) {
        if self.session.stage() == Stage::Transparent {
            let rest = std::mem::take(&mut self.untaken);
            self.internet.lock().opened(self.socket, &rest, true);
        }
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
        let result = self.count_output(output, |session, output| session.receive(bytes, output));
        if let Ok(taken) = result {
            let rest = bytes.get(taken..).unwrap_or_default();
            self.untaken.clear();
            self.untaken.extend_from_slice(rest);
            self.note_transparent();
        }
        result
    }

    fn timeout(&self) -> Option<Duration> {
        self.session.timeout()
    }

    fn on_timeout(&mut self, output: &mut Output<'_>) -> Result<(), SessionError> {
        self.count_output(output, |session, output| session.on_timeout(output))?;
        self.note_transparent();
        Ok(())
    }

    fn on_wake(&mut self, output: &mut Output<'_>) -> Result<(), SessionError> {
        self.count_output(output, |session, output| session.on_wake(output))?;
        self.note_transparent();
        Ok(())
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

    fn take_identity(&mut self) -> Option<Identity> {
        self.session.take_identity()
    }

    fn held_bytes(&self) -> usize {
        self.session.held_bytes()
    }
}
