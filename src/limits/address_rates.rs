//! The rates of addresses.

use std::net::IpAddr;
use std::time::Instant;

use super::lru::LruMap;
use crate::config::{Limits, Rate, RateLimits};
use crate::token_bucket::{Meter, TokenBucket};

/// The token buckets of addresses.
#[derive(Debug)]
pub(crate) struct AddressRates {
    limits: RateLimits,
    accepts: Option<Rate>,
    handshakes: Option<Rate>,
    by_address: LruMap<IpAddr, AddressBuckets>,
}

/// The token buckets of one address.
#[derive(Debug)]
pub(crate) struct AddressBuckets {
    pub(crate) receive: Meter,
    pub(crate) send: Meter,
    accepts: Option<TokenBucket>,
    handshakes: Option<TokenBucket>,
}

impl AddressRates {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.rate_per_address,
            accepts: limits.accepts_per_address,
            handshakes: limits.handshakes_per_address,
            by_address: LruMap::new(limits.max_connections),
        }
    }

    pub(super) fn limits_accepts(&self) -> bool {
        self.accepts.is_some()
    }

    /// Returns the buckets of an address. They are full if the address is not
    /// known.
    pub(crate) fn buckets(&mut self, address: IpAddr, now: Instant) -> &mut AddressBuckets {
        let (limits, accepts, handshakes) = (self.limits, self.accepts, self.handshakes);
        let bucket = |rate: Option<Rate>| rate.map(|rate| TokenBucket::full(rate, now));
        self.by_address
            .get_or_insert_with(address, || AddressBuckets {
                receive: Meter::new(limits.receive_bytes, limits.receive_messages, now),
                send: Meter::new(limits.send_bytes, limits.send_messages, now),
                accepts: bucket(accepts),
                handshakes: bucket(handshakes),
            })
    }
}

impl AddressBuckets {
    /// Charges an accept. Returns false if it exceeds the rate.
    pub(super) fn admits_accept(&mut self, now: Instant) -> bool {
        admits(&mut self.accepts, now)
    }

    /// Charges a handshake. Returns false if it exceeds the rate.
    pub(super) fn admits_handshake(&mut self, now: Instant) -> bool {
        admits(&mut self.handshakes, now)
    }
}

fn admits(bucket: &mut Option<TokenBucket>, now: Instant) -> bool {
    let bucket = bucket.as_mut();
    bucket.is_none_or(|bucket| bucket.try_take_one(now))
}
