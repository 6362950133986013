//! From the queues to the sockets.

use std::io::{self, IoSlice};

use super::seal::write_sealed;
use super::{Core, Driver, Inbound};
use crate::error::{DisconnectReason, SessionError};
use crate::handler::{Handler, SendOutcome};
use crate::id::ConnId;
use crate::net::Net;
use crate::peer::{AfterFlush, Ending, Peer, State};
use crate::planted::planted;
use crate::queue::{SLICES_MAX, Spares};
use crate::stats::Metrics;

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

impl<H: Handler> Driver<'_, H> {
    /// Writes to every connection that has something to say, each once.
    pub(super) fn flush(&mut self) {
        let spare = std::mem::take(&mut self.core.spare);
        let mut dirty = std::mem::replace(&mut self.net.work.dirty, spare);
        for conn in dirty.drain(..) {
            if let Some(peer) = self.net.peers.get_mut(conn) {
                peer.dirty = false;
                self.core.write(self.net, conn);
            }
        }
        self.core.spare = dirty;
        self.feed_starved();
    }

    pub(super) fn flush_urgent(&mut self) {
        if !self.net.work.urgent.is_empty() {
            self.core.flush_urgent(self.net);
        }
    }

    /// Writes on where the socket was full and has room again.
    pub(super) fn write_blocked(&mut self, conn: ConnId) {
        let Some(inbound) = self.core.inbound(conn) else {
            return;
        };
        let writable = std::mem::take(&mut inbound.writable) && !planted!(LoseWritableEdge);
        let Some(peer) = self.net.peers.get_mut(conn) else {
            return;
        };
        if writable && peer.failure().is_none() && std::mem::take(&mut peer.blocked) {
            self.core.write(self.net, conn);
        }
    }

    /// Announces a drain to those that were refused because of the loop's cap, once half of that is free and what was
    /// refused would fit.
    pub(super) fn feed_starved(&mut self) {
        if self.net.work.starved.is_empty()
            || self.net.metrics.queued > self.net.config.loop_queue_max / 2
        {
            return;
        }
        let max = self.net.config.loop_queue_max;
        let Net {
            work,
            metrics,
            peers,
            ..
        } = &mut *self.net;
        work.starved.retain(|&(conn, need)| {
            let Some(peer) = peers.get_mut(conn) else {
                return false;
            };
            let fits = metrics.has_room(need, max);
            if fits {
                peer.starved = false;
                note_drain(peer, &mut self.core.drained);
            }
            !fits
        });
    }

    /// Makes the callbacks that follow from what was written.
    pub(super) fn report_flushed(&mut self) {
        if planted!(AnswerInDisorder) {
            self.core.sent.reverse();
        }
        for (conn, token) in std::mem::take(&mut self.core.sent) {
            let outcome = SendOutcome::HandedOver;
            self.call("on_sent", Some(conn), |handler, net| {
                handler.on_sent(net, conn, token, outcome)
            });
            if planted!(AnswerTwice) {
                self.call("on_sent", Some(conn), |handler, net| {
                    handler.on_sent(net, conn, token, outcome)
                });
            }
            self.flush_urgent();
        }
        for conn in std::mem::take(&mut self.core.drained) {
            if self.net.peers.get(conn).is_some_and(Peer::can_send) {
                self.net.metrics.drains += 1;
                self.call("on_drain", Some(conn), |handler, net| {
                    handler.on_drain(net, conn)
                });
                self.flush_urgent();
            }
        }
    }
}

impl Core {
    /// Writes to those connections for which the handler would not wait until the end of the turn.
    pub(super) fn flush_urgent(&mut self, net: &mut Net) {
        while let Some(conn) = net.work.urgent.pop() {
            self.write(net, conn);
        }
    }

    /// Writes what a connection has queued, up to its budget, and does what comes after that.
    pub(super) fn write(&mut self, net: &mut Net, conn: ConnId) {
        let Some(peer) = net.peers.get_mut(conn) else {
            return;
        };
        let Some(inbound) = self.inbound.get_mut(conn.slot()).and_then(Option::as_mut) else {
            return;
        };
        if peer.blocked || !peer.is_live() || peer.inner_state() == State::Connecting {
            return;
        }
        let budget = peer.write_budget(net.config.write_budget, net.metrics.turns);
        let (cost, before) = (peer.queue_cost(), peer.written);
        net.metrics.note_peak();
        let was_held = inbound.is_held();
        let mut unsealed = None;
        let write = if inbound.secure.is_none() {
            write_queue
        } else {
            write_sealed
        };
        let flushed = write(peer, inbound, budget, &mut net.metrics, &mut net.spares);
        if let Some(queue) = &mut peer.queue {
            while let Some(token) = queue.pop_sent() {
                self.sent.push((conn, token));
            }
        }
        match flushed {
            Flushed::All => {
                // A session that has failed leaves something behind.
                if let Some(queue) = peer.queue.take_if(|queue| queue.is_empty()) {
                    net.spares.put_queue(queue);
                }
            }
            Flushed::Blocked => {
                peer.blocked = true;
                if let Some(queue) = &mut peer.queue {
                    queue.shrink(&mut net.spares);
                }
            }
            Flushed::Budget => {
                net.metrics.write_budget_hits += 1;
                if !std::mem::replace(&mut peer.dirty, true) {
                    self.unwritten.push(conn);
                }
            }
            Flushed::Failed(reason) => peer.note_failure(reason),
            Flushed::Unsealed(error) if peer.inner_state() == State::Open => {
                unsealed = Some(error);
            }
            Flushed::Unsealed(error) => peer.note_failure(DisconnectReason::Session(error)),
        }
        peer.note_write((peer.written - before) as usize, net.now);
        net.metrics.queued -= cost - peer.queue_cost();
        note_drain(peer, &mut self.drained);
        // What had to wait for the session's answers to leave is read now, whatever else is still to be written.
        if was_held && !inbound.is_held() && inbound.readable && !planted!(ForgetHeld) {
            self.enqueue(conn);
        }
        if let Some(error) = unsealed {
            return net.fail_session(conn, error);
        }
        self.after_write(net, conn);
    }

    /// Does what was to wait until everything had left.
    fn after_write(&mut self, net: &mut Net, conn: ConnId) {
        let Some(peer) = net.peers.get_mut(conn) else {
            return;
        };
        if peer.failure().is_some() {
            return self.write_failed(net, conn);
        }
        match peer.after_flush() {
            AfterFlush::Nothing => {}
            AfterFlush::End(ending) => net.end(conn, ending),
            AfterFlush::SendFin => {
                let Some(inbound) = self.inbound(conn) else {
                    return;
                };
                match inbound.stream.finish() {
                    Ok(()) => peer.fin_sent = true,
                    Err(error) => {
                        peer.note_failure(DisconnectReason::from_io(&error));
                        self.write_failed(net, conn);
                    }
                }
            }
        }
    }

    /// Nothing can be written any more. What had arrived is delivered before that is reported, if it may be.
    fn write_failed(&mut self, net: &mut Net, conn: ConnId) {
        let Some(peer) = net.peers.get_mut(conn) else {
            return;
        };
        let Some(failure) = peer.failure() else {
            return;
        };
        peer.blocked = true;
        if !matches!(peer.inner_state(), State::Handshaking | State::Open) {
            let reason = peer.broken_by(failure);
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
    peer: &mut Peer,
    inbound: &mut Inbound,
    mut budget: usize,
    metrics: &mut Metrics,
    spares: &mut Spares,
) -> Flushed {
    let Some(queue) = &mut peer.queue else {
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
                peer.written += written as u32;
                budget -= written;
                let gone = if planted!(DropTailOfPartialWrite) {
                    offered
                } else {
                    written
                };
                queue.advance(gone, spares);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Flushed::Failed(DisconnectReason::from_io(&error)),
        }
    }
    Flushed::All
}

/// Announces a drain if one is owed and the queue is low.
fn note_drain(peer: &mut Peer, drained: &mut Vec<ConnId>) {
    if peer.take_drain() {
        drained.push(peer.id());
    }
}
