//! `KeepConnected` in worlds whose nodes fail, with exact times.

use std::error::Error;

use peerloop::Transport;
use peerloop::config::Limits;
use peerloop::hello::{Hello, Peers};
use peerloop::reconnect::{AddressState, KeepConnected, KeepConnectedConfig, KeptAddress};

use super::*;
use crate::util::config_with;
use crate::util::keeper::{self, Keeper, keeping};

const HOUR: Duration = Duration::from_secs(3600);

/// Closes each connection after a time.
struct Closes(Duration);

impl Handler for Closes {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        net.set_conn_timer(conn, self.0, 0);
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
        net.close(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

fn keeper_of(
    world: &mut World,
    config: KeepConnectedConfig,
    addresses: Vec<SocketAddr>,
) -> NodeId<Keeper> {
    let seed = world.seed();
    world.node(without_idle(), Keeper::new(config, seed, addresses))
}

/// Settings with which idle connections do not end.
fn without_idle() -> Config {
    with_timeouts(|timeouts| timeouts.idle = None)
}

fn until_of(kept: &KeptAddress) -> Instant {
    match kept.state {
        AddressState::Waiting(until) => until,
        state => panic!("{state:?}"),
    }
}

/// Asserts that each attempt to the only address begins at the time that was
/// reported, and returns the delays.
fn exact_delays(keeper: &Keeper) -> Vec<Duration> {
    let attempts = keeper.attempts();
    let delays = keeper.lost.iter().enumerate().map(|(index, (kept, lost))| {
        if let Some((_, at)) = attempts.get(index + 1) {
            assert_eq!(*at, until_of(kept), "attempt {}", index + 1);
        }
        until_of(kept) - *lost
    });
    delays.collect()
}

#[test]
fn attempts_begin_when_their_delay_ends() {
    let mut world = calm(1);
    let server = world.node(without_idle(), Plain::default());
    let addr = SocketAddr::new(world.ip(server), 7000);
    let config = keeping(1, 100 * MS, 1000 * MS);
    let client = keeper_of(&mut world, config, vec![addr]);
    world.run_for(20 * SECOND);
    let keeper = world.handler(client);
    let refused = ConnectError::Io(io::ErrorKind::ConnectionRefused.into());
    for (index, (kept, lost)) in keeper.lost.iter().enumerate() {
        assert_eq!(kept.failures as usize, index + 1);
        assert_eq!(kept.last_error, Some(refused));
        assert_eq!(*lost - keeper.attempts()[index].1, 2 * LATENCY);
    }
    for (index, delay) in exact_delays(keeper).into_iter().enumerate() {
        let longest = (100 * MS * 2_u32.pow(index.min(10) as u32)).min(SECOND);
        assert!(
            delay >= longest / 2 && delay <= longest,
            "{index}: {delay:?}"
        );
    }
    assert!((20..50).contains(&keeper.lost.len()));
}

#[test]
fn node_that_comes_back_is_connected_again() {
    let mut world = calm(2);
    let server = world.node(without_idle(), Plain::server());
    let addr = world.addr(server);
    let config = keeping(1, 100 * MS, 1000 * MS);
    let client = keeper_of(&mut world, config, vec![addr]);
    world.run_for(MINUTE);
    assert_eq!(world.handler(client).opened.len(), 1);
    world.crash(server);
    // The crash is noticed when something is sent.
    let _ = world.with(client, |_, net| net.broadcast_all("?", None));
    world.run_for(10 * SECOND);
    let failures = world.handler(client).lost.len();
    assert!(failures > 5, "{failures}");
    assert_eq!(world.handler(client).lost[0].0.failures, 0, "it had lasted");
    world.restart(server, Plain::server());
    world.run_for(SECOND + 10 * MS);
    let keeper = world.handler(client);
    let delays = exact_delays(keeper);
    assert!(delays[0] >= 50 * MS && delays[0] <= 100 * MS, "{delays:?}");
    assert_eq!(keeper.opened.len(), 2);
    assert_eq!(
        keeper.opened[1] - keeper.attempts().last().unwrap().1,
        2 * LATENCY
    );
    assert_eq!(keeper.keep.address(addr).unwrap().last_error, None);
}

#[test]
fn partition_is_survived() {
    let mut world = calm(3);
    let server = world.node(without_idle(), Plain::server());
    let addr = world.addr(server);
    let config = keeping(1, 100 * MS, 4 * SECOND);
    let client = keeper_of(&mut world, config, vec![addr]);
    world.run_for(SECOND);
    world.partition(client, server);
    world.with(client, |_, net| {
        let conn = net.connections().next().expect("a connection").id();
        net.abort(conn);
    });
    world.run_for(HOUR);
    let keeper = world.handler(client);
    exact_delays(keeper);
    assert!(
        keeper.lost[1..]
            .iter()
            .all(|(kept, _)| kept.last_error == Some(ConnectError::TimedOut))
    );
    // Each attempt takes the connect timeout of 5 s, and each delay 2 to 4 s.
    assert!((3600 / 9..3600 / 7 + 5).contains(&keeper.lost.len()));
    world.heal_all();
    world.run_for(9 * SECOND + 10 * MS);
    assert_eq!(world.handler(client).opened.len(), 2);
}

#[test]
fn peer_that_closes_at_once_is_rarely_connected() {
    let mut world = calm(4);
    let server = world.node(without_idle(), Closes(Duration::ZERO));
    let addr = world.addr(server);
    let client = keeper_of(&mut world, KeepConnectedConfig::default(), vec![addr]);
    world.run_for(HOUR);
    let keeper = world.handler(client);
    let opened = keeper.opened.len();
    assert_eq!(keeper.attempts().len(), opened);
    // After delays of up to 1, 2, 4, ... 64 s, all are 1 to 2 minutes.
    assert!((30..70).contains(&opened), "{opened}");
    for (index, delay) in exact_delays(keeper).into_iter().enumerate() {
        let longest = (SECOND * 2_u32.pow(index.min(10) as u32)).min(2 * MINUTE);
        assert!(delay >= longest / 2, "{index}: {delay:?}");
    }
}

#[test]
fn backoff_resets_after_a_lasting_connection() {
    // The end arrives 1 ms after the timer, and the connection opens at the
    // server 1 ms after the client.
    for (time, expected) in [(10 * SECOND, [0, 0, 0]), (9 * SECOND, [1, 2, 3])] {
        let mut world = calm(5);
        let server = world.node(without_idle(), Closes(time));
        let addr = world.addr(server);
        let config = KeepConnectedConfig {
            reset_after: 10 * SECOND,
            ..keeping(1, 100 * MS, MINUTE)
        };
        let client = keeper_of(&mut world, config, vec![addr]);
        world.run_for(35 * SECOND);
        let lost = &world.handler(client).lost;
        let failures: Vec<u32> = lost.iter().map(|(kept, _)| kept.failures).collect();
        assert_eq!(failures, expected);
        for delay in exact_delays(world.handler(client)) {
            assert!(time < 10 * SECOND || delay <= 100 * MS);
        }
    }
}

#[test]
fn limit_of_the_node_is_no_failure() {
    let mut world = calm(6);
    let servers: Vec<_> = (0..6)
        .map(|_| world.node(without_idle(), Plain::server()))
        .collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|it| world.addr(*it)).collect();
    let handler = Keeper::new(keeping(4, 100 * MS, 8 * SECOND), 6, addresses);
    let config = config_with(|config| {
        config.connection.timeouts.idle = None;
        config.limits = Limits {
            max_connections: 2,
            ..Limits::default()
        };
    });
    let client = world.node(config, handler);
    world.run_for(HOUR);
    let keeper = world.handler(client);
    assert_eq!(keeper.keep.connection_count(), 2);
    let refused = ConnectError::TooManyConnections;
    for kept in keeper.keep.addresses() {
        assert_eq!(kept.failures, 0, "{kept:?}");
        assert!(kept.last_error.is_none_or(|error| error == refused));
    }
    assert!(
        keeper
            .keep
            .addresses()
            .any(|it| it.last_error == Some(refused))
    );
    // One attempt every 4 to 8 s finds out.
    let attempts = keeper.attempts().len();
    assert!((3600 / 8..3600 / 4 + 20).contains(&attempts), "{attempts}");
    // The place of a connection that ends is used again.
    world.with(client, |_, net| {
        let conn = net.connections().next().expect("a connection").id();
        net.abort(conn);
    });
    world.run_for(8 * SECOND + 10 * MS);
    assert_eq!(world.handler(client).keep.connection_count(), 2);
}

#[test]
fn removed_attempt_is_cancelled() {
    let mut world = calm(7);
    let server = world.node(without_idle(), Plain::server());
    let addr = world.addr(server);
    let client = keeper_of(&mut world, keeping(1, MS, MS), vec![addr]);
    world.partition(client, server);
    world.run_for(SECOND);
    let kept = world.with(client, |it, net| it.keep.remove(net, addr));
    let state = kept.expect("it is in the list").state;
    assert!(matches!(state, AddressState::Connecting(_)), "{state:?}");
    world.run_for(MS);
    world.with(client, |it, net| {
        assert_eq!((it.others, it.lost.len()), (1, 0));
        assert_eq!((net.connecting_count(), it.in_use()), (0, 0));
    });
    world.run_for(MINUTE);
    assert_eq!(world.handler(client).attempts().len(), 1);
}

#[test]
fn shutdown_ends_the_attempts() {
    let mut world = calm(7);
    let server = world.node(without_idle(), Plain::server());
    let addr = world.addr(server);
    let nobody = SocketAddr::new(addr.ip(), 9);
    let client = keeper_of(&mut world, keeping(8, MS, MS), vec![addr, nobody]);
    world.run_for(SECOND);
    let before = world.handler(client).attempts().len();
    assert!(before > 100);
    world.with(client, |_, net| net.shutdown(SECOND));
    world.run_for(10 * SECOND);
    let keeper = world.handler(client);
    assert!(keeper.attempts().len() <= before + 2);
    assert_eq!(keeper.in_use(), 0);
}

#[test]
fn nodes_with_one_list_connect_to_different_ones() {
    let mut world = calm(8);
    let servers: Vec<_> = (0..10)
        .map(|_| world.node(without_idle(), Plain::server()))
        .collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|it| world.addr(*it)).collect();
    for seed in 0..40 {
        let handler = Keeper::new(keeping(2, SECOND, SECOND), seed, addresses.clone());
        world.node(without_idle(), handler);
    }
    world.run_for(SECOND);
    let counts: Vec<usize> = servers
        .iter()
        .map(|server| world.handler(*server).connected.len())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 80);
    assert!(
        counts.iter().all(|count| (2..=20).contains(count)),
        "{counts:?}"
    );
}

/// Keeps the other node connected, and one of several connections with it.
struct Friend {
    keep: KeepConnected,
    peers: Peers,
    ended: usize,
}

impl Friend {
    fn new(id: u8, seed: u64) -> Self {
        let keep = KeepConnected::new(KeepConnectedConfig::default(), seed ^ u64::from(id));
        Self {
            keep: keep.expect("valid settings"),
            peers: Peers::new(Hello::new(*b"test", [id; 32], seed)),
            ended: 0,
        }
    }
}

impl Handler for Friend {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.peers.session().into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.keep.on_connect(net, conn);
        self.peers.connected(net, conn);
    }

    fn on_connect_failed(&mut self, net: &mut Net, conn: ConnId, _: &ConnInfo, why: ConnectError) {
        self.keep.on_connect_failed(net, conn, why);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.keep.on_disconnect(net, conn);
        self.peers.disconnected(conn);
        self.ended += 1;
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        assert!(self.keep.on_timer(net, timer));
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Each of the two nodes has the other one in its list.
#[test]
fn duplicates_of_kept_connections_are_rare() {
    for_each_seed(10, |seed| {
        let mut world = calm(seed);
        let nodes = [1, 2].map(|id| world.node(without_idle(), Friend::new(id, seed)));
        world.run_for(MS);
        let addrs = nodes.map(|node| world.addr(node));
        for (node, addr) in nodes.into_iter().zip([addrs[1], addrs[0]]) {
            let added = world.with(node, |it, net| it.keep.add(net, addr));
            added.expect("there is room");
        }
        world.run_for(10 * MINUTE);
        let peers = |world: &World| nodes.map(|node| world.handler(node).peers.list());
        let ended = |world: &World| nodes.map(|node| world.handler(node).ended);
        let (kept, before) = (peers(&world), ended(&world));
        assert!(kept.iter().all(|peers| peers.len() == 1));
        world.run_for(HOUR);
        assert_eq!(peers(&world), kept);
        // The longest delay is between one and two minutes.
        for (count, before) in ended(&world).into_iter().zip(before) {
            assert!(count - before <= 60, "{} duplicates", count - before);
        }
        let conn = kept[0][0].1;
        world.with(nodes[0], |_, net| net.abort(conn));
        world.run_for(2 * MINUTE + SECOND);
        let again = peers(&world);
        assert!(again.iter().all(|peers| peers.len() == 1) && again[0] != kept[0]);
    });
}

#[test]
fn some_of_a_crowd_are_kept() {
    for_each_seed(20, keeper::run);
}
