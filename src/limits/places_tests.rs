//! Tests of the places of handshakes.

use std::time::{Duration, Instant};

use super::tests::{conn, inbound, limits, listener};
use super::*;
use crate::id::ShardId;

/// The places of a node, and a clock.
struct Entrance {
    limits: LimitCounts,
    now: Instant,
    /// Handshakes that wait for the node.
    unread: Vec<ConnId>,
}

impl Entrance {
    fn new(limits: LimitCounts) -> Self {
        let (now, unread) = (Instant::now(), Vec::new());
        Self {
            limits,
            now,
            unread,
        }
    }

    fn with_places(max: usize) -> Self {
        Self::new(limits(|limits| limits.max_inbound_handshakes = max))
    }

    /// Takes places for handshakes of these addresses, in this order. The slot
    /// of each is its index in the list.
    fn fill(&mut self, addrs: &[&str]) {
        for (slot, addr) in (0..).zip(addrs) {
            assert_eq!(self.request(slot, addr), Ok(None));
        }
    }

    fn request(&mut self, slot: u32, addr: &str) -> Result<Option<ConnId>, NoPlace> {
        self.request_of(0, slot, addr)
    }

    fn request_of(
        &mut self,
        listener: u32,
        slot: u32,
        addr: &str,
    ) -> Result<Option<ConnId>, NoPlace> {
        let info = inbound(&format!("{addr}:1"), listener);
        let is_silent = |conn| !self.unread.contains(&conn);
        let limits = &mut self.limits;
        limits.take_handshake_place(conn(slot), &info, self.now, &is_silent)
    }

    fn step(&mut self, slot: u32) {
        self.limits.places.note_step(conn(slot), self.now);
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    fn taken(&self) -> usize {
        self.limits.places.by_conn.len()
    }
}

#[test]
fn full_places_end_oldest_of_fullest_address() {
    let mut entrance = Entrance::with_places(4);
    entrance.fill(&["10.0.0.9", "10.0.0.1", "10.0.0.1", "10.0.0.1"]);
    entrance.step(1);
    assert_eq!(entrance.request(4, "10.0.0.2"), Ok(Some(conn(2))));
    assert_eq!(entrance.request(5, "10.0.0.3"), Ok(Some(conn(3))));
    assert_eq!(entrance.taken(), 4);
    // The ended handshakes have no place to free.
    for slot in [2, 3, 77] {
        entrance.limits.places.give_back(conn(slot));
    }
    assert_eq!(entrance.taken(), 4);
    entrance.limits.places.give_back(conn(1));
    assert_eq!(entrance.request(6, "10.0.0.1"), Ok(None));
}

#[test]
fn request_of_fullest_address_is_refused() {
    let mut entrance = Entrance::with_places(4);
    entrance.fill(&["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"]);
    entrance.wait(10_000);
    assert_eq!(entrance.request(4, "10.0.0.1"), Err(NoPlace));
    assert_eq!(entrance.request(4, "10.0.0.2"), Err(NoPlace));
    assert_eq!(entrance.request(4, "10.0.0.3"), Ok(Some(conn(0))));
}

#[test]
fn equal_places_end_only_silent_handshakes() {
    let mut entrance = Entrance::with_places(3);
    entrance.fill(&["10.0.0.1", "10.1.0.1", "10.2.0.1"]);
    entrance.wait(999);
    assert_eq!(entrance.request(3, "10.3.0.1"), Err(NoPlace));
    entrance.wait(1);
    // The first has made a step, and the second waits for the node.
    entrance.step(0);
    entrance.unread = vec![conn(1)];
    assert_eq!(entrance.request(3, "10.3.0.1"), Ok(Some(conn(2))));
    assert_eq!(entrance.request(4, "10.4.0.1"), Err(NoPlace));
    entrance.unread.clear();
    assert_eq!(entrance.request(4, "10.4.0.1"), Ok(Some(conn(1))));
}

#[test]
fn equal_addresses_end_one_of_fullest_prefix() {
    let mut entrance = Entrance::with_places(4);
    entrance.fill(&["10.1.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(entrance.request(4, "10.0.0.4"), Err(NoPlace));
    assert_eq!(entrance.request(4, "10.3.0.1"), Ok(Some(conn(1))));
    assert_eq!(entrance.request(5, "10.4.0.1"), Ok(Some(conn(2))));
    // Each prefix has one place now.
    assert_eq!(entrance.request(6, "10.5.0.1"), Err(NoPlace));
}

#[test]
fn ipv6_prefix_of_64_bits_is_one_address() {
    let mut entrance = Entrance::with_places(3);
    entrance.fill(&["10.0.0.1", "[2001:db8::1]", "[2001:db8::2]"]);
    assert_eq!(entrance.request(3, "[2001:db8::3]"), Err(NoPlace));
    assert_eq!(entrance.request(3, "10.0.0.2"), Ok(Some(conn(1))));
}

#[test]
fn exempt_address_competes_with_itself() {
    let mut entrance = Entrance::new(limits(|limits| {
        limits.max_inbound_handshakes = 3;
        limits.exempt_networks = vec!["10.0.0.1".parse().unwrap()];
    }));
    entrance.fill(&["10.0.0.9", "10.0.0.1", "10.0.0.1"]);
    assert_eq!(entrance.request(3, "10.0.0.1"), Err(NoPlace));
    entrance.wait(1000);
    assert_eq!(entrance.request(3, "10.0.0.1"), Ok(Some(conn(1))));
    assert_eq!(entrance.request(4, "10.0.0.1"), Ok(Some(conn(2))));
    assert_eq!(entrance.request(5, "10.0.0.1"), Err(NoPlace));
}

#[test]
fn listener_handshakes_compete_with_each_other() {
    let mut entrance = Entrance::with_places(5);
    let few = ListenerLimits {
        max_handshakes: Some(3),
        ..ListenerLimits::default()
    };
    assert!(entrance.limits.add_listener(listener(1), &few));
    entrance.fill(&["10.0.0.1", "10.0.0.1"]);
    for slot in 2..5 {
        assert_eq!(entrance.request_of(1, slot, "10.0.0.2"), Ok(None));
    }
    // The node is full as well. One handshake ends, not two.
    let victim = entrance.request_of(1, 5, "10.0.0.4");
    assert_eq!(victim, Ok(Some(conn(2))));
    let refused = entrance.request_of(1, 6, "10.0.0.2");
    assert_eq!(refused, Err(NoPlace));
    assert_eq!(entrance.taken(), 5);
    // After its listener is closed, a handshake has a place of the node only.
    entrance.limits.remove_listener(listener(1));
    entrance.step(3);
    entrance.limits.places.give_back(conn(3));
    assert_eq!(entrance.request(6, "10.0.0.4"), Ok(None));
}

#[test]
fn eviction_on_other_shard_is_reported_once() {
    let mut limits = limits(|_| {});
    let second = ShardId::new(1).unwrap();
    let remote = ConnId::new(second, 0, 1);
    limits.places.note_evicted(remote);
    assert_eq!(limits.places.take_evicted(ShardId::FIRST), []);
    assert_eq!(limits.places.take_evicted(second), [remote]);
    assert_eq!(limits.places.take_evicted(second), []);
}
