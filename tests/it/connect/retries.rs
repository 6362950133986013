//! Connects that begin later: after failed ones, and with a delay. They run in
//! virtual time, so that each count is exact.

use std::net::SocketAddr;
use std::time::Duration;

use crate::util::config_with;
use peerloop::config::Rate;
use peerloop::sim::{Faults, Link, NodeId, World};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Handler, Net};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Client {
    /// Connects again in `on_connect_failed`.
    again: bool,
    failed: Vec<ConnectError>,
    connected: usize,
}

impl Handler for Client {
    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.connected += 1;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.failed.push(error);
        if self.again {
            net.connect(info.addr).expect("within the limits");
        }
    }
}

/// Returns a world without faults, two nodes in it, and an address of the second
/// without a listener.
fn world(config: Config) -> (World, NodeId<Client>, NodeId<Client>, SocketAddr) {
    let mut world = World::new(7);
    world.faults(Faults::calm());
    world.default_link(Link::new(Duration::from_micros(10)));
    let client = world.node(config, Client::default());
    let other = world.node(Config::default(), Client::default());
    world.run_for(Duration::from_millis(1));
    let addr = SocketAddr::new(world.ip(other), 7000);
    (world, client, other, addr)
}

fn connect(world: &mut World, client: NodeId<Client>, addr: SocketAddr) -> ConnId {
    let connect = move |_: &mut Client, net: &mut Net| net.connect(addr);
    world.with(client, connect).expect("within the limits")
}

fn connect_after(
    world: &mut World,
    client: NodeId<Client>,
    addr: SocketAddr,
    delay: Duration,
) -> ConnId {
    let connect = move |_: &mut Client, net: &mut Net| {
        let mut options = net.connect_options();
        options.delay = Some(delay);
        net.connect_with(addr, options)
    };
    world.with(client, connect).expect("within the limits")
}

fn failures(world: &mut World, client: NodeId<Client>) -> Vec<ConnectError> {
    world.with(client, |client, _| client.failed.clone())
}

#[test]
fn connect_in_on_connect_failed_is_no_busy_loop() {
    let (mut world, client, other, addr) = world(Config::default());
    world.with(client, |client, _| client.again = true);
    connect(&mut world, client, addr);
    world.run_for(SECOND / 50);
    // The first one follows no failure.
    assert_eq!(failures(&mut world, client).len(), 1 + 20);
    world.run_for(10 * SECOND);
    assert_eq!(failures(&mut world, client).len(), 1 + 20 + 100);
    // A success ends it, and the next loop begins anew.
    world.with(other, |_, net| net.listen(addr).expect("the port is free"));
    world.run_for(SECOND);
    assert_eq!(world.with(client, |client, _| client.connected), 1);
    world.crash(other);
    world.restart(other, Client::default());
    world.run_for(SECOND);
    let before = failures(&mut world, client).len();
    world.with(client, |_, net| {
        let all: Vec<ConnId> = net.connections().map(|it| it.id()).collect();
        all.into_iter().for_each(|conn| net.abort(conn));
    });
    connect(&mut world, client, addr);
    world.run_for(SECOND / 2);
    assert_eq!(failures(&mut world, client).len() - before, 1 + 20 + 4);
}

#[test]
fn retry_rate_is_per_address_and_port() {
    let config = config_with(|config| {
        config.limits.connect_retry_rate = Rate {
            per_second: 1,
            burst: 1,
        };
    });
    let (mut world, client, _, addr) = world(config);
    for (port, failed) in [(1, 1), (1, 2), (1, 2), (2, 3), (2, 4)] {
        connect(&mut world, client, SocketAddr::new(addr.ip(), port));
        world.run_for(SECOND / 10);
        assert_eq!(failures(&mut world, client).len(), failed, "{port}");
    }
    world.run_for(SECOND);
    assert_eq!(failures(&mut world, client).len(), 5);
}

#[test]
fn cancelled_attempts_are_not_charged() {
    let (mut world, client, other, addr) = world(Config::default());
    world.with(other, |_, net| net.listen(addr).expect("the port is free"));
    world.partition(client, other);
    // More than the burst. Every second attempt has begun.
    for count in 1..=100 {
        let conn = connect(&mut world, client, addr);
        if count % 2 == 0 {
            world.run_for(SECOND / 1000);
        }
        world.with(client, move |_, net| net.close(conn));
        world.run_for(SECOND / 1000);
        let failed = failures(&mut world, client);
        assert_eq!(failed, vec![ConnectError::Cancelled; count]);
    }
    world.heal_all();
    connect(&mut world, client, addr);
    world.run_for(SECOND / 1000);
    assert_eq!(world.with(client, |client, _| client.connected), 1);
}

#[test]
fn delayed_connect_begins_when_it_is_due() {
    let config = config_with(|config| config.connection.timeouts.connect = Some(SECOND));
    let (mut world, client, other, addr) = world(config);
    // The delay is longer than the connect timeout.
    let conn = connect_after(&mut world, client, addr, 3 * SECOND);
    world.run_for(2 * SECOND);
    world.with(client, move |client, net| {
        assert!(client.failed.is_empty());
        let connecting: Vec<ConnId> = net.connecting().map(|it| it.id()).collect();
        assert_eq!(connecting, [conn]);
        assert_eq!(net.connect(addr), Err(ConnectError::AlreadyConnecting));
    });
    world.run_for(SECOND + SECOND / 2);
    assert_eq!(failures(&mut world, client).len(), 1);

    // The timeout starts with the attempt.
    world.partition(client, other);
    connect_after(&mut world, client, addr, 3 * SECOND);
    world.run_for(3 * SECOND + SECOND / 2);
    assert_eq!(failures(&mut world, client).len(), 1);
    world.run_for(SECOND);
    assert_eq!(failures(&mut world, client)[1..], [ConnectError::TimedOut]);

    // A cancelled connect is reported at once, and once.
    let conn = connect_after(&mut world, client, addr, 3 * SECOND);
    world.with(client, move |_, net| net.close(conn));
    world.run_for(SECOND / 10);
    assert_eq!(failures(&mut world, client)[2..], [ConnectError::Cancelled]);
    world.run_for(10 * SECOND);
    assert_eq!(failures(&mut world, client).len(), 3);
}

#[test]
fn delay_of_zero_is_none_and_not_charged() {
    let (mut world, client, _, addr) = world(Config::default());
    for count in 1..=100 {
        connect_after(&mut world, client, addr, Duration::ZERO);
        world.run_for(SECOND / 100);
        assert_eq!(failures(&mut world, client).len(), count);
    }
    // The whole burst is left for connects without a delay.
    for count in 101..=120 {
        connect(&mut world, client, addr);
        world.run_for(SECOND / 100);
        assert_eq!(failures(&mut world, client).len(), count);
    }
}

#[test]
fn shutdown_ends_a_delayed_connect() {
    let (mut world, client, _, addr) = world(Config::default());
    connect_after(&mut world, client, addr, 60 * SECOND);
    world.run_for(SECOND);
    world.with(client, |_, net| net.shutdown(SECOND));
    world.run_for(SECOND);
    let failed = failures(&mut world, client);
    assert_eq!(failed, [ConnectError::ShuttingDown]);
}
