//! From the queues to the sockets.

use std::io::{self, IoSlice};

use super::seal::write_sealed;
use super::{EventLoop, InboundHalf, LoopState};
use crate::buffers::{BlockPool, SLICES_MAX};
use crate::connection::{AfterFlush, ConnEntry, Ending, Lifecycle};
use crate::error::{DisconnectReason, SessionError};
use crate::handler::{Handler, SendOutcome};
use crate::id::ConnId;
use crate::metrics::Metrics;
use crate::mutants::mutant;
use crate::net::Net;

/// How a flush of one connection ended.
pub(super) enum Flushed {
    /// Nothing is queued any more.
    All,
    /// The socket takes no more; an edge will come.
    Blocked,
    /// The budget is used up, the socket may take more.
    Budget,
    Failed(DisconnectReason),
    /// The session could not seal what is queued.
    Unsealed(SessionError),
}

impl<H: Handler> EventLoop<'_, H> {
    /// Writes to every connection that has something to say, each once.
    pub(super) fn flush(&mut self) {
        let scratch = std::mem::take(&mut self.state.scratch);
        let mut dirty = std::mem::replace(&mut self.net.work.dirty, scratch);
        for conn in dirty.drain(..) {
            if let Some(entry) = self.net.conns.get_mut(conn) {
                entry.dirty = false;
                self.state.write(self.net, conn);
            }
        }
        self.state.scratch = dirty;
        self.grant_quota();
    }

    pub(super) fn flush_urgent(&mut self) {
        if !self.net.work.urgent.is_empty() {
            self.state.flush_urgent(self.net);
        }
    }

    /// Writes on where the socket was full and has room again.
    pub(super) fn write_blocked(&mut self, conn: ConnId) {
        let Some(inbound) = self.state.inbound(conn) else {
            return;
        };
        let writable = std::mem::take(&mut inbound.writable) && !mutant!(LoseWritableEdge);
        let Some(entry) = self.net.conns.get_mut(conn) else {
            return;
        };
        if writable && entry.failure().is_none() && std::mem::take(&mut entry.blocked) {
            self.state.write(self.net, conn);
        }
    }

    /// Announces a drain to those that were refused because of the loop's cap, once half of that is free and what was
    /// refused would fit.
    pub(super) fn grant_quota(&mut self) {
        if self.net.work.waiting_for_quota.is_empty()
            || self.net.metrics.queued > self.net.config.loop_queue_max / 2
        {
            return;
        }
        let max = self.net.config.loop_queue_max;
        let Net {
            work,
            metrics,
            conns,
            ..
        } = &mut *self.net;
        work.waiting_for_quota.retain(|&(conn, need)| {
            let Some(entry) = conns.get_mut(conn) else {
                return false;
            };
            let fits = metrics.has_room(need, max);
            if fits {
                entry.waiting_for_quota = false;
                note_drain(entry, &mut self.state.drained);
            }
            !fits
        });
    }

    /// Makes the callbacks that follow from what was written.
    pub(super) fn report_flushed(&mut self) {
        if mutant!(AnswerInDisorder) {
            self.state.sent.reverse();
        }
        for (conn, token) in std::mem::take(&mut self.state.sent) {
            let outcome = SendOutcome::HandedOver;
            self.call("on_sent", Some(conn), |handler, net| {
                handler.on_sent(net, conn, token, outcome)
            });
            if mutant!(AnswerTwice) {
                self.call("on_sent", Some(conn), |handler, net| {
                    handler.on_sent(net, conn, token, outcome)
                });
            }
            self.flush_urgent();
        }
        for conn in std::mem::take(&mut self.state.drained) {
            if self.net.conns.get(conn).is_some_and(ConnEntry::can_send) {
                self.net.metrics.drains += 1;
                self.call("on_drain", Some(conn), |handler, net| {
                    handler.on_drain(net, conn)
                });
                self.flush_urgent();
            }
        }
    }
}

impl LoopState {
    /// Writes to those connections for which the handler would not wait until the end of the turn.
    pub(super) fn flush_urgent(&mut self, net: &mut Net) {
        while let Some(conn) = net.work.urgent.pop() {
            self.write(net, conn);
        }
    }

    /// Writes what a connection has queued, up to its budget, and does what comes after that.
    pub(super) fn write(&mut self, net: &mut Net, conn: ConnId) {
        let Some(entry) = net.conns.get_mut(conn) else {
            return;
        };
        let Some(inbound) = self.inbound.get_mut(conn.slot()).and_then(Option::as_mut) else {
            return;
        };
        if entry.blocked || !entry.is_live() || entry.lifecycle() == Lifecycle::Connecting {
            return;
        }
        let budget = entry.write_budget(net.config.write_budget, net.metrics.turns);
        let (cost, before) = (entry.queue_cost(), entry.written);
        net.metrics.note_peak();
        let was_held = inbound.is_held();
        let mut unsealed = None;
        let write = if inbound.secure.is_none() {
            write_queue
        } else {
            write_sealed
        };
        let flushed = write(entry, inbound, budget, &mut net.metrics, &mut net.pool);
        if let Some(queue) = &mut entry.queue {
            while let Some(token) = queue.pop_sent() {
                self.sent.push((conn, token));
            }
        }
        match flushed {
            Flushed::All => {
                // A session that has failed leaves something behind.
                if let Some(queue) = entry.queue.take_if(|queue| queue.is_empty()) {
                    net.pool.put_queue(queue);
                }
            }
            Flushed::Blocked => {
                entry.blocked = true;
                if let Some(queue) = &mut entry.queue {
                    queue.shrink(&mut net.pool);
                }
            }
            Flushed::Budget => {
                net.metrics.write_budget_hits += 1;
                if !std::mem::replace(&mut entry.dirty, true) {
                    self.unwritten.push(conn);
                }
            }
            Flushed::Failed(reason) => entry.note_failure(reason),
            Flushed::Unsealed(error) if entry.lifecycle() == Lifecycle::Open => {
                unsealed = Some(error);
            }
            Flushed::Unsealed(error) => entry.note_failure(DisconnectReason::Session(error)),
        }
        entry.note_write((entry.written - before) as usize, net.now);
        net.metrics.queued -= cost - entry.queue_cost();
        note_drain(entry, &mut self.drained);
        // What had to wait for the session's answers to leave is read now, whatever else is still to be written.
        if was_held && !inbound.is_held() && inbound.readable && !mutant!(ForgetHeld) {
            self.enqueue(conn);
        }
        if let Some(error) = unsealed {
            return net.fail_session(conn, error);
        }
        self.after_write(net, conn);
    }

    /// Does what was to wait until everything had left.
    fn after_write(&mut self, net: &mut Net, conn: ConnId) {
        let Some(entry) = net.conns.get_mut(conn) else {
            return;
        };
        if entry.failure().is_some() {
            return self.write_failed(net, conn);
        }
        match entry.after_flush() {
            AfterFlush::Nothing => {}
            AfterFlush::End(ending) => net.end(conn, ending),
            AfterFlush::SendFin => {
                let Some(inbound) = self.inbound(conn) else {
                    return;
                };
                match inbound.stream.finish() {
                    Ok(()) => entry.fin_sent = true,
                    Err(error) => {
                        entry.note_failure(DisconnectReason::from_io(&error));
                        self.write_failed(net, conn);
                    }
                }
            }
        }
    }

    /// Nothing can be written any more. What had arrived is delivered before that is reported, if it may be.
    fn write_failed(&mut self, net: &mut Net, conn: ConnId) {
        let Some(entry) = net.conns.get_mut(conn) else {
            return;
        };
        let Some(failure) = entry.failure() else {
            return;
        };
        entry.blocked = true;
        if !matches!(entry.lifecycle(), Lifecycle::Handshaking | Lifecycle::Open) {
            let reason = entry.broken_by(failure);
            return net.end(conn, Ending::Disconnected(reason));
        }
        if let Some(inbound) = self.inbound(conn) {
            inbound.readable = true;
            inbound.finished = true;
        }
        self.enqueue(conn);
    }
}

/// Writes until the queue is empty, the socket full, or the budget used up.
fn write_queue(
    entry: &mut ConnEntry,
    inbound: &mut InboundHalf,
    mut budget: usize,
    metrics: &mut Metrics,
    pool: &mut BlockPool,
) -> Flushed {
    let Some(queue) = &mut entry.queue else {
        return Flushed::All;
    };
    while !queue.is_empty() {
        if budget == 0 {
            return Flushed::Budget;
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (count, offered) = queue.gather(&mut slices, budget);
        match inbound.stream.write(&slices[..count]) {
            Ok(0) => return Flushed::Failed(DisconnectReason::Io(io::ErrorKind::WriteZero)),
            Ok(written) => {
                metrics.partial_writes += u64::from(written < offered);
                entry.written += written as u32;
                budget -= written;
                let slots_to_free = if mutant!(DropTailOfPartialWrite) {
                    offered
                } else {
                    written
                };
                queue.advance(slots_to_free, pool);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Flushed::Failed(DisconnectReason::from_io(&error)),
        }
    }
    Flushed::All
}

/// Announces a drain if one is owed and the queue is low.
fn note_drain(entry: &mut ConnEntry, drained: &mut Vec<ConnId>) {
    if entry.take_drain() {
        drained.push(entry.id());
    }
}
