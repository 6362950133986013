//! The places of inbound handshakes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::ListenerLimits;
use crate::id::{ConnId, ListenerId, ShardId};
use crate::mutants::mutant;

/// Time after which a handshake that waits for its peer may be ended for a new
/// handshake of an address with equally many places: an initial retransmission
/// timeout (RFC 6298, 2.1). If such handshakes ended at once, clients that try
/// again would end each other's handshakes before any is complete.
const SILENCE_MIN: Duration = Duration::from_secs(1);

/// The source of a handshake, as compared for places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The address, or the IPv6 prefix that counts as one.
    pub(crate) address: IpAddr,
    pub(crate) prefix: IpAddr,
    pub(crate) is_exempt: bool,
}

/// A connection that requests a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceRequest {
    pub(crate) conn: ConnId,
    pub(crate) origin: Origin,
    pub(crate) listener: Option<ListenerId>,
    pub(crate) now: Instant,
}

/// All places are taken, and no handshake is ended for the new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoPlace;

/// The places of [`Limits::max_inbound_handshakes`], and the places of
/// listeners that have a limit.
///
/// [`Limits::max_inbound_handshakes`]: crate::config::Limits::max_inbound_handshakes
#[derive(Debug)]
pub(crate) struct HandshakePlaces {
    node: PlaceSet,
    listeners: HashMap<ListenerId, PlaceSet>,
    pub(crate) by_conn: HashMap<ConnId, HandshakePlace>,
    /// The number of steps so far. A handshake whose last step has a lower
    /// number has waited longer.
    steps: u64,
    /// Handshakes that have lost their place to a handshake of another shard.
    evicted: Vec<ConnId>,
}

#[derive(Debug)]
pub(crate) struct HandshakePlace {
    origin: Origin,
    listener: Option<ListenerId>,
    /// The number and the time of its last step.
    last_step: (u64, Instant),
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

    /// Removes a closed listener. The places of its handshakes then count for
    /// the node only.
    pub(super) fn remove_listener(&mut self, id: ListenerId) {
        self.listeners.remove(&id);
    }

    /// Takes a place. Returns the handshake that lost its place to it, if any.
    /// `is_silent` returns whether a handshake waits for its peer and not for
    /// this node.
    pub(super) fn take(
        &mut self,
        request: PlaceRequest,
        is_silent: &dyn Fn(ConnId) -> bool,
    ) -> Result<Option<ConnId>, NoPlace> {
        let PlaceRequest {
            conn,
            origin,
            listener,
            now,
        } = request;
        let of_listener = listener.and_then(|id| self.listeners.get(&id));
        let mut victim = match of_listener {
            Some(places) => places.victim_of(&request, is_silent)?,
            None => None,
        };
        // A handshake of the same listener frees a place of the node as well.
        if victim.is_none() {
            victim = self.node.victim_of(&request, is_silent)?;
        }
        if let Some(victim) = victim {
            self.give_back(victim);
        }
        let place = HandshakePlace {
            origin,
            listener,
            last_step: (self.next_step(), now),
        };
        self.sets(listener, |set| set.insert(conn, &place));
        self.by_conn.insert(conn, place);
        Ok(victim)
    }

    /// Frees the place of a handshake, if it has one.
    pub(crate) fn give_back(&mut self, conn: ConnId) {
        mutant!(KeepPlace => return);
        if let Some(place) = self.by_conn.remove(&conn) {
            self.sets(place.listener, |set| set.remove(&place));
        }
    }

    /// Records that a handshake has received something.
    pub(crate) fn note_step(&mut self, conn: ConnId, now: Instant) {
        let Some(mut place) = self.by_conn.remove(&conn) else {
            return;
        };
        self.sets(place.listener, |set| set.remove(&place));
        place.last_step = (self.next_step(), now);
        self.sets(place.listener, |set| set.insert(conn, &place));
        self.by_conn.insert(conn, place);
    }

    /// Records a handshake that has lost its place, for its shard to end it.
    pub(crate) fn note_evicted(&mut self, conn: ConnId) {
        self.evicted.push(conn);
    }

    /// Removes and returns the handshakes of a shard that have lost their
    /// place.
    pub(crate) fn take_evicted(&mut self, shard: ShardId) -> Vec<ConnId> {
        let all = std::mem::take(&mut self.evicted);
        let (own, others) = all.into_iter().partition(|conn| conn.shard() == shard);
        self.evicted = others;
        own
    }

    /// Returns whether more places are taken than the limits allow.
    #[cfg(feature = "sim")]
    pub(crate) fn is_exceeded(&self) -> bool {
        let mut sets = self.listeners.values().chain([&self.node]);
        sets.any(|set| set.taken > set.max)
    }

    fn next_step(&mut self) -> u64 {
        self.steps += 1;
        self.steps
    }

    /// Calls `change` with each set that a place of this listener belongs to.
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

/// The places of one address. There is at least one.
#[derive(Debug)]
struct AddressPlaces {
    prefix: IpAddr,
    /// The handshakes, ordered by the number of their last step, with its time.
    by_step: BTreeMap<u64, (ConnId, Instant)>,
}

impl AddressPlaces {
    /// Returns the handshake whose last step is oldest, and the number of that
    /// step.
    fn oldest(&self) -> Option<(u64, ConnId)> {
        let (step, (conn, _)) = self.by_step.first_key_value()?;
        Some((*step, *conn))
    }

    /// Returns the oldest handshake that has waited for its peer for at least
    /// [`SILENCE_MIN`], and the number of its last step.
    fn oldest_silent(
        &self,
        now: Instant,
        is_silent: &dyn Fn(ConnId) -> bool,
    ) -> Option<(u64, ConnId)> {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= SILENCE_MIN;
        let mut old = self.by_step.iter().take_while(|(_, (_, at))| is_old(at));
        let (step, (conn, _)) = old.find(|(_, (conn, _))| is_silent(*conn))?;
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

    /// Returns the handshake that loses its place to a new handshake, or `None`
    /// if a place is free. Looks at every address that has a place.
    fn victim_of(
        &self,
        request: &PlaceRequest,
        is_silent: &dyn Fn(ConnId) -> bool,
    ) -> Result<Option<ConnId>, NoPlace> {
        if self.taken < self.max {
            return Ok(None);
        }
        mutant!(EvictOldestOnly => return Ok(self.by_address.values().filter_map(AddressPlaces::oldest).min().map(|(_, conn)| conn)));
        let Origin {
            address, prefix, ..
        } = request.origin;
        let own = self.by_address.get(&address);
        // The number of places that the address would have.
        let count = own.map_or(0, |own| own.by_step.len()) + 1;
        let prefix_count = self.prefix_count(prefix) + 1;
        let top = self.by_address.values().map(|it| self.rank(it)).max();
        let (top_count, top_prefix_count) = top.ok_or(NoPlace)?;
        let ranked = || {
            let all = self.by_address.values();
            all.filter(|it| Some(self.rank(it)) == top)
        };
        let victim = match count.cmp(&top_count) {
            Ordering::Less => ranked().filter_map(AddressPlaces::oldest).min(),
            Ordering::Equal if prefix_count < top_prefix_count => {
                ranked().filter_map(AddressPlaces::oldest).min()
            }
            Ordering::Equal => ranked()
                .filter_map(|it| it.oldest_silent(request.now, is_silent))
                .min(),
            Ordering::Greater => own
                .filter(|_| request.origin.is_exempt)
                .and_then(|own| own.oldest_silent(request.now, is_silent)),
        };
        victim.map(|(_, conn)| Some(conn)).ok_or(NoPlace)
    }

    /// Returns the number of places of an address and of its prefix. An address
    /// of a higher rank loses a place first.
    fn rank(&self, places: &AddressPlaces) -> (usize, u32) {
        (places.by_step.len(), self.prefix_count(places.prefix))
    }

    fn prefix_count(&self, prefix: IpAddr) -> u32 {
        self.by_prefix.get(&prefix).copied().unwrap_or(0)
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
        let (step, at) = place.last_step;
        places.by_step.insert(step, (conn, at));
        *self.by_prefix.entry(prefix).or_default() += 1;
        self.taken += 1;
    }

    /// Removes a place, unless the set was created after it.
    fn remove(&mut self, place: &HandshakePlace) {
        let Origin {
            address, prefix, ..
        } = place.origin;
        let Some(places) = self.by_address.get_mut(&address) else {
            return;
        };
        if places.by_step.remove(&place.last_step.0).is_none() {
            return;
        }
        if places.by_step.is_empty() {
            self.by_address.remove(&address);
        }
        super::decrement(&mut self.by_prefix, prefix);
        self.taken -= 1;
    }
}
