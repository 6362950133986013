//! The session of one connection with its buffers.
//!
//! ```text
//!   socket ─► wire ─► session ─► plaintext ─► framing ─► handler
//!                        │
//!   socket ◄── out ◄─────┴────── batch ◄───── queue  ◄── handler
//! ```
//!
//! A batch is the front of the queue, and its sealed form is in `out`. It stays
//! in the queue until `out` has been written, so that the number of queued
//! bytes and the outcome of tracked sends are exact.

use std::time::Duration;

use crate::buffers::PartialFrame;
use crate::buffers::{BlockPool, SLICES_MAX, SendQueue};
use crate::config::OnPanic;
use crate::error::SessionError;
use crate::mutants::mutant;
use crate::panics::{Contained, contain};
use crate::session::{Identity, Output, Session, Stage};

/// Maximum plaintext of a batch, in bytes: one full Noise message, or four TLS
/// records. A blocked connection holds one sealed batch and the answers of the
/// session beside its queue.
const BATCH_MAX: usize = 65_519;

/// Returns the memory that the output takes while `plaintext` bytes are sealed:
/// one batch and the bytes that sealing adds. TLS 1.3 adds 22 bytes per record
/// (RFC 8446, section 5.2), Noise adds 18 per message.
pub(crate) fn output_max(plaintext: usize) -> usize {
    let batch = plaintext.min(BATCH_MAX);
    batch + batch / 16 + 256
}

/// Maximum number of bytes that a session may leave untaken: twice the length
/// of the longest message of TLS or Noise.
const UNTAKEN_MAX: usize = 128 * 1024;

/// Maximum number of unwritten bytes of answers with which the connection is
/// still read.
///
/// The limit bounds the answers to a peer that sends requests and does not
/// read. Sealed bytes do not count: the batch bounds them, and two peers that
/// both wait until their own batch has left would wait for each other.
pub(crate) const REPLIES_MAX: usize = 64 * 1024;

/// A session and its buffers.
pub(crate) struct SessionChannel {
    session: Contained<dyn Session>,
    on_panic: OnPanic,
    stage: Stage,
    /// Bytes that arrived and that the session has not taken.
    pub(crate) wire: PartialFrame,
    /// Sealed bytes and answers. `..written` is written.
    out: Vec<u8>,
    written: usize,
    /// Number of bytes at the front of the queue that are sealed in `out`.
    batch: usize,
    /// `..sealed` of `out` is that batch. Answers follow it.
    sealed: usize,
    /// Number of bytes that the session holds for input.
    held_bytes: usize,
    /// Value of [`Session::timeout`] after the latest call.
    timeout: Option<Duration>,
    /// Duration with which the timer of the session was set.
    timer: Option<Duration>,
    /// [`Session::on_timeout`] is to be called.
    is_timed_out: bool,
    /// [`Session::on_wake`] is to be called.
    is_woken: bool,
    /// The close notification of this end is in `out` or was written.
    close_notified: bool,
    /// The first error of the session. The session is not called after it.
    error: Option<SessionError>,
}

impl SessionChannel {
    pub(crate) fn new(session: Box<dyn Session>, on_panic: OnPanic) -> Self {
        Self {
            session: Contained::new(session),
            on_panic,
            stage: Stage::Handshaking,
            wire: PartialFrame::default(),
            out: Vec::new(),
            written: 0,
            batch: 0,
            sealed: 0,
            held_bytes: 0,
            timeout: None,
            timer: None,
            is_timed_out: false,
            is_woken: false,
            close_notified: false,
            error: None,
        }
    }

    pub(crate) fn start(&mut self) -> Result<(), SessionError> {
        self.ask(|session, out| session.start(out))
    }

    /// Passes `bytes` to the session. Returns how many of them it took.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<usize, SessionError> {
        let before = self.out.len();
        let mut held_bytes = 0;
        let result = self.ask(|session, wire| {
            let taken = session.receive(bytes, &mut Output::new(plaintext, wire))?;
            held_bytes = session.held_bytes();
            // Users implement sessions, so the count is checked like input.
            match bytes.len().checked_sub(taken) {
                None => Err(SessionError::Failed(
                    "the session took more bytes than there were",
                )),
                Some(left) if left > UNTAKEN_MAX && wants_more(session.stage()) => {
                    Err(SessionError::Malformed("a message without an end"))
                }
                Some(_) => Ok(taken),
            }
        });
        self.held_bytes = held_bytes;
        if self.close_notified {
            // No byte may follow the close notification.
            self.out.truncate(before);
        }
        result
    }

    /// Returns the new duration of the timer of the session, or `None` for no
    /// timer, if the session has asked for another one since the last call.
    pub(crate) fn take_timer_change(&mut self) -> Option<Option<Duration>> {
        // While a call is due there is no timer.
        let is_timed = !self.has_failed() && !self.is_timed_out;
        let timeout = self.timeout.filter(|_| is_timed);
        (std::mem::replace(&mut self.timer, timeout) != timeout).then_some(timeout)
    }

    /// Records that the timer has fired. Returns whether
    /// [`Session::on_timeout`] is due. It is not while the peer does not read
    /// the answers, so that no more are made.
    pub(crate) fn note_timeout(&mut self) -> bool {
        self.timer = None;
        self.is_timed_out = !self.is_behind();
        self.is_timed_out
    }

    /// Records that [`Session::on_wake`] is due.
    pub(crate) fn note_wake(&mut self) {
        self.is_woken = true;
    }

    pub(crate) fn has_due_call(&self) -> bool {
        self.is_timed_out | self.is_woken
    }

    /// Makes the calls that are due. Does nothing if the session has failed.
    pub(crate) fn make_due_calls(&mut self, plaintext: &mut Vec<u8>) -> Result<(), SessionError> {
        let is_timed_out = std::mem::take(&mut self.is_timed_out);
        let is_woken = std::mem::take(&mut self.is_woken);
        if self.has_failed() {
            return Ok(());
        }
        let before = self.out.len();
        let mut held_bytes = 0;
        let result = self.ask(|session, wire| {
            let mut out = Output::new(plaintext, wire);
            if is_timed_out {
                session.on_timeout(&mut out)?;
            }
            if is_woken && session.stage() != Stage::Transparent {
                session.on_wake(&mut out)?;
            }
            held_bytes = session.held_bytes();
            Ok(())
        });
        self.held_bytes = held_bytes;
        if self.close_notified {
            // No byte may follow the close notification.
            self.out.truncate(before);
        }
        result
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    pub(crate) fn take_identity(&mut self) -> Result<Option<Identity>, SessionError> {
        self.ask(|session, _| Ok(session.take_identity()))
    }

    /// Returns the memory that is held for received bytes, in bytes.
    pub(crate) fn received_bytes(&self) -> usize {
        self.wire.capacity() + self.held_bytes
    }

    pub(crate) fn wire_ended(&mut self) -> Result<(), SessionError> {
        if self.has_failed() {
            return Ok(());
        }
        self.ask(|session, _| session.wire_ended())
    }

    /// Returns whether the session has failed. Bytes that it appended before
    /// the failure are still written.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    pub(crate) fn error(&self) -> Option<SessionError> {
        self.error
    }

    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// Returns the memory that the output takes, in bytes.
    pub(crate) fn output_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Returns memory that a blocked connection does not need.
    pub(crate) fn shrink_output(&mut self) {
        if self.out.capacity() > output_max(self.out.len()) {
            self.out.shrink_to_fit();
        }
    }

    /// Returns the number of bytes at the front of the queue that are sealed in
    /// `out`.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// Returns the number of unwritten bytes that are not sealed messages:
    /// handshake messages and answers.
    pub(crate) fn answers(&self) -> usize {
        self.out.len() - self.written.max(self.sealed)
    }

    /// Returns whether the connection is not read until the peer has read
    /// answers.
    pub(crate) fn is_behind(&self) -> bool {
        mutant!(HoldForBatch => return self.unwritten().len() > REPLIES_MAX);
        self.answers() > REPLIES_MAX
    }

    /// Records that the first `count` unwritten bytes were written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.out.len());
    }

    /// Drops the unwritten bytes, because nothing can be written any more.
    pub(crate) fn discard_answers(&mut self) {
        (self.written, self.sealed) = (0, 0);
        self.out.clear();
    }

    /// Removes the batch from the queue and returns its memory. Call it when
    /// everything has been written.
    pub(crate) fn settle(&mut self, queue: Option<&mut SendQueue>, pool: &mut BlockPool) {
        debug_assert!(self.unwritten().is_empty());
        (self.written, self.sealed) = (0, 0);
        self.out.clear();
        pool.put_sealed(std::mem::take(&mut self.out));
        let batch = std::mem::take(&mut self.batch);
        mutant!(SealTwice => return);
        if let Some(queue) = queue {
            queue.advance(batch, pool);
        }
    }

    /// Seals a batch from the front of the queue, at most `max` bytes.
    pub(crate) fn seal(
        &mut self,
        queue: &SendQueue,
        max: usize,
        pool: &mut BlockPool,
    ) -> Result<(), SessionError> {
        debug_assert!(self.batch == 0 && self.unwritten().is_empty());
        self.take_memory(pool);
        let mut slices = [std::io::IoSlice::new(&[]); SLICES_MAX];
        let (count, len) = queue.gather(&mut slices, BATCH_MAX.min(max));
        self.out.reserve_exact(output_max(len));
        self.ask(|session, out| {
            session.seal(&slices[..count], out)?;
            if out.is_empty() {
                return Err(SessionError::Failed("the session sealed no bytes"));
            }
            Ok(())
        })?;
        (self.batch, self.sealed) = (len, self.out.len());
        Ok(())
    }

    /// Appends the close notification. Does nothing if it was appended before
    /// or the session has failed.
    pub(crate) fn close_notify(&mut self) {
        if !self.has_failed() && !std::mem::replace(&mut self.close_notified, true) {
            // After an error there is no notification. `ask` stores the error.
            let _ = self.ask(|session, out| {
                session.close_notify(out);
                Ok(())
            });
        }
    }

    fn take_memory(&mut self, pool: &mut BlockPool) {
        if self.out.capacity() == 0 {
            self.out = pool.take_sealed();
        }
    }

    /// Calls the session and stores its stage, timeout and first error. No other
    /// function runs the code of the session.
    fn ask<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Session, &mut Vec<u8>) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let (session, out) = (&mut *self.session, &mut self.out);
        let ask = || {
            let result = call(session, out);
            (result, session.stage(), session.timeout())
        };
        let answer = match self.on_panic {
            OnPanic::Unwind => Some(ask()),
            // After a panic only the appended bytes are used.
            OnPanic::Contain => contain(ask),
        };
        let result = match answer {
            Some((result, stage, timeout)) => {
                (self.stage, self.timeout) = (stage, timeout);
                result
            }
            None => Err(SessionError::Panicked),
        };
        self.error = self.error.or_else(|| result.as_ref().err().copied());
        result
    }
}

/// Returns whether a session at this stage takes further bytes from the wire.
fn wants_more(stage: Stage) -> bool {
    matches!(stage, Stage::Handshaking | Stage::Established)
}
