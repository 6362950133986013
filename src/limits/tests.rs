//! Tests of the counts.

use super::*;
use crate::config::Limits;
use crate::id::{Direction, ShardId};

fn limits(change: impl FnOnce(&mut Limits)) -> LimitCounts {
    let mut config = Config::default();
    change(&mut config.limits);
    config.validate().unwrap();
    LimitCounts::new(&config)
}

fn listener(index: u32) -> ListenerId {
    ListenerId::new(index).unwrap()
}

fn outbound(addr: &str) -> ConnInfo {
    ConnInfo {
        direction: Direction::Outbound,
        addr: addr.parse().unwrap(),
        local_addr: None,
        listener: None,
    }
}

fn inbound(addr: &str, index: u32) -> ConnInfo {
    ConnInfo {
        direction: Direction::Inbound,
        listener: Some(listener(index)),
        ..outbound(addr)
    }
}

fn conn(slot: u32) -> ConnId {
    ConnId::new(ShardId::FIRST, slot, 1)
}

mod addresses {
    use super::*;

    #[test]
    fn a_mapped_address_counts_as_its_ipv4_address() {
        let mut limits = limits(|limits| limits.max_connections_per_address = 1);
        limits.charge(&outbound("10.0.0.1:1")).unwrap();
        let mapped = outbound("[::ffff:10.0.0.1]:2");
        assert_eq!(
            limits.charge(&mapped),
            Err(ConnectError::TooManyFromAddress)
        );
        limits.discharge(&outbound("[::ffff:10.0.0.1]:1"));
        limits.charge(&mapped).unwrap();
    }

    #[test]
    fn two_ports_of_an_address_share_one_count() {
        let mut limits = limits(|limits| limits.max_connections_per_address = 2);
        limits.charge(&outbound("10.0.0.1:1")).unwrap();
        limits.charge(&outbound("10.0.0.1:2")).unwrap();
        assert_eq!(
            limits.charge(&outbound("10.0.0.1:3")),
            Err(ConnectError::TooManyFromAddress)
        );
        limits.charge(&outbound("10.0.0.2:1")).unwrap();
        for end in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1"] {
            limits.remove_address(end.parse().unwrap());
            limits.discharge(&outbound(end));
        }
        assert!(limits.by_ip_address.is_empty() && limits.by_address.is_empty());
        assert_eq!(limits.slots.taken, 0);
    }

    #[test]
    fn an_ipv6_prefix_of_64_bits_counts_as_one_address_by_default() {
        let mut limits = limits(|_| {});
        for host in 0..128 {
            let addr = format!("[2001:db8:0:1:{host:x}::1]:1");
            limits.charge(&outbound(&addr)).unwrap();
        }
        assert_eq!(
            limits.charge(&outbound("[2001:db8:0:1:ffff::1]:1")),
            Err(ConnectError::TooManyFromAddress)
        );
        limits.charge(&outbound("[2001:db8:0:2::1]:1")).unwrap();
        limits.discharge(&outbound("[2001:db8:0:1:7::1]:1"));
        limits
            .charge(&outbound("[2001:db8:0:1:ffff::1]:1"))
            .unwrap();
    }

    #[test]
    fn addresses_of_a_network_share_a_count() {
        let limit = PrefixLimit {
            max: 2,
            ..PrefixLimit::default()
        };
        let mut limits = limits(|limits| limits.max_connections_per_prefix = Some(limit));
        limits.charge(&outbound("10.0.0.1:1")).unwrap();
        limits.charge(&outbound("10.0.0.255:1")).unwrap();
        assert_eq!(
            limits.charge(&outbound("10.0.0.77:1")),
            Err(ConnectError::TooManyFromPrefix)
        );
        limits.charge(&outbound("10.0.1.1:1")).unwrap();
        limits.charge(&outbound("[2001:db8::1]:1")).unwrap();
        limits.charge(&outbound("[2001:db8:0:ffff::1]:1")).unwrap();
        assert_eq!(
            limits.charge(&outbound("[2001:db8:0:1::2]:1")),
            Err(ConnectError::TooManyFromPrefix)
        );
        limits.charge(&outbound("[2001:db8:1::2]:1")).unwrap();
    }

    #[test]
    fn a_refusal_charges_nothing() {
        let limit = PrefixLimit {
            max: 1,
            ..PrefixLimit::default()
        };
        let mut limits = limits(|limits| {
            limits.max_connections_per_prefix = Some(limit);
            limits.max_connections = 2;
        });
        limits.charge(&outbound("10.0.0.1:1")).unwrap();
        limits.charge(&outbound("10.0.0.2:1")).unwrap_err();
        let counted = |limits: &LimitCounts| {
            let addresses = limits.by_ip_address.len();
            (limits.slots.taken, addresses, limits.by_prefix.len())
        };
        assert_eq!(counted(&limits), (1, 1, 1));
        limits.charge(&outbound("10.0.1.1:1")).unwrap();
        assert_eq!(
            limits.charge(&outbound("10.0.2.1:1")),
            Err(ConnectError::TooManyConnections)
        );
        assert_eq!(counted(&limits), (2, 2, 2));
    }

    #[test]
    fn exempt_networks_are_not_counted() {
        let mut limits = limits(|limits| {
            limits.exempt_networks = vec!["10.0.0.0/30".parse().unwrap()];
            limits.max_connections_per_address = 1;
            limits.max_connections_per_prefix = Some(PrefixLimit {
                max: 1,
                ..PrefixLimit::default()
            });
        });
        for port in 1..10 {
            limits
                .charge(&outbound(&format!("10.0.0.1:{port}")))
                .unwrap();
        }
        // They do not take the place of their neighbours either.
        limits.charge(&outbound("10.0.0.9:1")).unwrap();
        assert_eq!(
            limits.charge(&outbound("10.0.0.9:2")),
            Err(ConnectError::TooManyFromAddress)
        );
        for port in 1..10 {
            limits.discharge(&outbound(&format!("10.0.0.1:{port}")));
        }
        limits.discharge(&outbound("10.0.0.9:1"));
        assert!(limits.by_ip_address.is_empty() && limits.by_prefix.is_empty());
    }
}

mod slots {
    use super::*;

    const FULL: Result<(), ConnectError> = Err(ConnectError::TooManyConnections);

    fn reserving(connections: usize) -> ListenerLimits {
        ListenerLimits {
            reserved_connections: connections,
            ..ListenerLimits::default()
        }
    }

    /// Charges connections with different addresses until one is refused.
    fn fill(limits: &mut LimitCounts, info: ConnInfo) -> usize {
        let next = |number: usize| {
            let mut info = info;
            info.addr
                .set_ip([10, 1, (number / 250) as u8, (number % 250) as u8].into());
            info
        };
        let taken = limits.slots.taken;
        (taken..)
            .take_while(|number| limits.charge(&next(*number)).is_ok())
            .count()
    }

    #[test]
    fn inbound_connections_leave_the_slots_of_outbound_ones() {
        let mut limits = limits(|limits| limits.max_connections = 80);
        assert!(limits.add_listener(listener(0), &reserving(0)));
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 70);
        assert_eq!(fill(&mut limits, outbound("10.0.0.1:1")), 10);
        assert_eq!(limits.charge(&inbound("10.0.0.1:1", 0)), FULL);
        limits.discharge(&outbound("10.1.0.79:1"));
        assert_eq!(limits.charge(&inbound("10.0.0.1:1", 0)), FULL);
        limits.charge(&outbound("10.0.0.1:1")).unwrap();
        limits.discharge(&inbound("10.1.0.1:1", 0));
        limits.charge(&inbound("10.0.0.1:1", 0)).unwrap();
    }

    #[test]
    fn outbound_connections_can_have_every_slot_that_is_not_reserved() {
        let mut limits = limits(|limits| limits.max_connections = 80);
        assert!(limits.add_listener(listener(0), &reserving(5)));
        assert_eq!(fill(&mut limits, outbound("10.0.0.1:1")), 75);
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 5);
    }

    #[test]
    fn a_full_node_has_room_for_what_is_reserved() {
        let mut limits = limits(|limits| {
            limits.max_connections = 20;
            limits.reserved_outbound = Some(0);
        });
        assert!(limits.add_listener(listener(0), &reserving(0)));
        assert!(limits.add_listener(listener(1), &reserving(3)));
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 17);
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 1)), 3);
        limits.discharge(&inbound("10.1.0.17:1", 1));
        assert_eq!(limits.charge(&inbound("10.0.0.1:1", 0)), FULL);
        // With the last socket the reservation ends, and what was taken stays counted.
        limits.remove_listener(listener(1));
        limits.charge(&inbound("10.0.0.1:1", 0)).unwrap();
        assert_eq!(limits.charge(&inbound("10.0.0.1:1", 0)), FULL);
        limits.discharge(&inbound("10.1.0.18:1", 1));
        limits.discharge(&inbound("10.1.0.19:1", 1));
        assert_eq!(limits.slots.listeners.len(), 1);
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 2);
    }

    #[test]
    fn a_listener_has_a_maximum() {
        let mut limits = limits(|_| {});
        let few = ListenerLimits {
            max_connections: Some(2),
            ..ListenerLimits::default()
        };
        assert!(limits.add_listener(listener(0), &few));
        // A second socket of it, on another shard.
        assert!(limits.add_listener(listener(0), &few));
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 2);
        limits.remove_listener(listener(0));
        assert_eq!(limits.charge(&inbound("10.0.0.1:1", 0)), FULL);
    }

    #[test]
    fn no_more_is_reserved_than_there_is() {
        let mut limits = limits(|limits| limits.max_connections = 80);
        assert!(limits.add_listener(listener(0), &reserving(60)));
        assert!(!limits.add_listener(listener(1), &reserving(11)));
        assert!(limits.add_listener(listener(2), &reserving(10)));
        limits.remove_listener(listener(0));
        assert!(limits.add_listener(listener(3), &reserving(60)));
        assert!(!limits.add_listener(listener(4), &reserving(usize::MAX)));
    }
}

mod handshakes {
    use std::time::{Duration, Instant};

    use super::*;

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

        /// Takes places for handshakes of these addresses, in this order. The slot of each
        /// is its place in the list.
        fn fill(&mut self, addrs: &[&str]) {
            for (slot, addr) in (0..).zip(addrs) {
                assert_eq!(self.newcomer(slot, addr), Ok(None));
            }
        }

        fn newcomer(&mut self, slot: u32, addr: &str) -> Result<Option<ConnId>, NoPlace> {
            self.newcomer_of(0, slot, addr)
        }

        fn newcomer_of(
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
    fn a_newcomer_ends_the_oldest_of_the_address_with_most_places() {
        let mut entrance = Entrance::with_places(4);
        entrance.fill(&["10.0.0.9", "10.0.0.1", "10.0.0.1", "10.0.0.1"]);
        entrance.step(1);
        assert_eq!(entrance.newcomer(4, "10.0.0.2"), Ok(Some(conn(2))));
        assert_eq!(entrance.newcomer(5, "10.0.0.3"), Ok(Some(conn(3))));
        assert_eq!(entrance.taken(), 4);
        // They have no place to give back.
        for slot in [2, 3, 77] {
            entrance.limits.places.give_back(conn(slot));
        }
        assert_eq!(entrance.taken(), 4);
        entrance.limits.places.give_back(conn(1));
        assert_eq!(entrance.newcomer(6, "10.0.0.1"), Ok(None));
    }

    #[test]
    fn a_newcomer_of_an_address_with_most_places_is_refused() {
        let mut entrance = Entrance::with_places(4);
        entrance.fill(&["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2"]);
        entrance.wait(10_000);
        assert_eq!(entrance.newcomer(4, "10.0.0.1"), Err(NoPlace));
        assert_eq!(entrance.newcomer(4, "10.0.0.2"), Err(NoPlace));
        assert_eq!(entrance.newcomer(4, "10.0.0.3"), Ok(Some(conn(0))));
    }

    #[test]
    fn with_as_many_places_a_newcomer_ends_only_what_is_silent() {
        let mut entrance = Entrance::with_places(3);
        entrance.fill(&["10.0.0.1", "10.1.0.1", "10.2.0.1"]);
        entrance.wait(999);
        assert_eq!(entrance.newcomer(3, "10.3.0.1"), Err(NoPlace));
        entrance.wait(1);
        // The first has made a step, the second waits for the node.
        entrance.step(0);
        entrance.unread = vec![conn(1)];
        assert_eq!(entrance.newcomer(3, "10.3.0.1"), Ok(Some(conn(2))));
        assert_eq!(entrance.newcomer(4, "10.4.0.1"), Err(NoPlace));
        entrance.unread.clear();
        assert_eq!(entrance.newcomer(4, "10.4.0.1"), Ok(Some(conn(1))));
    }

    #[test]
    fn of_addresses_with_as_many_places_one_of_the_fullest_prefix_is_ended() {
        let mut entrance = Entrance::with_places(4);
        entrance.fill(&["10.1.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(entrance.newcomer(4, "10.0.0.4"), Err(NoPlace));
        assert_eq!(entrance.newcomer(4, "10.3.0.1"), Ok(Some(conn(1))));
        assert_eq!(entrance.newcomer(5, "10.4.0.1"), Ok(Some(conn(2))));
        // All prefixes have one now.
        assert_eq!(entrance.newcomer(6, "10.5.0.1"), Err(NoPlace));
    }

    #[test]
    fn an_ipv6_prefix_of_64_bits_is_one_address() {
        let mut entrance = Entrance::with_places(3);
        entrance.fill(&["10.0.0.1", "[2001:db8::1]", "[2001:db8::2]"]);
        assert_eq!(entrance.newcomer(3, "[2001:db8::3]"), Err(NoPlace));
        assert_eq!(entrance.newcomer(3, "10.0.0.2"), Ok(Some(conn(1))));
    }

    #[test]
    fn an_exempt_address_competes_with_itself() {
        let mut entrance = Entrance::new(limits(|limits| {
            limits.max_inbound_handshakes = 3;
            limits.exempt_networks = vec!["10.0.0.1".parse().unwrap()];
        }));
        entrance.fill(&["10.0.0.9", "10.0.0.1", "10.0.0.1"]);
        assert_eq!(entrance.newcomer(3, "10.0.0.1"), Ok(Some(conn(1))));
        assert_eq!(entrance.newcomer(4, "10.0.0.1"), Ok(Some(conn(2))));
    }

    #[test]
    fn the_handshakes_of_a_listener_compete_with_each_other() {
        let mut entrance = Entrance::with_places(5);
        let few = ListenerLimits {
            max_handshakes: Some(3),
            ..ListenerLimits::default()
        };
        assert!(entrance.limits.add_listener(listener(1), &few));
        entrance.fill(&["10.0.0.1", "10.0.0.1"]);
        for slot in 2..5 {
            assert_eq!(entrance.newcomer_of(1, slot, "10.0.0.2"), Ok(None));
        }
        // The node is full as well. One handshake ends, not two.
        let victim = entrance.newcomer_of(1, 5, "10.0.0.4");
        assert_eq!(victim, Ok(Some(conn(2))));
        let refused = entrance.newcomer_of(1, 6, "10.0.0.2");
        assert_eq!(refused, Err(NoPlace));
        assert_eq!(entrance.taken(), 5);
        // After its listener a handshake has a place of the node only.
        entrance.limits.remove_listener(listener(1));
        entrance.step(3);
        entrance.limits.places.give_back(conn(3));
        assert_eq!(entrance.newcomer(6, "10.0.0.4"), Ok(None));
    }

    #[test]
    fn another_shard_is_told_once() {
        let mut limits = limits(|_| {});
        let second = ShardId::new(1).unwrap();
        let remote = ConnId::new(second, 0, 1);
        limits.places.note_evicted(remote);
        assert_eq!(limits.places.take_evicted(ShardId::FIRST), []);
        assert_eq!(limits.places.take_evicted(second), [remote]);
        assert_eq!(limits.places.take_evicted(second), []);
    }
}
