//! Counts the readings of the clock in a turn. `net/clock.rs` says when it is
//! read.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::addr::ConnInfo;
use crate::config::Config;
use crate::counts::Count;
use crate::error::SessionError;
use crate::handler::Handler;
use crate::id::{ConnId, TimerId};
use crate::net::Net;
use crate::node::Node;
use crate::session::{Output, Session, Stage, Transport};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(60);

/// The number of turns that are counted.
const TURNS: usize = 5;

/// A session with a long handshake, of which each byte is a step.
struct Handshake;

impl Session for Handshake {
    fn receive(&mut self, bytes: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
        Ok(bytes.len())
    }

    fn stage(&self) -> Stage {
        Stage::Handshaking
    }
}

/// The work of one turn.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Timer,
    /// This number of messages on each connection.
    Messages(usize),
    /// Each message is answered.
    Echo,
    /// A part of a message on each connection.
    Part,
    HandshakeStep,
}

/// Prepares the work of each turn at the end of the turn before.
struct Program {
    work: Work,
    peers: Vec<TcpStream>,
    begun: usize,
    messages: usize,
    timers: usize,
    is_settled: bool,
    /// The number of readings of each turn.
    reads: Vec<usize>,
}

impl Program {
    /// Returns whether the work of this number of turns is done.
    fn is_done(&self, turns: usize) -> bool {
        match self.work {
            Work::Timer => self.timers == turns,
            Work::Messages(count) => self.messages == turns * count * self.peers.len(),
            Work::Echo => self.messages == turns * self.peers.len(),
            Work::Part | Work::HandshakeStep => true,
        }
    }

    fn prepare_turn(&mut self, net: &mut Net) {
        let bytes = match self.work {
            Work::Timer => {
                net.set_timer(MS, 0);
                return;
            }
            Work::Messages(count) => [0; 4].repeat(count),
            Work::Echo => vec![0; 4],
            // The first one is the header of a message of 4 KiB.
            Work::Part => vec![0, 0, 16, 0],
            Work::HandshakeStep => vec![0],
        };
        for peer in &mut self.peers {
            peer.write_all(&bytes).unwrap();
        }
    }
}

impl Handler for Program {
    fn transport(
        &mut self,
        net: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        self.begun += 1;
        if self.begun == self.peers.len() {
            // The first events of all connections have come by then.
            net.set_timer(50 * MS, 1);
        }
        Ok(match self.work {
            Work::HandshakeStep => Handshake.into(),
            _ => Transport::Plain,
        })
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        if self.work == Work::Echo {
            net.send(conn, message).unwrap();
        }
    }

    fn on_timer(&mut self, _: &mut Net, _: TimerId, key: u64) {
        self.is_settled |= key == 1;
        self.timers += usize::from(key == 0);
    }

    fn on_turn(&mut self, net: &mut Net) {
        if !self.is_settled {
            return;
        }
        let reads = Count::ClockReads.take();
        let turns = self.reads.len();
        assert!(self.is_done(turns), "one turn does the work");
        // The first one is not a turn of this work.
        self.reads.push(reads);
        if turns == TURNS {
            net.shutdown(Duration::ZERO);
        } else {
            self.prepare_turn(net);
        }
    }
}

/// A handler of empty turns.
struct Nothing;

impl Handler for Nothing {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Returns a node with as many connections.
fn node(work: Work, connections: usize) -> Node<Program> {
    let mut config = Config::default();
    config.limits.max_connections_per_address = connections;
    (config.budget.max_visit_time, config.budget.max_turn_time) = (LONG, LONG);
    let program = Program {
        work,
        peers: Vec::new(),
        begun: 0,
        messages: 0,
        timers: 0,
        is_settled: false,
        reads: Vec::new(),
    };
    let mut node = Node::new(config, program).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let peers = (0..connections).map(|_| TcpStream::connect(addr).unwrap());
    node.handler_mut().peers = peers.collect();
    node
}

/// Returns the number of readings of a turn of [`Node::run`] with this work.
fn reads(work: Work, connections: usize) -> usize {
    let mut node = node(work, connections);
    node.run().unwrap();
    let reads = &node.handler().reads[1..];
    assert!(reads.iter().all(|count| *count == reads[0]), "{reads:?}");
    reads[0]
}

#[test]
fn turn_reads_the_clock_twice() {
    assert_eq!(reads(Work::Timer, 1), 2);
    let mut node = Node::new(Config::default(), Nothing).unwrap();
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    for _ in 0..TURNS {
        let _ = Count::ClockReads.take();
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(Count::ClockReads.take(), 2);
    }
}

/// After 1, 2, 4, ... 64 messages, then after every 64, and at the end of a
/// visit with messages since.
#[test]
fn visit_reads_the_clock_after_1_2_4_messages() {
    for (messages, in_visit) in [(1, 1), (2, 2), (3, 3), (64, 7), (100, 8), (1024, 22)] {
        let count = reads(Work::Messages(messages), 1);
        assert_eq!(count, 2 + in_visit, "{messages} messages");
    }
    assert_eq!(reads(Work::Messages(1), 100), 2 + 100);
    assert_eq!(reads(Work::Echo, 1), 2 + 1);
    assert_eq!(reads(Work::Echo, 5), 2 + 5);
}

/// Visits without a callback are timed together, so that many of them do not
/// exceed the time of the turn.
#[test]
fn clock_is_read_after_64_untimed_visits() {
    for (connections, in_visits) in [(63, 0), (64, 1), (127, 1), (200, 3)] {
        let count = reads(Work::Part, connections);
        assert_eq!(count, 2 + in_visits, "{connections} connections");
    }
}

#[test]
fn handshake_step_reads_the_clock_once() {
    assert_eq!(reads(Work::HandshakeStep, 1), 2 + 1);
    assert_eq!(reads(Work::HandshakeStep, 10), 2 + 10);
}
