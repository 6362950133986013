//! Errors of the system, and bad input.

use std::io::ErrorKind;

use peerloop::config::OnPanic;

use super::*;

#[test]
fn closed_port_does_not_disturb_the_socket() {
    let (mut node, udp, addr) = bound(strict(), Peer::default());
    let nobody = raw().local_addr().unwrap();
    for _ in 0..3 {
        // Some systems report that no program receives there.
        node.net().send_to(udp, b"x", nobody).unwrap();
        let _ = turn(&mut node, Some(Duration::from_millis(10)));
    }
    let before = node.net().metrics().turns;
    raw().send_to(b"y", addr).unwrap();
    until_received(&mut node, 1);
    assert_eq!(node.handler().bodies(), [b"y"]);
    let _ = turn(&mut node, Some(Duration::ZERO));
    assert_eq!(turn(&mut node, Some(Duration::ZERO)), Turn::Waiting);
    assert!(node.net().metrics().turns < before + 100_000);
    let traffic = node.net().udp_traffic(udp).unwrap();
    assert_eq!(traffic.datagrams_sent + traffic.send_errors, 3);
}

#[cfg(target_os = "linux")]
#[test]
fn refused_datagram_is_counted_and_others_leave() {
    let (mut node, udp, _) = bound(strict(), Peer::default());
    let peer = raw();
    let to = peer.local_addr().unwrap();
    // Without `allow_broadcast` it is forbidden (EACCES, ip(7)).
    let everyone = SocketAddr::new(Ipv4Addr::BROADCAST.into(), 7);
    node.net().send_to(udp, b"a", everyone).unwrap();
    node.net().send_to(udp, b"b", to).unwrap();
    let _ = turn(&mut node, Some(Duration::ZERO));
    assert_eq!(receive(&peer).0, b"b");
    let traffic = node.net().udp_traffic(udp).unwrap();
    assert_eq!((traffic.datagrams_sent, traffic.send_errors), (1, 1));
}

#[test]
fn invalid_bind_says_why() {
    let (mut node, _, addr) = bound(strict(), Peer::default());
    let mut kind = |addr: SocketAddr, options| {
        let error = node.net().bind_udp(addr, options).unwrap_err();
        (error.kind(), error.to_string())
    };
    let taken = kind(addr, UdpOptions::default());
    assert_eq!(taken.0, ErrorKind::AddrInUse);
    let far: SocketAddr = "192.0.2.1:0".parse().unwrap();
    assert_eq!(
        kind(far, UdpOptions::default()).0,
        ErrorKind::AddrNotAvailable
    );
    let options = UdpOptions {
        send_ring_bytes: 0,
        ..Default::default()
    };
    let (invalid, text) = kind(addr, options);
    assert_eq!(invalid, ErrorKind::InvalidInput);
    assert!(text.contains("send_ring_bytes"), "{text}");
}

#[test]
fn panic_in_on_datagram_loses_that_datagram_only() {
    let config = config_with(|config| config.on_panic = OnPanic::Contain);
    let handler = Peer::reacting(|_, _, _, datagram| assert_ne!(datagram, b"bad"));
    let (mut node, udp, addr) = bound(config, handler);
    for body in [&b"a"[..], b"bad", b"b"] {
        raw().send_to(body, addr).unwrap();
    }
    until_received(&mut node, 3);
    assert_eq!(node.net().metrics().panics, 1);
    assert_eq!(node.net().udp_traffic(udp).unwrap().datagrams_received, 3);
}
