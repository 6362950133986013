//! Writing queues to sockets.

use std::collections::VecDeque;

use super::inbound::half_of;
use super::lists::WorkLists;
use super::rates::write_limited;
use super::write_once::{Flushed, watch_room};
use super::write_output::write_output;
use super::{EventLoop, InboundHalf, LoopState};
use crate::buffers::{BlockPool, EMPTY_QUEUE, Growth};
use crate::connection::{AfterFlush, ConnEntry, Ending, Lifecycle};
use crate::error::{DisconnectReason, SessionError};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::metrics::Metrics;
use crate::mutants::mutant;
use crate::net::{Net, PendingSend, RateContext, UrgentWork};
use crate::sys::Registrar;

impl<H: Handler> EventLoop<'_, H> {
    pub(super) fn flush_urgent(&mut self) {
        self.state.flush_urgent(self.net, None);
    }

    /// Collects the drains of connections that wait for room in the loop's
    /// limit and whose refused message fits now. Room that was granted before
    /// is free again if its connection did not use it, because its `on_drain`
    /// was called.
    pub(super) fn grant_quota(&mut self) {
        if self.net.send_quota.is_line_empty() {
            return;
        }
        let Net {
            send_quota,
            conns,
            pool,
            ..
        } = &mut *self.net;
        let drained = &mut self.state.lists.drained;
        send_quota.serve_line(
            &pool.account,
            conns,
            |conns, conn| refused_send(conns.get(conn)?, pool),
            |conns, conn| {
                if let Some(entry) = conns.get_mut(conn) {
                    entry.end_wait_for_quota();
                    drained.push_back(conn);
                }
            },
        );
    }

    /// Calls `on_sent` and `on_drain` after writes.
    pub(super) fn report_flushed(&mut self) {
        mutant!(AnswerInDisorder => self.state.lists.sent.make_contiguous().reverse());
        self.report_sends();
        for _ in 0..self.state.lists.drained.len() {
            let Some(conn) = self.state.lists.drained.pop_front() else {
                break;
            };
            if !self.net.waiters.is_empty() {
                self.net.retry_waiting_sends(conn);
            }
            if self.net.conns.get(conn).is_some_and(ConnEntry::can_send) {
                self.net.metrics.drains += 1;
                self.call("on_drain", Some(conn), |handler, net| {
                    handler.on_drain(net, conn)
                });
            }
            if let Some(entry) = self.net.conns.get_mut(conn) {
                entry.has_turn = false;
            }
        }
    }
}

impl LoopState {
    /// Writes the connections for which the handler requested a flush, and
    /// applies the changes of inbound halves. A visit passes the inbound half
    /// that it holds, because the half is not in its slot.
    #[inline]
    pub(super) fn flush_urgent(&mut self, net: &mut Net, half: Option<&mut InboundHalf>) {
        if !net.work.urgent.is_empty() {
            self.do_urgent(net, half);
        }
    }

    fn do_urgent(&mut self, net: &mut Net, half: Option<&mut InboundHalf>) {
        #[allow(unused_mut, reason = "a mutant changes it")]
        let mut half = half;
        mutant!(LoseFlushInVisit => half = None);
        // The callback that requested the flush may have taken long.
        net.read_clock();
        while let Some(work) = net.work.urgent.pop() {
            let Self { inbound, lists, .. } = &mut *self;
            let half = match &mut half {
                Some(half) if half.id == work.conn() => Some(&mut **half),
                _ => half_of(inbound, work.conn()),
            };
            // Without an inbound half there is nothing to write, and a change
            // waits until there is one.
            let Some(half) = half else { continue };
            match work {
                UrgentWork::Flush(_) => lists.write(net, half),
                UrgentWork::Change(_) => lists.apply_change(net, half),
            }
        }
    }

    /// Writes the queue of a connection that is not being visited.
    pub(super) fn write(&mut self, net: &mut Net, conn: ConnId) {
        if let Some(half) = half_of(&mut self.inbound, conn) {
            self.lists.write(net, half);
        }
    }
}

impl WorkLists {
    /// Applies the pending change of a connection before its next message is
    /// decoded. Kept bytes may contain a complete message now.
    fn apply_change(&mut self, net: &mut Net, half: &mut InboundHalf) {
        let entry = net.conns.get_mut(half.id);
        let Some(change) = entry.and_then(ConnEntry::take_pending_change) else {
            return;
        };
        mutant!(ForgetChange => return);
        half.apply(change);
        if half.partial.is_undecoded() {
            self.schedule_event(half);
        }
    }

    /// Writes the queue of a connection, up to its budget, and applies the
    /// outcome.
    pub(super) fn write(&mut self, net: &mut Net, inbound: &mut InboundHalf) {
        let now = net.timestamp();
        let conn = inbound.id;
        let Some(entry) = net.conns.get_mut(conn) else {
            return;
        };
        if entry.blocked || !entry.is_live() || entry.lifecycle() == Lifecycle::Connecting {
            return;
        }
        let budget = entry.write_budget(net.config.budget.write_bytes, net.metrics.turns);
        let before = entry.written;
        let deferred_reads = inbound.defers_reads();
        let (metrics, pool) = (&mut net.metrics, &mut net.pool);
        let flushed = if before > 0 && entry.queued_bytes() > budget {
            // The next turn writes it with one call. The rest of the budget
            // would be a call for a few bytes, and so would the rest of the
            // queue.
            Flushed::OverBudget
        } else if entry.is_sending_limited {
            let context = RateContext {
                limits: &net.limits,
                timers: &mut net.timers,
                metrics,
                now: net.clock.latest(),
            };
            match write_limited(entry, inbound, budget, pool, context) {
                Some(flushed) => flushed,
                None => return,
            }
        } else {
            write_output(entry, inbound, budget, metrics, pool)
        };
        let metrics = &mut net.metrics;
        if let Some(queue) = &mut entry.queue {
            while let Some(token) = queue.pop_sent_token(pool) {
                self.sent.push_back((conn, token));
            }
        }
        let over_budget = &mut self.over_write_budget;
        let registrar = &net.registrar;
        let seal_error = apply_flushed(entry, flushed, over_budget, metrics, pool, registrar);
        entry.note_write((entry.written - before) as usize, now);
        let is_armed_too_late = entry.is_armed_too_late(now);
        collect_drain(entry, &mut self.drained);
        if let Some(channel) = &mut inbound.channel {
            entry.update_session_charge(channel.output_bytes(), &mut pool.account);
            if let Some(timeout) = channel.take_timer_change() {
                net.set_session_timer(conn, timeout);
            }
        }
        // Reads that waited for the session's answers continue now, even if
        // more bytes are still to be written.
        if deferred_reads && !inbound.defers_reads() && inbound.readable {
            self.resume_reads(inbound);
        }
        if let Some(error) = seal_error {
            return net.fail_session(conn, error);
        }
        if is_armed_too_late {
            net.arm_deadline(conn);
        }
        self.after_write(net, inbound);
    }

    /// Schedules the reads that waited for the session's answers.
    fn resume_reads(&mut self, half: &mut InboundHalf) {
        mutant!(ForgetHeld => return);
        self.carry_over(half);
    }

    /// Sends FIN, or ends the connection, if that waited for an empty queue.
    fn after_write(&mut self, net: &mut Net, half: &mut InboundHalf) {
        let conn = half.id;
        let Some(entry) = net.conns.get_mut(conn) else {
            return;
        };
        if entry.write_failure().is_some() {
            return self.handle_write_failure(net, half);
        }
        match entry.after_flush() {
            AfterFlush::Nothing => {}
            AfterFlush::End(ending) => net.end_connection(conn, ending),
            AfterFlush::SendFin => {
                let Some(stream) = &entry.stream else {
                    return;
                };
                match stream.shutdown_write() {
                    Ok(()) => entry.fin_sent = true,
                    Err(error) => {
                        entry.note_write_failure(DisconnectReason::from_io(&error));
                        self.handle_write_failure(net, half);
                    }
                }
            }
        }
    }

    /// Handles a write failure. Received messages are delivered before the
    /// failure is reported, unless the connection is closing.
    fn handle_write_failure(&mut self, net: &mut Net, half: &mut InboundHalf) {
        let conn = half.id;
        let Some(entry) = net.conns.get_mut(conn) else {
            return;
        };
        let Some(failure) = entry.write_failure() else {
            return;
        };
        entry.blocked = true;
        if !matches!(entry.lifecycle(), Lifecycle::Handshaking | Lifecycle::Open) {
            let reason = entry.break_reason(failure);
            return net.end_connection(conn, Ending::Disconnected(reason));
        }
        half.readable = true;
        half.read_closed_seen = true;
        self.carry_over(half);
    }
}

/// Applies the outcome of a flush. Returns the error of a session that failed
/// on an open connection.
#[inline(always)]
fn apply_flushed(
    entry: &mut ConnEntry,
    flushed: Flushed,
    over_budget: &mut Vec<ConnId>,
    metrics: &mut Metrics,
    pool: &mut BlockPool,
    registrar: &Registrar,
) -> Option<SessionError> {
    match flushed {
        Flushed::All => {
            // A session that has failed leaves bytes in the queue.
            if let Some(queue) = entry.queue.take_if(|queue| queue.is_empty()) {
                pool.put_queue(queue);
            }
        }
        Flushed::Blocked => {
            entry.blocked = true;
            if let Some(queue) = &mut entry.queue {
                queue.shrink(pool);
            }
            watch_room(entry, registrar);
        }
        Flushed::OverBudget => {
            metrics.write_budget_hits += 1;
            if !std::mem::replace(&mut entry.dirty, true) {
                over_budget.push(entry.id());
            }
        }
        Flushed::Failed(reason) => entry.note_write_failure(reason),
        Flushed::SealFailed(error) if entry.lifecycle() == Lifecycle::Open => {
            return Some(error);
        }
        Flushed::SealFailed(error) => {
            entry.note_write_failure(DisconnectReason::Session(error));
        }
    }
    None
}

/// Returns the largest form of the message that was refused because of the
/// loop's limit, because the handler may send it in another form. Returns
/// `None` if the connection does not wait or can no longer send.
fn refused_send(entry: &ConnEntry, pool: &BlockPool) -> Option<PendingSend> {
    let frame = entry.refused_frame()?;
    let queue = entry.queue.as_deref().unwrap_or(&EMPTY_QUEUE);
    let mut growth = Growth::charged(queue.growth_max(frame, pool));
    growth.add_charged(entry.session_growth(growth.memory));
    Some(PendingSend {
        frame,
        growth,
        memory: entry.send_memory(),
        is_empty: queue.is_empty(),
        has_turn: false,
    })
}

/// Collects the drain of a connection if one is owed and the queue is low.
fn collect_drain(entry: &mut ConnEntry, drained: &mut VecDeque<ConnId>) {
    if entry.take_drain() {
        drained.push_back(entry.id());
    }
}
