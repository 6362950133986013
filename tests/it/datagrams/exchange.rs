//! Datagrams between sockets, and their addresses.

use super::*;

#[test]
fn datagrams_arrive_whole_with_their_source() {
    let (mut a, from, addr_a) = bound(strict(), Peer::default());
    let (mut b, _, addr_b) = bound(strict(), Peer::echo());
    // The last one is the longest over IPv4.
    let bodies: [Vec<u8>; 4] = [vec![], vec![1], vec![2; 1200], vec![3; 65_507]];
    for (index, body) in bodies.iter().enumerate() {
        a.net().send_to(from, body, addr_b).expect("an empty ring");
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().received.len() > index
        });
    }
    let with = |addr| bodies.clone().map(|body| (addr, body));
    assert_eq!(b.handler().received, with(addr_a));
    assert_eq!(a.handler().received, with(addr_b));
    let bytes = bodies.iter().map(|body| body.len() as u64).sum::<u64>();
    for (node, metrics) in [(&mut a, true), (&mut b, false)] {
        let udp = if metrics { Some(from) } else { None };
        let traffic = node.net().metrics().udp;
        assert_eq!((traffic.datagrams_sent, traffic.bytes_sent), (4, bytes));
        assert_eq!(
            (traffic.datagrams_received, traffic.bytes_received),
            (4, bytes)
        );
        let of_socket = udp.map(|udp| node.net().udp_traffic(udp));
        assert!(of_socket.is_none_or(|it| it == Some(traffic)));
    }
}

#[test]
fn datagrams_of_a_turn_leave_in_order() {
    let (mut node, udp, _) = bound(strict(), Peer::default());
    let peer = raw();
    let to = peer.local_addr().unwrap();
    for body in 0..100_u8 {
        node.net().send_to(udp, &[body], to).unwrap();
    }
    assert_eq!(node.net().udp_traffic(udp).unwrap().datagrams_sent, 0);
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    let received: Vec<u8> = (0..100).map(|_| receive(&peer).0[0]).collect();
    assert_eq!(received, (0..100).collect::<Vec<u8>>());
}

#[test]
fn socket_for_both_families_reports_ipv4() {
    let mut node = Node::new(strict(), Peer::echo()).unwrap();
    let options = UdpOptions::default();
    let udp = node.net().bind_udp("[::]:0", options).unwrap();
    let port = node.net().udp_addr(udp).unwrap().port();
    for (local, ip) in [
        ("127.0.0.1:0", IpAddr::from(Ipv4Addr::LOCALHOST)),
        ("[::1]:0", IpAddr::from(Ipv6Addr::LOCALHOST)),
    ] {
        let peer = UdpSocket::bind(local).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.send_to(b"x", (ip, port)).unwrap();
        let before = node.handler().received.len();
        until_received(&mut node, before + 1);
        let from = node.handler().received[before].0;
        assert_eq!(from, peer.local_addr().unwrap());
        run_until([&mut node], |[node]| {
            node.net().udp_traffic(udp).unwrap().datagrams_sent > before as u64
        });
        assert_eq!(receive(&peer), (b"x".to_vec(), SocketAddr::new(ip, port)));
    }
}

#[test]
fn address_of_another_family_is_refused() {
    let mut node = Node::new(strict(), Peer::default()).unwrap();
    let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
    let only_v6 = UdpOptions {
        v6_only: true,
        ..Default::default()
    };
    for (local, options, to, is_possible) in [
        ("127.0.0.1:0", UdpOptions::default(), "[::1]:7", false),
        ("127.0.0.1:0", UdpOptions::default(), "127.0.0.1:0", false),
        (
            "127.0.0.1:0",
            UdpOptions::default(),
            "[::ffff:127.0.0.1]:7",
            true,
        ),
        ("127.0.0.1:0", UdpOptions::default(), "0.0.0.0:7", true),
        ("[::1]:0", UdpOptions::default(), "127.0.0.1:7", false),
        ("[::]:0", only_v6, "127.0.0.1:7", false),
        ("[::]:0", UdpOptions::default(), "127.0.0.1:7", true),
        ("[::]:0", only_v6, "[::1]:7", true),
    ] {
        let udp = node.net().bind_udp(local, options).unwrap();
        let expected = if is_possible {
            Ok(())
        } else {
            Err(SendToError::InvalidAddress)
        };
        let sent = node.net().send_to(udp, b"x", addr(to));
        assert_eq!(sent, expected, "{local} to {to}");
        node.net().close_udp(udp);
    }
}
