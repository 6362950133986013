//! Closing, shutdown, groups and shards.

use std::io::ErrorKind;

use peerloop::shards::{ShardOptions, Shards};

use super::*;
use crate::util::eventually;

/// Returns whether a port can be bound, which means that no socket has it.
fn is_free(addr: SocketAddr) -> bool {
    UdpSocket::bind(addr).is_ok()
}

#[test]
fn close_sends_what_is_queued() {
    let (mut node, udp, addr) = bound(strict(), Peer::default());
    let peer = raw();
    let to = peer.local_addr().unwrap();
    node.net().send_to(udp, b"last", to).unwrap();
    node.net().close_udp(udp);
    assert_eq!(receive(&peer), (b"last".to_vec(), addr));
    assert!(is_free(addr));
    assert_eq!(node.net().metrics().udp.datagrams_sent, 1);
}

#[test]
fn stale_id_reaches_no_socket() {
    let (mut node, old, addr) = bound(strict(), Peer::default());
    raw().send_to(b"x", addr).unwrap();
    node.net().close_udp(old);
    let options = UdpOptions::default();
    let new = node.net().bind_udp("127.0.0.1:0", options).unwrap();
    assert_ne!(old, new);
    let net = node.net();
    assert_eq!(net.send_to(old, b"x", addr), Err(SendToError::Closed));
    assert_eq!((net.udp_addr(old), net.udp_traffic(old)), (None, None));
    let group = Ipv4Addr::new(239, 1, 2, 3).into();
    let any = peerloop::MulticastInterface::Any;
    let joined = net.join_multicast(old, group, any);
    assert_eq!(joined.unwrap_err().kind(), ErrorKind::NotFound);
    net.close_udp(old);
    let addr = net.udp_addr(new).expect("it is open");
    raw().send_to(b"y", addr).unwrap();
    until_received(&mut node, 1);
    assert_eq!(node.handler().bodies(), [b"y"]);
}

#[test]
fn close_in_on_datagram_ends_the_delivery() {
    let handler = Peer::reacting(|net, udp, _, _| net.close_udp(udp));
    let (mut node, _, addr) = bound(strict(), handler);
    let peer = raw();
    (0..5).for_each(|_| assert_eq!(peer.send_to(b"x", addr).unwrap(), 1));
    until_received(&mut node, 1);
    let _ = turn(&mut node, Some(Duration::from_millis(10)));
    assert_eq!(node.handler().received.len(), 1);
}

#[test]
fn shutdown_sends_and_closes() {
    let (mut node, udp, addr) = bound(strict(), Peer::default());
    let peer = raw();
    let to = peer.local_addr().unwrap();
    node.net().shutdown(Duration::from_secs(10));
    node.net().send_to(udp, b"bye", to).unwrap();
    let options = UdpOptions::default();
    let refused = node.net().bind_udp("127.0.0.1:0", options);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(turn(&mut node, Some(PATIENCE)), Turn::Stopped);
    assert_eq!(receive(&peer).0, b"bye");
    assert!(is_free(addr));
    assert_eq!(node.net().udp_addr(udp), None);
}

#[test]
fn dropped_node_closes_its_sockets() {
    let (mut node, _, addr) = bound(strict(), Peer::default());
    let _ = turn(&mut node, Some(Duration::ZERO));
    drop(node);
    assert!(is_free(addr));
}

#[cfg(target_pointer_width = "64")]
#[test]
fn members_of_a_group_have_their_datagrams() {
    let mut group = peerloop::group::Group::new().unwrap();
    let members = [(); 3].map(|()| group.add(strict(), Peer::echo()).unwrap());
    let peer = raw();
    for member in members {
        let net = group.net(member).expect("a member");
        let options = UdpOptions::default();
        let udp = net.bind_udp("127.0.0.1:0", options).unwrap();
        let addr = net.udp_addr(udp).expect("it is open");
        peer.send_to(b"x", addr).unwrap();
    }
    let received = |group: &mut peerloop::group::Group| {
        let of = members.map(|it| group.with(it, |it, _| it.received.len()));
        of.into_iter().all(|count| count == Some(1))
    };
    let end = group.run_until(PATIENCE, received).unwrap();
    assert_eq!(end, peerloop::RunEnd::Done);
    (0..3).for_each(|_| assert_eq!(receive(&peer).0, b"x"));
}

#[test]
fn socket_belongs_to_one_shard() {
    let options = ShardOptions {
        shards: 2,
        ..Default::default()
    };
    let shards = Shards::start(strict(), options, |_, _| Peer::echo()).unwrap();
    let handle = shards.handle();
    let [first, second] = [0, 1].map(|index| peerloop::ShardId::new(index).unwrap());
    let bind = |_: &mut Peer, net: &mut Net| {
        let udp = net.bind_udp("127.0.0.1:0", UdpOptions::default()).unwrap();
        (udp, net.udp_addr(udp).unwrap())
    };
    let (udp, addr) = handle.ask(second, bind).unwrap();
    let elsewhere = move |_: &mut Peer, net: &mut Net| {
        let own = net.bind_udp("127.0.0.1:0", UdpOptions::default()).unwrap();
        assert_ne!(own, udp);
        net.close_udp(udp);
        (net.send_to(udp, b"x", addr), net.udp_addr(udp))
    };
    let there = handle.ask(first, elsewhere).unwrap();
    assert_eq!(there, (Err(SendToError::Closed), None));
    let peer = raw();
    peer.send_to(b"x", addr).unwrap();
    assert_eq!(receive(&peer).0, b"x");
    eventually(|| handle.metrics().unwrap().udp.datagrams_sent == 1);
    shards.shutdown(Duration::ZERO);
    shards.join().unwrap();
    assert!(is_free(addr));
}
