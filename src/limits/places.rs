//! The places of inbound handshakes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::config::ListenerLimits;
use crate::id::{ConnId, ListenerId, ShardId};
use crate::mutants::mutant;

/// The owner of a handshake, as places compare it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The address, or the IPv6 prefix that counts as one.
    pub(crate) address: IpAddr,
    pub(crate) prefix: IpAddr,
    pub(crate) is_exempt: bool,
}

/// All places are taken, and no other address has more of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoPlace;

/// The places of [`Limits::max_inbound_handshakes`], and those of the listeners that
/// have a limit.
///
/// [`Limits::max_inbound_handshakes`]: crate::config::Limits::max_inbound_handshakes
#[derive(Debug)]
pub(crate) struct HandshakePlaces {
    node: PlaceSet,
    listeners: HashMap<ListenerId, PlaceSet>,
    pub(crate) by_conn: HashMap<ConnId, HandshakePlace>,
    /// The number of steps so far. A handshake with a smaller number has waited longer.
    steps: u64,
    /// Handshakes that have lost their place to a newcomer of another shard.
    evicted: Vec<ConnId>,
}

#[derive(Debug)]
pub(crate) struct HandshakePlace {
    origin: Origin,
    listener: Option<ListenerId>,
    /// The number of its last step.
    last_step: u64,
}

impl HandshakePlaces {
    pub(super) fn new(max: usize) -> Self {
        Self {
            node: PlaceSet::new(max),
            listeners: HashMap::new(),
            by_conn: HashMap::new(),
            steps: 0,
            evicted: Vec::new(),
        }
    }

    pub(super) fn add_listener(&mut self, id: ListenerId, limits: &ListenerLimits) {
        if let Some(max) = limits.max_handshakes {
            let new = || PlaceSet::new(max);
            self.listeners.entry(id).or_insert_with(new);
        }
    }

    /// Removes a closed listener. The places of its handshakes count for the node only.
    pub(super) fn remove_listener(&mut self, id: ListenerId) {
        self.listeners.remove(&id);
    }

    /// Takes a place. Returns the handshake that has lost its place for it, if any.
    pub(super) fn take(
        &mut self,
        conn: ConnId,
        origin: Origin,
        listener: Option<ListenerId>,
    ) -> Result<Option<ConnId>, NoPlace> {
        let of_listener = listener.and_then(|id| self.listeners.get(&id));
        let mut victim = match of_listener {
            Some(places) => places.victim_of(&origin)?,
            None => None,
        };
        // A victim of the same listener leaves its place of the node as well.
        if victim.is_none() {
            victim = self.node.victim_of(&origin)?;
        }
        if let Some(victim) = victim {
            self.give_back(victim);
        }
        let place = HandshakePlace {
            origin,
            listener,
            last_step: self.next_step(),
        };
        self.sets(listener, |set| set.insert(conn, &place));
        self.by_conn.insert(conn, place);
        Ok(victim)
    }

    /// Gives the place of a handshake back, if it has one.
    pub(crate) fn give_back(&mut self, conn: ConnId) {
        mutant!(KeepPlace => return);
        if let Some(place) = self.by_conn.remove(&conn) {
            self.sets(place.listener, |set| set.remove(&place));
        }
    }

    /// Notes that a handshake has received something.
    pub(crate) fn note_step(&mut self, conn: ConnId) {
        let Some(mut place) = self.by_conn.remove(&conn) else {
            return;
        };
        self.sets(place.listener, |set| set.remove(&place));
        place.last_step = self.next_step();
        self.sets(place.listener, |set| set.insert(conn, &place));
        self.by_conn.insert(conn, place);
    }

    /// Has another shard end a handshake that has lost its place.
    pub(crate) fn note_evicted(&mut self, conn: ConnId) {
        self.evicted.push(conn);
    }

    /// Removes and returns the handshakes of a shard that have lost their place.
    pub(crate) fn take_evicted(&mut self, shard: ShardId) -> Vec<ConnId> {
        let all = std::mem::take(&mut self.evicted);
        let (own, others) = all.into_iter().partition(|conn| conn.shard() == shard);
        self.evicted = others;
        own
    }

    /// Returns whether more places are taken than there are.
    #[cfg(feature = "sim")]
    pub(crate) fn is_exceeded(&self) -> bool {
        let mut sets = self.listeners.values().chain([&self.node]);
        sets.any(|set| set.taken > set.max)
    }

    fn next_step(&mut self) -> u64 {
        self.steps += 1;
        self.steps
    }

    /// Calls `change` with the sets that a place of this listener belongs to.
    fn sets(&mut self, listener: Option<ListenerId>, change: impl Fn(&mut PlaceSet)) {
        change(&mut self.node);
        if let Some(set) = listener.and_then(|id| self.listeners.get_mut(&id)) {
            change(set);
        }
    }
}

/// Places under one limit, by address.
#[derive(Debug)]
struct PlaceSet {
    max: usize,
    taken: usize,
    by_address: HashMap<IpAddr, AddressPlaces>,
    by_prefix: HashMap<IpAddr, u32>,
}

/// The places of an address, at least one.
#[derive(Debug)]
struct AddressPlaces {
    prefix: IpAddr,
    /// By last step.
    by_step: BTreeMap<u64, ConnId>,
}

impl AddressPlaces {
    /// Returns the handshake whose last step is the oldest, and the number of that step.
    fn oldest(&self) -> Option<(u64, ConnId)> {
        let (step, conn) = self.by_step.first_key_value()?;
        Some((*step, *conn))
    }
}

impl PlaceSet {
    fn new(max: usize) -> Self {
        Self {
            max,
            taken: 0,
            by_address: HashMap::new(),
            by_prefix: HashMap::new(),
        }
    }

    /// Returns the handshake that loses its place to a newcomer. `None` if a place is
    /// free. Looks at every address that has a place.
    fn victim_of(&self, newcomer: &Origin) -> Result<Option<ConnId>, NoPlace> {
        if self.taken < self.max {
            return Ok(None);
        }
        mutant!(EvictOldestOnly => return Ok(self.by_address.values().filter_map(AddressPlaces::oldest).min().map(|(_, conn)| conn)));
        let rank = |places: &AddressPlaces| (places.by_step.len(), self.prefix_count(places));
        let top = self.by_address.values().max_by_key(|places| {
            let oldest = places.oldest().map(|(step, _)| Reverse(step));
            (rank(places), oldest)
        });
        let own = self.by_address.get(&newcomer.address);
        let is_top = own.map(rank) >= top.map(rank);
        let from = match own {
            Some(own) if is_top && newcomer.is_exempt => Some(own),
            Some(_) if is_top => return Err(NoPlace),
            _ => top,
        };
        let oldest = from.and_then(AddressPlaces::oldest).ok_or(NoPlace)?;
        Ok(Some(oldest.1))
    }

    fn prefix_count(&self, places: &AddressPlaces) -> u32 {
        self.by_prefix.get(&places.prefix).copied().unwrap_or(0)
    }

    fn insert(&mut self, conn: ConnId, place: &HandshakePlace) {
        let Origin {
            address, prefix, ..
        } = place.origin;
        let new = || AddressPlaces {
            prefix,
            by_step: BTreeMap::new(),
        };
        let places = self.by_address.entry(address).or_insert_with(new);
        places.by_step.insert(place.last_step, conn);
        *self.by_prefix.entry(prefix).or_default() += 1;
        self.taken += 1;
    }

    /// Removes a place, unless the set is younger than the place.
    fn remove(&mut self, place: &HandshakePlace) {
        let Origin {
            address, prefix, ..
        } = place.origin;
        let Some(places) = self.by_address.get_mut(&address) else {
            return;
        };
        if places.by_step.remove(&place.last_step).is_none() {
            return;
        }
        if places.by_step.is_empty() {
            self.by_address.remove(&address);
        }
        super::decrement(&mut self.by_prefix, &prefix);
        self.taken -= 1;
    }
}
