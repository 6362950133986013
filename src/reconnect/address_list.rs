//! The addresses of a `KeepConnected`, without a network: `now` is passed in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Backoff, BackoffConfig};
use crate::error::ConnectError;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::topology::SplitMix64;

/// An address of a [`KeepConnected`](super::KeepConnected) and its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeptAddress {
    /// The address, in its [canonical form](crate::to_canonical).
    pub addr: SocketAddr,
    /// The state of the address.
    pub state: AddressState,
    /// Number of failures since the last success. An attempt that fails is a
    /// failure, and so is a connection that lasted less than
    /// [`reset_after`](super::KeepConnectedConfig::reset_after).
    pub failures: u32,
    /// The error of the last attempt that failed. `None` if none has failed
    /// since the last connection.
    pub last_error: Option<ConnectError>,
}

/// The state of an address of a [`KeepConnected`](super::KeepConnected).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum AddressState {
    /// There is no connection and no attempt. Contains the time at which the
    /// next attempt may begin. It begins then if a connection is missing.
    Waiting(Instant),
    /// An attempt is in progress.
    Connecting(ConnId),
    /// The connection is open.
    Connected(ConnId),
}

/// The addresses, and the order in which they are connected to.
#[derive(Debug)]
pub(super) struct AddressList {
    backoff: BackoffConfig,
    random: SplitMix64,
    addresses: BTreeMap<SocketAddr, ListedAddress>,
    /// The waiting addresses, ordered by the time of the next attempt. Those of
    /// equal times have a random order, so that nodes with the same list do not
    /// all connect to the same addresses.
    waiting: BTreeSet<(Instant, u64, SocketAddr)>,
    /// The addresses of attempts and connections.
    by_conn: BTreeMap<ConnId, SocketAddr>,
}

#[derive(Debug)]
struct ListedAddress {
    state: AddressState,
    failures: u32,
    last_error: Option<ConnectError>,
    backoff: Backoff,
    /// The position in `waiting` among equal times.
    order: u64,
    /// The time at which the connection was opened.
    since: Option<Instant>,
}

impl AddressList {
    /// Creates an empty list, with settings that were checked.
    pub(super) fn new(backoff: BackoffConfig, seed: u64) -> Self {
        Self {
            backoff,
            random: SplitMix64(seed),
            addresses: BTreeMap::new(),
            waiting: BTreeSet::new(),
            by_conn: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Returns the number of attempts and connections.
    pub(super) fn in_use(&self) -> usize {
        self.by_conn.len()
    }

    /// Returns the open connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        let open = self.by_conn.iter().filter(|(conn, addr)| {
            let state = self.addresses.get(addr).map(|it| it.state);
            state == Some(AddressState::Connected(**conn))
        });
        open.map(|(conn, _)| *conn)
    }

    pub(super) fn contains(&self, addr: SocketAddr) -> bool {
        self.addresses.contains_key(&addr)
    }

    /// Adds an address that is not in the list.
    pub(super) fn add(&mut self, addr: SocketAddr, now: Instant) {
        let backoff = Backoff::of_valid(self.backoff, self.random.next());
        let order = self.random.next();
        self.waiting.insert((now, order, addr));
        let listed = ListedAddress {
            state: AddressState::Waiting(now),
            failures: 0,
            last_error: None,
            backoff,
            order,
            since: None,
        };
        self.addresses.insert(addr, listed);
    }

    /// Removes an address. Returns the state that it had.
    pub(super) fn remove(&mut self, addr: SocketAddr) -> Option<KeptAddress> {
        let kept = self.get(addr)?;
        let listed = self.addresses.remove(&addr)?;
        match listed.state {
            AddressState::Waiting(at) => {
                self.waiting.remove(&(at, listed.order, addr));
            }
            AddressState::Connecting(conn) | AddressState::Connected(conn) => {
                self.by_conn.remove(&conn);
            }
        }
        Some(kept)
    }

    /// Returns the waiting address whose attempt is due first, and the time at
    /// which it is due.
    pub(super) fn next(&self) -> Option<(Instant, SocketAddr)> {
        self.waiting.first().map(|(at, _, addr)| (*at, *addr))
    }

    /// Records that an attempt to a waiting address has begun.
    pub(super) fn begin(&mut self, addr: SocketAddr, conn: ConnId) {
        if let Some(listed) = self.addresses.get_mut(&addr) {
            if let AddressState::Waiting(at) = listed.state {
                self.waiting.remove(&(at, listed.order, addr));
            }
            listed.state = AddressState::Connecting(conn);
            self.by_conn.insert(conn, addr);
        }
    }

    /// Records that an attempt has succeeded.
    pub(super) fn open(&mut self, conn: ConnId, now: Instant) -> Option<KeptAddress> {
        let addr = *self.by_conn.get(&conn)?;
        let listed = self.addresses.get_mut(&addr)?;
        listed.state = AddressState::Connected(conn);
        listed.since = Some(now);
        listed.last_error = None;
        self.get(addr)
    }

    /// Records that an attempt has failed.
    pub(super) fn fail(
        &mut self,
        conn: ConnId,
        error: ConnectError,
        now: Instant,
    ) -> Option<KeptAddress> {
        let addr = self.by_conn.remove(&conn)?;
        self.postpone(addr, Some(error), now);
        self.get(addr)
    }

    /// Records that a connection has ended, which counts as a failure unless it
    /// lasted for `reset_after`.
    pub(super) fn end(
        &mut self,
        conn: ConnId,
        reset_after: Duration,
        now: Instant,
    ) -> Option<KeptAddress> {
        let addr = self.by_conn.remove(&conn)?;
        let listed = self.addresses.get_mut(&addr)?;
        let since = listed.since.take();
        let has_lasted =
            since.is_some_and(|since| now.saturating_duration_since(since) >= reset_after);
        if has_lasted {
            listed.backoff.reset();
            listed.failures = 0;
            self.wait_from(addr, now);
        } else {
            self.postpone(addr, None, now);
        }
        self.get(addr)
    }

    /// Records a failure, after which the address waits for its next delay.
    pub(super) fn postpone(&mut self, addr: SocketAddr, error: Option<ConnectError>, now: Instant) {
        if let Some(listed) = self.addresses.get_mut(&addr) {
            listed.failures = listed.failures.saturating_add(1);
            listed.last_error = error;
            self.wait_from(addr, now);
        }
    }

    /// Records an error that is not a failure of the address.
    pub(super) fn note_error(&mut self, addr: SocketAddr, error: ConnectError) {
        if let Some(listed) = self.addresses.get_mut(&addr) {
            listed.last_error = Some(error);
        }
    }

    /// Makes an address wait for its next delay.
    fn wait_from(&mut self, addr: SocketAddr, now: Instant) {
        let Some(listed) = self.addresses.get_mut(&addr) else {
            return;
        };
        if let AddressState::Waiting(at) = listed.state {
            self.waiting.remove(&(at, listed.order, addr));
        }
        mutant!(ForgetFailedAddress => return);
        let at = now + listed.backoff.next_delay();
        listed.order = self.random.next();
        listed.state = AddressState::Waiting(at);
        self.waiting.insert((at, listed.order, addr));
    }

    pub(super) fn get(&self, addr: SocketAddr) -> Option<KeptAddress> {
        self.addresses.get(&addr).map(|it| it.kept(addr))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = KeptAddress> + '_ {
        self.addresses.iter().map(|(addr, it)| it.kept(*addr))
    }
}

impl ListedAddress {
    fn kept(&self, addr: SocketAddr) -> KeptAddress {
        KeptAddress {
            addr,
            state: self.state,
            failures: self.failures,
            last_error: self.last_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn conn(number: u64) -> ConnId {
        ConnId::from_bits(1 << 32 | number).unwrap()
    }

    fn list(seed: u64, ports: std::ops::Range<u16>, now: Instant) -> AddressList {
        let mut list = AddressList::new(BackoffConfig::default(), seed);
        ports.for_each(|port| list.add(addr(port), now));
        list
    }

    #[test]
    fn longest_due_is_first_and_equals_are_random() {
        let now = Instant::now();
        let mut firsts = BTreeSet::new();
        for seed in 0..100 {
            let mut list = list(seed, 2..10, now);
            list.add(addr(1), now - SECOND);
            assert_eq!(list.next(), Some((now - SECOND, addr(1))));
            list.begin(addr(1), conn(1));
            firsts.insert(list.next().unwrap().1);
        }
        assert_eq!(firsts.len(), 8);
    }

    #[test]
    fn connection_that_lasts_clears_the_failures() {
        let now = Instant::now();
        let mut list = list(1, 1..2, now);
        let error = ConnectError::TimedOut;
        for number in 1..=3 {
            list.begin(addr(1), conn(number));
            list.fail(conn(number), error, now);
        }
        for (lasted, failures) in [(9, 4), (10, 0), (0, 1)] {
            list.begin(addr(1), conn(4));
            assert_eq!(list.open(conn(4), now).unwrap().last_error, None);
            let end = now + lasted * SECOND;
            let kept = list.end(conn(4), 10 * SECOND, end).unwrap();
            assert_eq!(kept.failures, failures);
            assert!(list.next().unwrap().0 >= end + SECOND / 2);
        }
        assert_eq!((list.waiting.len(), list.in_use()), (1, 0));
    }

    #[test]
    fn removed_address_leaves_nothing_behind() {
        let now = Instant::now();
        let mut list = list(1, 1..4, now);
        list.begin(addr(1), conn(1));
        list.begin(addr(2), conn(2));
        list.open(conn(2), now);
        assert_eq!(list.in_use(), 2);
        for port in 1..4 {
            let kept = list.get(addr(port));
            assert_eq!(list.remove(addr(port)), kept);
            assert_eq!(list.remove(addr(port)), None);
        }
        assert!(list.waiting.is_empty() && list.by_conn.is_empty());
        assert_eq!(list.fail(conn(1), ConnectError::Cancelled, now), None);
        assert_eq!(list.end(conn(2), SECOND, now), None);
    }
}
