//! Connects that begin later: after failed ones, and with a delay. In virtual time, so exactly.

use std::net::SocketAddr;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Limits, RetryRate, Timeouts};
use peerloop::sim::{Faults, Link, NodeId, World};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Handler, Net};

const SECOND: Duration = Duration::from_secs(1);

/// Connects again as soon as it has failed, if it is told to.
#[derive(Default)]
struct Client {
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
            net.connect(info.addr).expect("it is within the limits");
        }
    }
}

/// A calm world with two hosts, and an address of the second at which nobody listens.
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

fn failures(world: &mut World, client: NodeId<Client>) -> usize {
    world.with(client, |client, _| client.failed.len())
}

#[test]
fn a_connect_in_on_connect_failed_is_no_busy_loop() {
    let (mut world, client, other, addr) = world(Config::default());
    world.with(client, |client, net| {
        client.again = true;
        net.connect(addr).expect("it is within the limits");
    });
    world.run_for(SECOND / 50);
    // The first one follows no failure.
    assert_eq!(failures(&mut world, client), 1 + 20);
    world.run_for(10 * SECOND);
    assert_eq!(failures(&mut world, client), 1 + 20 + 100);
    // A success ends it, and the next loop begins anew.
    world.with(other, |_, net| net.listen(addr).expect("the port is free"));
    world.run_for(SECOND);
    assert_eq!(world.with(client, |client, _| client.connected), 1);
    world.crash(other);
    world.restart(other, Client::default());
    world.run_for(SECOND);
    let before = failures(&mut world, client);
    world.with(client, |_, net| {
        let all: Vec<ConnId> = net.connections().map(|it| it.id()).collect();
        all.into_iter().for_each(|conn| net.abort(conn));
        net.connect(addr).expect("it is within the limits");
    });
    world.run_for(SECOND / 2);
    assert_eq!(failures(&mut world, client) - before, 1 + 20 + 4);
}

#[test]
fn the_rate_is_that_of_an_address_and_a_port() {
    let limits = Limits {
        connect_retry_rate: RetryRate {
            per_second: 1,
            burst: 1,
        },
        ..Limits::default()
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let (mut world, client, _, addr) = world(config);
    let connect = move |port: u16| {
        move |_: &mut Client, net: &mut Net| {
            net.connect(SocketAddr::new(addr.ip(), port))
                .expect("it is within the limits");
        }
    };
    for (port, failed) in [(1, 1), (1, 2), (1, 2), (2, 3), (2, 4)] {
        world.with(client, connect(port));
        world.run_for(SECOND / 10);
        assert_eq!(failures(&mut world, client), failed, "{port}");
    }
    world.run_for(SECOND);
    assert_eq!(failures(&mut world, client), 5);
}

#[test]
fn a_connect_with_a_delay_begins_then() {
    let config = Config {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                connect: Some(SECOND),
                ..Timeouts::default()
            },
            ..ConnectionConfig::default()
        },
        ..Config::default()
    };
    let (mut world, client, other, addr) = world(config);
    let connect = move |delay| {
        move |_: &mut Client, net: &mut Net| {
            let mut options = net.connect_options();
            options.delay = Some(delay);
            net.connect_with(addr, options)
                .expect("it is within the limits")
        }
    };
    // The delay is longer than the connect timeout.
    let conn = world.with(client, connect(3 * SECOND));
    world.run_for(2 * SECOND);
    world.with(client, move |client, net| {
        assert!(client.failed.is_empty());
        assert_eq!(
            net.connecting().map(|it| it.id()).collect::<Vec<_>>(),
            [conn]
        );
        assert_eq!(net.connect(addr), Err(ConnectError::AlreadyConnecting));
    });
    world.run_for(SECOND + SECOND / 2);
    assert_eq!(failures(&mut world, client), 1);

    // The timeout runs from the beginning.
    world.partition(client, other);
    world.with(client, connect(3 * SECOND));
    world.run_for(3 * SECOND + SECOND / 2);
    assert_eq!(failures(&mut world, client), 1);
    world.run_for(SECOND);
    let failed = |world: &mut World| world.with(client, |client, _| client.failed.clone());
    assert_eq!(failed(&mut world)[1..], [ConnectError::TimedOut]);

    // A cancelled one is reported at once, and nothing is left of it.
    let conn = world.with(client, connect(3 * SECOND));
    world.with(client, move |_, net| net.close(conn));
    world.run_for(SECOND / 10);
    assert_eq!(failed(&mut world)[2..], [ConnectError::Cancelled]);
    world.run_for(10 * SECOND);
    assert_eq!(failures(&mut world, client), 3);
}

#[test]
fn a_delay_of_zero_is_no_delay_and_is_not_charged() {
    let (mut world, client, _, addr) = world(Config::default());
    for count in 1..=100 {
        world.with(client, move |_, net| {
            let mut options = net.connect_options();
            options.delay = Some(Duration::ZERO);
            net.connect_with(addr, options)
                .expect("it is within the limits");
        });
        world.run_for(SECOND / 100);
        assert_eq!(failures(&mut world, client), count);
    }
    // The others have what they had.
    for count in 101..=120 {
        world.with(client, move |_, net| {
            net.connect(addr).expect("it is within the limits");
        });
        world.run_for(SECOND / 100);
        assert_eq!(failures(&mut world, client), count);
    }
}

#[test]
fn a_shutdown_ends_a_connect_that_has_not_begun() {
    let (mut world, client, _, addr) = world(Config::default());
    world.with(client, move |_, net| {
        let mut options = net.connect_options();
        options.delay = Some(60 * SECOND);
        net.connect_with(addr, options)
            .expect("it is within the limits");
    });
    world.run_for(SECOND);
    world.with(client, |_, net| net.shutdown(SECOND));
    world.run_for(SECOND);
    let failed = world.with(client, |client, _| client.failed.clone());
    assert_eq!(failed, [ConnectError::ShuttingDown]);
}
