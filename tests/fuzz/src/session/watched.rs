//! A session around the session under test, which checks each call.

use std::io::IoSlice;

use peerloop::error::SessionError;
use peerloop::session::{Identity, Output, Session, Stage};

/// Maximum answer of a session to one call, in bytes: no handshake message or
/// alert of these tests is longer.
const ANSWER_MAX: usize = 4096;

/// Maximum number of bytes that a session may leave untaken.
const UNTAKEN_MAX: usize = 128 * 1024;

pub(super) struct Watched {
    session: Box<dyn Session>,
    /// Number of bytes taken, and of bytes of plaintext.
    taken: usize,
    opened: usize,
    has_started: bool,
    has_failed: bool,
    has_sent_close_notify: bool,
}

impl Watched {
    pub(super) fn new(session: Box<dyn Session>) -> Self {
        Self {
            session,
            taken: 0,
            opened: 0,
            has_started: false,
            has_failed: false,
            has_sent_close_notify: false,
        }
    }

    /// Makes a call of the session, which must not be called again after an
    /// error.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Session) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        assert!(!self.has_failed, "it is not called after an error");
        let result = call(&mut *self.session);
        if let Err(error) = &result {
            self.has_failed = true;
            let is_peers = !matches!(error, SessionError::Failed(_) | SessionError::Panicked);
            assert!(is_peers, "what a peer does is its own fault: {error}");
        }
        result
    }
}

impl Session for Watched {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        assert!(!std::mem::replace(&mut self.has_started, true));
        self.call(|session| session.start(wire))
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        assert!(self.has_started && self.stage() != Stage::Finished);
        let before = (output.plaintext.len(), output.wire.len());
        let arrived = bytes.to_vec();
        let result = self.call(|session| session.receive(bytes, output));
        let taken = *result.as_ref().unwrap_or(&bytes.len());
        assert!(bytes.len() - taken <= UNTAKEN_MAX);
        assert!(bytes[taken..] == arrived[taken..], "untaken is unchanged");
        self.taken += taken;
        self.opened += output.plaintext.len() - before.0;
        assert!(self.opened <= self.taken, "there is no more than was sent");
        assert!(output.wire.len() - before.1 <= ANSWER_MAX);
        result
    }

    fn stage(&self) -> Stage {
        self.session.stage()
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        assert!(!self.has_sent_close_notify && self.stage() != Stage::Handshaking);
        self.call(|session| session.seal(plaintext, wire))
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        assert!(!self.has_failed && !std::mem::replace(&mut self.has_sent_close_notify, true));
        self.session.close_notify(wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        self.call(|session| session.wire_ended())
    }

    fn identity(&self) -> Option<Identity> {
        self.session.identity()
    }
}
