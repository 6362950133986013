//! The session of one connection with its buffers.
//!
//! ```text
//!   socket ─► wire ─► session ─► plaintext ─► framing ─► handler
//!                        │
//!   socket ◄── out ◄─────┴────── batch ◄───── queue  ◄── handler
//! ```
//!
//! A batch is the front of the queue, which is sealed in `out`. It stays in the
//! queue until `out` has been written, so that the number of queued bytes and
//! the outcome of tracked sends are exact.

use crate::buffers::PartialFrame;
use crate::buffers::{BlockPool, SLICES_MAX, SendQueue};
use crate::config::OnPanic;
use crate::error::SessionError;
use crate::mutants::mutant;
use crate::panics::{Contained, contain};
use crate::session::{Identity, Output, Session, Stage};

/// The maximum plaintext in a batch, in bytes: four full TLS records, or one
/// Noise message. A blocked connection holds this much beside its queue, plus
/// what the sealing adds and the answers of the session.
const BATCH_MAX: usize = 64 * 1024;

/// Returns the memory that the output takes while this much plaintext is
/// sealed: a batch, and what sealing adds. TLS adds 22 bytes per record (RFC
/// 8446, section 5.2), Noise 18 per message.
pub(crate) fn output_max(plaintext: usize) -> usize {
    let batch = plaintext.min(BATCH_MAX);
    batch + batch / 16 + 256
}

/// The maximum number of bytes that a session may leave untaken: two of the
/// longest messages of TLS or Noise.
const UNTAKEN_MAX: usize = 128 * 1024;

/// With more unwritten answers than this, in bytes, nothing is received.
///
/// Otherwise the answers to a peer that asks and does not read would
/// accumulate. Sealed bytes do not count: they are bounded by the batch, and
/// two peers that both send much, and read only after it has left, would wait
/// for each other.
pub(crate) const REPLIES_MAX: usize = 64 * 1024;

/// A session and its buffers.
pub(crate) struct SessionChannel {
    session: Contained<dyn Session>,
    on_panic: OnPanic,
    stage: Stage,
    /// Bytes that arrived and that the session has not taken.
    pub(crate) wire: PartialFrame,
    /// Sealed bytes and answers; `..written` have been written.
    out: Vec<u8>,
    written: usize,
    /// The number of bytes at the front of the queue that are sealed in `out`.
    batch: usize,
    /// `..sealed` of `out` is that batch; answers follow it.
    sealed: usize,
    /// Bytes that the session holds for input.
    held_bytes: usize,
    /// The close notification of this end is in `out`, or was written.
    close_notified: bool,
    /// The first error of the session, which is not called after it.
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
            close_notified: false,
            error: None,
        }
    }

    pub(crate) fn start(&mut self) -> Result<(), SessionError> {
        self.ask(|session, out| session.start(out))
    }

    /// Passes bytes from the wire to the session and returns how many it took.
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
            // The session may be a user's: its count is checked like input.
            match bytes.len().checked_sub(taken) {
                None => Err(SessionError::Failed("it took more than there was")),
                Some(left) if left > UNTAKEN_MAX && wants_more(session.stage()) => {
                    Err(SessionError::Malformed("a message without an end"))
                }
                Some(_) => Ok(taken),
            }
        });
        self.held_bytes = held_bytes;
        if self.close_notified {
            // Nothing may follow the close notification.
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

    /// Returns the memory that is held for what was received, in bytes.
    pub(crate) fn received_bytes(&self) -> usize {
        self.wire.capacity() + self.held_bytes
    }

    pub(crate) fn wire_ended(&mut self) -> Result<(), SessionError> {
        if self.has_failed() {
            return Ok(());
        }
        self.ask(|session, _| session.wire_ended())
    }

    /// Whether the session has failed. Bytes that it appended before are
    /// written.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    pub(crate) fn error(&self) -> Option<SessionError> {
        self.error
    }

    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// Returns the memory that the output takes.
    pub(crate) fn output_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Returns memory that a blocked connection does not need.
    pub(crate) fn shrink_output(&mut self) {
        if self.out.capacity() > output_max(self.out.len()) {
            self.out.shrink_to_fit();
        }
    }

    /// The number of bytes at the front of the queue that are sealed in `out`.
    #[cfg(feature = "sim")]
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// The number of unwritten bytes that are not sealed messages: the
    /// handshake and answers.
    pub(crate) fn answers(&self) -> usize {
        self.out.len() - self.written.max(self.sealed)
    }

    /// Whether nothing is received until the peer has read the answers.
    pub(crate) fn is_behind(&self) -> bool {
        mutant!(HoldForBatch => return self.unwritten().len() > REPLIES_MAX);
        self.answers() > REPLIES_MAX
    }

    /// Notes that the first `count` unwritten bytes have been written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.out.len());
    }

    /// Drops what is unwritten, because nothing can be written any more.
    pub(crate) fn discard_answers(&mut self) {
        (self.written, self.sealed) = (0, 0);
        self.out.clear();
    }

    /// Removes the batch from the queue and returns the memory, after
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

    /// Seals a batch from the front of the queue.
    pub(crate) fn seal(
        &mut self,
        queue: &SendQueue,
        pool: &mut BlockPool,
    ) -> Result<(), SessionError> {
        debug_assert!(self.batch == 0 && self.unwritten().is_empty());
        self.take_memory(pool);
        let mut slices = [std::io::IoSlice::new(&[]); SLICES_MAX];
        let (count, len) = queue.gather(&mut slices, BATCH_MAX);
        self.out.reserve_exact(output_max(len));
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

    /// Appends the close notification, unless that was done or the session has
    /// failed.
    pub(crate) fn close_notify(&mut self) {
        if !self.has_failed() && !std::mem::replace(&mut self.close_notified, true) {
            // A panic is kept as the error, and there is no notification.
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

    /// Calls the session. Its code runs nowhere else. Keeps the stage and the
    /// first error.
    fn ask<T>(
        &mut self,
        call: impl FnOnce(&mut dyn Session, &mut Vec<u8>) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let (session, out) = (&mut *self.session, &mut self.out);
        let ask = || {
            let result = call(session, out);
            (result, session.stage())
        };
        let answer = match self.on_panic {
            OnPanic::Unwind => Some(ask()),
            // After a panic only what it had appended is used.
            OnPanic::Contain => contain(ask),
        };
        let result = match answer {
            Some((result, stage)) => {
                self.stage = stage;
                result
            }
            None => Err(SessionError::Panicked),
        };
        self.error = self.error.or_else(|| result.as_ref().err().copied());
        result
    }
}

/// Whether a session at this stage takes further bytes from the wire.
fn wants_more(stage: Stage) -> bool {
    matches!(stage, Stage::Handshaking | Stage::Established)
}
