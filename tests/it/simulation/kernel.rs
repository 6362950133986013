//! Refusals and delays of simulated kernels, as a node observes them.

use std::io::ErrorKind;

use peerloop::sim::WireListener;

use super::{
    Config, ConnId, ConnInfo, ConnectError, ConnectionConfig, DisconnectReason, Duration, Faults,
    Handler, Net, NodeId, SECOND, SocketAddr, Timeouts, TimerId, World, for_each_seed,
};

const SHORT: Duration = Duration::from_millis(50);

/// Records its callbacks.
#[derive(Default)]
struct Log {
    connected: Vec<ConnId>,
    failed: Vec<ConnectError>,
    ended: Vec<DisconnectReason>,
    timers: Vec<u64>,
}

impl Handler for Log {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(SocketAddr::from(([0, 0, 0, 0], 7000)))
            .expect("the port is free");
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.connected.push(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended.push(reason);
    }

    fn on_timer(&mut self, _: &mut Net, _: TimerId, key: u64) {
        self.timers.push(key);
    }
}

/// Two nodes in a world without faults, and where the second listens.
fn two(seed: u64) -> (World, [NodeId<Log>; 2], SocketAddr) {
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    let config = Config {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                idle: None,
                ..Timeouts::default()
            },
            ..Default::default()
        },
        ..Config::default()
    };
    let nodes = [0; 2].map(|_| world.node(config.clone(), Log::default()));
    world.run_for(SHORT);
    let addr = world.addr(nodes[1]);
    (world, nodes, addr)
}

fn connect(world: &mut World, node: NodeId<Log>, addr: SocketAddr) -> ConnId {
    world
        .with(node, |_, net| net.connect(addr))
        .expect("nothing forbids it")
}

/// A fault that always strikes.
fn always(fault: impl Fn(&mut Faults) -> &mut f64) -> Faults {
    let mut faults = Faults::calm();
    *fault(&mut faults) = 1.0;
    faults
}

#[test]
fn connect_fails_once_without_resources() {
    for_each_seed(20, |seed| {
        for faults in [
            always(|faults| &mut faults.no_descriptor),
            always(|faults| &mut faults.unreachable),
            always(|faults| &mut faults.failed_registration),
        ] {
            let (mut world, [a, b], addr) = two(seed);
            world.faults(faults);
            connect(&mut world, a, addr);
            world.run_for(SHORT);
            world.with(a, |it, _| {
                assert!(matches!(it.failed[..], [ConnectError::Io(_)]));
                assert!(it.connected.is_empty());
            });
            world.faults(Faults::calm());
            connect(&mut world, a, addr);
            world.run_for(SHORT);
            for node in [a, b] {
                world.with(node, |it, _| assert_eq!(it.connected.len(), 1));
            }
        }
    });
}

#[test]
fn failed_registration_is_counted() {
    let (mut world, [_, b], addr) = two(1);
    world.faults(always(|faults| &mut faults.failed_registration));
    let wire = world.wire(addr).expect("nothing forbids it");
    world.run_for(SHORT);
    assert!(world.read_wire(wire, &mut Vec::new()).expect("it is well"));
    world.with(b, |it, net| {
        assert!(it.connected.is_empty());
        assert_eq!(net.metrics().accept_errors, 1);
    });
}

/// Returns two nodes that have connected to a listener with one place. Both
/// consider themselves connected, and have sent a message.
fn overbooked() -> (World, [NodeId<Log>; 2], WireListener) {
    let (mut world, nodes, _) = two(1);
    world.faults(always(|faults| &mut faults.overbooked_backlog));
    let listener = world.wire_listener(0);
    for node in nodes {
        connect(&mut world, node, listener.addr());
    }
    world.run_for(SHORT);
    for node in nodes {
        let sent = world.with(node, |it, net| net.send(it.connected[0], b"hello"));
        sent.expect("it is connected");
    }
    (world, nodes, listener)
}

#[test]
fn half_accepted_connection_gets_a_later_place() {
    let (mut world, nodes, listener) = overbooked();
    world.run_for(SHORT);
    assert!(world.accept_wire(listener).is_some());
    assert!(world.accept_wire(listener).is_none());
    world.run_for(2 * SECOND);
    let second = world.accept_wire(listener).expect("there was a place");
    let mut read = Vec::new();
    assert!(!world.read_wire(second, &mut read).expect("it is well"));
    assert_eq!(read, b"\0\0\0\x05hello");
    for node in nodes {
        world.with(node, |it, _| assert!(it.ended.is_empty()));
    }
}

#[test]
fn half_accepted_connection_ends_in_a_reset() {
    let (mut world, [a, b], _) = overbooked();
    world.run_for(60 * SECOND);
    world.with(b, |it, _| assert!(it.ended.is_empty()));
    world.run_for(10 * SECOND);
    world.with(b, |it, _| assert_eq!(it.ended, [DisconnectReason::Reset]));
    world.with(a, |it, _| assert!(it.ended.is_empty()));
}

#[test]
fn source_port_is_free_after_a_minute() {
    let (mut world, [a, _], addr) = two(1);
    let source = SocketAddr::new(world.ip(a), 5000);
    let connect = |world: &mut World| {
        let begun = world.with(a, |_, net| {
            let mut options = net.connect_options();
            options.source = Some(source);
            net.connect_with(addr, options)
        });
        world.run_for(SHORT);
        begun.expect("nothing forbids it")
    };
    let first = connect(&mut world);
    world.with(a, |it, net| {
        assert_eq!(it.connected, [first]);
        net.close(first);
    });
    world.run_for(SECOND);
    world.with(a, |it, _| assert_eq!(it.ended.len(), 1));
    connect(&mut world);
    let in_use = ConnectError::Io(ErrorKind::AddrInUse.into());
    world.with(a, |it, _| assert_eq!(it.failed, [in_use]));
    world.run_for(61 * SECOND);
    let third = connect(&mut world);
    world.with(a, |it, _| assert_eq!(it.connected, [first, third]));
}

#[test]
fn timers_are_never_early() {
    for_each_seed(20, |seed| {
        let (mut world, [a, _], _) = two(seed);
        world.faults(always(|faults| &mut faults.late_turn));
        let due = world.now() + SECOND;
        world.with(a, |_, net| net.set_timer(SECOND, 1));
        world
            .run_until(2 * SECOND, |world| {
                world.with(a, |it, _| !it.timers.is_empty())
            })
            .expect("it comes");
        let late = world.now().checked_sub(due).expect("it is not early");
        assert!(late <= Duration::from_millis(11), "{late:?}");
        assert!(world.fault_counts().late_turns > 0);
    });
}
