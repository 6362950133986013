//! A session at work on one connection, with what it has not understood yet and what it has to say.
//!
//! ```text
//!   socket ─► wire ─► session ─► plaintext ─► framing ─► handler
//!                        │
//!   socket ◄── out ◄─────┴────── batch ◄───── queue  ◄── handler
//! ```
//!
//! A batch is the front of the queue that is sealed in `out`. It stays in the queue until `out` has been written, so that
//! what counts as queued, and as handed over, is exact.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::buffers::PartialFrame;
use crate::buffers::{BlockPool, SLICES_MAX, SendQueue};
use crate::config::Panics;
use crate::error::SessionError;
use crate::mutants::mutant;
use crate::session::{Identity, Output, Session, Stage};

/// Plaintext sealed at once, in bytes: four full TLS records, or one Noise message. What a blocked connection holds
/// beside its queue is this much, what the sealing adds, and answers of the session.
const BATCH_MAX: usize = 64 * 1024;

/// What a session may leave untaken of the wire, in bytes: two of the longest messages of TLS or Noise.
const UNTAKEN_MAX: usize = 128 * 1024;

/// With more answers than this unwritten, in bytes, nothing further is received: a peer that asks and does not read would
/// have them pile up. What was sealed does not count. Its amount is bounded already, and two peers that both have much
/// to send, and both read only once that has left, would wait for each other for ever.
pub(crate) const REPLIES_MAX: usize = 64 * 1024;

/// A session and its buffers.
pub(crate) struct SessionChannel {
    session: Box<dyn Session>,
    panics: Panics,
    stage: Stage,
    /// What arrived and was not taken yet.
    pub(crate) wire: PartialFrame,
    /// Sealed bytes and answers; `..written` are gone.
    out: Vec<u8>,
    written: usize,
    /// How many bytes at the front of the queue are sealed in `out`.
    batch: usize,
    /// `..sealed` of `out` is that batch; what follows are answers.
    sealed: usize,
    said_goodbye: bool,
    /// What ended it; it is not called again.
    error: Option<SessionError>,
}

impl SessionChannel {
    pub(crate) fn new(session: Box<dyn Session>, panics: Panics) -> Self {
        Self {
            session,
            panics,
            stage: Stage::Handshaking,
            wire: PartialFrame::default(),
            out: Vec::new(),
            written: 0,
            batch: 0,
            sealed: 0,
            said_goodbye: false,
            error: None,
        }
    }

    pub(crate) fn start(&mut self) -> Result<(), SessionError> {
        self.ask(|session, out| session.start(out))
    }

    /// Offers bytes from the wire; how many were taken.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<usize, SessionError> {
        let said = self.out.len();
        let result = self.ask(|session, wire| {
            let taken = session.receive(bytes, &mut Output { plaintext, wire })?;
            // The session may be a user's; what it says of the bytes is checked like the bytes themselves.
            match bytes.len().checked_sub(taken) {
                None => Err(SessionError::Failed("it took more than there was")),
                Some(left) if left > UNTAKEN_MAX && wants_more(session.stage()) => {
                    Err(SessionError::Malformed("a message without an end"))
                }
                Some(_) => Ok(taken),
            }
        });
        if self.said_goodbye {
            // After its last word it has no answers: the sending half is closed, or about to be.
            self.out.truncate(said);
        }
        result
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn identity(&mut self) -> Result<Option<Identity>, SessionError> {
        self.ask(|session, _| Ok(session.identity()))
    }

    pub(crate) fn wire_ended(&mut self) -> Result<(), SessionError> {
        if self.has_failed() {
            return Ok(());
        }
        self.ask(|session, _| session.wire_ended())
    }

    /// Whether it is good for nothing any more, but for what it has still to say.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    pub(crate) fn error(&self) -> Option<SessionError> {
        self.error
    }

    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// Bytes at the front of the queue that are sealed and still count as queued.
    #[cfg(feature = "sim")]
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Unwritten bytes that the session said by itself: its handshake and its answers.
    pub(crate) fn answers(&self) -> usize {
        self.out.len() - self.written.max(self.sealed)
    }

    /// Whether to wait for the peer to read before more is received from it.
    pub(crate) fn is_behind(&self) -> bool {
        let waiting = if mutant!(HoldForBatch) {
            self.unwritten().len()
        } else {
            self.answers()
        };
        waiting > REPLIES_MAX
    }

    /// The first `count` unwritten bytes have been written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.out.len());
    }

    /// Nothing can be written any more: what was to be said goes unsaid.
    pub(crate) fn discard_answers(&mut self) {
        (self.written, self.sealed) = (0, 0);
        self.out.clear();
    }

    /// Everything has been written: the batch has left the queue, and the memory goes back.
    pub(crate) fn settle(&mut self, queue: Option<&mut SendQueue>, pool: &mut BlockPool) {
        debug_assert!(self.unwritten().is_empty());
        (self.written, self.sealed) = (0, 0);
        self.out.clear();
        pool.put_sealed(std::mem::take(&mut self.out));
        let batch = std::mem::take(&mut self.batch);
        if let Some(queue) = queue.filter(|_| !mutant!(SealTwice)) {
            queue.advance(batch, pool);
        }
    }

    /// Seals the front of the queue, up to a batch.
    pub(crate) fn seal(
        &mut self,
        queue: &SendQueue,
        pool: &mut BlockPool,
    ) -> Result<(), SessionError> {
        debug_assert!(self.batch == 0 && self.unwritten().is_empty());
        self.take_memory(pool);
        let mut slices = [std::io::IoSlice::new(&[]); SLICES_MAX];
        let (count, len) = queue.gather(&mut slices, BATCH_MAX);
        self.ask(|session, out| {
            session.seal(&slices[..count], out)?;
            if out.is_empty() {
                return Err(SessionError::Failed("it made nothing of the plaintext"));
            }
            Ok(())
        })?;
        (self.batch, self.sealed) = (len, self.out.len());
        Ok(())
    }

    /// Has the session say its last word, if it has not yet.
    pub(crate) fn say_goodbye(&mut self) {
        if !self.has_failed() && !std::mem::replace(&mut self.said_goodbye, true) {
            // One that fails to say goodbye has said none.
            let _ = self.ask(|session, out| {
                session.goodbye(out);
                Ok(())
            });
        }
    }

    fn take_memory(&mut self, pool: &mut BlockPool) {
        if self.out.capacity() == 0 {
            self.out = pool.take_sealed();
        }
    }

    /// Calls the session: the one place where its code runs. After an error it is not called again.
    fn ask<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Session, &mut Vec<u8>) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let (session, out) = (&mut *self.session, &mut self.out);
        let ask = || {
            let result = call(session, out);
            (result, session.stage())
        };
        let answer = match self.panics {
            Panics::Unwind => Ok(ask()),
            // Nothing of it is used after a panic but what it had appended.
            Panics::Contain => catch_unwind(AssertUnwindSafe(ask)),
        };
        let result = match answer {
            Ok((result, stage)) => {
                self.stage = stage;
                result
            }
            Err(_) => Err(SessionError::Panicked),
        };
        self.error = self.error.or_else(|| result.as_ref().err().copied());
        result
    }
}

/// Whether a session at this stage still takes bytes from the wire.
fn wants_more(stage: Stage) -> bool {
    matches!(stage, Stage::Handshaking | Stage::Established)
}
