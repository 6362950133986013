//! A session that waits for its timer, for wakes and for bytes, as a test tells it.

use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peerloop::error::SessionError;
use peerloop::session::{Output, Session, Stage};

/// A call of a [`Waits`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Receive,
    Timeout,
    Wake,
}

/// The state of a [`Waits`], which the test shares.
#[derive(Debug)]
pub struct Waiting {
    pub stage: Stage,
    pub timeout: Option<Duration>,
    /// The next stage, from the next timeout or wake on.
    pub next_stage: Option<Stage>,
    /// The duration from the next call of `receive` on.
    pub timeout_after_receive: Option<Option<Duration>>,
    /// Output of each timeout and wake.
    pub plaintext: Vec<u8>,
    pub wire: Vec<u8>,
    /// The result of each timeout and wake.
    pub error: Option<SessionError>,
    pub panics: bool,
    /// All calls, in order.
    pub calls: Vec<Call>,
}

/// The session. While it is handshaking it takes no byte. Then all bytes are plaintext.
#[derive(Clone, Debug)]
pub struct Waits(Arc<Mutex<Waiting>>);

impl Waits {
    pub fn new(stage: Stage) -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            stage,
            timeout: None,
            next_stage: None,
            timeout_after_receive: None,
            plaintext: Vec::new(),
            wire: Vec::new(),
            error: None,
            panics: false,
            calls: Vec::new(),
        })))
    }

    /// A session with a change.
    pub fn with(stage: Stage, change: impl FnOnce(&mut Waiting)) -> Self {
        let session = Self::new(stage);
        change(&mut session.state());
        session
    }

    pub fn state(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how often this call was made.
    pub fn count(&self, call: Call) -> usize {
        let state = self.state();
        state.calls.iter().filter(|other| **other == call).count()
    }

    fn act(&self, call: Call, out: &mut Output<'_>) -> Result<(), SessionError> {
        let mut state = self.state();
        state.calls.push(call);
        assert!(!state.panics, "required by the test");
        out.plaintext.extend_from_slice(&state.plaintext);
        out.wire.extend_from_slice(&state.wire);
        state.stage = state.next_stage.take().unwrap_or(state.stage);
        state.error.map_or(Ok(()), Err)
    }
}

impl Session for Waits {
    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut state = self.state();
        state.calls.push(Call::Receive);
        if let Some(timeout) = state.timeout_after_receive.take() {
            state.timeout = timeout;
        }
        if state.stage != Stage::Established {
            return Ok(0);
        }
        out.plaintext.extend_from_slice(wire);
        Ok(wire.len())
    }

    fn stage(&self) -> Stage {
        self.state().stage
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        plaintext
            .iter()
            .for_each(|slice| wire.extend_from_slice(slice));
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        self.state().timeout
    }

    fn on_timeout(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        self.act(Call::Timeout, out)
    }

    fn on_wake(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        self.act(Call::Wake, out)
    }
}
