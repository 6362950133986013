//! The ring of queued datagrams.

use super::*;

fn small_ring() -> UdpOptions {
    UdpOptions {
        send_ring_bytes: 1024,
        ..Default::default()
    }
}

#[test]
fn full_ring_refuses_and_owes_one_drain() {
    let (mut node, udp, _) = bound_with(strict(), Peer::default(), small_ring());
    let peer = raw();
    let to = peer.local_addr().unwrap();
    let mut sent = 0;
    while node.net().send_to(udp, &[sent; 100], to) == Ok(()) {
        sent += 1;
    }
    // Each takes 25 bytes more than its length.
    assert_eq!(sent, 8);
    let longer = node.net().send_to(udp, &[9; 300], to);
    assert_eq!(longer, Err(SendToError::Full));
    let _ = turn(&mut node, Some(Duration::ZERO));
    assert_eq!(node.handler().drains, [udp]);
    let traffic = node.net().udp_traffic(udp).unwrap();
    assert_eq!((traffic.datagrams_sent, traffic.sends_refused), (8, 2));
    // Without a refused datagram there is no further call.
    node.net().send_to(udp, &[7; 100], to).unwrap();
    let _ = turn(&mut node, Some(Duration::ZERO));
    assert_eq!(node.handler().drains, [udp]);
    let received: Vec<u8> = (0..9).map(|_| receive(&peer).0[0]).collect();
    assert_eq!(received, [0, 1, 2, 3, 4, 5, 6, 7, 7]);
}

#[test]
fn drain_comes_when_the_refused_datagram_fits() {
    let config = config_with(|config| {
        config.budget = unlimited_time();
        config.budget.datagrams = 1;
    });
    let (mut node, udp, to) = bound_with(config, Peer::default(), small_ring());
    for _ in 0..8 {
        node.net().send_to(udp, &[0; 100], to).unwrap();
    }
    let long = [1; 999];
    assert_eq!(node.net().send_to(udp, &long, to), Err(SendToError::Full));
    for _ in 0..7 {
        let _ = turn(&mut node, Some(Duration::ZERO));
        assert_eq!(node.handler().drains, []);
    }
    let _ = turn(&mut node, Some(Duration::ZERO));
    assert_eq!(node.handler().drains, [udp]);
    assert_eq!(node.net().send_to(udp, &long, to), Ok(()));
}

#[test]
fn datagram_above_a_maximum_is_too_large() {
    let (mut node, udp, to) = bound(strict(), Peer::default());
    let body = vec![0; 65_536];
    let net = node.net();
    assert_eq!(
        net.send_to(udp, &body[..65_508], to),
        Err(SendToError::TooLarge)
    );
    assert_eq!(net.send_to(udp, &body, to), Err(SendToError::TooLarge));
    assert_eq!(net.send_to(udp, &body[..65_507], to), Ok(()));
    let small = net.bind_udp("127.0.0.1:0", small_ring()).unwrap();
    assert_eq!(
        net.send_to(small, &body[..1000], to),
        Err(SendToError::TooLarge)
    );
    assert_eq!(net.send_to(small, &body[..999], to), Ok(()));
}
