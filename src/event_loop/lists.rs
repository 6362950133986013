//! The lists of a turn: connections to visit and to report.

use std::collections::VecDeque;

use super::InboundHalf;
use crate::id::ConnId;
use crate::mutants::mutant;

/// The lists of a turn. They are separate from the inbound halves, so that a
/// visit can use them while it holds an inbound half.
#[derive(Debug, Default)]
pub(super) struct WorkLists {
    /// Connections with a new event. A connection is on at most one list of
    /// visits.
    pub(super) new_events: VecDeque<ConnId>,
    /// Connections whose last visit ended before `WouldBlock`. They are listed,
    /// because the poller reports edges and no further edge follows.
    pub(super) carried_over: VecDeque<ConnId>,
    /// Connections whose handshake has a step to do, by direction.
    pub(super) handshakes: [VecDeque<ConnId>; 2],
    /// Direction of the last handshake that had a step.
    pub(super) last_direction: usize,
    /// Number of visits, of all turns. Wraps around.
    pub(super) visits: u32,
    /// Handshakes whose peer has closed its sending side. They are visited
    /// last.
    pub(super) departing: VecDeque<ConnId>,
    /// Connections that used up their write budget, or for which the turn had
    /// no time. They are flushed in the next turn.
    pub(super) over_write_budget: Vec<ConnId>,
    /// Number of dirty connections that the last turn left. They come first.
    pub(super) left_dirty: usize,
    /// Tracked sends that were written. `on_sent` is still to be called.
    pub(super) sent: VecDeque<(ConnId, u64)>,
    /// Connections that are owed an `on_drain`.
    pub(super) drained: VecDeque<ConnId>,
}

impl WorkLists {
    /// Returns whether there is work that needs no event and no deadline.
    pub(super) fn has_work(&self) -> bool {
        !self.new_events.is_empty()
            || !self.carried_over.is_empty()
            || !self.handshakes.iter().all(VecDeque::is_empty)
            || !self.departing.is_empty()
            || !self.over_write_budget.is_empty()
            || !self.sent.is_empty()
            || !self.drained.is_empty()
    }

    /// Adds a connection with a new event to its list. It does not wait behind
    /// the carried-over connections.
    pub(super) fn schedule_event(&mut self, half: &mut InboundHalf) {
        if !std::mem::replace(&mut half.scheduled, true) {
            mutant!(EventBehindCarriedOver => return self.carried_over.push_back(half.id));
            self.new_events.push_back(half.id);
        }
    }

    /// Adds a connection whose visit ends before `WouldBlock` to the end of its
    /// list.
    pub(super) fn carry_over(&mut self, half: &mut InboundHalf) {
        if !std::mem::replace(&mut half.scheduled, true) {
            self.carried_over.push_back(half.id);
        }
    }
}
