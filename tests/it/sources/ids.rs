//! Wrong ids, stale ids and ids of other loops.

use std::io::ErrorKind;
use std::time::Duration;

use peerloop::group::Group;
use peerloop::mio::{self, Interest};
use peerloop::shards::{ShardOptions, Shards};
use peerloop::{Config, Net, SourceId};

use super::{Sources, drain, node, receive, register, run_for, run_until, udp};
use crate::util::eventually;

type UdpSources = Sources<mio::net::UdpSocket>;

#[track_caller]
fn assert_not_found(net: &mut Net, id: SourceId, source: &mut mio::net::UdpSocket) {
    let error = net.reregister(id, source, Interest::READABLE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = net.deregister(id, source).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn second_registration_is_refused() {
    let mut node = node(receive);
    let (source, peer) = udp();
    let id = register(&mut node, source);
    node.with(|sources, net| {
        let again = net.register(sources.source(id), Interest::READABLE);
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    });
    peer.send(b"x").unwrap();
    run_until(&mut node, |sources| sources.read == b"x");
}

#[test]
fn stale_id_is_not_found() {
    let mut node = node(receive);
    let (source, peer) = udp();
    let id = register(&mut node, source);
    let mut source = node.with(|sources, net| {
        let mut source = sources.take(id);
        net.deregister(id, &mut source).unwrap();
        assert_not_found(net, id, &mut source);
        source
    });
    // The slot is used again.
    let (other, _other_peer) = udp();
    let other = register(&mut node, other);
    assert_ne!(id, other);
    assert_not_found(node.net(), id, &mut source);
    peer.send(b"x").unwrap();
    run_for(&mut node, Duration::from_millis(5));
    assert!(node.handler().ready.is_empty());
}

#[test]
fn id_of_another_node_is_not_found() {
    let (mut a, mut b) = (node(receive), node(receive));
    let ((source_a, _peer_a), (source_b, peer_b)) = (udp(), udp());
    let id_a = register(&mut a, source_a);
    let id_b = register(&mut b, source_b);
    let source = a.handler_mut().source(id_a);
    assert_not_found(b.net(), id_a, source);
    peer_b.send(b"b").unwrap();
    run_until(&mut b, |sources| sources.count(id_b) == 1);
    a.with(|sources, net| net.deregister(id_a, sources.source(id_a)).unwrap());
}

#[test]
fn source_moves_to_another_node() {
    let (mut a, mut b) = (node(receive), node(receive));
    let (source, peer) = udp();
    let id = register(&mut a, source);
    let source = a.with(|sources, net| {
        let mut source = sources.take(id);
        net.deregister(id, &mut source).unwrap();
        source
    });
    register(&mut b, source);
    peer.send(b"x").unwrap();
    run_until(&mut b, |sources| sources.read == b"x");
}

#[test]
fn source_belongs_to_its_shard() {
    let options = ShardOptions {
        shards: 2,
        ..ShardOptions::default()
    };
    let shards = Shards::start(Config::default(), options, |_, _| UdpSources::new(receive));
    let shards = shards.unwrap();
    let (source, peer) = udp();
    let handle = shards.handle();
    let mut numbers = handle.shards();
    let (first, second) = (numbers.next().unwrap(), numbers.next().unwrap());
    let (first, second) = (handle.shard(first).unwrap(), handle.shard(second).unwrap());
    let id = first.ask(move |sources, net| sources.register(net, source));
    let id = id.unwrap();
    let (mut other, _other_peer) = udp();
    let ask = second.ask(move |_, net| assert_not_found(net, id, &mut other));
    ask.unwrap();
    peer.send(b"x").unwrap();
    eventually(|| first.ask(|sources, _| sources.read == b"x").unwrap());
    shards.shutdown(Duration::ZERO);
    shards.join().unwrap();
}

/// Member tags tell their tokens apart.
#[test]
fn members_of_a_group_have_their_own_sources() {
    let mut group = Group::new().unwrap();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (source, peer) = udp();
        let member = group.add(Config::default(), UdpSources::new(receive));
        let member = member.unwrap();
        group.with(member, |sources, net| sources.register(net, source));
        peers.push((member, peer));
    }
    for (number, (member, peer)) in peers.iter().enumerate() {
        let expected = [number as u8];
        peer.send(&expected).unwrap();
        let has_read = |group: &mut Group| group.handler(*member).unwrap().read == expected;
        let end = group.run_until(crate::util::PATIENCE, has_read).unwrap();
        assert_eq!(end, peerloop::RunEnd::Done);
    }
    // The source of a removed member stays in the poll of the group. Its events
    // do not reach the member that has its place.
    let (removed, peer) = peers.remove(0);
    let old = group.remove(removed).unwrap();
    let new = group.add(Config::default(), UdpSources::new(receive));
    let new = new.unwrap();
    let (source, _new_peer) = udp();
    group.with(new, |sources, net| sources.register(net, source));
    peer.send(b"stale").unwrap();
    let _ = group.run_for(Duration::from_millis(5)).unwrap();
    assert!(group.handler(new).unwrap().ready.is_empty());
    drop(old);
}

#[cfg(feature = "sim")]
#[test]
fn simulated_node_has_no_sources() {
    let mut world = peerloop::sim::World::new(1);
    let node = world.node(Config::default(), UdpSources::new(receive));
    let (mut source, _peer) = udp();
    let result = world.with(node, |_, net| {
        net.register(&mut source, Interest::READABLE).unwrap_err()
    });
    assert_eq!(result.kind(), ErrorKind::Unsupported);
}

#[test]
fn registration_after_shutdown_is_refused() {
    let mut node = node(receive);
    let (source, _peer) = udp();
    let id = register(&mut node, source);
    node.net().shutdown(Duration::ZERO);
    let (mut late, _late_peer) = udp();
    let refused = node.net().register(&mut late, Interest::READABLE);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Other);
    // A source does not keep the node running.
    node.run().unwrap();
    node.with(|sources, net| net.deregister(id, sources.source(id)).unwrap());
}

#[cfg(target_os = "linux")]
#[test]
fn regular_file_is_refused() {
    use std::os::fd::AsRawFd;
    let mut node = node::<mio::net::UnixStream>(drain);
    let file = std::fs::File::open("Cargo.toml").unwrap();
    let fd = file.as_raw_fd();
    let refused = node
        .net()
        .register(&mut mio::unix::SourceFd(&fd), Interest::READABLE);
    if cfg!(mio_unsupported_force_poll_poll) {
        // poll(2) reports a file as always ready.
        let id = refused.unwrap();
        let mut source = mio::unix::SourceFd(&fd);
        node.net().deregister(id, &mut source).unwrap();
    } else {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}
