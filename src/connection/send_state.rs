//! What a connection has to send: its queue, the drains that it is owed, and what comes after the last byte.

use super::ConnEntry;
use super::state::{Ending, Lifecycle, LifecycleTag};
use crate::error::DisconnectReason;
use crate::mutants::mutant;

/// No queue costs so much.
pub(super) const NO_DRAIN: usize = usize::MAX;

/// What is to be done with the socket once everything queued has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AfterFlush {
    Nothing,
    SendFin,
    End(Ending),
}

impl ConnEntry {
    /// The same with what it costs to keep them, for comparison with the caps.
    #[inline]
    pub(crate) fn queue_cost(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.cost())
    }

    /// Whether `need` more bytes fit. One frame on an empty queue always, so that every legal message can be sent.
    #[inline]
    pub(crate) fn has_room(&self, need: usize) -> bool {
        let cost = self.queue_cost();
        cost == 0 || cost + need <= self.profile.queue_max || mutant!(PassQueueCap)
    }

    /// Notes that a drain is to be announced. A frame may be refused by a queue that is low already, because of its
    /// own size; it is welcome when there is nothing left.
    pub(crate) fn request_drain(&mut self) {
        let low = self.profile.queue_low;
        let at = if self.queue_cost() > low { low } else { 0 };
        self.drain_at = self.drain_at.min(at);
    }

    /// Whether a drain is overdue; for the checks of a simulated world.
    #[cfg(feature = "sim")]
    pub(crate) fn is_owed_a_drain(&self) -> bool {
        !self.waiting_for_quota && self.drain_is_due()
    }

    /// Whether the drain that is owed is to be announced now; then it is owed no more.
    pub(crate) fn take_drain(&mut self) -> bool {
        let due = !mutant!(ForgetDrain) && !self.waiting_for_quota && self.drain_is_due();
        if due {
            self.drain_at = NO_DRAIN;
        }
        due
    }

    fn drain_is_due(&self) -> bool {
        self.drain_at != NO_DRAIN && self.queue_cost() <= self.drain_at
    }

    /// How much of a budget of so many bytes for each turn is left in this one.
    pub(crate) fn write_budget(&mut self, budget: usize, turn: u64) -> usize {
        if self.turn != turn as u32 {
            (self.turn, self.written) = (turn as u32, 0);
        }
        // No more than can be counted.
        budget
            .min(u32::MAX as usize)
            .saturating_sub(self.written as usize)
    }

    #[inline]
    pub(crate) fn can_send(&self) -> bool {
        self.tag == LifecycleTag::Open && !self.send_shut
    }

    /// No frame is accepted for sending any more.
    pub(crate) fn shut_send(&mut self) {
        self.send_shut = true;
        self.update_quick();
    }

    /// Brings together in one number what would otherwise be asked for every message: whether the connection is open
    /// for sending, has the default framing, and how long a body may be. Zero sends everybody the long way.
    pub(super) fn update_quick(&mut self) {
        let quick = self.can_send() && self.codec.is_default();
        self.quick = if quick {
            u32::try_from(self.profile.max_frame).map_or(u32::MAX, |max| max.saturating_add(1))
        } else {
            0
        };
    }

    #[inline]
    pub(crate) fn quick(&self) -> usize {
        self.quick as usize
    }

    /// Whether something is still to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.session_has_output || (self.queue.is_some() && !self.sealing_failed)
    }

    /// Whether nothing will be queued behind what is queued now.
    pub(crate) fn is_last_flush(&self) -> bool {
        self.send_shut || self.tag == LifecycleTag::Closing
    }

    /// What to do now that this much of the queue has left.
    pub(crate) fn after_flush(&self) -> AfterFlush {
        if self.has_output() {
            return AfterFlush::Nothing;
        }
        match self.lifecycle() {
            Lifecycle::Closing(ending) if self.peer_finished => AfterFlush::End(ending),
            Lifecycle::Closing(_) if !self.fin_sent => AfterFlush::SendFin,
            // Half open, and now the other half has ended too.
            Lifecycle::Open if self.send_shut && self.peer_finished => {
                AfterFlush::End(Ending::Disconnected(DisconnectReason::PeerClosed))
            }
            Lifecycle::Open if self.send_shut && !self.fin_sent => AfterFlush::SendFin,
            _ => AfterFlush::Nothing,
        }
    }
}
