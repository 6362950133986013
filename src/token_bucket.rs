//! Token buckets, which limit rates exactly.

use std::time::{Duration, Instant};

use crate::config::Rate;
use crate::mutants::mutant;

/// Parts of a token. A bucket with a rate of `n` tokens per second gains `n`
/// parts per nanosecond, so no time is lost to rounding.
const PARTS: i128 = 1_000_000_000;

/// Part of a second whose tokens a waiting user waits for. A user that
/// continued for each token of a high rate would wake the loop too often.
const QUANTUM_PART: u32 = 50;

/// Whether a bucket gains tokens beyond its burst.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refill {
    UpToBurst,
    BeyondBurst,
}

/// A token bucket, and what its users have reserved.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    rate: Rate,
    /// The content at `at`, in parts of tokens. Negative if users took more
    /// than there was.
    level: i128,
    at: Instant,
    /// The number of tokens that are reserved for users that wait.
    reserved: u64,
    /// A user waits.
    is_awaited: bool,
}

impl TokenBucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            level: i128::from(rate.burst) * PARTS,
            at: now,
            reserved: 0,
            is_awaited: false,
        }
    }

    /// Changes the rate. No token is added.
    fn set_rate(&mut self, rate: Rate, now: Instant) {
        self.refill(now, Refill::UpToBurst);
        self.rate = rate;
        self.refill(now, Refill::UpToBurst);
    }

    fn refill(&mut self, now: Instant, refill: Refill) {
        let elapsed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        mutant!(NoTokens => return);
        let gained = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX);
        let gained = gained.saturating_mul(self.rate.per_second.into());
        self.level = self.level.saturating_add(gained);
        if refill == Refill::UpToBurst {
            // A loop that is late takes no tokens from a user that waits.
            let late = if self.is_awaited { self.quantum() } else { 0 };
            let max = i128::from(self.rate.burst) + i128::from(late);
            self.level = self.level.min(max * PARTS);
        }
    }

    /// Returns the number of whole tokens that a user may take. `own` tokens
    /// are reserved for it.
    fn available(&self, own: u64) -> u64 {
        let tokens = u64::try_from(self.level.div_euclid(PARTS)).unwrap_or(0);
        let others = self.reserved.saturating_sub(own);
        tokens.saturating_sub(others).max(tokens.min(own))
    }

    /// Takes tokens, even more than there are.
    fn take(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(i128::from(tokens) * PARTS);
        self.is_awaited &= tokens == 0;
    }

    /// Takes a token if there is one.
    pub(crate) fn try_take_one(&mut self, now: Instant) -> bool {
        self.refill(now, Refill::UpToBurst);
        let is_there = self.available(0) > 0;
        if is_there {
            self.take(1);
        }
        is_there
    }

    /// Returns the number of tokens that a waiting user waits for.
    fn quantum(&self) -> u64 {
        let Rate { per_second, burst } = self.rate;
        (per_second / QUANTUM_PART).clamp(1, burst).into()
    }

    /// Returns the time at which a user that waits from now on gets `tokens`
    /// tokens.
    fn ready_at(&mut self, tokens: u64) -> Instant {
        self.is_awaited |= tokens > 0;
        let ahead = self.reserved.saturating_add(tokens);
        let missing = i128::from(ahead) * PARTS - self.level;
        let rate = i128::from(self.rate.per_second);
        let nanos = (missing.max(0) + rate - 1) / rate;
        let wait = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.at.checked_add(wait).unwrap_or(self.at)
    }

    fn reserve(&mut self, tokens: u64) {
        self.reserved = self.reserved.saturating_add(tokens);
    }

    fn release(&mut self, tokens: u64) {
        self.reserved = self.reserved.saturating_sub(tokens);
        self.is_awaited &= self.reserved > 0;
    }
}

/// Numbers of bytes and messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Amount {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
}

impl Amount {
    pub(crate) const MAX: Self = Self {
        bytes: u64::MAX,
        messages: u64::MAX,
    };

    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.min(other.bytes),
            messages: self.messages.min(other.messages),
        }
    }

    /// Returns whether one of the two numbers is larger than in `other`.
    pub(crate) fn exceeds(self, other: Self) -> bool {
        self.bytes > other.bytes || self.messages > other.messages
    }
}

/// The buckets of one direction of traffic. A missing bucket is no limit.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    bytes: Option<TokenBucket>,
    messages: Option<TokenBucket>,
}

impl Meter {
    pub(crate) fn new(bytes: Option<Rate>, messages: Option<Rate>, now: Instant) -> Self {
        let bucket = |rate: Option<Rate>| rate.map(|rate| TokenBucket::full(rate, now));
        Self {
            bytes: bucket(bytes),
            messages: bucket(messages),
        }
    }

    /// Changes the rates. A limit that is new begins with a full bucket. The
    /// others keep their tokens.
    pub(crate) fn set_rates(&mut self, bytes: Option<Rate>, messages: Option<Rate>, now: Instant) {
        let set = |bucket: &mut Option<TokenBucket>, rate: Option<Rate>| match (&mut *bucket, rate)
        {
            (Some(bucket), Some(rate)) => bucket.set_rate(rate, now),
            (_, rate) => *bucket = rate.map(|rate| TokenBucket::full(rate, now)),
        };
        set(&mut self.bytes, bytes);
        set(&mut self.messages, messages);
    }

    pub(crate) fn refill(&mut self, now: Instant, refill: Refill) {
        let buckets = self.bytes.iter_mut().chain(&mut self.messages);
        buckets.for_each(|bucket| bucket.refill(now, refill));
    }

    /// Returns what a user may take. `own` is reserved for it.
    pub(crate) fn available(&self, own: Amount) -> Amount {
        let available = |bucket: &Option<TokenBucket>, own| {
            let bucket = bucket.as_ref();
            bucket.map_or(u64::MAX, |bucket| bucket.available(own))
        };
        Amount {
            bytes: available(&self.bytes, own.bytes),
            messages: available(&self.messages, own.messages),
        }
    }

    /// Returns what must be there before a user that wants `want` continues.
    pub(crate) fn needed(&self, want: Amount) -> Amount {
        let needed = |bucket: &Option<TokenBucket>, want: u64| {
            let bucket = bucket.as_ref();
            bucket.map_or(0, |bucket| bucket.quantum().min(want))
        };
        Amount {
            bytes: needed(&self.bytes, want.bytes),
            messages: needed(&self.messages, want.messages),
        }
    }

    pub(crate) fn take(&mut self, used: Amount) {
        if let Some(bucket) = &mut self.bytes {
            bucket.take(used.bytes);
        }
        if let Some(bucket) = &mut self.messages {
            bucket.take(used.messages);
        }
    }

    /// Returns the time at which a user that waits from now on gets what it
    /// needs.
    pub(crate) fn ready_at(&mut self, needed: Amount, now: Instant) -> Instant {
        let mut at = now;
        if let Some(bucket) = &mut self.bytes {
            at = at.max(bucket.ready_at(needed.bytes));
        }
        if let Some(bucket) = &mut self.messages {
            at = at.max(bucket.ready_at(needed.messages));
        }
        at
    }

    /// Reserves what a user waits for.
    pub(crate) fn reserve(&mut self, needed: Amount) {
        if let Some(bucket) = &mut self.bytes {
            bucket.reserve(needed.bytes);
        }
        if let Some(bucket) = &mut self.messages {
            bucket.reserve(needed.messages);
        }
    }

    /// Gives back what a user had reserved.
    pub(crate) fn release(&mut self, reserved: Amount) {
        if let Some(bucket) = &mut self.bytes {
            bucket.release(reserved.bytes);
        }
        if let Some(bucket) = &mut self.messages {
            bucket.release(reserved.messages);
        }
    }
}

#[cfg(test)]
mod tests;
