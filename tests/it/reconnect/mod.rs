//! `KeepConnected` on real sockets.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use peerloop::config::Rate;
use peerloop::reconnect::{
    AddressError, AddressState, BackoffConfig, KeepConnected, KeepConnectedConfig,
};
use peerloop::shards::{ShardOptions, Shards, ShardsHandle};
use peerloop::{Config, ConnId, ConnectError, Net, Node, RunEnd, RunningNode, ShardId};

use crate::util::keeper::{Keeper, keeping};
use crate::util::sockets::refusing;
use crate::util::{Event, PATIENCE, Recorder, config_with, eventually, strict};

const MS: Duration = Duration::from_millis(1);

fn keeper(connections: usize, addresses: Vec<SocketAddr>) -> Node<Keeper> {
    let keeper = Keeper::new(keeping(connections, MS, 10 * MS), 7, addresses);
    Node::new(strict(), keeper).expect("a node")
}

/// A node in a thread, and its address.
fn server(handler: Recorder) -> (RunningNode<Recorder>, SocketAddr) {
    let mut node = Node::new(strict(), handler).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    (node.spawn().expect("a thread"), addr)
}

#[track_caller]
fn until(node: &mut Node<Keeper>, condition: impl Fn(&Keeper) -> bool) {
    let end = node.run_until(PATIENCE, |keeper, _| condition(keeper));
    assert_eq!(end.expect("it runs"), RunEnd::Done);
}

#[test]
fn lost_connections_are_made_again() {
    let aborts = |net: &mut Net, event: &Event| {
        if let Event::Message(conn, _) = event {
            net.abort(*conn);
        }
    };
    let servers: Vec<_> = (0..3).map(|_| server(Recorder::reacting(aborts))).collect();
    let mut addresses: Vec<SocketAddr> = servers.iter().map(|(_, addr)| *addr).collect();
    let (_bound, refused) = refusing();
    addresses.push(refused);
    let mut node = keeper(3, addresses);
    until(&mut node, |it| it.keep.connection_count() == 3);
    for round in 1..4 {
        let kept: Vec<ConnId> = node.handler().keep.connections().collect();
        assert_eq!(node.net().broadcast(kept, "end it").queued, 3);
        until(&mut node, |it| {
            it.opened.len() >= 3 + 3 * round && it.keep.connection_count() == 3
        });
    }
    assert_eq!(node.net().connection_count(), 3);
    assert_eq!(node.handler().others, 0);
}

#[test]
fn delays_replace_the_retry_rate() {
    // With the rate, 50 attempts would take 49 s.
    let config = config_with(|config| {
        config.limits.connect_retry_rate = Rate {
            per_second: 1,
            burst: 1,
        };
    });
    let (_bound, refused) = refusing();
    let keeper = Keeper::new(keeping(1, MS, 10 * MS), 7, vec![refused]);
    let mut node = Node::new(config, keeper).expect("a node");
    let begun = Instant::now();
    until(&mut node, |it| it.attempts().len() > 50);
    // All delays but the first four are 5 ms at least.
    assert!(begun.elapsed() > 45 * 5 * MS);
}

#[test]
fn connections_of_the_program_are_left_alone() {
    let (_server, addr) = server(Recorder::default());
    let mut node = keeper(1, Vec::new());
    let own = node.net().connect(addr).expect("a connect");
    until(&mut node, |it| it.others == 1);
    let already = |it: &Keeper| {
        let kept = it.keep.address(addr);
        kept.is_some_and(|kept| kept.last_error == Some(ConnectError::AlreadyConnected))
    };
    node.with(|it, net| it.keep.add(net, addr)).expect("added");
    until(&mut node, already);
    assert_eq!(node.handler().keep.connection_count(), 0);
    // Its end is not reported as one of a kept connection, and then there is one.
    node.net().abort(own);
    until(&mut node, |it| it.keep.connection_count() == 1);
    assert_eq!(node.handler().others, 2);
    assert!(node.handler().lost.is_empty());
}

#[test]
fn removed_address_is_left_alone() {
    let (_one, first) = server(Recorder::default());
    let (_two, second) = server(Recorder::default());
    let mut node = keeper(1, vec![first]);
    until(&mut node, |it| it.keep.connection_count() == 1);
    node.with(|it, net| it.keep.add(net, second))
        .expect("added");
    let kept = node.with(|it, net| it.keep.remove(net, first));
    let state = kept.expect("it was in the list").state;
    let AddressState::Connected(conn) = state else {
        panic!("{state:?}");
    };
    // The other one takes its place, and the connection belongs to the program.
    until(&mut node, |it| it.keep.connection_count() == 1);
    assert_eq!(node.net().connection_count(), 2);
    node.net().close(conn);
    until(&mut node, |it| it.others == 1);
    assert_eq!(node.with(|it, net| it.keep.remove(net, first)), None);
}

#[test]
fn bad_addresses_are_refused() {
    let config = KeepConnectedConfig {
        max_addresses: 2,
        ..keeping(0, MS, MS)
    };
    let keeper = Keeper::new(config, 7, Vec::new());
    let mut node = Node::new(strict(), keeper).expect("a node");
    let add = |node: &mut Node<Keeper>, addr: &str| {
        let addr = addr.parse().expect("an address");
        node.with(|it, net| it.keep.add(net, addr))
    };
    assert_eq!(
        add(&mut node, "127.0.0.1:0"),
        Err(AddressError::InvalidAddress)
    );
    assert_eq!(add(&mut node, "127.0.0.1:1"), Ok(()));
    // The same address in other forms.
    assert_eq!(add(&mut node, "[::ffff:127.0.0.1]:1"), Ok(()));
    assert_eq!(add(&mut node, "0.0.0.0:1"), Ok(()));
    assert_eq!(add(&mut node, "127.0.0.1:2"), Ok(()));
    let full = Err(AddressError::TooManyAddresses);
    assert_eq!(add(&mut node, "127.0.0.1:3"), full);
    assert_eq!(add(&mut node, "127.0.0.1:2"), Ok(()), "it is in the list");
    let _ = node.run_for(10 * MS).expect("it runs");
    assert_eq!(node.handler().keep.addresses().count(), 2);
    assert!(node.handler().attempts().is_empty(), "none is to be kept");
}

#[test]
fn invalid_settings_are_an_error() {
    let config = KeepConnectedConfig {
        backoff: BackoffConfig {
            factor: 0,
            ..Default::default()
        },
        ..Default::default()
    };
    let error = KeepConnected::new(config, 1).expect_err("the factor is zero");
    assert_eq!(error.field, "backoff.factor");
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn unknown_ids_are_ignored() {
    let (_server, addr) = server(Recorder::default());
    let mut node = keeper(1, vec![addr]);
    until(&mut node, |it| it.keep.connection_count() == 1);
    let timer = node.net().set_timer(MS, 0);
    until(&mut node, |it| it.timers == [timer]);
    node.with(|it, net| {
        let unknown = ConnId::from_bits(77 << 32 | 5).expect("a generation");
        assert_eq!(it.keep.on_connect(net, unknown), None);
        assert_eq!(it.keep.on_disconnect(net, unknown), None);
        let error = ConnectError::TimedOut;
        assert_eq!(it.keep.on_connect_failed(net, unknown, error), None);
        assert!(!it.keep.on_timer(net, timer));
        assert_eq!(it.keep.connection_count(), 1);
    });
    // A callback that comes twice.
    let conn = node.net().connections().next().expect("a connection").id();
    node.net().abort(conn);
    until(&mut node, |it| it.lost.len() == 1);
    node.with(|it, net| assert_eq!(it.keep.on_disconnect(net, conn), None));
    until(&mut node, |it| it.keep.connection_count() == 1);
}

#[test]
fn shards_keep_connections_each() {
    let (_one, first) = server(Recorder::default());
    let (_two, second) = server(Recorder::default());
    let options = ShardOptions {
        shards: 2,
        ..Default::default()
    };
    let make = |shard: ShardId, _: &ShardsHandle<Keeper>| {
        // The second address is in both lists.
        let addresses = [vec![second], vec![second, first]];
        let addresses = addresses[shard.index()].clone();
        Keeper::new(keeping(2, MS, 10 * MS), 7, addresses)
    };
    let shards = Shards::start(Config::default(), options, make).expect("shards");
    let handle = shards.handle();
    let count = |it: &mut Keeper, _: &mut Net| it.keep.connection_count();
    let total = || -> usize { handle.ask_all(count).expect("they run").iter().sum() };
    eventually(|| total() == 2);
    let already = |it: &mut Keeper, _: &mut Net| {
        let refused = ConnectError::AlreadyConnected;
        it.keep
            .addresses()
            .filter(|it| it.last_error == Some(refused))
            .count()
    };
    // The other shard may try later.
    let refused = || -> usize { handle.ask_all(already).expect("they run").iter().sum() };
    eventually(|| refused() == 1);
    assert_eq!(total(), 2);
    shards.shutdown(Duration::ZERO);
    shards.join().expect("they stop");
}
