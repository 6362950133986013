//! Timeouts of a connection. Traffic stores timestamps and does not move the
//! deadline.

use std::time::Duration;

use super::{ConnEntry, Ending, LifecycleTag};
use crate::error::{ConnectError, DisconnectReason, TimeoutKind};
use crate::mutants::mutant;
use crate::time::Timestamp;

impl ConnEntry {
    /// Records a read: the number of complete messages, and whether an
    /// incomplete one is kept.
    pub(crate) fn note_read(&mut self, messages: u64, partial: bool, now: Timestamp) {
        mutant!(RefreshIdleOnAnyByte => self.activity = now);
        if messages > 0 {
            self.activity = now;
            self.partial_since = None;
        }
        self.partial_since = if partial {
            self.partial_since.or(Some(now))
        } else {
            None
        };
    }

    /// Records a write.
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
            if self.tag == LifecycleTag::Open && written > 0 {
                self.activity = now;
            }
        }
    }

    /// Restarts the timeouts after a pause, because the peer did not cause the
    /// pause.
    pub(crate) fn restart_timeouts(&mut self, now: Timestamp) {
        self.activity = now;
        self.partial_since = self.partial_since.and(Some(now));
    }

    /// Returns whether no queued byte was written for too long, as far as is
    /// known.
    pub(crate) fn is_stalled(&self, now: Timestamp) -> bool {
        let stall = self.config.timeouts.write_stall;
        let at = self
            .stalled_since
            .and_then(|since| since.checked_add(stall?));
        self.blocked && self.write_failure().is_none() && at.is_some_and(|at| at <= now)
    }

    /// Returns when the connection is overdue if nothing happens until then,
    /// and how it ends in that case.
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
        let timed = all.into_iter().filter_map(|(at, kind)| Some((at?, kind)));
        let (at, kind) = timed.min_by_key(|(at, _)| *at)?;
        Some((
            at,
            Ending::Disconnected(self.break_reason(DisconnectReason::Timeout(kind))),
        ))
    }

    /// Returns when to check the connection next: when it is overdue, or after
    /// the shortest timeout, because nothing that starts meanwhile can be
    /// overdue before.
    pub(crate) fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.due().map(|(at, _)| at);
        let shortest = self
            .config
            .timeouts
            .shortest()
            .filter(|_| matches!(self.tag, LifecycleTag::Open | LifecycleTag::Closing));
        let look = shortest.and_then(|time| now.checked_add(time));
        [due, look].into_iter().flatten().min()
    }
}
