//! The clocks of hosts.

use std::time::Duration;

/// Rate of a clock that shows the time of the world.
pub(super) const WHOLE: u64 = 1_000_000;

/// The clock of a host. It shows zero when the world begins. Its rate is in
/// millionths of that of the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostClock {
    rate: u64,
    /// The time at which the rate was set, and the reading of the clock then.
    since: Duration,
    shown: Duration,
}

impl Default for HostClock {
    fn default() -> Self {
        Self {
            rate: WHOLE,
            since: Duration::ZERO,
            shown: Duration::ZERO,
        }
    }
}

impl HostClock {
    /// Sets the rate from `now` on. The reading does not jump.
    pub(super) fn set_rate(&mut self, now: Duration, rate: u64) {
        (self.shown, self.since) = (self.at(now), now);
        self.rate = rate.max(1);
    }

    /// Returns the reading of the clock at `now`.
    pub(super) fn at(&self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.since).as_nanos();
        self.shown + nanos(passed * u128::from(self.rate) / u128::from(WHOLE))
    }

    /// Returns the first time at which the clock shows `shown` or more.
    pub(super) fn when(&self, shown: Duration) -> Duration {
        let ahead = shown.saturating_sub(self.shown).as_nanos();
        self.since + nanos((ahead * u128::from(WHOLE)).div_ceil(u128::from(self.rate)))
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_at_any_rate_is_exact_to_a_nanosecond() {
        let ns = Duration::from_nanos;
        for rate in [900_000, 999_999, WHOLE, 1_000_001, 1_100_000] {
            let mut clock = HostClock::default();
            clock.set_rate(ns(12_345), rate);
            for shown in (12_345..2_000_000_000).step_by(9_999_991).map(ns) {
                let when = clock.when(shown);
                assert!(clock.at(when) >= shown, "{rate}: {shown:?}");
                let before = when.saturating_sub(ns(1));
                assert!(
                    clock.at(before) < shown || before < ns(12_345),
                    "{rate}: {shown:?}"
                );
            }
        }
    }

    #[test]
    fn a_new_rate_counts_from_the_moment_it_is_set() {
        let secs = Duration::from_secs;
        let mut clock = HostClock::default();
        clock.set_rate(secs(10), 900_000);
        assert_eq!(clock.at(secs(20)), secs(19));
        clock.set_rate(secs(20), 1_100_000);
        assert_eq!(clock.at(secs(30)), secs(30));
        assert_eq!(clock.when(secs(41)), secs(40));
    }
}
