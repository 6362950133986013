//! Tests of the counts.

use super::*;
use crate::config::Limits;
use crate::id::{Direction, ShardId};

pub(super) fn limits(change: impl FnOnce(&mut Limits)) -> LimitCounts {
    let mut config = Config::default();
    change(&mut config.limits);
    config.validate().unwrap();
    LimitCounts::new(&config)
}

pub(super) fn listener(index: u32) -> ListenerId {
    ListenerId::new(index).unwrap()
}

pub(super) fn outbound(addr: &str) -> ConnInfo {
    ConnInfo {
        direction: Direction::Outbound,
        addr: addr.parse().unwrap(),
        local_addr: None,
        listener: None,
    }
}

pub(super) fn inbound(addr: &str, index: u32) -> ConnInfo {
    ConnInfo {
        direction: Direction::Inbound,
        listener: Some(listener(index)),
        ..outbound(addr)
    }
}

pub(super) fn conn(slot: u32) -> ConnId {
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
    fn ipv6_prefix_of_64_bits_counts_as_one_address() {
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
    fn addresses_of_network_share_a_count() {
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
        // They do not count for other addresses of the network either.
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

    /// Charges connections with different addresses until one is refused, and
    /// returns their number.
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
    fn inbound_leaves_reserved_outbound_slots() {
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
    fn outbound_can_use_every_unreserved_slot() {
        let mut limits = limits(|limits| limits.max_connections = 80);
        assert!(limits.add_listener(listener(0), &reserving(5)));
        assert_eq!(fill(&mut limits, outbound("10.0.0.1:1")), 75);
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 5);
    }

    #[test]
    fn full_node_has_room_for_reserved_slots() {
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
        // The reservation ends with the last socket, and the taken slots stay
        // counted.
        limits.remove_listener(listener(1));
        limits.charge(&inbound("10.0.0.1:1", 0)).unwrap();
        assert_eq!(limits.charge(&inbound("10.0.0.1:1", 0)), FULL);
        limits.discharge(&inbound("10.1.0.18:1", 1));
        limits.discharge(&inbound("10.1.0.19:1", 1));
        assert_eq!(limits.slots.listeners.len(), 1);
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 2);
    }

    #[test]
    fn listener_maximum_is_enforced() {
        let mut limits = limits(|_| {});
        let few = ListenerLimits {
            max_connections: Some(2),
            ..ListenerLimits::default()
        };
        assert!(limits.add_listener(listener(0), &few));
        // A second socket of the listener, on another shard.
        assert!(limits.add_listener(listener(0), &few));
        assert_eq!(fill(&mut limits, inbound("10.0.0.1:1", 0)), 2);
        limits.remove_listener(listener(0));
        assert_eq!(limits.charge(&inbound("10.0.0.1:1", 0)), FULL);
    }

    #[test]
    fn reservation_beyond_total_is_refused() {
        let mut limits = limits(|limits| limits.max_connections = 80);
        assert!(limits.add_listener(listener(0), &reserving(60)));
        assert!(!limits.add_listener(listener(1), &reserving(11)));
        assert!(limits.add_listener(listener(2), &reserving(10)));
        limits.remove_listener(listener(0));
        assert!(limits.add_listener(listener(3), &reserving(60)));
        assert!(!limits.add_listener(listener(4), &reserving(usize::MAX)));
    }
}
