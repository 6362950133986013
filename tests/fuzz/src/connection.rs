//! A connection between two nodes, in a world whose faults and calls the input
//! decides.

use std::time::Duration;

use peerloop::config::{ConnectionConfig, Limits, SendQueueConfig, TurnBudget};
use peerloop::sim::{Faults, NodeId, World};
use peerloop::{Bytes, Config, ConnId, Handler, Net};

use crate::input::Input;

/// Listens, and counts the messages.
#[derive(Default)]
struct Peer {
    conns: Vec<ConnId>,
    received: u64,
}

impl Handler for Peer {
    fn on_start(&mut self, net: &mut Net) {
        net.listen("0.0.0.0:7000").expect("the port is free");
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conns.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.received += 1;
        // Some reactions, decided by the message.
        match message.first() {
            Some(0) => net.close(conn),
            Some(1) => net.pause(conn),
            Some(2) => {
                let _ = net.send(conn, &message[1..]);
            }
            _ => {}
        }
    }
}

/// Makes one call of a node, or lets time pass, for each byte or two. The world
/// checks its guarantees after each turn.
pub fn connection(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(u64::from(input.byte()));
    world.faults([Faults::hostile(), Faults::calm()][input.below(2)].clone());
    let config = |input: &mut Input<'_>| Config {
        read_buffer_bytes: 4096,
        budget: TurnBudget {
            read_bytes: 1 + 16 * input.below(256),
            write_bytes: 1 + 16 * input.below(256),
            ..Default::default()
        },
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                low_bytes: 16,
                high_bytes: 64,
                max_bytes: 4096,
                ..Default::default()
            },
            allow_half_open: input.below(2) == 1,
            ..Default::default()
        },
        limits: Limits {
            loop_send_bytes: 8192,
            ..Default::default()
        },
        ..Config::default()
    };
    let nodes = [(); 2].map(|()| world.node(config(&mut input), Peer::default()));
    world.run_for(Duration::from_millis(10));
    while !input.is_empty() {
        let node = nodes[input.below(2)];
        let other = (world.ip(nodes[input.below(2)]), 7000).into();
        step(&mut world, node, other, &mut input);
    }
    world.faults(Faults::calm());
    for node in nodes {
        world.with(node, |_, net| net.shutdown(Duration::from_secs(5)));
    }
    world.run_for(Duration::from_secs(30));
}

fn step(world: &mut World, node: NodeId<Peer>, other: std::net::SocketAddr, input: &mut Input<'_>) {
    let verb = input.below(16);
    let which = input.below(8);
    if verb < 4 {
        return world.run_for(Duration::from_micros(1 << which << (4 * verb)));
    }
    let body = vec![input.byte(); 8 * which];
    world.with(node, |it, net| {
        let conn = it.conns.get(which).or(it.conns.last()).copied();
        match (verb, conn) {
            (4, _) | (_, None) => drop(net.connect(other)),
            (5..=7, Some(conn)) => drop(net.send(conn, &body)),
            (8, Some(conn)) => drop(net.send(conn, Bytes::from(body))),
            (9, Some(conn)) => drop(net.send_tracked(conn, &body, 1)),
            (10, Some(conn)) => net.pause(conn),
            (11, Some(conn)) => net.resume(conn),
            (12, Some(conn)) => net.flush(conn),
            (13, Some(conn)) => net.close(conn),
            (14, Some(conn)) => net.close_write(conn),
            (_, Some(conn)) => net.abort(conn),
        }
    });
}
