//! The rate limits of connections: their changes, and the waits for tokens.
//! `event_loop/rates.rs` reads and writes by them.

use std::net::IpAddr;
use std::time::Instant;

use super::{Due, Net};
use crate::config::{ConnectionSetting, RateLimits};
use crate::connection::{Allowance, ConnEntry, Lifecycle, RateState, TrafficFlow};
use crate::error::ConfigError;
use crate::id::ConnId;
use crate::limits::SharedLimits;
use crate::metrics::Metrics;
use crate::mutants::mutant;
use crate::timers::Timers;
use crate::token_bucket::{Amount, Meter};

impl Net {
    /// Changes the [rate limits](RateLimits) of a connection.
    ///
    /// They apply from the next message on, whatever the state of the
    /// connection is. A limit that the connection had before keeps its tokens,
    /// up to the new burst. A new limit begins with a full bucket.
    /// [`Limits::rate_per_address`](crate::config::Limits::rate_per_address)
    /// applies as before.
    ///
    /// For a connection that has ended and for a stale id this is a no-op. A
    /// connection of another [shard](crate::shards) is changed when that shard
    /// runs the command.
    ///
    /// ```
    /// use peerloop::config::{Rate, RateLimits};
    /// use peerloop::{ConnId, Handler, Net};
    ///
    /// struct Server;
    ///
    /// impl Handler for Server {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         if message == b"the password" {
    ///             // Members may send more than strangers.
    ///             let limits = RateLimits {
    ///                 receive_messages: Some(Rate { per_second: 1000, burst: 1000 }),
    ///                 ..Default::default()
    ///             };
    ///             net.set_rate(conn, limits).expect("no rate is zero");
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// After an error nothing has changed.
    ///
    /// - A [`ConfigError`] with the name of the field if a rate or a burst is
    ///   zero.
    pub fn set_rate(&mut self, conn: ConnId, limits: RateLimits) -> Result<(), ConfigError> {
        self.set(conn, ConnectionSetting::Rate(limits))
    }

    /// Changes the limits of a connection of this shard.
    pub(super) fn apply_rate(&mut self, conn: ConnId, limits: RateLimits) {
        let (now, address) = (self.clock.latest(), self.limited_address(conn));
        let Some(entry) = self.conns.get(conn) else {
            return;
        };
        let waited =
            [TrafficFlow::Receive, TrafficFlow::Send].map(|flow| entry.awaits_tokens(flow));
        self.cancel_token_waits(conn);
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        match entry.rates() {
            Some(rates) => rates.set_limits(limits, now),
            None => entry.set_rates(RateState::new(limits, address, now)),
        }
        entry.update_rate_flags();
        // A batch in progress asks for tokens again.
        self.interrupt_batch(conn);
        if waited[0] {
            self.continue_receiving(conn);
        }
        if waited[1] {
            self.continue_sending(conn);
        }
    }

    /// Begins the limits of a connection that is open now.
    pub(super) fn begin_rates(&mut self, conn: ConnId) {
        let (now, address) = (self.clock.latest(), self.limited_address(conn));
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        let limits = entry.config.rate;
        if entry.rates().is_some() {
            entry.update_rate_flags();
        } else if address.is_some() || limits.limits_anything() {
            entry.set_rates(RateState::new(limits, address, now));
        }
    }

    /// Returns the address of a connection if it is limited.
    fn limited_address(&self, conn: ConnId) -> Option<(IpAddr, RateLimits)> {
        let limits = self.config.limits.rate_per_address;
        if !limits.limits_anything() {
            return None;
        }
        let addr = self.conns.get(conn)?.addr();
        let (address, _) = self.limits.lock().counted(addr);
        Some((address?, limits))
    }

    fn rate_parts(&mut self, conn: ConnId) -> Option<(RateContext<'_>, &mut ConnEntry)> {
        let context = RateContext {
            limits: &self.limits,
            timers: &mut self.timers,
            metrics: &mut self.metrics,
            now: self.clock.latest(),
        };
        Some((context, self.conns.get_mut(conn)?))
    }

    /// Returns what a connection may receive now. If it is nothing, makes the
    /// connection wait for tokens.
    pub(crate) fn admit_receive(&mut self, conn: ConnId) -> Option<Allowance> {
        self.read_clock();
        let (mut context, entry) = self.rate_parts(conn)?;
        if entry.awaits_tokens(TrafficFlow::Receive) {
            return None;
        }
        let now = context.now;
        let admitted = context.with(entry, TrafficFlow::Receive, |rates, shared| {
            rates.admit_receive(shared, now)
        })?;
        admitted
            .map_err(|at| context.wait(entry, TrafficFlow::Receive, at))
            .ok()
    }

    /// Charges what a connection has received in a visit.
    pub(crate) fn charge_receive_rate(&mut self, conn: ConnId, used: Amount) {
        let Some((context, entry)) = self.rate_parts(conn) else {
            return;
        };
        context.with(entry, TrafficFlow::Receive, |rates, shared| {
            rates.charge(TrafficFlow::Receive, shared, used);
        });
        entry.is_delivery_stopped = entry.paused || entry.is_receiving_limited;
    }

    /// Returns what a paused connection has reserved.
    pub(crate) fn release_receive_tokens(&mut self, conn: ConnId) {
        if let Some((context, entry)) = self.rate_parts(conn) {
            context.with(entry, TrafficFlow::Receive, |rates, shared| {
                rates.release(TrafficFlow::Receive, shared);
            });
        }
    }

    /// Ends the waits that a connection that begins to close does not need: it
    /// receives nothing, and after a failure of its session it sends nothing of
    /// its queue.
    pub(super) fn end_needless_waits(&mut self, conn: ConnId) {
        self.release_receive_tokens(conn);
        let entry = self.conns.get(conn);
        let is_needless =
            |entry: &ConnEntry| entry.sealing_failed && entry.awaits_tokens(TrafficFlow::Send);
        if entry.is_some_and(is_needless) {
            self.cancel_token_waits(conn);
            self.continue_sending(conn);
        }
    }

    /// Ends the wait for tokens, because they are there.
    pub(crate) fn end_token_wait(&mut self, conn: ConnId, flow: TrafficFlow) {
        let entry = self.conns.get_mut(conn);
        if let Some(rates) = entry.and_then(ConnEntry::rates) {
            rates.take_timer(flow);
        }
        mutant!(ForgetTokens => return);
        match flow {
            TrafficFlow::Receive => self.continue_receiving(conn),
            TrafficFlow::Send => self.continue_sending(conn),
        }
    }

    fn continue_receiving(&mut self, conn: ConnId) {
        let entry = self.conns.get(conn);
        if entry.is_some_and(|entry| entry.lifecycle() == Lifecycle::Open) {
            self.restart_deadline(conn);
            self.request_visit(conn);
        }
    }

    fn continue_sending(&mut self, conn: ConnId) {
        let now = self.timestamp();
        if let Some(entry) = self.conns.get_mut(conn) {
            // If the socket is full, the next write finds that.
            entry.blocked = false;
            entry.restart_send_timeouts(now);
            self.arm_deadline(conn);
            self.mark_dirty(conn);
        }
    }

    /// Ends the waits of a connection without tokens, because it has ended or
    /// its limits change.
    pub(super) fn cancel_token_waits(&mut self, conn: ConnId) {
        for flow in [TrafficFlow::Receive, TrafficFlow::Send] {
            let Some((context, entry)) = self.rate_parts(conn) else {
                return;
            };
            context.with(entry, flow, |rates, shared| rates.release(flow, shared));
            if let Some(timer) = entry.rates().and_then(|rates| rates.take_timer(flow)) {
                context.timers.remove(timer);
            }
        }
    }
}

/// The parts of a [`Net`] that the rate limit of a connection needs.
pub(crate) struct RateContext<'a> {
    pub(crate) limits: &'a SharedLimits,
    pub(crate) timers: &'a mut Timers<Due>,
    pub(crate) metrics: &'a mut Metrics,
    pub(crate) now: Instant,
}

impl RateContext<'_> {
    /// Calls `call` with the limits of a connection and the buckets of its
    /// address, if that is limited.
    fn with<R>(
        &self,
        entry: &mut ConnEntry,
        flow: TrafficFlow,
        call: impl FnOnce(&mut RateState, Option<&mut Meter>) -> R,
    ) -> Option<R> {
        let rates = entry.rates()?;
        let Some(address) = rates.address() else {
            return Some(call(rates, None));
        };
        let mut limits = self.limits.lock();
        let buckets = limits.rates.buckets(address, self.now);
        let meter = match flow {
            TrafficFlow::Receive => &mut buckets.receive,
            TrafficFlow::Send => &mut buckets.send,
        };
        Some(call(rates, Some(meter)))
    }

    /// Makes a connection wait for tokens.
    fn wait(&mut self, entry: &mut ConnEntry, flow: TrafficFlow, at: Instant) {
        let due = Due::Tokens(entry.id(), flow);
        let (timer, _) = self.timers.insert(at.max(self.now), due);
        if let Some(rates) = entry.rates() {
            rates.set_timer(flow, timer);
        }
        match flow {
            TrafficFlow::Receive => self.metrics.receive_rate_waits += 1,
            TrafficFlow::Send => self.metrics.send_rate_waits += 1,
        }
    }

    /// Returns the number of bytes that a connection may write now. If it is
    /// zero, makes the connection wait for tokens. `unsealed` is the number of
    /// queued bytes that are not sealed, and `wire` bytes are to be written.
    pub(crate) fn begin_write(
        &mut self,
        entry: &mut ConnEntry,
        (unsealed, wire): (usize, usize),
    ) -> Option<usize> {
        if wire == 0 {
            return Some(usize::MAX);
        }
        if entry.awaits_tokens(TrafficFlow::Send) {
            entry.blocked = true;
            return None;
        }
        let now = self.now;
        let admitted = self.with(entry, TrafficFlow::Send, |rates, shared| {
            let allowed = rates.admit_send(shared, (unsealed, wire), now)?;
            let sealable = rates.begin_write(allowed.messages, unsealed);
            Ok((
                usize::try_from(allowed.bytes).unwrap_or(usize::MAX),
                sealable,
            ))
        });
        match admitted? {
            Ok((bytes, _)) if entry.is_sealed => Some(bytes),
            Ok((bytes, sealable)) => Some(bytes.min(sealable)),
            Err(at) => {
                entry.blocked = true;
                self.wait(entry, TrafficFlow::Send, at);
                None
            }
        }
    }

    /// Charges a write of `written` bytes, which left `unsealed` queued bytes.
    pub(crate) fn end_write(&self, entry: &mut ConnEntry, unsealed: usize, written: usize) {
        self.with(entry, TrafficFlow::Send, |rates, shared| {
            let used = Amount {
                bytes: written as u64,
                messages: rates.end_write(unsealed),
            };
            rates.charge(TrafficFlow::Send, shared, used);
        });
    }
}
