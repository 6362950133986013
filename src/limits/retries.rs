//! The rate of connects to addresses that failed before.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::addr::{CompactAddr, to_canonical_target};
use crate::config::{Limits, RetryRate};

/// The addresses to which a connect has failed. Each has a token bucket.
#[derive(Debug)]
pub(crate) struct ConnectRetries {
    /// The time in which a bucket gains a token.
    interval: Duration,
    /// The time in which an empty bucket becomes full.
    refill: Duration,
    max: usize,
    by_address: HashMap<CompactAddr, FailedAddress>,
    /// The addresses, ordered by the number of their last use.
    by_use: BTreeMap<u64, CompactAddr>,
    uses: u64,
}

#[derive(Debug)]
struct FailedAddress {
    /// The time at which the bucket is full again.
    full_at: Instant,
    last_use: u64,
}

impl ConnectRetries {
    pub(super) fn new(limits: &Limits) -> Self {
        let RetryRate { per_second, burst } = limits.connect_retry_rate;
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            refill: interval.saturating_mul(burst),
            max: limits.max_connections,
            by_address: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Remembers a failed attempt. If there are too many addresses, the least
    /// recently used one is removed.
    pub(crate) fn note_failure(&mut self, addr: SocketAddr, now: Instant) {
        let addr = key(addr);
        let full_at = self.remove(addr).map_or(now, |known| known.full_at);
        if self.by_address.len() >= self.max {
            let oldest = self.by_use.first_key_value().map(|(_, oldest)| *oldest);
            oldest.and_then(|oldest| self.remove(oldest));
        }
        self.insert(addr, full_at);
    }

    /// Removes an address, because an attempt has succeeded.
    pub(crate) fn note_success(&mut self, addr: SocketAddr) {
        self.remove(key(addr));
    }

    /// Charges an attempt. Returns the time after which it may begin.
    pub(crate) fn charge(&mut self, addr: SocketAddr, now: Instant) -> Duration {
        let addr = key(addr);
        let Some(known) = self.remove(addr) else {
            return Duration::ZERO;
        };
        let full_at = known.full_at.max(now);
        let full_at = full_at.checked_add(self.interval).unwrap_or(full_at);
        self.insert(addr, full_at);
        // The bucket has a token if it is full again within the time of all its
        // tokens.
        full_at
            .saturating_duration_since(now)
            .saturating_sub(self.refill)
    }

    fn insert(&mut self, addr: CompactAddr, full_at: Instant) {
        self.uses += 1;
        let last_use = self.uses;
        self.by_use.insert(last_use, addr);
        self.by_address
            .insert(addr, FailedAddress { full_at, last_use });
    }

    fn remove(&mut self, addr: CompactAddr) -> Option<FailedAddress> {
        let known = self.by_address.remove(&addr)?;
        self.by_use.remove(&known.last_use);
        Some(known)
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
        assert!(retries.by_use.is_empty() && retries.by_address.is_empty());
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
        assert_eq!((retries.by_address.len(), retries.by_use.len()), (2, 2));
        assert!(!retries.by_address.contains_key(&key(addr(2))));
        assert!(retries.by_address.contains_key(&key(addr(1))));
    }
}
