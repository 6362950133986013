//! The visit to a connection that is in progress: its batch of messages and its
//! time.

use std::time::Instant;

use super::Net;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::token_bucket::Amount;
use crate::traffic::Traffic;

/// Maximum number of messages between two readings of the clock.
const LOOK_AFTER_MAX: u64 = 64;

/// The messages that a batch has delivered so far, including the current one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchInProgress {
    pub(crate) conn: Option<ConnId>,
    pub(crate) messages: u64,
    pub(crate) bytes: usize,
    /// The number of messages at which the batch asks whether to stop. Zero
    /// makes it ask at once, because its connection was paused or has ended, or
    /// because a flush or a change of settings was requested.
    pub(crate) ask_at: u64,
}

impl BatchInProgress {
    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            messages_received: self.messages,
            bytes_received: self.bytes as u64,
            ..Traffic::default()
        }
    }
}

/// The visit in progress.
///
/// The clock is read after 1, 2, 4, ... 64 messages, and then after every 64. A
/// slow handler is stopped early, and the cost for a fast one is small.
#[derive(Debug)]
pub(crate) struct Visit {
    began: Instant,
    /// The number of messages of batches that have ended.
    messages: u64,
    /// The number of messages at which the clock is read next.
    next_look: u64,
    /// The number of messages at which the visit ends, because no token is
    /// left for another one.
    messages_max: u64,
    /// The number of bytes that were read from the socket.
    pub(crate) received_bytes: u64,
    /// The visit reads up to an allowance of the rate limits.
    pub(crate) is_limited: bool,
    /// The number of messages at the latest reading.
    looked_at: u64,
    /// The time of the visit is used up.
    pub(crate) is_over: bool,
    /// A callback before the batch in progress was not timed.
    is_behind: bool,
}

impl Visit {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            messages: 0,
            next_look: 1,
            messages_max: u64::MAX,
            received_bytes: 0,
            is_limited: false,
            looked_at: 0,
            is_over: false,
            is_behind: false,
        }
    }

    /// Returns the number of bytes that were read, and the number of messages
    /// of the batches that have ended.
    pub(crate) fn received(&self) -> Amount {
        Amount {
            bytes: self.received_bytes,
            messages: self.messages,
        }
    }

    /// Limits the number of further messages.
    pub(crate) fn limit_messages(&mut self, max: u64) {
        self.messages_max = self.messages.saturating_add(max);
        self.next_look = self.next_look.min(self.messages_max);
    }
}

impl Net {
    pub(crate) fn begin_visit(&mut self) {
        self.visit = Visit::new(self.read_clock());
    }

    pub(crate) fn begin_batch(&mut self, conn: ConnId) {
        self.visit.is_behind = self.clock.is_stale;
        self.work.batch = BatchInProgress {
            conn: Some(conn),
            ask_at: self
                .visit
                .next_look
                .saturating_sub(self.visit.messages)
                .max(1),
            ..BatchInProgress::default()
        };
    }

    /// Makes the batch stop after the current message.
    pub(super) fn interrupt(&mut self) {
        self.work.batch.ask_at = 0;
    }

    /// Returns whether the batch stops after the current message.
    #[cold]
    #[inline(never)]
    pub(crate) fn is_batch_over(&mut self) -> bool {
        let (batch, visit) = (&mut self.work.batch, &mut self.visit);
        let is_interrupted = batch.ask_at == 0;
        let delivered = visit.messages + batch.messages;
        if delivered >= visit.messages_max {
            return self.stop_at_rate();
        }
        if delivered < visit.next_look {
            return is_interrupted;
        }
        visit.looked_at = delivered;
        visit.is_behind = false;
        let next_look = delivered + delivered.clamp(1, LOOK_AFTER_MAX);
        visit.next_look = next_look.min(visit.messages_max);
        batch.ask_at = visit.next_look - visit.messages;
        self.clock.is_stale = true;
        self.look_at_visit();
        is_interrupted || self.visit.is_over
    }

    /// Stops the delivery, because no token is left. Returns true.
    fn stop_at_rate(&mut self) -> bool {
        let conn = self.work.batch.conn;
        if let Some(entry) = conn.and_then(|conn| self.conns.get_mut(conn)) {
            entry.is_delivery_stopped = true;
        }
        true
    }

    /// Checks whether the time of the visit is used up.
    pub(crate) fn look_at_visit(&mut self) {
        let visited = self
            .read_clock()
            .saturating_duration_since(self.visit.began);
        mutant!(VisitWithoutEnd => return);
        self.visit.is_over = visited >= self.config.budget.max_visit_time;
    }

    /// Ends the batch in progress and counts what it delivered.
    pub(crate) fn end_batch(&mut self) {
        let batch = std::mem::take(&mut self.work.batch);
        self.turn_counts.add(&batch);
        self.visit.messages += batch.messages;
        let is_timed = self.visit.messages == self.visit.looked_at;
        self.clock.is_stale = self.visit.is_behind || !is_timed;
        if let Some(entry) = batch.conn.and_then(|conn| self.conns.get_mut(conn)) {
            entry.traffic += batch.traffic();
        }
    }
}
