//! The rows of the table: each is some work, and the contestants that can do
//! it.

use std::io;
use std::time::Duration;

use crate::heap;
use crate::measure::{Cost, cost};
use crate::notes;
use crate::on::{Contestant, blocking, message_io, pea2pea, peerloop, tokio};
use crate::raw;
use crate::support::nodes::{Bodies, stream_of};
use crate::support::{self, Job};

/// Measures one contestant for about this time.
type Sample = Box<dyn Fn(Duration) -> io::Result<Cost>>;

type NewJob = io::Result<Box<dyn Job>>;

/// The unit of a figure. Less is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    Bytes,
}

pub struct Row {
    pub name: &'static str,
    pub unit: Unit,
    pub is_in_readme: bool,
    pub contestants: Vec<(Contestant, Sample)>,
    /// The limitation of one contestant in this row.
    pub notes: Vec<(Contestant, &'static str)>,
    /// Number of items in one unit of a job's amount.
    items: usize,
    /// Bounds of the amount.
    least: u64,
    most: u64,
}

impl Row {
    fn new(name: &'static str, least: u64) -> Self {
        Self {
            name,
            unit: Unit::Time,
            is_in_readme: true,
            contestants: Vec::new(),
            notes: Vec::new(),
            items: 1,
            least,
            most: u64::MAX,
        }
    }

    fn items(self, items: usize) -> Self {
        Self { items, ..self }
    }

    fn most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    fn with(mut self, contestant: Contestant, job: impl Fn() -> NewJob + 'static) -> Self {
        let (items, least, most) = (self.items as f64, self.least, self.most);
        let sample = move |time| {
            let unit = cost(&mut *job()?, least, most, time)?;
            Ok(Cost {
                figure: unit.figure / items,
                cpu: unit.cpu / items,
            })
        };
        self.contestants.push((contestant, Box::new(sample)));
        self
    }

    fn note(mut self, contestant: Contestant, text: &'static str) -> Self {
        self.notes.push((contestant, text));
        self
    }
}

/// Returns all rows in the order of the table.
pub fn rows() -> Vec<Row> {
    vec![
        stream("stream of 16 B, a message", 16),
        stream("stream of 256 B", 256),
        stream("stream of 4 KiB", 4096),
        stream("stream of 32 KiB", 32 * 1024),
        fan_in(),
        round_trip("round trip of 64 B, one thread", 1),
        round_trip("round trip of 64 B, 64 outstanding", 64),
        broadcast(),
        line(),
        cycle(),
        memory(),
        borrowed_fan_in(),
        raw(),
    ]
}

fn stream(name: &'static str, size: usize) -> Row {
    Row::new(name, 64)
        .with(Contestant::Peerloop, move || {
            stream_of(size, 1, advised(size))
        })
        .with(Contestant::Pea2pea, move || {
            pea2pea::stream::stream(size, 1)
        })
        .with(Contestant::MessageIo, move || message_io::stream(size, 1))
        .with(Contestant::Tokio, move || tokio::stream::stream(size, 1))
        .with(Contestant::Limit, move || support::blocking::stream(size))
        .note(Contestant::Pea2pea, notes::REPEATED_SENDS)
}

/// As the documentation of `Net::send` advises.
fn advised(size: usize) -> Bodies {
    if size < 16 * 1024 {
        Bodies::Borrowed
    } else {
        Bodies::Owned
    }
}

const SENDERS: usize = 100;
const FAN_IN_SIZE: usize = 32 * 1024;

fn fan_in() -> Row {
    Row::new("fan-in of 100 senders of 32 KiB", 4)
        .items(SENDERS)
        .with(Contestant::Peerloop, || {
            stream_of(FAN_IN_SIZE, SENDERS, advised(FAN_IN_SIZE))
        })
        .with(Contestant::Pea2pea, || {
            pea2pea::stream::stream(FAN_IN_SIZE, SENDERS)
        })
        .with(Contestant::MessageIo, || {
            message_io::stream(FAN_IN_SIZE, SENDERS)
        })
        .with(Contestant::Tokio, || {
            tokio::stream::stream(FAN_IN_SIZE, SENDERS)
        })
        .note(Contestant::Pea2pea, notes::REPEATED_SENDS)
        .note(Contestant::Limit, notes::ONE_CONNECTION)
}

fn round_trip(name: &'static str, outstanding: u64) -> Row {
    const SIZE: usize = 64;
    Row::new(name, 64)
        .with(Contestant::Peerloop, move || {
            peerloop::trips::trips(SIZE, outstanding)
        })
        .with(Contestant::Pea2pea, move || {
            pea2pea::trips::trips(SIZE, outstanding)
        })
        .with(Contestant::Tokio, move || {
            tokio::trips::trips(SIZE, outstanding)
        })
        .with(Contestant::Limit, move || {
            blocking::trips(SIZE, outstanding)
        })
        .note(Contestant::MessageIo, notes::NODE_THREADS)
}

fn broadcast() -> Row {
    const SIZE: usize = 256;
    const CONNECTIONS: usize = 1000;
    Row::new("256 B to each of 1,000, a delivery", 8)
        .items(CONNECTIONS)
        .with(Contestant::Peerloop, || {
            support::nodes::broadcast(SIZE, CONNECTIONS)
        })
        .with(Contestant::Pea2pea, || {
            pea2pea::broadcast::broadcast(SIZE, CONNECTIONS)
        })
        .with(Contestant::MessageIo, || {
            message_io::broadcast(SIZE, CONNECTIONS)
        })
        .with(Contestant::Tokio, || {
            tokio::stream::broadcast(SIZE, CONNECTIONS)
        })
        .note(Contestant::Pea2pea, notes::MANY_NODES)
        .note(Contestant::Limit, notes::ONE_CONNECTION)
}

fn line() -> Row {
    const NODES: usize = 1000;
    Row::new("line of 1,000 nodes, a hop", 2)
        .items(NODES - 1)
        .with(Contestant::Peerloop, || peerloop::line::line(NODES))
        .with(Contestant::Pea2pea, || pea2pea::line::line(NODES))
        .with(Contestant::Tokio, || tokio::line::line(NODES))
        .with(Contestant::Limit, || blocking::line(NODES))
        .note(Contestant::MessageIo, notes::NODE_THREADS)
}

fn cycle() -> Row {
    // The end that closes first keeps its port in TIME_WAIT, on Linux for a
    // minute. The ports must not run out.
    Row::new("connect and disconnect", 8)
        .most(400)
        .with(Contestant::Peerloop, peerloop::cycles::cycles)
        .with(Contestant::Pea2pea, pea2pea::cycles::cycles)
        .with(Contestant::MessageIo, message_io::cycles)
        .with(Contestant::Tokio, tokio::cycles::cycles)
        .with(Contestant::Limit, blocking::cycles)
        .note(Contestant::MessageIo, notes::NO_CLOSE_NOTIFICATION)
}

fn memory() -> Row {
    let mut row =
        Row::new("memory of an idle connection", 1).note(Contestant::Limit, notes::STACKS);
    row.unit = Unit::Bytes;
    for contestant in Contestant::ALL {
        if contestant != Contestant::Limit {
            let sample = move |_| heap::bytes(contestant).map(Cost::without_cpu);
            row.contestants.push((contestant, Box::new(sample)));
        }
    }
    row
}

/// The fan-in with messages that peerloop copies, as tokio's codec does.
fn borrowed_fan_in() -> Row {
    let mut row = Row::new("the fan-in with borrowed messages", 4)
        .items(SENDERS)
        .with(Contestant::Peerloop, || {
            stream_of(FAN_IN_SIZE, SENDERS, Bodies::Borrowed)
        })
        .with(Contestant::Tokio, || {
            tokio::stream::stream(FAN_IN_SIZE, SENDERS)
        })
        .note(Contestant::Pea2pea, notes::SAME)
        .note(Contestant::MessageIo, notes::SAME)
        .note(Contestant::Limit, notes::ONE_CONNECTION);
    row.is_in_readme = false;
    row
}

/// Without the other contestants, which are libraries for messages.
fn raw() -> Row {
    let mut row = Row::new("raw bytes, a block of 256 KiB", 8)
        .with(Contestant::Peerloop, raw::nodes)
        .with(Contestant::Limit, raw::threads);
    for contestant in [
        Contestant::Pea2pea,
        Contestant::MessageIo,
        Contestant::Tokio,
    ] {
        row = row.note(contestant, notes::FRAMED);
    }
    row.is_in_readme = false;
    row
}
