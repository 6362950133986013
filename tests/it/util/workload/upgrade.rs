//! Two nodes that change their framing again and again, while messages are on
//! their way in both directions.

use std::error::Error;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Timeouts};
use peerloop::sim::{Faults, NodeId, Random, World, spend};
use peerloop::{Config, ConnId, ConnInfo, Direction, DisconnectReason, Handler, Net, Transport};

use super::talk::{Kind, PORTS};
use crate::util::secured::Secured;
use crate::util::sessions::Manner;

/// The client's last message in the current framing. After it the client sends
/// nothing until the answer arrives. Each framing can carry both.
const REQUEST: &[u8; 24] = b"change to next framing..";
/// The server's last message in the current framing.
const ANSWER: &[u8; 24] = b"this was the last frame.";

/// Number of changes in a world.
const CHANGES: usize = 8;

/// Number of messages of each node in each framing.
const LEFT: u64 = 12;

struct Upgrader {
    random: Random,
    secured: Secured,
    /// The framings, one after the other.
    kinds: Vec<Kind>,
    current: usize,
    direction: Option<Direction>,
    conn: Option<ConnId>,
    /// The change was requested or is delayed. Nothing is sent until it is made.
    is_changing: bool,
    /// Number of messages that may be sent in the current framing, because a
    /// link may be slow.
    left: u64,
    sent: u64,
    heard: u64,
}

impl Upgrader {
    fn new(random: &mut Random, secured: Secured, kinds: &[Kind]) -> Self {
        Self {
            random: Random::new(random.next_u64()),
            secured,
            kinds: kinds.to_vec(),
            current: 0,
            direction: None,
            conn: None,
            is_changing: false,
            left: LEFT,
            sent: 0,
            heard: 0,
        }
    }

    fn is_done(&self) -> bool {
        self.current + 1 == self.kinds.len()
    }

    /// Sends some messages, and sometimes the request.
    fn act(&mut self, net: &mut Net) {
        let Some(conn) = self.conn.filter(|_| !self.is_changing) else {
            return;
        };
        for _ in 0..self.random.below(4).min(self.left) {
            self.left -= 1;
            let message = self.kinds[self.current].message(self.sent, self.random.below(1000));
            net.send(conn, &message).expect("there is room");
            self.sent += 1;
        }
        let may_ask = self.direction == Some(Direction::Outbound) && !self.is_done();
        if may_ask && self.random.chance(0.5) {
            net.send(conn, REQUEST).expect("there is room");
            self.is_changing = true;
        }
        if self.random.chance(0.1) {
            let max = self.random.between(30_000, 60_000) as usize;
            net.set_max_message_len(conn, max).expect("it is valid");
        }
    }

    /// Changes the framing now, or during a pause.
    fn change(&mut self, net: &mut Net, conn: ConnId) {
        if self.random.chance(0.5) {
            return self.change_now(net, conn);
        }
        self.is_changing = true;
        net.pause(conn);
        let after = Duration::from_micros(self.random.below(5_000));
        net.set_conn_timer(conn, after, 0);
    }

    fn change_now(&mut self, net: &mut Net, conn: ConnId) {
        self.current += 1;
        let framing = self.kinds[self.current].framing();
        net.set_framing(conn, framing).expect("it is valid");
        (self.is_changing, self.left) = (false, LEFT);
        self.act(net);
    }
}

impl Handler for Upgrader {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.secured.transport(info.direction, Manner::Agrees))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
        self.direction = net.connection(conn).map(|it| it.info().direction);
        self.act(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        spend(Duration::from_micros(self.random.below(300)));
        if message == REQUEST {
            net.send(conn, ANSWER).expect("there is room");
            self.change(net, conn);
        } else if message == ANSWER {
            self.change(net, conn);
        } else {
            self.heard = self.kinds[self.current].check(self.heard, message);
            if self.random.chance(0.2) {
                self.act(net);
            }
        }
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
        self.change_now(net, conn);
        net.resume(conn);
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        panic!("the connection ended: {reason}");
    }
}

fn config(random: &mut Random, kind: Kind) -> Config {
    Config {
        connection: ConnectionConfig {
            framing: kind.framing(),
            max_message_len: 40_000,
            timeouts: Timeouts {
                connect: None,
                handshake: None,
                idle: None,
                receive_idle: None,
                partial_message: None,
                write_stall: None,
                linger: None,
            },
            ..Default::default()
        },
        read_buffer_bytes: 4096 + random.below(8192) as usize,
        ..crate::util::strict()
    }
}

/// Runs one world: all messages arrive, each in the framing of its time.
pub fn upgrade(seed: u64) {
    let mut random = Random::new(seed ^ 0x0075_7064);
    let mut world = World::new(seed);
    world.faults(match seed % 3 {
        0 => Faults::calm(),
        _ => Faults::drawn(seed).lossless(),
    });
    let secured = Secured::of_seed(seed);
    let kinds: Vec<Kind> = std::iter::repeat_with(|| Kind::drawn(&mut random))
        .filter(|kind| !kind.is_raw())
        .take(CHANGES + 1)
        .collect();
    let nodes = [(); 2].map(|()| {
        let config = config(&mut random, kinds[0]);
        let handler = Upgrader::new(&mut random, secured, &kinds);
        world.node(config, handler)
    });
    let addr = world.with(nodes[0], |_, net| {
        let port = std::net::SocketAddr::from(([0, 0, 0, 0], PORTS[0]));
        net.listen(port).expect("the port is free")
    });
    let mut server = world.addr(nodes[0]);
    server.set_port(addr.addr.port());
    world
        .with(nodes[1], |_, net| net.connect(server))
        .expect("no limit is reached");
    let mut rounds = 0..20_000;
    while !nodes.iter().all(|node| is_quiet(&mut world, nodes, *node)) {
        assert!(rounds.next().is_some(), "the changes do not end");
        for node in nodes {
            world.with(node, |it, net| {
                if !it.is_done() {
                    it.act(net);
                }
            });
        }
        world.run_for(Duration::from_millis(random.between(1, 30)));
    }
}

/// Whether a node has changed to the last framing and received all messages of
/// the other one.
fn is_quiet(world: &mut World, nodes: [NodeId<Upgrader>; 2], node: NodeId<Upgrader>) -> bool {
    let sent = nodes.map(|node| world.with(node, |it, _| it.sent));
    let other = usize::from(node == nodes[0]);
    world.with(node, |it, _| it.is_done() && it.heard == sent[other])
}
