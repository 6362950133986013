//! Compact points in time.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// A point in time in eight bytes, also inside an `Option`. An [`Instant`]
/// takes sixteen.
///
/// The value is the number of nanoseconds since an epoch, plus one. Both
/// conversions take the epoch as an argument. Times before the epoch become the
/// epoch. Times more than 584 years after the epoch become the maximum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Timestamp(NonZeroU64);

impl Timestamp {
    #[inline]
    pub(crate) fn new(at: Instant, epoch: Instant) -> Self {
        let nanos = at.saturating_duration_since(epoch).as_nanos();
        Self(NonZeroU64::MIN.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Returns this time plus a duration, or `None` on overflow.
    #[inline]
    pub(crate) fn checked_add(self, after: Duration) -> Option<Self> {
        let nanos = u64::try_from(after.as_nanos()).ok()?;
        self.0.checked_add(nanos).map(Self)
    }

    /// Returns the time since an earlier one, or zero.
    pub(crate) fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// Rounds down to a multiple of the largest power of two nanoseconds that
    /// is at most `step`.
    pub(crate) fn round_down(self, step: Duration) -> Self {
        let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX);
        let power = step.checked_ilog2().unwrap_or(0);
        NonZeroU64::new(self.0.get() >> power << power).map_or(self, Self)
    }

    #[inline]
    pub(crate) fn instant(self, epoch: Instant) -> Instant {
        epoch + Duration::from_nanos(self.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_convert_both_ways() {
        let epoch = Instant::now();
        for after in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_secs(500 * 365 * 24 * 60 * 60),
        ] {
            let at = epoch + after;
            assert_eq!(Timestamp::new(at, epoch).instant(epoch), at);
        }
        assert_eq!(
            Timestamp::new(epoch, epoch + Duration::from_secs(1)),
            Timestamp::new(epoch, epoch)
        );
    }

    #[test]
    fn optional_timestamp_takes_eight_bytes() {
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
    }
}
