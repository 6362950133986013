//! One turn of the event loop.

mod accept;
mod call;
mod close;
mod commands;
mod connect;
mod datagrams;
mod deliver;
mod flush;
mod inbound;
#[cfg(feature = "sim")]
mod inspect;
mod lists;
mod proxy_header;
mod rates;
mod read;
mod read_close;
mod seal;
mod session;
mod session_calls;
mod shutdown;
mod sources;
mod timeouts;
mod visit;
mod write;
mod write_once;
mod write_output;

use std::time::{Duration, Instant};

use self::call::call_handler;
use self::inbound::InboundHalf;
#[cfg(feature = "sim")]
pub(crate) use self::inspect::InboundInspection;
use self::lists::WorkLists;
use crate::buffers::ReadBuffer;
use crate::command_queue::Inbox;
use crate::connection::Lifecycle;
use crate::handler::Handler;
use crate::id::{ConnId, SLOTS_MAX, SourceId, UdpId, WAKER_TOKEN};
use crate::net::{Net, TurnCounts};
use crate::sys::Readiness;

/// Maximum number of rounds of flushes and callbacks at the end of a turn. The
/// next turn does the rest.
const ROUNDS_MAX: usize = 4;

/// The state of the loop that handlers cannot access.
#[derive(Debug)]
pub(crate) struct LoopState {
    /// Inbound halves by slot. `None` for free slots and for connects that have
    /// not started.
    inbound: Vec<Option<InboundHalf>>,
    lists: WorkLists,
    /// Overdue connections with unread input.
    overdue_unread: Vec<ConnId>,
    /// Ids whose slots are freed at the end of the turn.
    slots_to_free: Vec<ConnId>,
    /// A shutdown that another thread requested, and the number of commands
    /// that run before it.
    pending_shutdown: Option<Duration>,
    commands_before_shutdown: usize,
    /// Memory of a list that was processed, for reuse.
    scratch: Vec<ConnId>,
    pub(crate) started: bool,
    /// The visits of the last turn took long.
    is_behind: bool,
}

impl LoopState {
    pub(crate) fn new() -> Self {
        Self {
            inbound: Vec::new(),
            lists: WorkLists::default(),
            overdue_unread: Vec::new(),
            slots_to_free: Vec::new(),
            pending_shutdown: None,
            commands_before_shutdown: 0,
            scratch: Vec::new(),
            started: false,
            is_behind: false,
        }
    }

    /// Returns whether there is work that needs no event and no deadline.
    pub(crate) fn has_work(&self) -> bool {
        !self.started || self.pending_shutdown.is_some() || self.lists.has_work()
    }

    /// Adds a shutdown that runs after the commands that wait now. With several
    /// shutdowns, the first one determines the number of commands, and the
    /// shortest grace period applies.
    fn add_pending_shutdown(&mut self, asked: Option<Duration>, waiting: usize) {
        let Some(grace) = asked else { return };
        if self.pending_shutdown.is_none() {
            self.commands_before_shutdown = waiting;
        }
        self.pending_shutdown = Some(
            self.pending_shutdown
                .map_or(grace, |earlier| earlier.min(grace)),
        );
    }

    /// Records an event. No event is handled here, so the order of events does
    /// not matter.
    pub(crate) fn note_event(&mut self, net: &mut Net, ready: Readiness) {
        if ready.token == WAKER_TOKEN {
            return;
        }
        let slot = ConnId::slot_of_token(ready.token);
        if slot >= SLOTS_MAX as usize {
            if let Some(slot) = UdpId::slot_of_token(ready.token) {
                return net.note_udp_event(slot, ready);
            }
            if let Some(slot) = SourceId::slot_of_token(ready.token) {
                return net.note_source(slot, ready);
            }
            let index = slot - SLOTS_MAX as usize;
            match net.listeners.get_mut(index) {
                Some(listener) => listener.ready = true,
                None => net.metrics.stale_events += 1,
            }
            return net.schedule_listener(index);
        }
        match self.inbound.get_mut(slot).and_then(Option::as_mut) {
            Some(inbound) if inbound.id.token() == ready.token => {
                inbound.readable |= ready.readable || ready.finished;
                inbound.writable |= ready.writable;
                inbound.read_closed_seen |= ready.finished;
                self.lists.schedule_event(inbound);
            }
            _ => net.note_header_event(ready),
        }
    }
}

/// The parts of a node, borrowed for one turn.
pub(crate) struct EventLoop<'a, H> {
    pub(crate) state: &'a mut LoopState,
    pub(crate) buffer: &'a mut ReadBuffer,
    pub(crate) net: &'a mut Net,
    pub(crate) handler: &'a mut H,
}

impl<H: Handler> EventLoop<'_, H> {
    /// Runs a turn, after the poller has waited.
    pub(crate) fn turn(&mut self, inbox: &mut Inbox<H>) {
        self.net.metrics.turns += 1;
        self.net.turn_counts = TurnCounts::default();
        let commands = self.net.metrics.commands;
        if !std::mem::replace(&mut self.state.started, true) {
            self.call("on_start", None, H::on_start);
        }
        self.resume_deferred_work();
        self.run_headers();
        self.run_listeners();
        // Messages come before timers, because a message that arrived in time
        // may cancel a timeout of the program. While turns are full, timers
        // come first, because they would otherwise wait for two turns.
        let was_behind = std::mem::take(&mut self.state.is_behind);
        if was_behind {
            self.run_timers();
        }
        self.run_datagrams();
        self.run_connections();
        self.run_sources();
        self.run_commands(inbox);
        if !was_behind {
            self.run_timers();
        }
        self.call("on_turn", None, H::on_turn);
        self.start_shutdown();
        self.flush_and_report();
        self.complete_shutdown();
        self.free_slots();
        self.close_datagrams();
        let end = self.net.end_turn();
        self.count_slow_turn(end, self.net.metrics.commands - commands);
    }

    /// Counts and logs a turn that took longer than the configured time.
    fn count_slow_turn(&mut self, end: Instant, commands: u64) {
        let Some(limit) = self.net.config.slow_turn else {
            return;
        };
        let took = end.saturating_duration_since(self.net.now);
        if took <= limit {
            return;
        }
        self.net.metrics.slow_turns += 1;
        let (name, counts) = (&self.net.config.name, self.net.turn_counts);
        let (messages, largest) = (counts.messages, counts.largest_batch);
        let (batch, conn) = largest.map_or((0, String::new()), |(batch, conn)| {
            (batch, format!(" on {conn}"))
        });
        log::debug!(
            target: "peerloop",
            "{name}: a turn took {took:?}: {messages} messages, {commands} commands, \
             largest batch {batch}{conn}"
        );
    }

    /// Continues the work that the last turn left, and starts the connects that
    /// were requested since.
    fn resume_deferred_work(&mut self) {
        // Connects come before the timers, because the connect timeout starts
        // here and not with the request.
        self.start_connects();
        self.resume_writes();
        let udp = &mut self.net.udp;
        udp.dirty.append(&mut udp.over_budget);
        self.flush_urgent();
    }

    fn is_handshaking(&self, conn: ConnId) -> bool {
        let entry = self.net.conns.get(conn);
        entry.is_some_and(|entry| entry.lifecycle() == Lifecycle::Handshaking)
    }

    /// Calls the handler. Returns `None` if the handler panicked and the panic
    /// was contained. Then the connection `conn` has ended.
    fn call<R>(
        &mut self,
        callback: &'static str,
        conn: Option<ConnId>,
        call: impl FnOnce(&mut H, &mut Net) -> R,
    ) -> Option<R> {
        let result = call_handler(self.net, self.handler, callback, conn, call);
        self.flush_urgent();
        result
    }

    /// Calls the handler for the connection that is being visited. See
    /// [`EventLoop::call`].
    fn call_in_visit<R>(
        &mut self,
        callback: &'static str,
        half: &mut InboundHalf,
        call: impl FnOnce(&mut H, &mut Net) -> R,
    ) -> Option<R> {
        let result = call_handler(self.net, self.handler, callback, Some(half.id), call);
        self.state.flush_urgent(self.net, Some(half));
        result
    }

    /// Flushes and makes the callbacks that result from it. Repeats that while
    /// there is more work, at most [`ROUNDS_MAX`] times.
    fn flush_and_report(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let work = &self.net.work;
            if !work.dirty.is_empty() || !work.connects.is_empty() {
                self.net.read_clock();
            }
            self.start_connects();
            self.flush();
            self.report_flushed();
            self.flush_datagrams();
            self.report_ends();
            // Writes and ends may have made room in the loop's limit.
            self.grant_quota();
            if self.net.work.connects.is_empty()
                && self.net.work.dirty.is_empty()
                && self.net.work.ended.is_empty()
                && self.net.udp.dirty.is_empty()
                && self.state.lists.drained.is_empty()
            {
                break;
            }
        }
        self.schedule_requested_visits();
    }

    fn free_slots(&mut self) {
        for conn in self.state.slots_to_free.drain(..) {
            self.net.free_slot(conn);
        }
    }
}
