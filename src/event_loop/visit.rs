//! Visits to connections: their order and their time.
//!
//! ```text
//!   new events ──►─┐ three new for one other,      visit: at most `max_visit_time`
//!   carried over ─►┘ for `max_turn_time` ────►        and `read_bytes`
//!        ▲                                              │
//!        └───────────────── more is left ───────────────┘
//! ```

use std::time::{Duration, Instant};

use super::inbound::half_of;
use super::{EventLoop, InboundHalf};
use crate::connection::Ending;
use crate::error::DisconnectReason;
use crate::handler::Handler;
use crate::id::{ConnId, Direction};
use crate::sys::Stream;

/// Maximum number of visits without a reading of the clock.
const UNTIMED_VISITS_MAX: u32 = 64;

/// Of this many visits one is to a carried-over connection, if both lists have
/// one. The share bounds the wait of a carried-over connection while many
/// others have new events.
const NEW_EVENTS_PER_OTHER: u32 = 4;

impl<H: Handler> EventLoop<'_, H> {
    /// Visits the connections that are on a list now, as long as the turn has
    /// time. The others keep their places.
    pub(super) fn run_connections(&mut self) {
        self.schedule_requested_visits();
        let budget = self.net.config.budget;
        // The last visit may take longer than its time, so time is reserved for
        // it.
        let last = budget
            .max_visit_time
            .saturating_mul(2)
            .min(budget.max_turn_time / 2);
        let time = budget.max_turn_time - last;
        let lists = &self.state.lists;
        // Connections that are added meanwhile wait for the next turn.
        let (mut new, mut carried) = (lists.new_events.len(), lists.carried_over.len());
        let began = self.net.read_clock();
        let (mut elapsed, mut untimed_visits) = (Duration::ZERO, 0);
        while new + carried > 0 && elapsed <= time {
            let visits = self.state.lists.visits;
            let is_new = new > 0 && (carried == 0 || visits % NEW_EVENTS_PER_OTHER != 0);
            let left = if is_new { &mut new } else { &mut carried };
            *left -= 1;
            self.visit_next(is_new);
            self.state.lists.visits = visits.wrapping_add(1);
            // A visit without a callback does not mark the clock as stale.
            let is_timed = self.net.clock.latest() != began + elapsed;
            untimed_visits = if is_timed { 0 } else { untimed_visits + 1 };
            if untimed_visits == UNTIMED_VISITS_MAX {
                untimed_visits = 0;
                self.net.clock.is_stale = true;
            }
            elapsed = self.net.read_clock().saturating_duration_since(began);
        }
        self.state.is_behind = elapsed > time / 4;
        self.run_handshakes();
    }

    /// Visits the first connection of one of the two lists, or moves it to the
    /// list of handshakes.
    fn visit_next(&mut self, is_new: bool) {
        let lists = &mut self.state.lists;
        let list = if is_new {
            &mut lists.new_events
        } else {
            &mut lists.carried_over
        };
        let Some(conn) = list.pop_front() else {
            return;
        };
        let half = self.state.inbound(conn);
        if half.is_some_and(|half| half.is_handshaking()) {
            let entry = self.net.conns.get(conn);
            let direction = entry.map_or(Direction::Inbound, |entry| entry.direction());
            self.state.lists.handshakes[direction as usize].push_back(conn);
        } else {
            self.visit(conn);
        }
    }

    /// Performs handshake steps for half of the time that connections have, and
    /// at least as many as configured. Inbound and outbound handshakes
    /// alternate.
    fn run_handshakes(&mut self) {
        let lists = &self.state.lists;
        let mut waiting: usize = lists.handshakes.iter().map(|list| list.len()).sum();
        let mut departing = lists.departing.len();
        if waiting + departing == 0 {
            return;
        }
        let began = self.net.read_clock();
        let mut steps = 0;
        while waiting > 0 && self.has_handshake_time(steps, began) {
            waiting -= 1;
            let lists = &mut self.state.lists;
            lists.last_direction = 1 - lists.last_direction;
            let (direction, handshakes) = (lists.last_direction, &mut lists.handshakes);
            let next = handshakes[direction].pop_front();
            let Some(conn) = next.or_else(|| handshakes[1 - direction].pop_front()) else {
                break;
            };
            if self.is_departing(conn) {
                self.state.lists.departing.push_back(conn);
                departing += 1;
                continue;
            }
            steps += usize::from(self.visit(conn));
        }
        while departing > 0 && self.has_handshake_time(steps, began) {
            departing -= 1;
            if let Some(conn) = self.state.lists.departing.pop_front() {
                steps += usize::from(self.visit(conn));
            }
        }
    }

    fn has_handshake_time(&mut self, steps: usize, began: Instant) -> bool {
        let budget = &self.net.config.budget;
        let (steps_min, share) = (budget.handshake_steps, budget.max_turn_time / 2);
        // The clock was read after the last step, because a step may take long.
        steps < steps_min || self.net.read_clock().saturating_duration_since(began) < share
    }

    /// Returns whether the peer of a handshake has closed its sending side.
    /// Most likely it has left, but it may have sent all bytes that its
    /// handshake needs. After a reset the connection is ended here.
    fn is_departing(&mut self, conn: ConnId) -> bool {
        let half = self.state.inbound(conn);
        if !half.is_some_and(|half| half.read_closed_seen) {
            return false;
        }
        if let Some(error) = self.net.stream(conn).and_then(Stream::take_error) {
            self.end_broken(conn, DisconnectReason::from_io(&error));
        }
        true
    }

    /// Visits a connection that was on a list. Returns whether bytes were
    /// received.
    fn visit(&mut self, conn: ConnId) -> bool {
        let Some(mut half) = self.state.take_inbound(conn) else {
            return false;
        };
        half.scheduled = false;
        half.has_received = false;
        self.net.begin_visit();
        self.run_connection(&mut half);
        let has_received = half.has_received;
        self.keep(half);
        has_received
    }

    /// Puts an inbound half back, and charges the memory that it holds.
    pub(super) fn keep(&mut self, mut half: InboundHalf) {
        let (conn, held) = (half.id, half.held_bytes());
        // Most connections hold nothing, before a visit and after it.
        let was_charged = std::mem::replace(&mut half.is_charged, held > 0);
        let may_change = was_charged || held > 0;
        let is_exceeded = may_change && self.net.charge_received(conn, held);
        if may_change
            && !self
                .net
                .conns
                .get(conn)
                .is_some_and(|entry| entry.is_live())
        {
            half.discard_received();
        }
        self.state.put_inbound(half);
        if is_exceeded {
            self.enforce_receive_limit();
        }
    }

    /// Ends connections until the memory of the others is within the limit.
    #[cold]
    fn enforce_receive_limit(&mut self) {
        self.net.clock.is_stale = true;
        for conn in self.net.receivers_to_end() {
            if let Some(half) = self.state.inbound(conn) {
                half.discard_received();
            }
            let reason = DisconnectReason::MemoryLimit;
            self.net.end_connection(conn, Ending::Disconnected(reason));
        }
    }

    pub(super) fn schedule_requested_visits(&mut self) {
        while let Some(conn) = self.net.work.visits.pop() {
            let super::LoopState { inbound, lists, .. } = &mut *self.state;
            // Otherwise there is nothing to do until the next event.
            if let Some(half) = half_of(inbound, conn).filter(|half| half.has_kept_input()) {
                lists.schedule_event(half);
            }
        }
        self.schedule_wakes();
    }
}
