//! The rate of connects to addresses that failed before.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::lru::LruMap;
use crate::addr::{CompactAddr, to_canonical_target};
use crate::config::{Limits, Rate};

/// The addresses to which a connect has failed. Each has a token bucket.
#[derive(Debug)]
pub(crate) struct ConnectRetries {
    /// The time in which a bucket gains a token.
    interval: Duration,
    /// The time in which an empty bucket becomes full.
    refill: Duration,
    /// By address, the time at which its bucket is full again.
    full_at: LruMap<CompactAddr, Instant>,
}

impl ConnectRetries {
    pub(super) fn new(limits: &Limits) -> Self {
        let Rate { per_second, burst } = limits.connect_retry_rate;
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            refill: interval.saturating_mul(burst),
            full_at: LruMap::new(limits.max_connections),
        }
    }

    /// Remembers a failed attempt. If there are too many addresses, the least
    /// recently used one is removed.
    pub(crate) fn note_failure(&mut self, addr: SocketAddr, now: Instant) {
        self.full_at.get_or_insert_with(key(addr), || now);
    }

    /// Removes an address, because an attempt has succeeded.
    pub(crate) fn note_success(&mut self, addr: SocketAddr) {
        self.full_at.remove(&key(addr));
    }

    /// Charges an attempt. Returns the time after which it may begin.
    pub(crate) fn charge(&mut self, addr: SocketAddr, now: Instant) -> Duration {
        let Some(full_at) = self.full_at.get_mut(&key(addr)) else {
            return Duration::ZERO;
        };
        let from = now.max(*full_at);
        *full_at = from.checked_add(self.interval).unwrap_or(from);
        // The bucket has a token if it is full again within the time of all its
        // tokens.
        full_at
            .saturating_duration_since(now)
            .saturating_sub(self.refill)
    }
}

fn key(addr: SocketAddr) -> CompactAddr {
    to_canonical_target(addr).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn retries(max: usize) -> ConnectRetries {
        ConnectRetries::new(&Limits {
            max_connections: max,
            ..Limits::default()
        })
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn only_connects_after_failure_are_charged() {
        let (mut retries, now) = (retries(10), Instant::now());
        for _ in 0..100 {
            assert_eq!(retries.charge(addr(1), now), Duration::ZERO);
        }
        retries.note_failure(addr(1), now);
        for _ in 0..20 {
            assert_eq!(retries.charge(addr(1), now), Duration::ZERO);
        }
        for count in 1..5 {
            assert_eq!(retries.charge(addr(1), now), INTERVAL * count);
        }
        // A different port is a different address.
        assert_eq!(retries.charge(addr(2), now), Duration::ZERO);
        retries.note_success(addr(1));
        for _ in 0..100 {
            assert_eq!(retries.charge(addr(1), now), Duration::ZERO);
        }
        assert_eq!(retries.full_at.len(), 0);
    }

    #[test]
    fn repeated_failures_follow_the_rate() {
        let (mut retries, begun) = (retries(10), Instant::now());
        let mut now = begun;
        for attempt in 0..1000 {
            now += retries.charge(addr(1), now);
            retries.note_failure(addr(1), now);
            let earliest = INTERVAL * u32::try_from(attempt).unwrap();
            // The first attempt follows no failure and is not charged.
            assert_eq!(now - begun, earliest.saturating_sub(INTERVAL * 20));
        }
        // The bucket fills again, but not beyond its size.
        now += Duration::from_secs(3600);
        let at_once = (0..50).filter(|_| retries.charge(addr(1), now).is_zero());
        assert_eq!(at_once.count(), 20);
    }

    #[test]
    fn least_recently_used_address_is_removed() {
        let (mut retries, now) = (retries(2), Instant::now());
        retries.note_failure(addr(1), now);
        retries.note_failure(addr(2), now);
        retries.charge(addr(1), now);
        retries.note_failure(addr(3), now);
        assert_eq!(retries.full_at.len(), 2);
        assert!(retries.full_at.get_mut(&key(addr(2))).is_none());
        assert!(retries.full_at.get_mut(&key(addr(1))).is_some());
    }
}
