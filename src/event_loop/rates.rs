//! Reading and writing of connections with rate limits.
//!
//! Between visits `is_delivery_stopped` is set for a connection whose receiving
//! is limited. Therefore the paths without limits need no instruction for it: a
//! visit finds the connection stopped, like a paused one, and asks for tokens.

use super::write_once::Flushed;
use super::write_output::write_output;
use super::{EventLoop, InboundHalf};
use crate::buffers::BlockPool;
use crate::connection::{Allowance, ConnEntry, Ending, Lifecycle};
use crate::error::DisconnectReason;
use crate::handler::Handler;
use crate::net::RateContext;
use crate::token_bucket::Amount;

impl<H: Handler> EventLoop<'_, H> {
    /// Reads a connection whose delivery is stopped: nothing while it is
    /// paused, and otherwise as much as there are tokens for.
    #[cold]
    #[inline(never)]
    pub(super) fn read_stopped(&mut self, half: &mut InboundHalf, budget: usize) {
        let conn = half.id;
        if self.net.conns.get(conn).is_some_and(|entry| entry.paused) {
            self.net.release_receive_tokens(conn);
            self.note_unread(half);
            return self.check_end_while_paused(half);
        }
        if self.net.visit.is_over {
            return self.state.lists.carry_over(half);
        }
        let Some(allowance) = self.net.admit_receive(conn) else {
            self.note_unread(half);
            return self.check_end_while_paused(half);
        };
        let used = self.read_admitted(half, budget, &allowance);
        self.net.charge_receive_rate(conn, used);
        if used.exceeds(allowance.end_beyond) && self.is_open(conn) {
            let reason = DisconnectReason::ReceiveRateExceeded;
            return self.net.end_connection(conn, Ending::Disconnected(reason));
        }
        self.note_unread(half);
        self.plan_next_visit(half);
    }

    /// Delivers and reads up to an allowance. Returns what was received.
    fn read_admitted(
        &mut self,
        half: &mut InboundHalf,
        budget: usize,
        allowance: &Allowance,
    ) -> Amount {
        let before = self.net.visit.received();
        self.net.visit.limit_messages(allowance.max.messages);
        if let Some(entry) = self.net.conns.get_mut(half.id) {
            entry.is_delivery_stopped = false;
            if let Some(rates) = entry.rates() {
                rates.begin_receiving();
            }
        }
        self.net.visit.is_limited = true;
        // Messages that wait for tokens are kept, so few bytes are read.
        half.reads_little |= allowance.max.messages < u64::MAX;
        if let Some(delivered) = self.deliver_kept(half) {
            self.resume_session(half);
            let bytes = usize::try_from(allowance.max.bytes).unwrap_or(usize::MAX);
            self.read(half, budget.saturating_sub(delivered).min(bytes));
        }
        self.net.visit.is_limited = false;
        let received = self.net.visit.received();
        Amount {
            bytes: received.bytes - before.bytes,
            messages: received.messages - before.messages,
        }
    }

    fn note_unread(&mut self, half: &InboundHalf) {
        let is_unread = half.may_have_input();
        let entry = self.net.conns.get_mut(half.id);
        if let Some(rates) = entry.and_then(ConnEntry::rates) {
            rates.note_unread(is_unread);
        }
    }

    /// Schedules the next visit if there may be more input, or waits for
    /// tokens.
    fn plan_next_visit(&mut self, half: &mut InboundHalf) {
        let conn = half.id;
        if half.scheduled || !half.may_have_input() {
            return;
        }
        let Some(entry) = self.net.conns.get(conn) else {
            return;
        };
        match entry.lifecycle() {
            Lifecycle::Open if entry.paused => self.check_end_while_paused(half),
            // The write that sends the answers of the session schedules it.
            Lifecycle::Open if half.defers_reads() && !half.partial.is_undecoded() => {}
            Lifecycle::Open if entry.is_receiving_limited => {
                if self.net.admit_receive(conn).is_some() {
                    self.state.lists.carry_over(half);
                } else {
                    self.check_end_while_paused(half);
                }
            }
            Lifecycle::Open | Lifecycle::Closing(_) => self.state.lists.carry_over(half),
            _ => {}
        }
    }
}

/// Returns the number of queued bytes that are not sealed, and the number of
/// all bytes to write.
fn output_of(entry: &ConnEntry, half: &InboundHalf) -> (usize, usize) {
    let channel = half.channel.as_ref();
    let sealed = channel.map_or(0, |channel| channel.batch());
    let unwritten = channel.map_or(0, |channel| channel.unwritten().len());
    let unsealed = if entry.sealing_failed {
        0
    } else {
        entry.queued_bytes() - sealed
    };
    (unsealed, unsealed + unwritten)
}

/// Writes a connection with a limit, up to its tokens and within `budget`.
/// Returns `None` if it waits for tokens. If tokens are missing for the rest,
/// the connection waits for them, and the result is `Blocked`.
#[cold]
#[inline(never)]
pub(super) fn write_limited(
    entry: &mut ConnEntry,
    half: &mut InboundHalf,
    budget: usize,
    pool: &mut BlockPool,
    mut context: RateContext<'_>,
) -> Option<Flushed> {
    let output = output_of(entry, half);
    let allowed = context.begin_write(entry, output)?;
    let before = entry.written;
    let flushed = write_output(entry, half, allowed.min(budget), context.metrics, pool);
    let written = (entry.written - before) as usize;
    let output = output_of(entry, half);
    context.end_write(entry, output.0, written);
    let asks = match flushed {
        // Messages without a token may be left, which the session did not seal.
        Flushed::All => true,
        Flushed::OverBudget => written < budget,
        _ => false,
    };
    if asks && context.begin_write(entry, output).is_none() {
        return Some(Flushed::Blocked);
    }
    Some(flushed)
}
