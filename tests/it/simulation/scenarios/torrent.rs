//! Two peers that send much to each other at once, through small kernel
//! buffers. Neither may wait for the other to read first, because the other may
//! wait for the same.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, SocketConfig, Timeouts, TurnBudget};
use peerloop::sim::{Faults, NodeId, Random, World, for_each_seed};
use peerloop::{Config, ConnId, ConnInfo, Handler, Net, Transport};

use crate::util::secured::Secured;
use crate::util::sessions::{Manner, Xor};

/// Number of messages of each side: several batches of what a session seals at
/// once.
const MESSAGES: u32 = 40;
const MESSAGE_LEN: usize = 20_000;

struct Talker {
    secured: Secured,
    /// For [`Secured::Xor`]: sealed bytes may be several times as long as the
    /// plaintext.
    data_max: usize,
    /// With [`Secured::Xor`]: how often one side asks, and how much the other answers.
    asks: u32,
    answer_len: usize,
    listens: bool,
    /// Whether it reads nothing.
    reads_nothing: bool,
    /// How many messages it sends.
    messages: u32,
    received: u32,
}

impl Default for Talker {
    fn default() -> Self {
        Self {
            secured: Secured::Xor,
            data_max: 16_384,
            asks: 0,
            answer_len: 1,
            listens: false,
            reads_nothing: false,
            messages: 0,
            received: 0,
        }
    }
}

impl Handler for Talker {
    fn on_start(&mut self, net: &mut Net) {
        if self.listens {
            let addr = SocketAddr::from(([0, 0, 0, 0], 7000));
            net.listen(addr).expect("the port is free");
        }
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        if self.secured == Secured::Xor {
            let mut session = Xor::new(info.direction);
            session.data_max = self.data_max;
            session.asks = self.asks;
            session.pong_len = self.answer_len;
            return Ok(session.into());
        }
        Ok(self.secured.transport(info.direction, Manner::Agrees))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        for number in 0..self.messages {
            net.send(conn, &message(number)[..]).expect("there is room");
        }
        if self.reads_nothing {
            net.pause(conn);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, received: &[u8]) {
        assert!(
            received == message(self.received),
            "message {}",
            self.received
        );
        self.received += 1;
    }
}

fn message(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(MESSAGE_LEN / 4)
}

fn config(random: &mut Random) -> Config {
    let mut buffer = || Some(random.between(2_000, 20_000) as usize);
    Config {
        sockets: SocketConfig {
            send_buffer_bytes: buffer(),
            receive_buffer_bytes: buffer(),
            ..patient().sockets
        },
        ..patient()
    }
}

/// A configuration in which no timeout ends a wait.
fn patient() -> Config {
    Config {
        connection: ConnectionConfig {
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
        ..Config::default()
    }
}

fn connect(world: &mut World, [there, here]: [NodeId<Talker>; 2]) {
    world.run_for(Duration::from_millis(1));
    let addr = world.addr(there);
    world
        .with(here, |_, net| net.connect(addr))
        .expect("nothing forbids it");
}

fn both_receive_everything(seed: u64) {
    let mut world = World::new(seed);
    let mut faults = Faults::drawn(seed).lossless();
    // With a window of a few bytes it would take too long.
    faults.small_buffers = 0.0;
    faults.small_segments = 0.0;
    world.faults(faults);
    let mut random = world.random();
    let secured = Secured::of_seed(seed);
    let data_max = [4, 16, 64, 16_384][random.below(4) as usize];
    let nodes = [true, false].map(|listens| {
        let talker = Talker {
            secured,
            data_max,
            listens,
            messages: MESSAGES,
            ..Talker::default()
        };
        let config = config(&mut random);
        world.node(config, talker)
    });
    connect(&mut world, nodes);
    world
        .run_until(Duration::from_secs(600), |world| {
            nodes
                .iter()
                .all(|node| world.with(*node, |it, _| it.received == MESSAGES))
        })
        .expect("everything arrives");
}

#[test]
fn simultaneous_streams_both_arrive() {
    for_each_seed(10, both_receive_everything);
}

/// One peer asks, reads nothing and keeps sending. Returns how many of its
/// messages are delivered when the answer is this long.
fn received_with_answer(answer_len: usize) -> u32 {
    let mut world = World::new(answer_len as u64);
    world.faults(Faults::calm());
    let narrow = Config {
        // Less than a message.
        read_buffer_bytes: 4096,
        budget: TurnBudget {
            write_bytes: 1000,
            ..patient().budget
        },
        sockets: SocketConfig {
            send_buffer_bytes: Some(4096),
            receive_buffer_bytes: Some(4096),
            ..patient().sockets
        },
        ..patient()
    };
    let answers = Talker {
        answer_len,
        listens: true,
        ..Talker::default()
    };
    let asks = Talker {
        asks: 1,
        reads_nothing: true,
        messages: 10,
        ..Talker::default()
    };
    let nodes = [answers, asks].map(|talker| world.node(narrow.clone(), talker));
    connect(&mut world, nodes);
    world.run_for(Duration::from_secs(60));
    world.with(nodes[0], |it, _| it.received)
}

/// With each length, another write is the one that leaves few enough bytes to
/// go on reading. No event follows the last write that the sockets accept. The
/// world reports it if the node forgets to read on.
#[test]
fn unread_answers_pause_further_requests() {
    let received: Vec<u32> = (66_000..76_000)
        .step_by(500)
        .map(received_with_answer)
        .collect();
    assert!(received.is_sorted_by(|a, b| a >= b), "{received:?}");
    assert_eq!(received.first(), Some(&10), "few bytes wait");
    assert!(received.last() < Some(&10), "more bytes wait than may");
}
