//! Delays that grow with each failure.

use std::time::Duration;

use crate::error::ConfigError;
use crate::topology::SplitMix64;

/// Settings of a [`Backoff`].
///
/// Without jitter, the delays are `first`, `first * factor`, `first * factor²`
/// and so on, up to `max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackoffConfig {
    /// The delay after the first failure, before jitter. At least 1 ms.
    ///
    /// Default: 1 s, as gRPC uses (*GRPC Connection Backoff Protocol*).
    pub first: Duration,
    /// Maximum delay. At least `first`, and at most a year.
    ///
    /// Default: 2 minutes, as gRPC uses.
    pub max: Duration,
    /// The number by which each delay is multiplied to get the next one. Not
    /// zero. With 1, all delays have the same length.
    ///
    /// Default: 2.
    pub factor: u32,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(120),
            factor: 2,
        }
    }
}

impl BackoffConfig {
    /// Checks the fields, as [`Backoff::new`] does.
    ///
    /// # Errors
    ///
    /// - A [`ConfigError`] with the name of the first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let first_is_valid = self.first >= Duration::from_millis(1);
        for (holds, field, problem) in [
            (first_is_valid, "backoff.first", "is below 1 ms"),
            (self.max >= self.first, "backoff.max", "is below `first`"),
            (self.max <= YEAR, "backoff.max", "is more than a year"),
            (self.factor > 0, "backoff.factor", "must not be zero"),
        ] {
            if !holds {
                return Err(ConfigError { field, problem });
            }
        }
        Ok(())
    }
}

/// Delays that grow exponentially with each failure, with jitter.
///
/// A `Backoff` computes delays and does not wait. It has no clock. The same
/// seed gives the same delays.
///
/// Each delay is drawn from the upper half of the interval from zero to the
/// delay without jitter. This is the *equal jitter* of Brooker (*Exponential
/// Backoff and Jitter*, AWS Architecture Blog, 2015). Clients that have lost
/// the same server at the same time do not come back at the same time, and no
/// delay is close to zero.
///
/// ```
/// use std::time::Duration;
/// use peerloop::reconnect::{Backoff, BackoffConfig};
///
/// let mut backoff = Backoff::new(BackoffConfig::default(), 7)?;
/// for seconds in [1, 2, 4, 8, 16, 32, 64, 120, 120] {
///     let longest = Duration::from_secs(seconds);
///     let delay = backoff.next_delay();
///     assert!(longest / 2 <= delay && delay <= longest);
/// }
/// backoff.reset();
/// assert!(backoff.next_delay() <= Duration::from_secs(1));
/// # Ok::<(), peerloop::error::ConfigError>(())
/// ```
///
/// # Examples
///
/// With [`ConnectOptions::delay`](crate::ConnectOptions::delay) a handler keeps
/// a connection to one address. [`KeepConnected`](super::KeepConnected) does
/// this for several addresses, and does not reset the delay for a connection
/// that ends soon.
///
/// ```
/// use peerloop::reconnect::Backoff;
/// use peerloop::{ConnId, ConnInfo, ConnectError, Handler, Net};
///
/// struct Client {
///     backoff: Backoff,
/// }
///
/// impl Handler for Client {
///     fn on_connect(&mut self, _: &mut Net, _: ConnId) {
///         self.backoff.reset();
///     }
///
///     fn on_connect_failed(
///         &mut self,
///         net: &mut Net,
///         _: ConnId,
///         info: &ConnInfo,
///         _: ConnectError,
///     ) {
///         let mut options = net.connect_options();
///         options.delay = Some(self.backoff.next_delay());
///         let _ = net.connect_with(info.addr, options); // An error during a shutdown.
///     }
/// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    config: BackoffConfig,
    /// The next delay without jitter. At most `config.max`.
    longest: Duration,
    random: SplitMix64,
}

impl Backoff {
    /// Creates a backoff without failures.
    ///
    /// Any number is a good seed. Different peers should have different seeds,
    /// for example `RandomState::new().hash_one(0)` of the standard library.
    /// In the simulator, take it from `World::random`.
    ///
    /// # Errors
    ///
    /// - A [`ConfigError`] if a field is invalid.
    pub fn new(config: BackoffConfig, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self::of_valid(config, seed))
    }

    /// Creates a backoff with settings that were checked.
    pub(super) fn of_valid(config: BackoffConfig, seed: u64) -> Self {
        Self {
            config,
            longest: config.first,
            random: SplitMix64(seed),
        }
    }

    /// Returns the delay after a further failure.
    pub fn next_delay(&mut self) -> Duration {
        let longest = self.longest;
        self.longest = longest
            .saturating_mul(self.config.factor)
            .min(self.config.max);
        // A year has fewer than 2^55 ns.
        //
        //   0          longest/2        longest
        //   ├──────────────┼───────────────┤
        //                  └── the delay ──┘
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let half = nanos / 2;
        Duration::from_nanos(half + self.random.below(nanos - half + 1))
    }

    /// Forgets all failures, because an attempt has succeeded. The next delay
    /// is the first one.
    pub fn reset(&mut self) {
        self.longest = self.config.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn delays(config: BackoffConfig, seed: u64, count: usize) -> Vec<Duration> {
        let mut backoff = Backoff::new(config, seed).unwrap();
        (0..count).map(|_| backoff.next_delay()).collect()
    }

    fn config(first: Duration, max: Duration, factor: u32) -> BackoffConfig {
        BackoffConfig { first, max, factor }
    }

    #[test]
    fn delays_grow_to_the_maximum() {
        for seed in 0..100 {
            let delays = delays(config(100 * MS, 1000 * MS, 3), seed, 6);
            for (delay, longest) in delays.into_iter().zip([100, 300, 900, 1000, 1000, 1000]) {
                assert!(delay >= longest * MS / 2, "{delay:?} of {longest} ms");
                assert!(delay <= longest * MS, "{delay:?} of {longest} ms");
            }
        }
    }

    #[test]
    fn jitter_covers_the_upper_half_evenly() {
        let config = config(1000 * MS, 1000 * MS, 1);
        let mut counts = [0; 5];
        for delay in delays(config, 3, 10_000) {
            let place = (delay - 500 * MS).as_micros() / 100_001;
            counts[place as usize] += 1;
        }
        let even = |count: &i32| (1_800..2_200).contains(count);
        assert!(counts.iter().all(even), "{counts:?}");
    }

    #[test]
    fn seed_determines_the_delays() {
        let config = BackoffConfig::default();
        assert_eq!(delays(config, 7, 20), delays(config, 7, 20));
        assert_ne!(delays(config, 7, 20), delays(config, 8, 20));
    }

    #[test]
    fn reset_starts_with_the_first_delay() {
        let mut backoff = Backoff::new(config(10 * MS, 10_000 * MS, 10), 1).unwrap();
        for _ in 0..3 {
            backoff.next_delay();
        }
        assert!(backoff.next_delay() >= 5000 * MS);
        backoff.reset();
        assert!(backoff.next_delay() <= 10 * MS);
        assert!(backoff.next_delay() >= 50 * MS);
    }

    #[test]
    fn largest_settings_do_not_overflow() {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        for factor in [1, u32::MAX] {
            for delay in delays(config(year, year, factor), 1, 1000) {
                assert!(delay >= year / 2 && delay <= year);
            }
        }
        let delays = delays(config(MS, year, u32::MAX), 1, 1000);
        assert!(delays[999] >= year / 2);
    }

    #[test]
    fn invalid_field_is_named() {
        let second = 1000 * MS;
        for (config, field) in [
            (config(Duration::ZERO, second, 2), "backoff.first"),
            (config(2 * second, second, 2), "backoff.max"),
            (config(second, Duration::MAX, 2), "backoff.max"),
            (config(second, second, 0), "backoff.factor"),
        ] {
            let error = Backoff::new(config, 1).unwrap_err();
            assert_eq!(error.field, field);
        }
    }
}
