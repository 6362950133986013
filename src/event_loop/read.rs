//! From the socket to the handler.

use std::io;

use super::{EventLoop, LoopState, call_handler};
use crate::config::HalfOpen;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::error::{DisconnectReason, FramingError};
use crate::framing::{Flow, Outcome};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::net::Net;

/// What to do after one read.
#[derive(PartialEq, Eq)]
enum Next {
    /// There may be more to read.
    Read(usize),
    /// Nothing is left, or nothing more is wanted now.
    Stop,
}

impl<H: Handler> EventLoop<'_, H> {
    /// Does for one connection whatever its readiness allows.
    pub(super) fn run_connection(&mut self, conn: ConnId) {
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        if entry.lifecycle() == Lifecycle::Connecting {
            self.finish_connect(conn);
            if self.is_handshaking(conn) {
                // What arrived together with the connection is for a turn that has the budget.
                return self.state.enqueue(conn);
            }
        }
        // Output first: what leaves makes room, and a handler that answers would only queue behind it.
        self.write_blocked(conn);
        if self.deliver_stash(conn) {
            self.conclude(conn);
            self.read(conn);
        }
    }

    /// Delivers what a pause left behind. Whether to read on.
    fn deliver_stash(&mut self, conn: ConnId) -> bool {
        if !self.wants_messages(conn) {
            return true;
        }
        let Some(inbound) = self.state.inbound(conn) else {
            return false;
        };
        if inbound.partial.len() < inbound.partial.need().max(1) {
            return true;
        }
        self.deliver_from_stash(conn)
    }

    /// Whether messages of this connection may be delivered now.
    pub(super) fn wants_messages(&self, conn: ConnId) -> bool {
        self.net
            .conns
            .get(conn)
            .is_some_and(|entry| entry.lifecycle() == Lifecycle::Open && !entry.paused)
    }

    /// Reads until the socket is empty or the budget is used up, and delivers.
    fn read(&mut self, conn: ConnId) {
        let mut budget = self.net.config.read_budget;
        loop {
            let Some(entry) = self.net.conns.get(conn) else {
                return;
            };
            let is_closing = matches!(entry.lifecycle(), Lifecycle::Closing(_));
            let is_broken = entry.failure().is_some();
            match entry.lifecycle() {
                Lifecycle::Open if entry.paused => return self.look_for_end(conn),
                Lifecycle::Handshaking | Lifecycle::Open | Lifecycle::Closing(_) => {}
                Lifecycle::Connecting | Lifecycle::Ended(_) | Lifecycle::Released => return,
            }
            let Some(inbound) = self.state.inbound(conn) else {
                return;
            };
            // When what a session has to say has left, the write looks here again.
            if !inbound.readable {
                return;
            }
            if !is_closing && inbound.is_held() {
                if !is_broken {
                    return;
                }
                // It would wait for ever: nothing leaves any more.
                inbound.discard_answers();
            }
            if budget == 0 {
                self.net.metrics.read_budget_hits += 1;
                if mutant!(ForgetRunList) {
                    return;
                }
                return self.state.enqueue(conn);
            }
            match self.read_once(conn, budget) {
                Next::Read(count) => budget = budget.saturating_sub(count),
                Next::Stop => return,
            }
        }
    }

    fn read_once(&mut self, conn: ConnId, budget: usize) -> Next {
        let Self { state, buffer, .. } = self;
        let Some(inbound) = state.inbound(conn) else {
            return Next::Stop;
        };
        let partial = match &inbound.secure {
            None => &inbound.partial,
            Some(secure) => &secure.wire,
        };
        let (front, room) = buffer.lend(partial);
        let room_len = room.len().min(budget);
        match inbound.stream.read(&mut room[..room_len]) {
            Ok(0) => {
                inbound.readable = false;
                self.stream_ended(conn);
                Next::Stop
            }
            Ok(count) => {
                // A short read shows that the socket is empty, and spares the read that would say so; but an end of
                // stream that was signalled together with the data gives no second edge.
                if count < room_len && (!inbound.finished || mutant!(StopOnShortRead)) {
                    inbound.readable = false;
                }
                if inbound.secure.is_none() {
                    self.received(conn, front, count);
                } else {
                    self.received_sealed(conn, front, count);
                }
                // What lay before it counts too: otherwise every full read would be followed by a tiny one.
                Next::Read(front + count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Next::Read(0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                inbound.readable = false;
                self.would_block(conn);
                Next::Stop
            }
            Err(error) => {
                inbound.readable = false;
                self.broken(conn, DisconnectReason::from_io(&error));
                Next::Stop
            }
        }
    }

    /// Delivers the frames of what was just read; `front` bytes of the stash lie before it.
    fn received(&mut self, conn: ConnId, front: usize, count: usize) {
        if !self.wants_messages(conn) {
            return;
        }
        let Self {
            state,
            buffer,
            net,
            handler,
        } = self;
        let Some(inbound) = state.inbound(conn) else {
            return;
        };
        if front < inbound.partial.len() {
            inbound.partial.append(buffer.filled(count));
            if inbound.partial.len() >= inbound.partial.need() {
                self.deliver_from_stash(conn);
            }
            return;
        }
        let (bytes, need) = (buffer.filled(front + count), inbound.partial.need());
        let (consumed, outcome) = deliver(state, net, *handler, conn, bytes, need);
        match keep(state, conn, &bytes[consumed..], outcome) {
            Some(error) => self.refuse(conn, error.into()),
            None => self.note_read(conn, consumed),
        }
    }

    /// Delivers the frames of the stash, in place. Whether to read on.
    pub(super) fn deliver_from_stash(&mut self, conn: ConnId) -> bool {
        let Self {
            state,
            net,
            handler,
            ..
        } = self;
        let Some(inbound) = state.inbound(conn) else {
            return false;
        };
        // Taken out for the time being: the handler may have this very connection flushed.
        let mut partial = std::mem::take(&mut inbound.partial);
        let (bytes, need) = (partial.as_slice(), partial.need());
        let (consumed, outcome) = deliver(state, net, *handler, conn, bytes, need);
        match outcome {
            Outcome::Incomplete { need } => partial.consume(consumed, need),
            Outcome::Stopped if mutant!(DeliverTwice) => partial.consume(0, 0),
            Outcome::Stopped => partial.consume(consumed, 0),
            Outcome::Bad(error) => {
                self.refuse(conn, error.into());
                return false;
            }
        }
        if let Some(inbound) = state.inbound(conn) {
            inbound.partial = partial;
        }
        self.note_read(conn, consumed);
        true
    }

    /// Notes for the deadlines what a read brought.
    pub(super) fn note_read(&mut self, conn: ConnId, delivered: usize) {
        let now = self.net.now;
        let partial = self
            .state
            .inbound(conn)
            .is_some_and(|inbound| inbound.has_partial());
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.note_read(delivered as u64, partial, now);
        }
    }

    /// The peer sent what is no frame.
    pub(super) fn refuse(&mut self, conn: ConnId, reason: DisconnectReason) {
        log::debug!(target: "peerloop", "{}: {conn}: {reason}", self.net.config.name);
        self.net.end(conn, Ending::Disconnected(reason));
    }

    /// The peer has ended its side, and everything that had arrived is delivered.
    /// `cut_off` says that it was not allowed to.
    pub(super) fn peer_finished(&mut self, conn: ConnId, cut_off: Option<DisconnectReason>) {
        let (partial, is_secure) = self.state.inbound(conn).map_or((0, false), |inbound| {
            (inbound.partial.len(), inbound.secure.is_some())
        });
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        let known = entry.peer_finished;
        let reason = entry.finish(partial);
        let reason = cut_off.unwrap_or(reason);
        // A session's goodbye has left when the FIN has.
        let nothing_left = !entry.has_output() && (!is_secure || entry.fin_sent);
        let broken = entry.failure().is_some();
        let is_clean = partial == 0 && cut_off.is_none() && !broken;
        let half_open = entry.profile.half_open == HalfOpen::Allowed && is_clean;
        match entry.lifecycle() {
            Lifecycle::Open if half_open && known => self.look_for_reset(conn),
            Lifecycle::Open if half_open && !entry.fin_sent => {
                self.call("on_finished", Some(conn), |handler, net| {
                    handler.on_finished(net, conn)
                });
                // The end and a reset after it may have come as one edge; then this is the only look there will be.
                self.look_for_reset(conn);
            }
            Lifecycle::Open if !nothing_left && !broken => self.net.begin_closing(conn, reason),
            Lifecycle::Closing(_) if !nothing_left => {}
            _ => self.net.end(conn, Ending::Disconnected(reason)),
        }
    }

    /// The peer had ended its side before, and something else has happened to it.
    fn look_for_reset(&mut self, conn: ConnId) {
        let error = self
            .state
            .inbound(conn)
            .and_then(|inbound| inbound.stream.broken());
        if let Some(error) = error {
            self.broken(conn, DisconnectReason::from_io(&error));
        }
    }

    /// A paused connection was reported ready. What it sent stays where it is; but when it has ended and nothing is
    /// left to deliver, that is noticed.
    fn look_for_end(&mut self, conn: ConnId) {
        let Some(inbound) = self.state.inbound(conn) else {
            return;
        };
        let partial = &inbound.partial;
        if !inbound.finished || (partial.len() > 0 && partial.len() >= partial.need()) {
            return;
        }
        match inbound.stream.is_at_end() {
            Ok(true) => self.stream_ended(conn),
            Ok(false) => {}
            Err(error) => self.broken(conn, DisconnectReason::from_io(&error)),
        }
    }

    fn broken(&mut self, conn: ConnId, error: DisconnectReason) {
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        let reason = entry.broken_by(error);
        self.net.end(conn, Ending::Disconnected(reason));
    }

    /// The socket is empty. If a write has failed, that was all that had arrived.
    fn would_block(&mut self, conn: ConnId) {
        if let Some(failure) = self.net.conns.get(conn).and_then(ConnEntry::failure) {
            self.net.end(conn, Ending::Disconnected(failure));
        }
    }
}

/// Keeps what a batch left. The error, if that is no frame.
pub(super) fn keep(
    state: &mut LoopState,
    conn: ConnId,
    rest: &[u8],
    outcome: Outcome,
) -> Option<FramingError> {
    let inbound = state.inbound(conn)?;
    match outcome {
        Outcome::Incomplete { need } => inbound.partial.replace(rest, need),
        Outcome::Stopped => inbound.partial.replace(rest, 0),
        Outcome::Bad(error) => return Some(error),
    }
    None
}

/// Hands the frames at the start of `bytes` to the handler, for as long as it wants them; how many bytes they took.
pub(super) fn deliver<H: Handler>(
    state: &mut LoopState,
    net: &mut Net,
    handler: &mut H,
    conn: ConnId,
    bytes: &[u8],
    mut need: usize,
) -> (usize, Outcome) {
    let max = net
        .conns
        .get(conn)
        .map_or(0, |entry| entry.profile.max_frame);
    let mut consumed = 0;
    loop {
        let Some(inbound) = state.inbound(conn) else {
            return (consumed, Outcome::Stopped);
        };
        net.work.current = Some(conn);
        net.work.interrupt = false;
        // One call for the whole batch: neither the clock nor the guard against panics is paid for per message.
        let batch = call_handler(net, handler, "on_message", Some(conn), |handler, net| {
            inbound
                .codec
                .decode(&bytes[consumed..], need, max, |frame| {
                    handler.on_message(net, conn, frame);
                    if net.work.interrupt && !mutant!(DeliverAfterClose) {
                        Flow::Stop
                    } else {
                        Flow::Continue
                    }
                })
        });
        net.work.current = None;
        // After a panic the connection has ended, and what is left of it is nobody's any more.
        let Some(batch) = batch else {
            return (bytes.len(), Outcome::Stopped);
        };
        net.count_received(conn, batch.frames, batch.consumed);
        consumed += batch.consumed;
        if batch.outcome != Outcome::Stopped {
            return (consumed, batch.outcome);
        }
        state.flush_urgent(net);
        match net.conns.get(conn) {
            // Only a flush was asked for.
            Some(entry) if entry.lifecycle() == Lifecycle::Open && !entry.paused => need = 0,
            Some(entry) if entry.lifecycle() == Lifecycle::Open => {
                return (consumed, Outcome::Stopped);
            }
            // Closed in the meantime: what is left is nobody's any more.
            _ => return (bytes.len(), Outcome::Stopped),
        }
    }
}
