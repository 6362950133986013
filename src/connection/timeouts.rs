//! When a connection is overdue. Traffic stores instants and moves no deadline.

use std::time::{Duration, Instant};

use super::{ConnEntry, Ending, LifecycleTag};
use crate::error::{ConnectError, DisconnectReason, TimeoutKind};
use crate::mutants::mutant;
use crate::time::Timestamp;

impl ConnEntry {
    /// Notes what a read brought: whole messages or none, and whether the beginning of another is left.
    pub(crate) fn note_read(&mut self, messages: u64, partial: bool, now: Instant) {
        let now = self.moment(now);
        if messages > 0 || mutant!(RefreshIdleOnAnyByte) {
            self.activity = now;
            self.partial_since = None;
        }
        self.partial_since = if partial {
            self.partial_since.or(Some(now))
        } else {
            None
        };
    }

    /// Notes what a write achieved.
    pub(crate) fn note_write(&mut self, written: usize, now: Instant) {
        let now = self.moment(now);
        if self.has_output() {
            let progress = if written > 0 {
                None
            } else {
                self.stalled_since
            };
            self.stalled_since = progress.or(Some(now));
        } else {
            self.stalled_since = None;
            if self.tag == LifecycleTag::Open && written > 0 {
                self.activity = now;
            }
        }
    }

    /// Pauses or resumes. The peer is not to blame for the time that it was paused.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.paused = false;
        let now = self.moment(now);
        self.activity = now;
        self.partial_since = self.partial_since.and(Some(now));
    }

    /// Whether nothing that is queued has left for too long, as far as is known.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        let stall = self.profile.timeouts.write_stall;
        let at = self
            .stalled_since
            .and_then(|since| self.instant(since).checked_add(stall?));
        self.blocked && self.failure().is_none() && at.is_some_and(|at| at <= now)
    }

    /// When the connection will be overdue if nothing happens until then, and how it ends in that case.
    pub(crate) fn due(&self) -> Option<(Instant, Ending)> {
        let timeouts = &self.profile.timeouts;
        let after =
            |since: Timestamp, timeout: Option<Duration>| self.instant(since).checked_add(timeout?);
        if self.tag == LifecycleTag::Connecting {
            let at = after(self.since, timeouts.connect)?;
            return Some((at, Ending::Failed(ConnectError::TimedOut)));
        }
        if self.tag == LifecycleTag::Handshaking {
            let at = after(self.since, timeouts.handshake)?;
            return Some((at, Ending::Failed(ConnectError::HandshakeTimedOut)));
        }
        let is_open = self.tag == LifecycleTag::Open;
        let is_read = is_open && !self.paused;
        let idle = is_read && !self.has_output();
        let stalled = self
            .stalled_since
            .and_then(|since| after(since, timeouts.write_stall));
        let partial = self.partial_since.filter(|_| is_read);
        let all = [
            (
                idle.then(|| after(self.activity, timeouts.idle)).flatten(),
                TimeoutKind::Idle,
            ),
            (
                partial.and_then(|since| after(since, timeouts.partial_message)),
                TimeoutKind::PartialMessage,
            ),
            (stalled, TimeoutKind::WriteStall),
            (
                (!is_open)
                    .then(|| after(self.activity, timeouts.linger))
                    .flatten(),
                TimeoutKind::Linger,
            ),
        ];
        let timed = all.into_iter().filter_map(|(at, phase)| Some((at?, phase)));
        let (at, phase) = timed.min_by_key(|(at, _)| *at)?;
        Some((
            at,
            Ending::Disconnected(self.broken_by(DisconnectReason::Timeout(phase))),
        ))
    }

    /// When to look at the connection next: when it will be overdue, or so early that nothing which begins meanwhile
    /// can be overdue before.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        let due = self.due().map(|(at, _)| at);
        let shortest = self
            .profile
            .timeouts
            .shortest()
            .filter(|_| matches!(self.tag, LifecycleTag::Open | LifecycleTag::Closing));
        let look = shortest.and_then(|time| now.checked_add(time));
        [due, look].into_iter().flatten().min()
    }
}
