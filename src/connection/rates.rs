//! The rate limits of a connection: its buckets, and what it has reserved in
//! the buckets of its address.

use std::net::IpAddr;
use std::time::Instant;

use super::queued_frames::QueuedFrames;
use super::{ConnEntry, Lifecycle};
use crate::config::{OnExcess, RateLimits};
use crate::time::Timestamp;
use crate::token_bucket::{Amount, Meter, Refill};

/// The limits of one connection and their state.
#[derive(Debug)]
pub(crate) struct RateState {
    limits: RateLimits,
    /// The address whose connections are limited together, and the policy for
    /// it. `None` if it is not limited.
    address: Option<(IpAddr, RateLimits)>,
    receive: DirectionState,
    send: DirectionState,
    /// Input was left unread by the last visit.
    is_unread: bool,
    /// A visit is receiving, and its messages and bytes are not charged yet.
    is_receiving: bool,
    /// The time at which the limits changed within that visit.
    changed_at: Option<Instant>,
    frames: QueuedFrames,
    /// The number of queued bytes that the session may seal in this write.
    sealable: usize,
}

/// The limits of one direction.
#[derive(Debug)]
struct DirectionState {
    meter: Meter,
    /// The tokens that are reserved in the buckets of the address.
    reserved: Amount,
    /// The slot of the timer at which the connection continues.
    timer: Option<u32>,
}

/// A direction of the traffic of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TrafficFlow {
    Receive,
    Send,
}

/// The maximum that a visit may receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) max: Amount,
    /// The connection ends if more than this is received.
    pub(crate) end_beyond: Amount,
}

impl RateState {
    pub(crate) fn new(
        limits: RateLimits,
        address: Option<(IpAddr, RateLimits)>,
        now: Instant,
    ) -> Self {
        let direction = |bytes, messages| DirectionState {
            meter: Meter::new(bytes, messages, now),
            reserved: Amount::default(),
            timer: None,
        };
        Self {
            receive: direction(limits.receive_bytes, limits.receive_messages),
            send: direction(limits.send_bytes, limits.send_messages),
            limits,
            address,
            is_unread: false,
            is_receiving: false,
            changed_at: None,
            frames: QueuedFrames::default(),
            sealable: 0,
        }
    }

    /// Changes the limits of the connection. A visit in progress is charged by
    /// the earlier limits. Therefore the limits on receiving change when it has
    /// been charged.
    pub(crate) fn set_limits(&mut self, limits: RateLimits, now: Instant) {
        self.limits = limits;
        let send = &mut self.send.meter;
        send.set_rates(limits.send_bytes, limits.send_messages, now);
        if self.is_receiving {
            self.changed_at = Some(now);
        } else {
            self.set_receive_limits(now);
        }
    }

    fn set_receive_limits(&mut self, now: Instant) {
        let limits = &self.limits;
        let receive = &mut self.receive.meter;
        receive.set_rates(limits.receive_bytes, limits.receive_messages, now);
    }

    /// Begins a visit that receives. [`RateState::charge`] ends it.
    pub(crate) fn begin_receiving(&mut self) {
        self.is_receiving = true;
    }

    /// Returns the address whose buckets the connection shares.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address.map(|(address, _)| address)
    }

    fn all_limits(&self) -> impl Iterator<Item = &RateLimits> {
        let of_address = self.address.as_ref().map(|(_, limits)| limits);
        of_address.into_iter().chain([&self.limits])
    }

    fn flow(&mut self, flow: TrafficFlow) -> &mut DirectionState {
        match flow {
            TrafficFlow::Receive => &mut self.receive,
            TrafficFlow::Send => &mut self.send,
        }
    }

    pub(crate) fn is_waiting(&self, flow: TrafficFlow) -> bool {
        match flow {
            TrafficFlow::Receive => self.receive.timer.is_some(),
            TrafficFlow::Send => self.send.timer.is_some(),
        }
    }

    pub(crate) fn set_timer(&mut self, flow: TrafficFlow, timer: u32) {
        self.flow(flow).timer = Some(timer);
    }

    pub(crate) fn take_timer(&mut self, flow: TrafficFlow) -> Option<u32> {
        self.flow(flow).timer.take()
    }

    /// Ends a wait. Returns to the address what the connection has reserved.
    pub(crate) fn release(&mut self, flow: TrafficFlow, shared: Option<&mut Meter>) {
        let state = self.flow(flow);
        state.meter.release(Amount::default());
        let reserved = std::mem::take(&mut state.reserved);
        if let Some(shared) = shared {
            shared.release(reserved);
        }
    }

    /// Returns what may be received now, or when to ask again.
    pub(crate) fn admit_receive(
        &mut self,
        mut shared: Option<&mut Meter>,
        now: Instant,
    ) -> Result<Allowance, Instant> {
        let mut allowance = Allowance {
            max: Amount::MAX,
            end_beyond: Amount::MAX,
        };
        let own = (
            &mut self.receive.meter,
            self.limits.on_excess,
            Amount::default(),
        );
        let of_address = self.address.and_then(|(_, limits)| {
            let shared = shared.as_deref_mut()?;
            Some((shared, limits.on_excess, self.receive.reserved))
        });
        for (meter, on_excess, reserved) in [Some(own), of_address].into_iter().flatten() {
            let refill = match on_excess {
                OnExcess::Disconnect if self.is_unread => Refill::BeyondBurst,
                OnExcess::Disconnect | OnExcess::SlowDown => Refill::UpToBurst,
            };
            meter.refill(now, refill);
            let available = meter.available(reserved);
            if on_excess == OnExcess::Disconnect {
                allowance.end_beyond = allowance.end_beyond.min(available);
                // One more shows that there is an excess.
                allowance.max = allowance.max.min(Amount {
                    bytes: available.bytes.saturating_add(1),
                    messages: available.messages.saturating_add(1),
                });
            } else {
                allowance.max = allowance.max.min(available);
            }
        }
        let wanted = |on_excess| match on_excess {
            OnExcess::SlowDown => Amount::MAX,
            OnExcess::Disconnect => Amount::default(),
        };
        let want = wanted(self.limits.on_excess);
        let want_shared = self.address.map(|(_, limits)| wanted(limits.on_excess));
        self.receive
            .wait(shared, want, want_shared.unwrap_or_default(), now)
            .map_or(Ok(allowance), Err)
    }

    /// Returns what may be sent now, or when to ask again. `unsealed` is the
    /// number of queued bytes that are not sealed, and `wire` bytes are to be
    /// written.
    pub(crate) fn admit_send(
        &mut self,
        mut shared: Option<&mut Meter>,
        (unsealed, wire): (usize, usize),
        now: Instant,
    ) -> Result<Amount, Instant> {
        // Sealed bytes can be written without a message.
        let messages = if wire > unsealed {
            0
        } else {
            self.frames.waiting(unsealed)
        };
        let want = Amount {
            bytes: wire as u64,
            messages,
        };
        self.send.meter.refill(now, Refill::UpToBurst);
        let mut allowed = self.send.meter.available(Amount::default());
        if let Some(shared) = shared.as_deref_mut() {
            shared.refill(now, Refill::UpToBurst);
            allowed = allowed.min(shared.available(self.send.reserved));
        }
        match self.send.wait(shared, want, want, now) {
            Some(at) => Err(at),
            None => Ok(allowed),
        }
    }

    /// Charges what was received or sent.
    pub(crate) fn charge(&mut self, flow: TrafficFlow, shared: Option<&mut Meter>, used: Amount) {
        self.flow(flow).meter.take(used);
        if let Some(shared) = shared {
            shared.take(used);
        }
        if flow == TrafficFlow::Receive {
            self.is_receiving = false;
            if let Some(now) = self.changed_at.take() {
                self.set_receive_limits(now);
            }
        }
    }

    pub(crate) fn note_unread(&mut self, is_unread: bool) {
        self.is_unread = is_unread;
    }

    /// Sets how many messages the next write may begin. Returns the number of
    /// queued bytes that it may take.
    pub(crate) fn begin_write(&mut self, messages: u64, unsealed: usize) -> usize {
        let bytes = self.frames.bytes_of(messages, unsealed);
        self.sealable = if self.counts_messages() {
            usize::try_from(bytes).unwrap_or(usize::MAX)
        } else {
            usize::MAX
        };
        self.sealable
    }

    /// Returns the number of messages that a write has begun and that left
    /// `unsealed` queued bytes.
    pub(crate) fn end_write(&mut self, unsealed: usize) -> u64 {
        self.frames.shrink_to(unsealed)
    }

    fn counts_messages(&self) -> bool {
        self.all_limits()
            .any(|limits| limits.send_messages.is_some())
    }
}

impl DirectionState {
    /// Returns when to ask again if the user must wait. First it waits for its
    /// own buckets, and then in the line of its address.
    fn wait(
        &mut self,
        shared: Option<&mut Meter>,
        want: Amount,
        want_shared: Amount,
        now: Instant,
    ) -> Option<Instant> {
        let reserved = std::mem::take(&mut self.reserved);
        let needed = self.meter.needed(want);
        let is_short = needed.exceeds(self.meter.available(Amount::default()));
        let Some(shared) = shared else {
            return is_short.then(|| self.meter.ready_at(needed, now));
        };
        let needed_shared = shared.needed(want_shared);
        let is_shared_short = needed_shared.exceeds(shared.available(reserved));
        shared.release(reserved);
        if is_short {
            return Some(self.meter.ready_at(needed, now));
        }
        is_shared_short.then(|| {
            self.reserved = needed_shared;
            let at = shared.ready_at(needed_shared, now);
            shared.reserve(needed_shared);
            at
        })
    }
}

impl ConnEntry {
    pub(crate) fn rates(&mut self) -> Option<&mut RateState> {
        self.extra.as_mut()?.rates.as_deref_mut()
    }

    /// Returns whether the connection waits for tokens.
    pub(crate) fn awaits_tokens(&self, flow: TrafficFlow) -> bool {
        let rates = self.extra.as_ref().and_then(|extra| extra.rates.as_deref());
        rates.is_some_and(|rates| rates.is_waiting(flow))
    }

    /// Sets the state of the rate limits.
    pub(crate) fn set_rates(&mut self, rates: RateState) {
        self.extra().rates = Some(Box::new(rates));
        self.update_rate_flags();
    }

    /// Updates what the paths without limits look at, after a change of the
    /// limits or of the state.
    pub(crate) fn update_rate_flags(&mut self) {
        let (mut receives, mut sends, mut counts) = (false, false, false);
        if !self.is_unopened() {
            if let Some(rates) = self.rates() {
                receives = rates.all_limits().any(RateLimits::limits_receiving);
                sends = rates.all_limits().any(RateLimits::limits_sending);
                counts = rates.counts_messages();
            }
        }
        self.is_receiving_limited = receives;
        self.is_sending_limited = sends;
        self.is_delivery_stopped = self.paused || receives;
        self.counts_messages = counts;
        self.accounts_sends = self.is_sealed || counts;
        self.update_fast_path_end();
        if let Some(rates) = self.rates().filter(|_| !counts) {
            rates.frames = QueuedFrames::default();
        }
    }

    /// Records a queued message of a connection whose messages are limited.
    pub(crate) fn note_queued_frame(&mut self, len: usize) {
        if self.counts_messages {
            if let Some(rates) = self.rates() {
                rates.frames.push(len);
            }
        }
    }

    /// Returns the number of queued bytes that may be sealed now.
    pub(crate) fn sealable(&mut self) -> usize {
        if !self.counts_messages {
            return usize::MAX;
        }
        self.rates().map_or(usize::MAX, |rates| rates.sealable)
    }

    /// Records that queued bytes were sealed.
    pub(crate) fn note_sealed(&mut self, bytes: usize) {
        if let Some(rates) = self.rates() {
            rates.sealable = rates.sealable.saturating_sub(bytes);
        }
    }

    /// Begins the timeouts for sending again, because this node has waited for
    /// tokens meanwhile.
    pub(crate) fn restart_send_timeouts(&mut self, now: Timestamp) {
        self.stalled_since = self.stalled_since.and(Some(now));
        if matches!(self.lifecycle(), Lifecycle::Closing(_)) {
            self.activity = now;
        }
        if let Some(extra) = &mut self.extra {
            extra.sending = extra.sending.and(Some((now, 0)));
        }
    }
}
