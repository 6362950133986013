//! Timers, intervals and timers of connections: exact in the simulator, where a turn takes
//! no time.

mod on_sockets;

use std::time::{Duration, Instant};

use crate::util::strict;
use peerloop::sim::{NodeId, World};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net, Node, RunEnd, TimerId};

const MS: Duration = Duration::from_millis(1);

/// Notes what fires, and when.
#[derive(Default)]
struct Log {
    fired: Vec<(TimerId, u64, Instant)>,
    conn_timers: Vec<(ConnId, u64, Instant)>,
    /// An interval that cancels itself at this call.
    cancels_at: Option<usize>,
    connected: Vec<ConnId>,
    ended: Vec<ConnId>,
}

impl Handler for Log {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.connected.push(conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        self.fired.push((timer, key, net.now()));
        if self.cancels_at == Some(self.fired.len()) {
            assert_eq!(net.cancel_timer(timer), Some(key));
            assert_eq!(net.cancel_timer(timer), None, "it was cancelled");
        }
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, key: u64) {
        assert!(net.connection(conn).is_some(), "it is there");
        self.conn_timers.push((conn, key, net.now()));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        assert!(!net.set_conn_timer(conn, MS, 0), "it has ended");
        self.ended.push(conn);
    }
}

fn world() -> (World, NodeId<Log>, Instant) {
    let mut world = World::new(1);
    let node = world.node(strict(), Log::default());
    let now = world.with(node, |_, net| net.now());
    (world, node, now)
}

/// Milliseconds after the start at which each timer fired, with its key.
fn times(world: &World, node: NodeId<Log>, start: Instant) -> Vec<(u64, u128)> {
    let fired = world.handler(node).fired.iter();
    fired
        .map(|(_, key, at)| (*key, at.duration_since(start).as_millis()))
        .collect()
}

#[test]
fn timer_at_a_past_instant_fires_at_once() {
    let (mut world, node, start) = world();
    world.with(node, |_, net| {
        net.set_timer_at(start + 20 * MS, 2);
        net.set_timer_at(start, 1);
    });
    world.run_for(100 * MS);
    assert_eq!(times(&world, node, start), [(1, 0), (2, 20)]);
}

#[test]
fn interval_keeps_its_phase_and_its_id() {
    let (mut world, node, start) = world();
    let timer = world.with(node, |_, net| net.set_interval(10 * MS, 7));
    world.run_for(35 * MS);
    assert_eq!(times(&world, node, start), [(7, 10), (7, 20), (7, 30)]);
    let ids: Vec<TimerId> = world.handler(node).fired.iter().map(|it| it.0).collect();
    assert_eq!(ids, [timer; 3]);
    assert_eq!(world.with(node, |_, net| net.cancel_timer(timer)), Some(7));
    world.run_for(100 * MS);
    assert_eq!(world.handler(node).fired.len(), 3);
}

#[test]
fn interval_can_be_cancelled_in_its_callback() {
    let (mut world, node, _) = world();
    world.with(node, |it, net| {
        it.cancels_at = Some(2);
        net.set_interval(10 * MS, 7);
    });
    world.run_for(100 * MS);
    assert_eq!(world.handler(node).fired.len(), 2);
}

#[test]
fn id_of_a_fired_timer_is_stale() {
    let (mut world, node, _) = world();
    let first = world.with(node, |_, net| net.set_timer(MS, 1));
    world.run_for(5 * MS);
    let second = world.with(node, |_, net| net.set_interval(10 * MS, 2));
    assert_ne!(first, second);
    assert_eq!(world.with(node, |_, net| net.cancel_timer(first)), None);
    world.run_for(12 * MS);
    assert_eq!(world.handler(node).fired.len(), 2);
}

/// Two connected nodes: the world, the connecting one, its connection, and the time.
fn connected() -> (World, NodeId<Log>, ConnId, Instant) {
    let (mut world, node, _) = world();
    let server = world.node(Config::default(), Log::default());
    world
        .with(server, |_, net| net.listen("0.0.0.0:7000"))
        .expect("the port is free");
    let addr = world.addr(server);
    let conn = world
        .with(node, |_, net| net.connect(addr))
        .expect("no limit");
    world
        .run_until(Duration::from_secs(5), |world| {
            !world.handler(node).connected.is_empty()
        })
        .expect("it connects");
    let now = world.with(node, |_, net| net.now());
    (world, node, conn, now)
}

#[test]
fn connection_has_one_timer_for_each_key() {
    let (mut world, node, conn, start) = connected();
    world.with(node, |_, net| {
        assert!(net.set_conn_timer(conn, 10 * MS, 1));
        assert!(net.set_conn_timer(conn, 10 * MS, 2));
        assert!(net.set_conn_timer(conn, 30 * MS, 1), "it is moved");
        assert!(net.set_conn_timer(conn, 20 * MS, 3));
        assert!(net.cancel_conn_timer(conn, 3));
        assert!(!net.cancel_conn_timer(conn, 3), "it was cancelled");
    });
    world.run_for(100 * MS);
    let fired = &world.handler(node).conn_timers;
    assert_eq!(
        *fired,
        [(conn, 2, start + 10 * MS), (conn, 1, start + 30 * MS)]
    );
    // After it has fired it can be set again.
    world.with(node, |_, net| net.set_conn_timer(conn, MS, 2));
    world.run_for(10 * MS);
    assert_eq!(world.handler(node).conn_timers.len(), 3);
}

#[test]
fn connection_timer_ends_with_its_connection() {
    let (mut world, node, conn, _) = connected();
    world.with(node, |_, net| {
        net.set_conn_timer(conn, Duration::ZERO, 1);
        net.set_conn_timer(conn, 50 * MS, 2);
        net.abort(conn);
    });
    world.run_for(200 * MS);
    assert_eq!(world.handler(node).ended, [conn]);
    assert!(world.handler(node).conn_timers.is_empty());
    world.with(node, |_, net| {
        assert!(!net.set_conn_timer(conn, MS, 1), "the id is stale");
        assert!(!net.cancel_conn_timer(conn, 2));
    });
}

/// A timer in the past, set again whenever it fires, as a handler does that catches up.
#[test]
fn timer_in_the_past_delays_no_other() {
    struct Late {
        start: Option<Instant>,
        ticks: usize,
    }

    impl Handler for Late {
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

        fn on_start(&mut self, net: &mut Net) {
            self.start = Some(net.now());
            net.set_interval(5 * MS, 1);
            net.set_timer_at(net.now(), 0);
        }

        fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
            match key {
                0 => drop(net.set_timer_at(self.start.expect("it has begun"), 0)),
                _ => self.ticks += 1,
            }
        }
    }

    let late = Late {
        start: None,
        ticks: 0,
    };
    let mut node = Node::new(strict(), late).expect("a node");
    let end = node.run_until(Duration::from_secs(10), |late, _| late.ticks == 3);
    assert_eq!(end.expect("a turn"), RunEnd::Done);
}
