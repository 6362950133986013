//! Reading plain connections and delivering messages.

use std::io;

use super::{EventLoop, LoopState, call_handler};
use crate::buffers::PartialFrame;
use crate::connection::{Ending, Lifecycle};
use crate::error::{DisconnectReason, FramingError};
use crate::framing::{Flow, Outcome};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::net::Net;

/// The next step after one read.
#[derive(PartialEq, Eq)]
enum ReadStep {
    /// More may be readable. The number of bytes counts against the budget.
    Read(usize),
    /// Nothing more is read in this visit.
    Stop,
}

impl<H: Handler> EventLoop<'_, H> {
    /// Handles the readiness of one connection.
    pub(super) fn run_connection(&mut self, conn: ConnId) {
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        if entry.lifecycle() == Lifecycle::Connecting {
            self.complete_connect(conn);
            if self.is_handshaking(conn) {
                // Bytes that arrived with the connection are read in a turn
                // that has the budget.
                return self.state.schedule_visit(conn);
            }
        }
        // Writing comes first. It makes room in the queue, and a handler that
        // answers would only append to it.
        self.resume_write(conn);
        if self.deliver_after_pause(conn) {
            self.apply_session_end(conn);
            self.read(conn);
        }
    }

    /// Delivers messages that a pause left. Returns whether to read on.
    fn deliver_after_pause(&mut self, conn: ConnId) -> bool {
        if !self.wants_messages(conn) {
            return true;
        }
        let Some(inbound) = self.state.inbound(conn) else {
            return false;
        };
        if inbound.partial.len() < inbound.partial.need().max(1) {
            return true;
        }
        self.deliver_partial(conn)
    }

    /// Returns whether messages of this connection may be delivered now.
    pub(super) fn wants_messages(&self, conn: ConnId) -> bool {
        self.net
            .conns
            .get(conn)
            .is_some_and(|entry| entry.lifecycle() == Lifecycle::Open && !entry.paused)
    }

    /// Reads and delivers until the socket is empty or the budget is used up.
    fn read(&mut self, conn: ConnId) {
        let mut budget = self.net.config.budget.read_bytes;
        loop {
            let Some(entry) = self.net.conns.get(conn) else {
                return;
            };
            let is_closing = matches!(entry.lifecycle(), Lifecycle::Closing(_));
            let is_broken = entry.write_failure().is_some();
            match entry.lifecycle() {
                Lifecycle::Open if entry.paused => return self.check_end_while_paused(conn),
                Lifecycle::Handshaking | Lifecycle::Open | Lifecycle::Closing(_) => {}
                Lifecycle::Connecting | Lifecycle::Ended(_) | Lifecycle::Released => return,
            }
            let Some(inbound) = self.state.inbound(conn) else {
                return;
            };
            // The write that sends the session's answers schedules the next
            // visit.
            if !inbound.readable {
                return;
            }
            if !is_closing && inbound.defers_reads() {
                if !is_broken {
                    return;
                }
                // After a write failure the answers cannot be written any more.
                inbound.discard_answers();
            }
            if budget == 0 {
                self.net.metrics.read_budget_hits += 1;
                mutant!(ForgetRunList => return);
                return self.state.schedule_visit(conn);
            }
            match self.read_once(conn, budget) {
                ReadStep::Read(count) => budget = budget.saturating_sub(count),
                ReadStep::Stop => return,
            }
        }
    }

    fn read_once(&mut self, conn: ConnId, budget: usize) -> ReadStep {
        let Self {
            state, buffer, net, ..
        } = self;
        let entry = net.conns.get_mut(conn);
        let stream = entry.and_then(|entry| entry.stream.as_mut());
        let (Some(inbound), Some(stream)) = (state.inbound(conn), stream) else {
            return ReadStep::Stop;
        };
        let partial = match &inbound.channel {
            None => &inbound.partial,
            Some(channel) => &channel.wire,
        };
        let (front, room) = buffer.lend(partial);
        let room_len = room.len().min(budget);
        match stream.read(&mut room[..room_len]) {
            Ok(0) => {
                inbound.readable = false;
                self.stream_ended(conn);
                ReadStep::Stop
            }
            Ok(count) => {
                // Where a short read shows that the socket is empty, it saves
                // the read that would return `WouldBlock`. Elsewhere only that
                // read re-arms the event. An end of stream that was reported
                // with the data gives no second event.
                let is_short = count < room_len && stream.short_read_is_empty();
                if is_short && !inbound.read_closed_seen {
                    inbound.readable = false;
                }
                mutant!(StopOnShortRead => inbound.readable &= count == room_len);
                if inbound.channel.is_none() {
                    self.deliver_received(conn, front, count);
                } else {
                    self.receive_sealed(conn, front, count);
                }
                // The kept bytes count too. Otherwise every full read would be
                // followed by a tiny one.
                ReadStep::Read(front + count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => ReadStep::Read(0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                inbound.readable = false;
                self.handle_empty_socket(conn);
                ReadStep::Stop
            }
            Err(error) => {
                inbound.readable = false;
                self.end_broken(conn, DisconnectReason::from_io(&error));
                ReadStep::Stop
            }
        }
    }

    /// Delivers the messages of a read. The first `front` bytes of the buffer
    /// are the kept partial message.
    fn deliver_received(&mut self, conn: ConnId, front: usize, count: usize) {
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
                self.deliver_partial(conn);
            }
            return;
        }
        let (bytes, need) = (buffer.filled(front + count), inbound.partial.need());
        let (consumed, outcome) = deliver(state, net, *handler, conn, bytes, need);
        match keep_rest(state, conn, &bytes[consumed..], outcome) {
            Some(error) => self.end_malformed(conn, error.into()),
            None => self.note_read(conn, consumed),
        }
    }

    /// Delivers the messages in the kept bytes, in place. Returns whether to
    /// read on.
    pub(super) fn deliver_partial(&mut self, conn: ConnId) -> bool {
        let Self {
            state,
            net,
            handler,
            ..
        } = self;
        let Some(inbound) = state.inbound(conn) else {
            return false;
        };
        // Taken out during the callbacks, because the handler may have this
        // connection flushed.
        let mut partial = std::mem::take(&mut inbound.partial);
        let (bytes, need) = (partial.as_slice(), partial.need());
        let (consumed, outcome) = deliver(state, net, *handler, conn, bytes, need);
        match outcome {
            Outcome::Incomplete { need } => partial.consume(consumed, need),
            Outcome::Stopped => {
                mutant!(DeliverTwice => return restore_partial(state, conn, partial));
                partial.consume(consumed, 0);
            }
            Outcome::Bad(error) => {
                self.end_malformed(conn, error.into());
                return false;
            }
        }
        restore_partial(state, conn, partial);
        self.note_read(conn, consumed);
        true
    }

    /// Records for the timeouts what a read delivered.
    pub(super) fn note_read(&mut self, conn: ConnId, delivered: usize) {
        let now = self.net.timestamp();
        let partial = self
            .state
            .inbound(conn)
            .is_some_and(|inbound| inbound.has_partial());
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.note_read(delivered as u64, partial, now);
        }
    }

    /// Ends a connection whose peer sent a malformed frame.
    pub(super) fn end_malformed(&mut self, conn: ConnId, reason: DisconnectReason) {
        log::debug!(target: "peerloop", "{}: {conn}: {reason}", self.net.config.name);
        self.net.end_connection(conn, Ending::Disconnected(reason));
    }
}

/// Restores the bytes that were taken out for delivery. Always returns true.
fn restore_partial(state: &mut LoopState, conn: ConnId, partial: PartialFrame) -> bool {
    if let Some(inbound) = state.inbound(conn) {
        inbound.partial = partial;
    }
    true
}

/// Keeps the bytes that a batch left. Returns the error of a malformed frame.
pub(super) fn keep_rest(
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

/// Delivers the messages at the start of `bytes` until the handler interrupts.
/// Returns how many bytes they took.
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
        .map_or(0, |entry| entry.config.max_message_len);
    let mut consumed = 0;
    loop {
        let Some(inbound) = state.inbound(conn) else {
            return (consumed, Outcome::Stopped);
        };
        net.work.batch.conn = Some(conn);
        net.work.interrupt = false;
        // One guarded call for the whole batch: the clock is not read and no
        // panic guard is set up for each message.
        let batch = call_handler(net, handler, "on_message", Some(conn), |handler, net| {
            inbound
                .codec
                .decode(&bytes[consumed..], need, max, |message, end| {
                    net.work.batch.messages += 1;
                    net.work.batch.bytes = end;
                    handler.on_message(net, conn, message);
                    mutant!(DeliverAfterClose => net.work.interrupt = false);
                    if net.work.interrupt {
                        Flow::Stop
                    } else {
                        Flow::Continue
                    }
                })
        });
        net.end_batch();
        // The panic ended the connection. The rest of its bytes is discarded.
        let Some(batch) = batch else {
            return (bytes.len(), Outcome::Stopped);
        };
        consumed += batch.consumed;
        if batch.outcome != Outcome::Stopped {
            return (consumed, batch.outcome);
        }
        state.flush_urgent(net);
        match net.conns.get(conn) {
            // The batch was interrupted for a flush only.
            Some(entry) if entry.lifecycle() == Lifecycle::Open && !entry.paused => need = 0,
            Some(entry) if entry.lifecycle() == Lifecycle::Open => {
                return (consumed, Outcome::Stopped);
            }
            // The handler closed the connection. The rest of its bytes is
            // discarded.
            _ => return (bytes.len(), Outcome::Stopped),
        }
    }
}
