//! One turn of the loop, in its order.

mod accept;
mod call;
mod close;
mod commands;
mod connect;
#[cfg(feature = "sim")]
mod inspect;
mod read;
mod seal;
mod session;
mod shutdown;
mod timeouts;
mod write;

use std::collections::VecDeque;
use std::time::Duration;

use self::call::call_handler;
#[cfg(feature = "sim")]
pub(crate) use self::inspect::InboundInspection;
use crate::buffers::{PartialFrame, ReadBuffer};
use crate::command_queue::Inbox;
use crate::connection::Lifecycle;
use crate::framing::Codec;
use crate::handler::Handler;
use crate::id::{ConnId, SLOTS_MAX, WAKER_TOKEN};
use crate::net::Net;
use crate::session::SessionChannel;
use crate::sys::{Readiness, Stream};

/// How often a turn flushes and makes the callbacks that follow from it before it leaves the rest to the next turn.
const ROUNDS_MAX: usize = 4;

/// What belongs to the loop and no handler ever sees.
#[derive(Debug)]
pub(crate) struct LoopState {
    /// The inbound half of every connection, by slot; `None` for a dial that has not begun and for free slots.
    inbound: Vec<Option<InboundHalf>>,
    /// Connections to be looked at in this turn or the next, each once. Whoever stops before `WouldBlock` leaves the
    /// connection here: the poller reports edges, and there will be no further one.
    run: Vec<ConnId>,
    /// Of those, the ones that have a step of their handshake to do: so many of them are taken a turn as the budget says.
    handshakes: VecDeque<ConnId>,
    /// Connections that used up their write budget: they are flushed at the end of the next turn.
    unwritten: Vec<ConnId>,
    /// Callbacks owed after a flush.
    sent: Vec<(ConnId, u64)>,
    drained: Vec<ConnId>,
    /// Connections that are overdue and have something to be read.
    overdue_unread: Vec<ConnId>,
    /// Ids whose slots are free at the end of the turn.
    slots_to_free: Vec<ConnId>,
    /// A shutdown that another thread has asked for, and how many commands were asked for before it.
    pending_shutdown: Option<Duration>,
    commands_before_shutdown: usize,
    /// Memory of the lists while they are worked off.
    scratch: Vec<ConnId>,
    pub(crate) started: bool,
}

/// The inbound half of a connection.
pub(crate) struct InboundHalf {
    id: ConnId,
    stream: Stream,
    codec: Codec,
    partial: PartialFrame,
    /// What stands between the wire and the framing; `None` for plain TCP.
    secure: Option<Box<SessionChannel>>,
    /// There may be something to read: set by an edge, cleared by a read that shows there is not.
    readable: bool,
    writable: bool,
    /// The peer ended its side: read on to the end, no further edge will come.
    finished: bool,
    /// On the run list.
    queued: bool,
}

impl InboundHalf {
    /// Whether the beginning of a message, or of a record, waits for the rest.
    fn has_partial(&self) -> bool {
        let untaken = self.secure.as_ref().map_or(0, |secure| secure.wire.len());
        self.partial.len() + untaken > 0
    }

    /// Whether nothing is to be received before the session's answers have left.
    fn is_held(&self) -> bool {
        self.secure
            .as_ref()
            .is_some_and(|secure| secure.is_behind())
    }

    /// The session's answers will never leave.
    fn discard_answers(&mut self) {
        if let Some(secure) = &mut self.secure {
            secure.discard_answers();
        }
    }
}

impl std::fmt::Debug for InboundHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbound")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl LoopState {
    pub(crate) fn new() -> Self {
        Self {
            inbound: Vec::new(),
            run: Vec::new(),
            handshakes: VecDeque::new(),
            unwritten: Vec::new(),
            sent: Vec::new(),
            drained: Vec::new(),
            overdue_unread: Vec::new(),
            slots_to_free: Vec::new(),
            pending_shutdown: None,
            commands_before_shutdown: 0,
            scratch: Vec::new(),
            started: false,
        }
    }

    /// Whether there is work that waits for no event and no deadline.
    pub(crate) fn has_work(&self) -> bool {
        !self.started
            || !self.run.is_empty()
            || !self.handshakes.is_empty()
            || !self.unwritten.is_empty()
            || !self.sent.is_empty()
            || !self.drained.is_empty()
    }

    /// Notes a shutdown that is to follow the commands which wait now. Of several the first says after which, and the
    /// shortest grace counts.
    fn note_pending_shutdown(&mut self, asked: Option<Duration>, waiting: usize) {
        let Some(grace) = asked else { return };
        if self.pending_shutdown.is_none() {
            self.commands_before_shutdown = waiting;
        }
        self.pending_shutdown = Some(
            self.pending_shutdown
                .map_or(grace, |earlier| earlier.min(grace)),
        );
    }

    fn inbound(&mut self, conn: ConnId) -> Option<&mut InboundHalf> {
        self.inbound
            .get_mut(conn.slot())?
            .as_mut()
            .filter(|inbound| inbound.id == conn)
    }

    fn insert(&mut self, inbound: InboundHalf) {
        let slot = inbound.id.slot();
        if slot >= self.inbound.len() {
            self.inbound.resize_with(slot + 1, || None);
        }
        self.inbound[slot] = Some(inbound);
    }

    /// Writes an event down. Nothing is done about it here, so the order of events does not matter.
    pub(crate) fn note(&mut self, net: &mut Net, ready: Readiness) {
        if ready.token == WAKER_TOKEN {
            return;
        }
        let slot = ConnId::slot_of_token(ready.token);
        if slot >= SLOTS_MAX as usize {
            let index = slot - SLOTS_MAX as usize;
            match net.listeners.get_mut(index) {
                Some(listener) => listener.ready = true,
                None => net.metrics.stale_events += 1,
            }
            return net.revisit_listener(index);
        }
        match self.inbound.get_mut(slot).and_then(Option::as_mut) {
            Some(inbound) if inbound.id.token() == ready.token => {
                inbound.readable |= ready.readable || ready.finished;
                inbound.writable |= ready.writable;
                inbound.finished |= ready.finished;
                if !std::mem::replace(&mut inbound.queued, true) {
                    self.run.push(inbound.id);
                }
            }
            _ => net.metrics.stale_events += 1,
        }
    }

    /// Puts a connection on the run list, once.
    fn enqueue(&mut self, conn: ConnId) {
        if let Some(inbound) = self.inbound(conn) {
            if !std::mem::replace(&mut inbound.queued, true) {
                self.run.push(conn);
            }
        }
    }
}

/// The loop at work: the parts of a node, borrowed side by side for one turn.
pub(crate) struct EventLoop<'a, H> {
    pub(crate) state: &'a mut LoopState,
    pub(crate) buffer: &'a mut ReadBuffer,
    pub(crate) net: &'a mut Net,
    pub(crate) handler: &'a mut H,
}

impl<H: Handler> EventLoop<'_, H> {
    /// Everything a turn does after it has waited.
    pub(crate) fn turn(&mut self, inbox: &Inbox<H>) {
        self.net.metrics.turns += 1;
        if !std::mem::replace(&mut self.state.started, true) {
            self.call("on_start", None, H::on_start);
        }
        self.carry_over();
        self.run_listeners();
        self.run_connections();
        self.run_commands(inbox);
        self.run_deadlines();
        self.call("on_turn", None, H::on_turn);
        self.flush_urgent();
        self.begin_shutdown();
        self.finish();
        self.end_shutdown();
        self.free();
    }

    /// Takes up what the last turn left, and what was asked for since.
    fn carry_over(&mut self) {
        // Before the deadlines: one that was asked for long before the loop ran has not failed yet.
        self.start_connects();
        self.net.work.dirty.append(&mut self.state.unwritten);
        self.flush_urgent();
    }

    /// Looks at every connection that is on the run list now; those that are put there meanwhile wait for the next
    /// turn.
    fn run_connections(&mut self) {
        self.revisit();
        let mut run =
            std::mem::replace(&mut self.state.run, std::mem::take(&mut self.state.scratch));
        for conn in run.drain(..) {
            if self.is_handshaking(conn) {
                self.state.handshakes.push_back(conn);
            } else {
                self.visit(conn);
            }
        }
        self.state.scratch = run;
        for _ in 0..self.net.config.handshake_budget {
            let Some(conn) = self.state.handshakes.pop_front() else {
                break;
            };
            self.visit(conn);
        }
    }

    /// Looks at a connection that was on the run list.
    fn visit(&mut self, conn: ConnId) {
        if let Some(inbound) = self.state.inbound(conn) {
            inbound.queued = false;
            self.run_connection(conn);
            self.flush_urgent();
        }
    }

    fn is_handshaking(&self, conn: ConnId) -> bool {
        let entry = self.net.conns.get(conn);
        entry.is_some_and(|entry| entry.lifecycle() == Lifecycle::Handshaking)
    }

    fn revisit(&mut self) {
        while let Some(conn) = self.net.work.revisit.pop() {
            self.state.enqueue(conn);
        }
    }

    /// Calls the handler. A panic ends the connection that it was called for, and a long call is counted, as the
    /// configuration says. `None` if it panicked.
    fn call<R>(
        &mut self,
        callback: &'static str,
        conn: Option<ConnId>,
        call: impl FnOnce(&mut H, &mut Net) -> R,
    ) -> Option<R> {
        call_handler(self.net, self.handler, callback, conn, call)
    }

    /// Flushes, reports what came of it, and goes on for as long as that leads to more, within bounds.
    fn finish(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.start_connects();
            self.flush();
            self.report_flushed();
            self.report_ends();
            // What ended may have left room in the queues for those that were refused.
            self.grant_quota();
            if self.net.work.connects.is_empty()
                && self.net.work.dirty.is_empty()
                && self.net.work.ended.is_empty()
                && self.state.drained.is_empty()
            {
                break;
            }
        }
        self.revisit();
    }

    fn free(&mut self) {
        for conn in self.state.slots_to_free.drain(..) {
            self.net.free(conn);
        }
    }
}
