//! The counts for admission.
//!
//! Every connection is charged when it gets its slot and discharged when it
//! ends, once each. The counts are exact.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addr::{CompactAddr, to_canonical_target};
use crate::config::{Config, PrefixLimit};
use crate::error::ConnectError;
use crate::id::{Direction, ListenerId, ShardId};
use crate::mutants::mutant;

/// The counts that all shards of a node share. The lock is held for a few lines
/// when a connection starts or ends, and never for a message. In a node without
/// shards it is never contended, and costs some 20 ns each time.
#[derive(Clone, Debug)]
pub(crate) struct SharedLimits(Arc<SharedCounts>);

#[derive(Debug)]
struct SharedCounts {
    counts: Mutex<LimitCounts>,
    /// The number of listener ids that were given out.
    listeners: AtomicU32,
}

impl SharedLimits {
    pub(crate) fn new(config: &Config) -> Self {
        Self(Arc::new(SharedCounts {
            counts: Mutex::new(LimitCounts::new(config)),
            listeners: AtomicU32::new(0),
        }))
    }

    /// Returns the id of a new listener; `None` when all were given out.
    pub(crate) fn next_listener_id(&self) -> Option<ListenerId> {
        let next = |given: u32| given.checked_add(1);
        let given = self
            .0
            .listeners
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        given.ok().and_then(ListenerId::new)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LimitCounts> {
        // No panic can leave the counts inconsistent.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts.
#[derive(Debug)]
pub(crate) struct LimitCounts {
    pub(crate) max_connections: usize,
    pub(crate) max_per_address: usize,
    pub(crate) max_inbound: usize,
    pub(crate) max_outbound: usize,
    pub(crate) per_prefix: Option<PrefixLimit>,
    pub(crate) total: usize,
    /// Inbound connections in their handshake, and places taken for accepts in
    /// progress.
    pub(crate) inbound: usize,
    /// Shards that would accept if a handshake place were free.
    waiting_shards: Vec<ShardId>,
    /// Outbound connections before the end of their handshake.
    pub(crate) outbound: usize,
    pub(crate) by_ip_address: HashMap<IpAddr, u32>,
    pub(crate) by_prefix: HashMap<IpAddr, u32>,
    /// Connections and connects by the address of the peer.
    pub(crate) by_address: HashMap<CompactAddr, u32>,
}

impl LimitCounts {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max_connections: config.limits.max_connections,
            max_per_address: config.limits.max_connections_per_address,
            max_inbound: config.limits.max_inbound_handshakes,
            max_outbound: config.limits.max_outbound_connecting,
            per_prefix: config.limits.max_connections_per_prefix,
            total: 0,
            inbound: 0,
            waiting_shards: Vec::new(),
            outbound: 0,
            by_ip_address: HashMap::new(),
            by_prefix: HashMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// Charges a connection with this peer. Charges nothing if a limit is
    /// reached.
    pub(crate) fn charge(&mut self, addr: SocketAddr) -> Result<(), ConnectError> {
        let addr = to_canonical_target(addr);
        if self.total >= self.max_connections {
            return Err(ConnectError::TooManyConnections);
        }
        if self
            .by_ip_address
            .get(&addr.ip())
            .is_some_and(|count| *count as usize >= self.max_per_address)
        {
            return Err(ConnectError::TooManyFromAddress);
        }
        if let Some(limit) = &self.per_prefix {
            let prefix = prefix(addr.ip(), limit);
            if self
                .by_prefix
                .get(&prefix)
                .is_some_and(|count| *count as usize >= limit.max)
            {
                return Err(ConnectError::TooManyFromPrefix);
            }
            *self.by_prefix.entry(prefix).or_default() += 1;
        }
        self.total += 1;
        mutant!(ChargeTwice => self.total += 1);
        *self.by_ip_address.entry(addr.ip()).or_default() += 1;
        *self.by_address.entry(addr.into()).or_default() += 1;
        Ok(())
    }

    /// Charges an inbound connection that no listener accepted, and takes a
    /// handshake place for it; both or neither.
    pub(crate) fn charge_inbound(
        &mut self,
        addr: SocketAddr,
        shard: ShardId,
    ) -> Result<(), ConnectError> {
        if self.inbound >= self.max_inbound {
            return Err(ConnectError::TooManyConnecting);
        }
        self.charge(addr)?;
        let has_place = self.take_handshake_place(shard);
        debug_assert!(has_place);
        Ok(())
    }

    /// Reverts [`LimitCounts::charge`], except for the address.
    pub(crate) fn discharge(&mut self, addr: SocketAddr) {
        let ip = to_canonical_target(addr).ip();
        debug_assert!(self.total > 0);
        self.total = self.total.saturating_sub(1);
        decrement(&mut self.by_ip_address, &ip);
        mutant!(KeepPrefix => return);
        if let Some(limit) = &self.per_prefix {
            decrement(&mut self.by_prefix, &prefix(ip, limit));
        }
    }

    /// Allows to connect to the address again. A closing connection still
    /// counts.
    pub(crate) fn remove_address(&mut self, addr: SocketAddr) {
        decrement(&mut self.by_address, &to_canonical_target(addr).into());
    }

    /// Checks the limit of outbound connections that are connecting.
    pub(crate) fn check_outbound(&self) -> Result<(), ConnectError> {
        mutant!(ConnectWithoutLimit => return Ok(()));
        if self.outbound >= self.max_outbound {
            return Err(ConnectError::TooManyConnecting);
        }
        Ok(())
    }

    /// Takes a handshake place for an accept of this shard. If all are taken,
    /// the shard does not accept until [`LimitCounts::remove_connecting`]
    /// returns it.
    pub(crate) fn take_handshake_place(&mut self, shard: ShardId) -> bool {
        if self.inbound < self.max_inbound {
            self.inbound += 1;
            return true;
        }
        if !self.waiting_shards.contains(&shard) {
            self.waiting_shards.push(shard);
        }
        false
    }

    /// Counts an outbound connection that starts to connect.
    pub(crate) fn add_outbound_connecting(&mut self) {
        self.outbound += 1;
    }

    /// Uncounts a connection that is established or has failed. Returns the
    /// shards that wait for a handshake place.
    #[must_use]
    pub(crate) fn remove_connecting(&mut self, direction: Direction) -> Vec<ShardId> {
        let count = match direction {
            Direction::Outbound => &mut self.outbound,
            Direction::Inbound => &mut self.inbound,
        };
        debug_assert!(*count > 0);
        *count = count.saturating_sub(1);
        match direction {
            Direction::Outbound => Vec::new(),
            Direction::Inbound => std::mem::take(&mut self.waiting_shards),
        }
    }

    /// Returns whether there is a connection or a connect with this address.
    pub(crate) fn has_address(&self, addr: SocketAddr) -> bool {
        self.by_address
            .contains_key(&to_canonical_target(addr).into())
    }
}

fn decrement<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        found => {
            debug_assert!(found.is_some(), "discharged without a charge");
            counts.remove(key);
        }
    }
}

/// Returns the network of an address: its first bits.
pub(crate) fn prefix(ip: IpAddr, limit: &PrefixLimit) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(limit.v4_bits))
                .unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(limit.v6_bits))
                .unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl FnOnce(&mut Config)) -> LimitCounts {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap();
        LimitCounts::new(&config)
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_mapped_address_counts_as_its_ipv4_address() {
        let mut limits = limits(|config| config.limits.max_connections_per_address = 1);
        limits.charge(addr("10.0.0.1:1")).unwrap();
        let mapped = addr("[::ffff:10.0.0.1]:2");
        assert_eq!(limits.charge(mapped), Err(ConnectError::TooManyFromAddress));
        limits.discharge(addr("[::ffff:10.0.0.1]:1"));
        limits.charge(mapped).unwrap();
    }

    #[test]
    fn two_ports_of_an_address_share_one_count() {
        let mut limits = limits(|config| config.limits.max_connections_per_address = 2);
        limits.charge(addr("10.0.0.1:1")).unwrap();
        limits.charge(addr("10.0.0.1:2")).unwrap();
        assert_eq!(
            limits.charge(addr("10.0.0.1:3")),
            Err(ConnectError::TooManyFromAddress)
        );
        limits.charge(addr("10.0.0.2:1")).unwrap();
        for end in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"] {
            limits.remove_address(addr(end));
            limits.discharge(addr(end));
        }
        assert!(limits.by_ip_address.is_empty() && limits.by_address.is_empty());
        assert_eq!(limits.total, 0);
    }

    #[test]
    fn addresses_of_a_network_share_a_count() {
        let limit = PrefixLimit {
            max: 2,
            ..PrefixLimit::default()
        };
        let mut limits = limits(|config| config.limits.max_connections_per_prefix = Some(limit));
        limits.charge(addr("10.0.0.1:1")).unwrap();
        limits.charge(addr("10.0.0.255:1")).unwrap();
        assert_eq!(
            limits.charge(addr("10.0.0.77:1")),
            Err(ConnectError::TooManyFromPrefix)
        );
        limits.charge(addr("10.0.1.1:1")).unwrap();
        limits.charge(addr("[2001:db8::1]:1")).unwrap();
        limits.charge(addr("[2001:db8::ffff:0:0:1]:1")).unwrap();
        assert_eq!(
            limits.charge(addr("[2001:db8::2]:1")),
            Err(ConnectError::TooManyFromPrefix)
        );
        limits.charge(addr("[2001:db8:0:1::2]:1")).unwrap();
    }

    #[test]
    fn a_refusal_charges_nothing() {
        let limit = PrefixLimit {
            max: 1,
            ..PrefixLimit::default()
        };
        let mut limits = limits(|config| {
            config.limits.max_connections_per_prefix = Some(limit);
            config.limits.max_connections = 2;
        });
        limits.charge(addr("10.0.0.1:1")).unwrap();
        limits.charge(addr("10.0.0.2:1")).unwrap_err();
        assert_eq!(
            (
                limits.total,
                limits.by_ip_address.len(),
                limits.by_prefix.len()
            ),
            (1, 1, 1)
        );
        limits.charge(addr("10.0.1.1:1")).unwrap();
        assert_eq!(
            limits.charge(addr("10.0.2.1:1")),
            Err(ConnectError::TooManyConnections)
        );
        assert_eq!(limits.by_prefix.len(), 2);
    }

    #[test]
    fn prefixes_of_every_length_are_computed() {
        let all = |v4_bits, v6_bits| PrefixLimit {
            max: 1,
            v4_bits,
            v6_bits,
        };
        let ip: IpAddr = "255.255.255.255".parse().unwrap();
        assert_eq!(prefix(ip, &all(0, 0)), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert_eq!(
            prefix(ip, &all(9, 0)),
            IpAddr::V4(Ipv4Addr::new(255, 128, 0, 0))
        );
        assert_eq!(prefix(ip, &all(32, 0)), ip);
        let ip: IpAddr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(prefix(ip, &all(0, 0)), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        assert_eq!(prefix(ip, &all(0, 128)), ip);
    }
}
