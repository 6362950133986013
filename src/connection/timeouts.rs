//! Timeouts of a connection. Traffic stores timestamps and does not move the
//! deadline, so that a message does not cost a timer operation.

use std::time::Duration;

use super::{ConnEntry, Ending, LifecycleTag, TrafficFlow};
use crate::error::{ConnectError, DisconnectReason, TimeoutKind};
use crate::mutants::mutant;
use crate::time::Timestamp;

impl ConnEntry {
    /// Records a read that delivered `delivered` bytes and left `partial_len`
    /// bytes of an incomplete message.
    pub(crate) fn note_read(&mut self, delivered: u64, partial_len: usize, now: Timestamp) {
        mutant!(RefreshIdleOnAnyByte => self.activity = now);
        if delivered > 0 {
            self.activity = now;
            self.partial_since = None;
        }
        self.partial_since = (partial_len > 0).then(|| self.partial_since.unwrap_or(now));
        self.received_at = now;
        self.partial_len = partial_len;
    }

    /// Records a write of `written` bytes.
    pub(crate) fn note_write(&mut self, written: usize, now: Timestamp) {
        if self.has_output() {
            let progress = if written > 0 {
                None
            } else {
                self.stalled_since
            };
            self.stalled_since = progress.or(Some(now));
        } else {
            self.stalled_since = None;
        }
        // While a connection closes, each byte that the socket takes counts as
        // activity. Before that, only an empty queue does.
        let is_closing = self.tag == LifecycleTag::Closing;
        if written > 0 && (is_closing || !self.has_output()) && !self.is_unopened() {
            self.activity = now;
        }
        mutant!(RestartReceiveIdleOnWrite => self.received_at = now);
        // A minimum rate and a ping have allocated it.
        if self.extra.is_some() {
            self.note_sending(written, now);
        }
    }

    /// Counts the bytes written since the queue was last empty, and notes the
    /// time of the last one, if the settings need that.
    #[inline(never)]
    fn note_sending(&mut self, written: usize, now: Timestamp) {
        let has_output = self.has_output();
        let is_rated = self.config.min_rate.send_bytes_per_second.is_some();
        let extra = self.extra();
        if is_rated {
            extra.sending = has_output.then(|| {
                let (since, bytes) = extra.sending.unwrap_or((now, 0));
                (since, bytes + written as u64)
            });
        }
        mutant!(PingWhileSending => return);
        if written > 0 && extra.sent_at.is_some() {
            extra.sent_at = Some(now);
        }
    }

    /// Restarts `receive_idle`, because the bytes of the peer wait in the
    /// socket until this node reads them.
    pub(crate) fn note_held_back(&mut self, now: Timestamp) {
        self.received_at = now;
    }

    /// Returns whether a ping is due. If it is due, the next one is due after a
    /// further interval, whether or not this one is sent. That bounds the
    /// checks while no ping can be sent.
    pub(crate) fn take_ping(&mut self, now: Timestamp) -> bool {
        let is_due = self.ping_at().is_some_and(|at| at <= now);
        if is_due {
            self.extra().sent_at = Some(now);
        }
        is_due
    }

    /// Returns when the next ping is due if nothing is sent until then.
    fn ping_at(&self) -> Option<Timestamp> {
        let sent_at = self.extra.as_ref()?.sent_at?;
        let ping = self.config.ping.as_ref()?;
        sent_at.checked_add(ping.after).filter(|_| self.can_send())
    }

    /// Returns the time of the next check for a timeout or ping if nothing
    /// happens until then.
    ///
    /// A ping is included while bytes are queued, although none is sent then.
    /// Thus no write needs to arm the deadline for it.
    pub(crate) fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.due().map(|(at, _)| at);
        let due = [due, self.ping_at()].into_iter().flatten().min()?;
        Some(shared_check(due, now))
    }

    /// Restarts the timeouts, because the connection has changed its state, or
    /// because a pause has ended, which the peer did not cause.
    pub(crate) fn restart_timeouts(&mut self, now: Timestamp) {
        if self.is_unopened() {
            self.since = now;
        }
        self.activity = now;
        self.received_at = now;
        self.partial_since = self.partial_since.and(Some(now));
    }

    /// Returns whether no queued byte was written for longer than the
    /// write-stall timeout. Only past writes are considered, so the socket may
    /// have room by now.
    pub(crate) fn is_stalled(&self, now: Timestamp) -> bool {
        let stall = self.config.timeouts.write_stall;
        let at = self
            .stalled_since
            .and_then(|since| since.checked_add(stall?));
        self.blocked
            && self.write_failure().is_none()
            && !self.awaits_tokens(TrafficFlow::Send)
            && at.is_some_and(|at| at <= now)
    }

    /// Returns the time at which the connection is overdue if nothing happens
    /// until then, and how it ends in that case.
    pub(crate) fn due(&self) -> Option<(Timestamp, Ending)> {
        let timeouts = &self.config.timeouts;
        let after = |since: Timestamp, timeout: Option<Duration>| since.checked_add(timeout?);
        if self.tag == LifecycleTag::Connecting {
            let at = after(self.since, timeouts.connect)?;
            return Some((at, Ending::Failed(ConnectError::TimedOut)));
        }
        if self.tag == LifecycleTag::Handshaking {
            let at = after(self.since, timeouts.handshake)?;
            return Some((at, Ending::Failed(ConnectError::HandshakeTimedOut)));
        }
        let is_open = self.tag == LifecycleTag::Open;
        // While this node waits for tokens, the peer is not to blame.
        let is_held = self.paused || self.awaits_tokens(TrafficFlow::Receive);
        let is_read = is_open && !is_held;
        let is_written = !self.awaits_tokens(TrafficFlow::Send);
        let stalled = self
            .stalled_since
            .filter(|_| is_written)
            .and_then(|since| after(since, timeouts.write_stall));
        let partial = self.partial_since.filter(|_| is_read);
        let receive_rate = partial.and_then(|since| {
            let rate = self.config.min_rate.receive_bytes_per_second;
            self.rate_deadline(since, self.partial_len as u64, rate)
        });
        // A long message on a slow link takes longer than the idle timeout. The
        // rate limits its time instead.
        let idle = is_read && !self.has_output() && receive_rate.is_none();
        // Always armed in these states. The loop checks whether it holds input
        // back before the connection ends.
        let is_silent = is_open && !is_held && !self.read_closed;
        let sending = self.extra.as_ref().and_then(|extra| extra.sending);
        let send_rate = sending.filter(|_| is_written).and_then(|(since, bytes)| {
            let rate = self.config.min_rate.send_bytes_per_second;
            self.rate_deadline(since, bytes, rate)
        });
        let all = [
            (
                idle.then(|| after(self.activity, timeouts.idle)).flatten(),
                TimeoutKind::Idle,
            ),
            (
                is_silent
                    .then(|| after(self.received_at, timeouts.receive_idle))
                    .flatten(),
                TimeoutKind::ReceiveIdle,
            ),
            (
                partial.and_then(|_| after(self.received_at, timeouts.partial_message)),
                TimeoutKind::PartialMessage,
            ),
            (receive_rate, TimeoutKind::ReceiveRate),
            (send_rate, TimeoutKind::SendRate),
            (stalled, TimeoutKind::WriteStall),
            (
                (!is_open && is_written)
                    .then(|| after(self.activity, timeouts.linger))
                    .flatten(),
                TimeoutKind::Linger,
            ),
        ];
        let timed = all.into_iter().filter_map(|(at, kind)| Some((at?, kind)));
        let (at, kind) = timed.min_by_key(|(at, _)| *at)?;
        Some((
            at,
            Ending::Disconnected(self.break_reason(DisconnectReason::Timeout(kind))),
        ))
    }

    /// Returns the time at which `bytes` since `since` are too few for the
    /// rate.
    fn rate_deadline(&self, since: Timestamp, bytes: u64, rate: Option<u32>) -> Option<Timestamp> {
        // The result is never before `MinRate::after`. Each byte moves it by
        // the time that a byte takes at the rate.
        let micros = bytes.saturating_mul(1_000_000) / u64::from(rate?.max(1));
        since.checked_add(Duration::from_micros(micros).max(self.config.min_rate.after))
    }

    /// Returns whether the deadline is armed for a time in this range.
    #[cfg(feature = "sim")]
    pub(crate) fn is_armed_within(&self, from: Timestamp, to: Timestamp) -> bool {
        self.armed_at.is_some_and(|at| (from..=to).contains(&at))
    }

    /// Returns whether the armed deadline is later than a timeout that has
    /// begun may need. `receive_idle` and the ping run from the start, so the
    /// deadline is always early enough for them.
    pub(crate) fn is_armed_too_late(&self, now: Timestamp) -> bool {
        let idle = self.config.timeouts.idle;
        let soonest = if self.partial_since.is_some() || self.stalled_since.is_some() {
            let partial = self
                .partial_since
                .map(|_| self.config.partial_timeout_min());
            let stalled = self.stalled_since.map(|_| self.config.write_timeout_min());
            [idle, partial.flatten(), stalled.flatten()]
                .into_iter()
                .flatten()
                .min()
        } else {
            idle
        };
        let needed = soonest.and_then(|time| now.checked_add(time));
        needed.is_some_and(|needed| self.armed_at.is_none_or(|at| at > needed))
    }
}

/// Timeouts that are nearer than this are checked once, when they are due. The
/// connects, handshakes and closes that do not complete are among them, by the
/// default timeouts.
const SHARED_AHEAD_MIN: Duration = Duration::from_secs(8);

/// Returns the time at which a timeout that is due at `due` is checked next. It
/// is never later.
///
/// Most checks find that there was traffic since. Therefore a check that is far
/// ahead is rounded down to a multiple of a power of two nanoseconds that is at
/// most a quarter of the time until then. All connections have the same
/// multiples, so their checks share turns. If there was no traffic, the next
/// check is nearer, and the last one is exact:
///
/// ```text
///   now                        multiples of 8.6 s             due
///   ├──┬─────────┬─────────┬─────────┬─────────┬─────────┬─────┤   60 s
///                                                        ▲     ▲
///                                                     check   check
/// ```
///
/// For 200 connections with traffic and `idle` of 60 s that are 5 turns in 40 s
/// instead of 133.
fn shared_check(due: Timestamp, now: Timestamp) -> Timestamp {
    let ahead = due.saturating_since(now);
    if ahead < SHARED_AHEAD_MIN {
        return due;
    }
    due.round_down(ahead / 4)
}
