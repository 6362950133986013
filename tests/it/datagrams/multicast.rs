//! IPv4 multicast on the loopback interface, and bad input.

use std::io::ErrorKind;

use peerloop::MulticastInterface;

use super::*;

const LOOPBACK: MulticastInterface = MulticastInterface::Addr(Ipv4Addr::LOCALHOST);

/// A group for one test of this process.
fn group(test: u8) -> IpAddr {
    let [low, high, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(239, test, high, low).into()
}

/// A node that sends multicast on the loopback interface and shares its port.
fn node(port: u16) -> (Node<Peer>, UdpId, u16) {
    let mut node = Node::new(strict(), Peer::default()).expect("a node");
    let options = UdpOptions {
        reuse_addr: true,
        multicast_interface: LOOPBACK,
        ..Default::default()
    };
    let udp = node.net().bind_udp(("0.0.0.0", port), options).unwrap();
    let port = node.net().udp_addr(udp).expect("it is open").port();
    (node, udp, port)
}

#[cfg(target_os = "linux")]
#[test]
fn members_on_one_host_receive_until_they_leave() {
    let group = group(1);
    let (mut a, in_a, port) = node(0);
    let (mut b, in_b, _) = node(port);
    let to = SocketAddr::new(group, port);
    a.net().join_multicast(in_a, group, LOOPBACK).unwrap();
    b.net().join_multicast(in_b, group, LOOPBACK).unwrap();
    a.net().send_to(in_a, b"1", to).unwrap();
    run_until([&mut a, &mut b], |nodes| {
        nodes.iter().all(|it| it.handler().received.len() == 1)
    });
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for node in [&a, &b] {
        assert_eq!(node.handler().received, [(from, b"1".to_vec())]);
    }
    b.net().leave_multicast(in_b, group, LOOPBACK).unwrap();
    a.net().leave_multicast(in_a, group, LOOPBACK).unwrap();
    a.net().send_to(in_a, b"2", to).unwrap();
    // A datagram that is sent later has arrived, so the other one does not.
    let unicast = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    a.net().send_to(in_a, b"3", unicast).unwrap();
    run_until([&mut a, &mut b], |nodes| {
        nodes.iter().any(|it| it.handler().received.len() == 2)
    });
    let all = [&a, &b].map(|node| node.handler().bodies().concat());
    assert!(all.iter().all(|it| !it.contains(&b'2')), "{all:?}");
}

#[test]
fn invalid_membership_says_why() {
    let (mut node, udp, _) = node(0);
    let any = MulticastInterface::Any;
    let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
    let unicast = Ipv4Addr::LOCALHOST.into();
    let net = node.net();
    assert_eq!(
        kind(net.join_multicast(udp, unicast, any)),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(net.leave_multicast(udp, unicast, any)),
        ErrorKind::InvalidInput
    );
    let v6: IpAddr = "ff02::4d".parse().unwrap();
    assert_eq!(
        kind(net.join_multicast(udp, v6, LOOPBACK)),
        ErrorKind::InvalidInput
    );
    assert!(net.leave_multicast(udp, group(2), LOOPBACK).is_err());
    net.join_multicast(udp, group(2), LOOPBACK).unwrap();
    assert!(net.join_multicast(udp, group(2), LOOPBACK).is_err());
}
