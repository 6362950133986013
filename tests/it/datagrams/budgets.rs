//! Budgets of a turn, and bounds on what arrives.

use super::*;

fn with_budget(change: fn(&mut TurnBudget)) -> Config {
    config_with(|config| {
        config.budget = unlimited_time();
        change(&mut config.budget);
    })
}

/// Waits until this many datagrams wait in the kernel for the node.
fn flood(to: SocketAddr, count: u8) {
    let peer = raw();
    // The datagrams of one loopback socket are there when the call returns.
    for body in 0..count {
        peer.send_to(&[body; 10], to).unwrap();
    }
}

#[test]
fn turn_receives_no_more_than_its_budget() {
    for change in [
        |budget: &mut TurnBudget| budget.datagrams = 4,
        |budget: &mut TurnBudget| budget.read_bytes = 40,
    ] {
        let (mut node, _, addr) = bound(with_budget(change), Peer::default());
        flood(addr, 10);
        let mut turns = Vec::new();
        let end = Instant::now() + PATIENCE;
        while node.handler().received.len() < 10 {
            assert!(Instant::now() < end);
            let before = node.handler().received.len();
            // A turn that left datagrams needs no event for them.
            let is_busy = turn(&mut node, Some(Duration::ZERO)) == Turn::MoreWork;
            let received = node.handler().received.len() - before;
            assert!(received <= 4 && (received < 4 || is_busy));
            turns.extend((received > 0).then_some(received));
        }
        assert_eq!(turns, [4, 4, 2]);
        let bodies: Vec<u8> = node.handler().bodies().iter().map(|it| it[0]).collect();
        assert_eq!(bodies, (0..10).collect::<Vec<u8>>());
    }
}

#[test]
fn turn_sends_no_more_than_its_budget() {
    for change in [
        |budget: &mut TurnBudget| budget.datagrams = 4,
        |budget: &mut TurnBudget| budget.write_bytes = 40,
    ] {
        let (mut node, udp, _) = bound(with_budget(change), Peer::default());
        let peer = raw();
        let to = peer.local_addr().unwrap();
        for body in 0..10_u8 {
            node.net().send_to(udp, &[body; 10], to).unwrap();
        }
        let mut sent = || {
            let state = turn(&mut node, Some(Duration::ZERO));
            (state, node.net().udp_traffic(udp).unwrap().datagrams_sent)
        };
        assert_eq!(sent(), (Turn::MoreWork, 4));
        assert_eq!(sent(), (Turn::MoreWork, 8));
        assert_eq!(sent(), (Turn::Waiting, 10));
        (0..10).for_each(|body| assert_eq!(receive(&peer).0, [body; 10]));
    }
}

#[test]
fn sockets_share_a_turn() {
    let config = with_budget(|budget| budget.datagrams = 4);
    let (mut node, first, addr) = bound(config, Peer::default());
    let options = UdpOptions::default();
    let second = node.net().bind_udp("127.0.0.1:0", options).unwrap();
    let other = node.net().udp_addr(second).unwrap();
    flood(addr, 100);
    flood(other, 2);
    let received =
        |node: &mut Node<Peer>, udp| node.net().udp_traffic(udp).unwrap().datagrams_received;
    let mut turns = 0;
    while received(&mut node, second) < 2 {
        let _ = turn(&mut node, Some(Duration::from_millis(1)));
        turns += 1;
        assert!(turns < 10, "still not delivered");
    }
    assert!(received(&mut node, first) <= 4 * turns);
}

#[test]
fn too_long_datagram_is_dropped_and_counted() {
    let options = UdpOptions {
        max_datagram_len: 100,
        ..Default::default()
    };
    let (mut node, udp, addr) = bound_with(strict(), Peer::default(), options);
    let peer = raw();
    for len in [100, 101, 60_000, 99] {
        peer.send_to(&vec![1; len], addr).unwrap();
    }
    until_received(&mut node, 2);
    let lengths: Vec<usize> = node.handler().bodies().iter().map(|it| it.len()).collect();
    assert_eq!(lengths, [100, 99]);
    let traffic = node.net().udp_traffic(udp).unwrap();
    assert_eq!((traffic.datagrams_received, traffic.too_long), (2, 2));
}

#[test]
fn datagram_longer_than_the_read_buffer_arrives() {
    let config = config_with(|config| config.read_buffer_bytes = 4096);
    let (mut node, _, addr) = bound(config, Peer::default());
    raw().send_to(&vec![1; 60_000], addr).unwrap();
    until_received(&mut node, 1);
    assert_eq!(node.handler().bodies(), [vec![1; 60_000]]);
}
