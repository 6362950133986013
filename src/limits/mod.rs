//! Counts of connections, which the limits are checked against.
//!
//! Every connection is charged exactly once, when it gets its slot, and
//! discharged exactly once, when it ends.

mod address_rates;
mod lru;
mod places;
mod retries;
mod slots;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::address_rates::AddressRates;
use self::places::{HandshakePlaces, NoPlace, Origin, PlaceRequest};
use self::retries::ConnectRetries;
use self::slots::Slots;
use crate::addr::{CompactAddr, ConnInfo, to_canonical_target};
use crate::config::{ADDRESS_V6_BITS, Config, ListenerLimits, Network, PrefixLimit, masked};
use crate::counts::Count;
use crate::error::ConnectError;
use crate::id::{ConnId, ListenerId};
use crate::mutants::mutant;

/// The counts that all shards of a node share. The lock is held briefly when a
/// connection starts or ends, and, if `Limits::rate_per_address` is set, when a
/// connection is read or written. In a node without shards it is never
/// contended.
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

    /// Returns the id of a new listener, or `None` if all ids were given out.
    pub(crate) fn next_listener_id(&self) -> Option<ListenerId> {
        let next = |given: u32| given.checked_add(1);
        let given = self
            .0
            .listeners
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        given.ok().and_then(ListenerId::new)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, LimitCounts> {
        Count::LimitLocks.add(1);
        // A panic cannot leave the counts inconsistent.
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of [`LimitCounts::check_accept`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AcceptCheck {
    Admitted,
    /// The other end may be a connect of this node.
    MaybeOwn,
    /// The rate of the address is exceeded.
    TooManyAccepts,
}

/// The counts of a node.
#[derive(Debug)]
pub(crate) struct LimitCounts {
    pub(crate) max_per_address: usize,
    pub(crate) max_outbound: usize,
    pub(crate) per_prefix: Option<PrefixLimit>,
    exempt: Vec<Network>,
    pub(crate) slots: Slots,
    pub(crate) places: HandshakePlaces,
    pub(crate) retries: ConnectRetries,
    pub(crate) rates: AddressRates,
    /// Outbound connections whose handshake has not completed.
    pub(crate) outbound: usize,
    /// Connections by address. An IPv6 prefix of 64 bits counts as one address.
    pub(crate) by_ip_address: HashMap<IpAddr, u32>,
    pub(crate) by_prefix: HashMap<IpAddr, u32>,
    /// Connections and connects by the address of the peer.
    pub(crate) by_address: HashMap<CompactAddr, u32>,
}

impl LimitCounts {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            max_per_address: limits.max_connections_per_address,
            max_outbound: limits.max_outbound_connecting,
            per_prefix: limits.max_connections_per_prefix,
            exempt: limits.exempt_networks.clone(),
            slots: Slots::new(limits),
            places: HandshakePlaces::new(limits.max_inbound_handshakes),
            retries: ConnectRetries::new(limits),
            rates: AddressRates::new(limits),
            outbound: 0,
            by_ip_address: HashMap::new(),
            by_prefix: HashMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// Charges a connection. If a limit is reached, nothing is charged.
    pub(crate) fn charge(&mut self, info: &ConnInfo) -> Result<(), ConnectError> {
        if !self.slots.has_room(info) {
            return Err(ConnectError::TooManyConnections);
        }
        let (address, prefix) = self.counted(info.addr);
        let is_full = |entry: &Option<Entry<'_, IpAddr, u32>>, max| match entry {
            Some(Entry::Occupied(count)) => *count.get() as usize >= max,
            Some(Entry::Vacant(_)) | None => false,
        };
        // Each key is hashed once. A hash is about 250 instructions.
        let address = address.map(|address| self.by_ip_address.entry(address));
        if is_full(&address, self.max_per_address) {
            return Err(ConnectError::TooManyFromAddress);
        }
        let prefix = prefix.map(|prefix| self.by_prefix.entry(prefix));
        let max = self.per_prefix.map_or(usize::MAX, |limit| limit.max);
        if is_full(&prefix, max) {
            return Err(ConnectError::TooManyFromPrefix);
        }
        for entry in address.into_iter().chain(prefix) {
            *entry.or_default() += 1;
        }
        self.slots.take(info);
        let addr = to_canonical_target(info.addr).into();
        *self.by_address.entry(addr).or_default() += 1;
        Ok(())
    }

    /// Reverts [`LimitCounts::charge`], except for the address of the peer; see
    /// [`LimitCounts::remove_address`].
    pub(crate) fn discharge(&mut self, info: &ConnInfo) {
        self.slots.give_back(info);
        let (address, prefix) = self.counted(info.addr);
        if let Some(address) = address {
            decrement(&mut self.by_ip_address, address);
        }
        mutant!(KeepPrefix => return);
        if let Some(prefix) = prefix {
            decrement(&mut self.by_prefix, prefix);
        }
    }

    /// Allows connecting to the address again. The connection counts for the
    /// limits until it is discharged.
    pub(crate) fn remove_address(&mut self, addr: SocketAddr) {
        decrement(&mut self.by_address, to_canonical_target(addr).into());
    }

    /// Checks the limit of connecting outbound connections.
    pub(crate) fn check_outbound(&self) -> Result<(), ConnectError> {
        mutant!(ConnectWithoutLimit => return Ok(()));
        if self.outbound >= self.max_outbound {
            return Err(ConnectError::TooManyConnecting);
        }
        Ok(())
    }

    /// Counts an outbound connection that starts to connect.
    pub(crate) fn add_outbound_connecting(&mut self) {
        self.outbound += 1;
    }

    /// Reverts [`LimitCounts::add_outbound_connecting`] for a connection that
    /// is established or has failed.
    pub(crate) fn remove_outbound_connecting(&mut self) {
        debug_assert!(self.outbound > 0);
        self.outbound = self.outbound.saturating_sub(1);
    }

    /// Checks an accepted connection before the handler is asked, and charges it
    /// against the rate of its address. `local_addr` is `None` if it is not to be
    /// searched.
    pub(crate) fn check_accept(
        &mut self,
        addr: SocketAddr,
        local_addr: Option<SocketAddr>,
        now: Instant,
    ) -> AcceptCheck {
        // A node that connects to itself connects to the local address of the
        // accepted socket, so most connections need no search.
        let is_own = |local_addr| self.slots.outbound.taken > 0 && self.has_address(local_addr);
        if local_addr.is_some_and(is_own) {
            AcceptCheck::MaybeOwn
        } else if self.admits_accept(addr, now) {
            AcceptCheck::Admitted
        } else {
            AcceptCheck::TooManyAccepts
        }
    }

    /// Charges an accepted connection against the rate of its address. Returns
    /// false if it exceeds the rate.
    pub(crate) fn admits_accept(&mut self, addr: SocketAddr, now: Instant) -> bool {
        if !self.rates.limits_accepts() {
            return true;
        }
        let (address, _) = self.counted(addr);
        address.is_none_or(|address| self.rates.buckets(address, now).admits_accept(now))
    }

    /// Charges a handshake against the rate of its address. Returns false if it
    /// exceeds the rate.
    pub(crate) fn admits_handshake(&mut self, addr: SocketAddr, now: Instant) -> bool {
        let (address, _) = self.counted(addr);
        address.is_none_or(|address| self.rates.buckets(address, now).admits_handshake(now))
    }

    /// Takes a handshake place. Returns the handshake that lost its place to
    /// it, if any. `is_silent` returns whether a handshake waits for its peer
    /// and not for this node.
    pub(crate) fn take_handshake_place(
        &mut self,
        conn: ConnId,
        info: &ConnInfo,
        now: Instant,
        is_silent: &dyn Fn(ConnId) -> bool,
    ) -> Result<Option<ConnId>, NoPlace> {
        let ip = to_canonical_target(info.addr).ip();
        let origin = Origin {
            address: address_of(ip),
            prefix: prefix(ip, &self.per_prefix.unwrap_or_default()),
            is_exempt: self.is_exempt(ip),
        };
        let request = PlaceRequest {
            conn,
            origin,
            listener: info.listener,
            now,
        };
        self.places.take(request, is_silent)
    }

    /// Takes a place for an inbound connection whose PROXY header is incomplete,
    /// as [`LimitCounts::take_handshake_place`] does. The address of its client
    /// is not known, so it counts as a separate address.
    pub(crate) fn take_header_place(
        &mut self,
        conn: ConnId,
        listener: ListenerId,
        now: Instant,
        is_silent: &dyn Fn(ConnId) -> bool,
    ) -> Result<Option<ConnId>, NoPlace> {
        // No peer has an address of the discard prefix (RFC 6666).
        let discard = u128::from(0x0100_u16) << 112;
        let own = Ipv6Addr::from_bits(discard | u128::from(conn.to_bits())).into();
        let origin = Origin {
            address: own,
            prefix: own,
            is_exempt: false,
        };
        let request = PlaceRequest {
            conn,
            origin,
            listener: Some(listener),
            now,
        };
        self.places.take(request, is_silent)
    }

    /// Adds a socket of a listener. Returns false if more slots would be
    /// reserved than there are.
    pub(crate) fn add_listener(&mut self, id: ListenerId, limits: &ListenerLimits) -> bool {
        let is_added = self.slots.add_socket(id, limits);
        if is_added {
            self.places.add_listener(id, limits);
        }
        is_added
    }

    /// Removes a socket of a listener.
    pub(crate) fn remove_listener(&mut self, id: ListenerId) {
        if self.slots.remove_socket(id) {
            self.places.remove_listener(id);
        }
    }

    /// Returns whether there is a connection or a connect with this address.
    pub(crate) fn has_address(&self, addr: SocketAddr) -> bool {
        self.by_address
            .contains_key(&to_canonical_target(addr).into())
    }

    /// Returns the address and the prefix under which a connection with this
    /// address is counted.
    pub(crate) fn counted(&self, addr: SocketAddr) -> (Option<IpAddr>, Option<IpAddr>) {
        let ip = to_canonical_target(addr).ip();
        if self.is_exempt(ip) {
            return (None, None);
        }
        let prefix = self.per_prefix.map(|limit| prefix(ip, &limit));
        (Some(address_of(ip)), prefix)
    }

    fn is_exempt(&self, ip: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(ip))
    }
}

fn decrement<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: K) {
    match counts.entry(key) {
        Entry::Occupied(mut count) if *count.get() > 1 => *count.get_mut() -= 1,
        Entry::Occupied(last) => {
            last.remove();
        }
        Entry::Vacant(_) => debug_assert!(false, "discharged without a charge"),
    }
}

/// Returns the unit that counts as one address: an IPv4 address or an IPv6
/// prefix.
pub(crate) fn address_of(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(_) => masked(ip, ADDRESS_V6_BITS),
    }
}

/// Returns the network of an address.
fn prefix(ip: IpAddr, limit: &PrefixLimit) -> IpAddr {
    match ip {
        IpAddr::V4(_) => masked(ip, limit.v4_bits),
        IpAddr::V6(_) => masked(ip, limit.v6_bits),
    }
}

#[cfg(test)]
mod places_tests;
#[cfg(test)]
mod tests;
