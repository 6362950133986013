//! The outbound half of a connection: its queue, the drains that are owed, and
//! the actions after the last byte.

use super::ConnEntry;
use super::state::{Ending, Lifecycle, LifecycleTag};
use crate::buffers::SendAccount;
use crate::error::DisconnectReason;
use crate::mutants::mutant;
use crate::session::output_max;

/// Value of `drain_at` when no drain is owed. It is more than any queue costs.
pub(super) const NO_DRAIN: usize = usize::MAX;

/// Action on the socket once the queue is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AfterFlush {
    Nothing,
    SendFin,
    End(Ending),
}

impl ConnEntry {
    /// Returns the number of queued bytes plus the cost of keeping them, for
    /// comparison with the limits.
    #[inline]
    pub(crate) fn queue_cost(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.cost())
    }

    /// Returns the memory that the connection holds for sending, shared bodies
    /// included.
    #[inline]
    pub(crate) fn send_memory(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.memory()) + self.session_charge
    }

    /// Returns the charge for the connection on the loop's account, without
    /// shared bodies.
    #[cfg(feature = "sim")]
    pub(crate) fn send_charge(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.charge()) + self.session_charge
    }

    #[cfg(feature = "sim")]
    pub(crate) fn session_charge(&self) -> usize {
        self.session_charge
    }

    /// Returns by how much the charge for the session's output grows when the
    /// queue grows by `queue_growth` bytes. Output is charged before it exists,
    /// so that sealing never exceeds the account.
    #[inline]
    pub(crate) fn session_growth(&self, queue_growth: usize) -> usize {
        if self.is_sealed {
            let queue = self.queue.as_ref().map_or(0, |queue| queue.memory());
            output_max(queue + queue_growth).saturating_sub(self.session_charge)
        } else {
            0
        }
    }

    /// Adds `bytes` to the charge for the session's output.
    pub(crate) fn charge_session(&mut self, bytes: usize, account: &mut SendAccount) {
        account.charge(bytes);
        self.session_charge += bytes;
    }

    /// Sets the charge for the session's output to the larger of its memory,
    /// which is `output` bytes, and the memory that sealing the queue will
    /// take.
    pub(crate) fn update_session_charge(&mut self, output: usize, account: &mut SendAccount) {
        let ahead = match &self.queue {
            Some(queue) if self.is_sealed => output_max(queue.memory()),
            _ => 0,
        };
        account.discharge(self.session_charge);
        self.session_charge = output.max(ahead);
        account.charge(self.session_charge);
    }

    /// Records that a send of a frame was refused because of the loop's limit.
    /// Returns whether the connection is to be added to the connections that
    /// wait.
    pub(crate) fn wait_for_quota(&mut self, frame: usize) -> bool {
        self.has_turn = false;
        std::mem::replace(&mut self.refused_frame, frame.max(1)) == 0
    }

    /// Returns the length of the refused frame if the connection waits for room
    /// in the loop's limit and can still send.
    pub(crate) fn refused_frame(&self) -> Option<usize> {
        (self.refused_frame > 0 && self.can_send()).then_some(self.refused_frame)
    }

    /// Ends the wait for room in the loop's limit: the connection may send
    /// next. A drain that is also due is dropped, because `on_drain` is called
    /// once for both.
    pub(crate) fn end_wait_for_quota(&mut self) {
        (self.refused_frame, self.has_turn) = (0, true);
        if self.drain_is_due() {
            self.drain_at = NO_DRAIN;
        }
    }

    /// Returns whether `need` more bytes fit. An empty queue takes any message,
    /// so that a message of the maximum length can always be sent.
    #[inline]
    pub(crate) fn has_room(&self, need: usize) -> bool {
        mutant!(ExceedQueueMaximum => return true);
        let cost = self.queue_cost();
        cost == 0 || cost + need <= self.config.send_queue.max_bytes
    }

    /// Records that a drain is owed. A queue that is already low may refuse a
    /// message because of the message's size. Then the drain is reported when
    /// the queue is empty.
    pub(crate) fn request_drain(&mut self) {
        let low = self.config.send_queue.low_bytes;
        let at = if self.queue_cost() > low { low } else { 0 };
        self.drain_at = self.drain_at.min(at);
    }

    /// Returns whether a drain is due but not reported, for the checks of the
    /// simulator.
    #[cfg(feature = "sim")]
    pub(crate) fn is_owed_a_drain(&self) -> bool {
        self.refused_frame == 0 && self.drain_is_due()
    }

    /// Returns whether an owed drain is due. If it is due, it is no longer
    /// owed.
    pub(crate) fn take_drain(&mut self) -> bool {
        mutant!(ForgetDrain => return false);
        let due = self.refused_frame == 0 && self.drain_is_due();
        if due {
            self.drain_at = NO_DRAIN;
        }
        due
    }

    fn drain_is_due(&self) -> bool {
        self.drain_at != NO_DRAIN && self.queue_cost() <= self.drain_at
    }

    /// Returns the unused part of a write budget in this turn.
    pub(crate) fn write_budget(&mut self, budget: usize, turn: u64) -> usize {
        if self.turn != turn as u32 {
            (self.turn, self.written) = (turn as u32, 0);
        }
        // `written` is a `u32`, and a write call takes no more than 2 GiB.
        budget.min(1 << 30).saturating_sub(self.written as usize)
    }

    #[inline]
    pub(crate) fn can_send(&self) -> bool {
        self.tag == LifecycleTag::Open && !self.write_closed
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.tag == LifecycleTag::Open
    }

    /// Refuses further sends.
    pub(crate) fn close_sending(&mut self) {
        self.write_closed = true;
        self.update_fast_path_end();
    }

    /// Updates the one number that the fast path compares with a body's length.
    /// It combines whether the connection is open for sending, whether it has
    /// the default framing, whether its messages are counted, and how long a
    /// body may be. Zero disables the fast path.
    pub(super) fn update_fast_path_end(&mut self) {
        let quick = self.can_send() && self.codec.is_default() && !self.counts_messages;
        self.fast_path_end = if quick {
            u32::try_from(self.config.max_message_len).map_or(u32::MAX, |max| max.saturating_add(1))
        } else {
            0
        };
    }

    /// Returns whether a body of this length is sent with the default framing,
    /// and the connection is open for it.
    #[inline]
    pub(crate) fn takes_default_frame(&self, len: usize) -> bool {
        len < self.fast_path_end as usize
    }

    /// Queues a message on the fast path: default framing, a queue that is not
    /// empty, and no limit nearby. Returns `None` if the general path is
    /// needed. The result is the same, with fewer instructions.
    #[inline]
    pub(crate) fn send_fast(&mut self, body: &[u8]) -> Option<()> {
        if !self.takes_default_frame(body.len()) {
            return None;
        }
        // A connection with a queue is already dirty or blocked.
        let queue = self.queue.as_mut()?;
        let need = 4 + body.len();
        if queue.cost() + need >= self.config.send_queue.high_bytes {
            return None;
        }
        // The message is copied into memory that the queue already has, so
        // nothing is charged.
        queue.push_fast(body)?;
        self.traffic.messages_sent += 1;
        self.traffic.bytes_sent += need as u64;
        Some(())
    }

    /// Returns whether any bytes are still to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.session_has_output || (self.queue.is_some() && !self.sealing_failed)
    }

    /// Returns whether no message can be queued after the present ones.
    pub(crate) fn is_last_flush(&self) -> bool {
        self.write_closed || self.tag == LifecycleTag::Closing
    }

    /// Returns the action after a write.
    pub(crate) fn after_flush(&self) -> AfterFlush {
        if self.has_output() {
            return AfterFlush::Nothing;
        }
        match self.lifecycle() {
            Lifecycle::Closing(ending) if self.read_closed => AfterFlush::End(ending),
            Lifecycle::Closing(_) if !self.fin_sent => AfterFlush::SendFin,
            // The connection was half open. Now both sides are closed.
            Lifecycle::Open if self.write_closed && self.read_closed => {
                AfterFlush::End(Ending::Disconnected(DisconnectReason::PeerClosed))
            }
            Lifecycle::Open if self.write_closed && !self.fin_sent => AfterFlush::SendFin,
            _ => AfterFlush::Nothing,
        }
    }
}
