//! Random workloads over all calls, callbacks and framings, with and without
//! sessions, through crashes and partitions, in worlds with all kinds of
//! faults. The worlds check the guarantees after every turn; the handlers check
//! the messages.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its own part of it"
)]

mod alive;
mod chatter;
mod flush;
mod siege;
mod siege_nodes;
mod strangers;
mod talk;
mod upgrade;

use peerloop::config::{
    CommandQueueConfig, ConnectionConfig, Limits, OnFull, OnPanic, Ping, PrefixLimit, Rate,
    RateLimits, SendQueueConfig, Timeouts, TurnBudget,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use peerloop::error::TimeoutKind;
use peerloop::sim::{Faults, Link, NodeId, Random, World};
use peerloop::{Config, ConnId, Connection, DisconnectReason, Handler, Net};

pub use alive::alive;
use chatter::{Chatter, some_timeouts};
pub use flush::flush;
pub use siege::{SIEGES, besiege};
use strangers::Strangers;
use talk::{ANNOUNCEMENT, PORTS, Rules};
pub use upgrade::upgrade;

/// Settings that are reached often.
fn config(random: &mut Random, rules: Rules) -> Config {
    // Often all queues together may hold no more than one of them.
    let loop_room = usize::from(random.chance(0.4));
    let mut pick = |low, high| random.between(low, high) as usize;
    let (high_bytes, budget) = (pick(1, 20_000), pick(1, 5_000));
    let max_bytes = high_bytes + pick(0, 60_000);
    let mut config = Config {
        connection: ConnectionConfig {
            framing: rules.kinds[0].framing(),
            max_message_len: 40_000,
            send_queue: SendQueueConfig {
                low_bytes: pick(0, high_bytes as u64),
                high_bytes,
                max_bytes,
                ..Default::default()
            },
            ..Default::default()
        },
        limits: Limits {
            loop_send_bytes: max_bytes + pick(0, 100_000) * loop_room,
            max_connections: pick(4, 40),
            max_connections_per_address: pick(2, 10),
            max_inbound_handshakes: pick(1, 6),
            max_outbound_connecting: pick(1, 6),
            ..Default::default()
        },
        read_buffer_bytes: 4096 + pick(0, 8192),
        budget: TurnBudget {
            accepts: pick(1, 4),
            handshake_steps: pick(1, 3),
            commands: pick(1, 3),
            max_visit_time: Duration::from_micros(pick(20, 2_000) as u64),
            max_turn_time: Duration::from_micros(pick(100, 20_000) as u64),
            ..Default::default()
        },
        commands: CommandQueueConfig {
            max_commands: pick(1, 4),
            ..Default::default()
        },
        // A panic is a failed test, unless it is one on purpose.
        on_panic: match rules.panics {
            Some(_) => OnPanic::Contain,
            None => OnPanic::Unwind,
        },
        ..Config::default()
    };
    if random.chance(0.3) {
        config.limits.max_connections_per_prefix = Some(PrefixLimit {
            max: random.between(2, 20) as usize,
            ..PrefixLimit::default()
        });
    }
    if random.chance(0.3) {
        config.sockets.send_buffer_bytes = Some(random.between(2_000, 20_000) as usize);
        config.sockets.receive_buffer_bytes = Some(random.between(2_000, 20_000) as usize);
    }
    if random.chance(0.5) {
        (config.budget.read_bytes, config.budget.write_bytes) = (budget, budget);
    }
    if random.chance(0.5) {
        config.connection.allow_half_open = true;
    }
    if random.chance(0.3) {
        config.connection.send_queue.on_full = OnFull::Disconnect;
    }
    if random.chance(0.3) {
        config.allow_duplicates = true;
    }
    if random.chance(0.1) {
        config.allow_self_connections = true;
    }
    config.connection.timeouts = some_timeouts(random);
    // In a raw stream a ping could not be told from its neighbours.
    let has_boundaries = !rules.kinds.iter().any(|kind| kind.is_raw());
    if random.chance(0.3) && has_boundaries {
        config.connection.ping = Some(Ping {
            after: Duration::from_millis(random.between(700, 3_000)),
            message: ANNOUNCEMENT[..].into(),
        });
    }
    if random.chance(0.3) {
        config.connection.rate = rates(random);
    }
    if random.chance(0.2) {
        config.limits.rate_per_address = rates(random);
    }
    config
}

/// Rates that slow down, but not by minutes.
fn rates(random: &mut Random) -> RateLimits {
    let mut rate = |low, high, burst| {
        let is_set = random.chance(0.6);
        let rate = Rate {
            per_second: random.between(low, high) as u32,
            burst: random.between(1, burst) as u32,
        };
        is_set.then_some(rate)
    };
    RateLimits {
        receive_bytes: rate(20_000, 500_000, 50_000),
        receive_messages: rate(300, 5_000, 50),
        send_bytes: rate(20_000, 500_000, 50_000),
        send_messages: rate(300, 5_000, 50),
        ..RateLimits::default()
    }
}

/// Faults of the network and the machines, and calls of other threads.
fn disturb(
    world: &mut World,
    random: &mut Random,
    nodes: &[NodeId<Chatter>],
    (rules, others): (Rules, &[SocketAddr]),
) {
    let [a, b] = [0; 2].map(|_| nodes[random.below(nodes.len() as u64) as usize]);
    match random.below(12) {
        0 if world.is_up(a) => drop(world.crash(a)),
        1 | 2 if !world.is_up(a) => {
            let handler = Chatter::new(random, rules, others);
            world.restart(a, handler);
        }
        3 if a != b => world.partition(a, b),
        4 => world.heal(a, b),
        10 if a != b => world.partition_one_way(a, b),
        11 => world.heal_all(),
        5 => {
            let latency = Duration::from_micros(random.between(1, 50_000));
            let link = Link::new(latency).jitter(Duration::from_millis(random.below(20)));
            world.link(a, b, link);
        }
        6 => world.link(
            a,
            b,
            Link::default().bandwidth(random.between(10_000, 10_000_000)),
        ),
        7 if world.is_up(a) && random.chance(0.3) => {
            let grace = Duration::from_millis(random.below(3_000));
            world.with(a, |it, net| it.shut_down(net, grace));
        }
        _ => {}
    }
}

/// Calls of other threads. A full queue refuses them.
fn post(world: &mut World, random: &mut Random, node: NodeId<Chatter>) {
    for _ in 0..random.below(6) {
        let _ = world.post(node, |it, net| it.act(net));
    }
}

fn hosts(random: &mut Random, rules: Rules) -> Vec<IpAddr> {
    let count = random.between(2, 6);
    let host = |last| -> IpAddr {
        if rules.is_v6 {
            Ipv6Addr::new(0xfd00, 0, 0, last, 0, 0, 0, 1).into()
        } else {
            Ipv4Addr::new(10, 0, 0, last as u8).into()
        }
    };
    (1..=count as u16).map(host).collect()
}

/// Runs one world to its end. Returns the number of messages received.
pub fn run(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let rules = Rules::drawn(&mut random);
    let mut world = World::new(seed);
    let hosts = hosts(&mut random, rules);
    let addresses: Vec<SocketAddr> = hosts
        .iter()
        .map(|ip| SocketAddr::new(*ip, PORTS[0]))
        .collect();
    let nodes: Vec<NodeId<Chatter>> = hosts
        .iter()
        .map(|ip| {
            let config = config(&mut random, rules);
            let handler = Chatter::new(&mut random, rules, &addresses);
            world.node_at(*ip, config, handler)
        })
        .collect();
    let mut strangers = Strangers::drawn(&mut random, rules, &addresses);
    let disturbed = random.chance(0.6);
    for _ in 0..20 {
        let time = Duration::from_millis(random.between(1, 400));
        strangers.pass(&mut world, &mut random, time);
        for node in up(&world, &nodes) {
            world.with(node, |it, net| it.check_panics(net));
            if random.chance(0.2) {
                post(&mut world, &mut random, node);
            }
        }
        if disturbed {
            disturb(&mut world, &mut random, &nodes, (rules, &addresses));
        }
    }
    strangers.leave(&mut world, &mut random);
    let nodes = up(&world, &nodes);
    settle(&mut world, &nodes)
}

fn up(world: &World, nodes: &[NodeId<Chatter>]) -> Vec<NodeId<Chatter>> {
    let up = nodes.iter().filter(|node| world.is_up(**node));
    up.copied().collect()
}

/// Runs without new calls and without faults: all messages arrive and all
/// connections end. Returns the number of messages received.
fn settle(world: &mut World, nodes: &[NodeId<Chatter>]) -> u64 {
    world.faults(Faults::calm());
    world.heal_all();
    for node in nodes {
        world.with(*node, Chatter::calm_down);
    }
    world.run_for(Duration::from_secs(2));
    let is_done = |world: &mut World| {
        let mut connections = nodes.iter().flat_map(|node| world.net(*node).connections());
        connections.all(|connection| connection.queued_bytes() == 0)
    };
    wait_for(world, 120, "what was sent leaves", is_done);
    wait_for(world, 120, "what was sent is delivered", |world| {
        is_delivered(world, nodes)
    });
    for node in nodes {
        world.with(*node, |it, net| it.shut_down(net, Duration::from_secs(20)));
    }
    wait_for(world, 30, "all connections end", |world| {
        let mut nodes = nodes.iter();
        nodes.all(|node| world.with(*node, |it, _| it.is_alone()))
    });
    let messages = nodes.iter().map(|node| {
        world.with(*node, |it, net| {
            it.check_panics(net);
            it.messages
        })
    });
    messages.sum()
}

/// Whether on each connection that is open at both ends everything was delivered that was
/// sent by either.
fn is_delivered(world: &World, nodes: &[NodeId<Chatter>]) -> bool {
    let connections = || nodes.iter().flat_map(|node| world.net(*node).connections());
    let ends = |connection: &Connection<'_>| {
        let info = connection.info();
        (info.local_addr, Some(info.addr))
    };
    let sent: BTreeMap<_, u64> = connections()
        .map(|it| (ends(&it), it.traffic().bytes_sent))
        .collect();
    connections().all(|it| {
        let (here, there) = ends(&it);
        let sent = sent.get(&(there, here));
        sent.is_none_or(|sent| *sent == it.traffic().bytes_received)
    })
}

/// Runs for whole seconds until a condition holds. Checking after every turn
/// would cost more than the turns.
fn wait_for(world: &mut World, most: u64, what: &str, is_so: impl Fn(&mut World) -> bool) {
    let mut seconds = 0..most;
    while !is_so(world) {
        assert!(seconds.next().is_some(), "not within {most} s: {what}");
        world.run_for(Duration::from_secs(1));
    }
}

/// A peer that sends single bytes of one long message, and no complete message:
/// it is idle and ends with the idle timeout. In virtual time, so exactly.
pub fn drip(seed: u64) {
    const IDLE: Duration = Duration::from_secs(2);
    const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORTS[0]);

    struct Silent(Option<DisconnectReason>);
    impl Handler for Silent {
        fn on_start(&mut self, net: &mut Net) {
            net.listen(LISTEN).expect("the port is free");
        }
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
        fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
            self.0 = Some(reason);
        }
    }
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    let timeouts = Timeouts {
        idle: Some(IDLE),
        partial_message: None,
        ..Timeouts::default()
    };
    let mut config = Config::default();
    config.connection.timeouts = timeouts;
    // Otherwise the rate limits the time of the message.
    config.connection.min_rate.receive_bytes_per_second = None;
    let node = world.node(config, Silent(None));
    world.run_for(Duration::from_millis(1));
    let addr = world.addr(node);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(Duration::from_millis(100));
    let every = Duration::from_millis(50 + seed % 500);
    let begun = world.now();
    // The header of a message of 1,000 bytes, and its beginning.
    let mut drops = [0, 0, 3, 232].into_iter().chain(std::iter::repeat(b'x'));
    while world.now() < begun + 2 * IDLE {
        let drop = drops.next().expect("there is no end");
        // It is refused when the node has closed the connection.
        let _ = world.write_wire(wire, &[drop]);
        world.run_for(every);
    }
    let ended = world.with(node, |it, _| it.0);
    assert_eq!(ended, Some(DisconnectReason::Timeout(TimeoutKind::Idle)));
}
