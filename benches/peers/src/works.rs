//! Every work, with the contestants that can do it.

use std::io;
use std::time::Duration;

use crate::heap;
use crate::job::{Job, SetUp};
use crate::on::peerloop::broadcast::Way;
use crate::on::{Contestant, Threads, blocking, message_io, pea2pea, peerloop, spinning, tokio};

/// One line of the comparison: some work in one size.
pub struct Case {
    pub work: &'static str,
    pub name: String,
    /// The name of an item.
    pub item: &'static str,
    /// Items in one unit of the amount that a job is given.
    pub items: f64,
    /// The amount that is run to find out how much fits the time, and the most that is run at all.
    pub amounts: (u64, u64),
    pub contestants: Vec<(Contestant, SetUp)>,
}

impl Case {
    fn new(work: &'static str, name: impl Into<String>, item: &'static str) -> Self {
        Self {
            work,
            name: name.into(),
            item,
            items: 1.0,
            amounts: (64, u64::MAX),
            contestants: Vec::new(),
        }
    }

    fn items(mut self, items: usize) -> Self {
        self.items = items as f64;
        self
    }

    fn amounts(mut self, probe: u64, most: u64) -> Self {
        self.amounts = (probe, most);
        self
    }

    fn with(
        mut self,
        contestant: Contestant,
        set_up: impl Fn() -> io::Result<Box<dyn Job>> + 'static,
    ) -> Self {
        self.contestants.push((contestant, Box::new(set_up)));
        self
    }

    /// Its name among all cases.
    pub fn id(&self) -> String {
        format!("{}/{}", self.work, self.name)
    }
}

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    Full,
    /// Small enough for every change, too small to be reliable.
    Quick,
}

/// All names that `--only` takes.
pub const WORKS: [&str; 10] = [
    "stream",
    "fan-in",
    "round trip",
    "broadcast",
    "line",
    "connect",
    "life",
    "memory",
    "growth",
    "shards",
];

/// All cases, in the order of the table.
pub fn cases(length: Length) -> Vec<Case> {
    let mut cases = stream();
    cases.extend(fan_in());
    cases.extend(round_trips());
    cases.extend(broadcast());
    cases.extend(line());
    cases.extend(cycles());
    cases.push(life());
    cases.extend(memory(length));
    cases.extend(growth());
    cases.extend(shards());
    cases
}

fn stream() -> Vec<Case> {
    let case = |size: usize| {
        Case::new("stream", format!("{size} B"), "message")
            .with(Contestant::Peerloop, move || {
                peerloop::stream::stream(size, 1)
            })
            .with(Contestant::Pea2pea, move || {
                pea2pea::stream::stream(size, 1)
            })
            .with(Contestant::MessageIo, move || message_io::stream(size, 1))
            .with(Contestant::Tokio, move || tokio::stream(size, 1))
            .with(Contestant::Limit, move || blocking::stream(size))
    };
    [16, 256, 4096, 32_768].map(case).into()
}

fn fan_in() -> Vec<Case> {
    const SIZE: usize = 32 * 1024;
    let case = |senders: usize| {
        let case = Case::new("fan-in", format!("{senders} senders"), "message of 32 KiB")
            .items(senders)
            .amounts(4, u64::MAX)
            .with(Contestant::Peerloop, move || {
                peerloop::stream::stream(SIZE, senders)
            })
            .with(Contestant::Pea2pea, move || {
                pea2pea::stream::stream(SIZE, senders)
            })
            .with(Contestant::MessageIo, move || {
                message_io::stream(SIZE, senders)
            })
            .with(Contestant::Tokio, move || tokio::stream(SIZE, senders));
        if senders > 1 {
            // A blocking thread serves one connection: more would measure the
            // scheduler.
            return case;
        }
        case.with(Contestant::Limit, || blocking::stream(SIZE))
    };
    [1, 10, 50, 100].map(case).into()
}

fn round_trips() -> Vec<Case> {
    const SIZE: usize = 64;
    let case = |outstanding: u64, threads: Threads| {
        let name = match threads {
            Threads::One => format!("{outstanding} outstanding, one thread"),
            Threads::Two => format!("{outstanding} outstanding, two threads"),
        };
        let case = Case::new("round trip", name, "round trip of 64 B")
            .amounts(16.max(outstanding), u64::MAX)
            .with(Contestant::Peerloop, move || match threads {
                Threads::One => peerloop::trips::on_one(SIZE, outstanding),
                Threads::Two => peerloop::trips::on_two(SIZE, outstanding, None),
            })
            .with(Contestant::Pea2pea, move || {
                pea2pea::trips::trips(SIZE, outstanding, threads)
            })
            .with(Contestant::Tokio, move || {
                tokio::trips(SIZE, outstanding, threads)
            })
            .with(Contestant::Limit, move || {
                blocking::trips(SIZE, outstanding, threads)
            });
        match threads {
            // A node of message-io always starts its own threads.
            Threads::One => case,
            Threads::Two => case.with(Contestant::MessageIo, move || {
                message_io::trips(SIZE, outstanding)
            }),
        }
    };
    let spinning = Some(Duration::from_millis(10));
    let name = "1 outstanding, two threads, busy_poll";
    let spinning = Case::new("round trip", name, "round trip of 64 B")
        .with(Contestant::Peerloop, move || {
            peerloop::trips::on_two(SIZE, 1, spinning)
        })
        .with(Contestant::Limit, || spinning::trips(SIZE, 1));
    vec![
        case(1, Threads::One),
        case(1, Threads::Two),
        case(64, Threads::One),
        case(64, Threads::Two),
        spinning,
    ]
}

fn broadcast() -> Vec<Case> {
    const SIZE: usize = 256;
    let case = |peers: usize| {
        Case::new("broadcast", format!("{peers} peers"), "delivery of 256 B")
            .items(peers)
            .amounts(8, u64::MAX)
            .with(Contestant::Peerloop, move || {
                peerloop::broadcast::broadcast(SIZE, peers, Way::Broadcast)
            })
            .with(Contestant::Pea2pea, move || {
                pea2pea::broadcast::broadcast(SIZE, peers)
            })
            .with(Contestant::MessageIo, move || {
                message_io::broadcast(SIZE, peers)
            })
            .with(Contestant::Tokio, move || tokio::broadcast(SIZE, peers))
    };
    let singly = Case::new("broadcast", "1000 peers, singly", "delivery of 256 B")
        .items(1000)
        .amounts(8, u64::MAX)
        .with(Contestant::Peerloop, || {
            peerloop::broadcast::broadcast(SIZE, 1000, Way::Singly)
        });
    vec![case(100), case(1000), singly]
}

fn line() -> Vec<Case> {
    let on_one = |nodes: usize| {
        Case::new("line", format!("{nodes} nodes, one thread"), "hop")
            .items(nodes - 1)
            .amounts(2, u64::MAX)
            .with(Contestant::Peerloop, move || peerloop::line::line(nodes))
            .with(Contestant::Pea2pea, move || {
                pea2pea::line::line(nodes, Threads::One)
            })
            .with(Contestant::Tokio, move || tokio::line(nodes, Threads::One))
            .with(Contestant::Limit, move || blocking::line(nodes))
    };
    let on_two = |nodes: usize| {
        let case = Case::new("line", format!("{nodes} nodes, two threads"), "hop")
            .items(nodes - 1)
            .amounts(2, u64::MAX)
            .with(Contestant::Pea2pea, move || {
                pea2pea::line::line(nodes, Threads::Two)
            })
            .with(Contestant::Tokio, move || tokio::line(nodes, Threads::Two));
        if nodes > 10 {
            // A node of message-io has two threads, and takes 50 ms to begin.
            return case;
        }
        case.with(Contestant::MessageIo, move || message_io::line(nodes))
    };
    [10, 100, 1000]
        .into_iter()
        .flat_map(|nodes| [on_one(nodes), on_two(nodes)])
        .collect()
}

fn cycles() -> Vec<Case> {
    // The side that ends a connection first keeps its port for a minute: there must be enough of them.
    let case = Case::new("connect", "and disconnect", "cycle")
        .amounts(8, 400)
        .with(Contestant::Peerloop, peerloop::cycles::cycles)
        .with(Contestant::Pea2pea, pea2pea::cycles::cycles)
        .with(Contestant::MessageIo, message_io::cycles)
        .with(Contestant::Tokio, tokio::cycles)
        .with(Contestant::Limit, blocking::cycles);
    vec![case]
}

fn life() -> Case {
    Case::new("life", "of a node", "node")
        .amounts(1, 200)
        .with(Contestant::Peerloop, peerloop::start::starts)
        .with(Contestant::Pea2pea, pea2pea::start::starts)
        .with(Contestant::MessageIo, message_io::starts)
}

fn memory(length: Length) -> Vec<Case> {
    let case = |connections: usize| {
        Case::new("memory", format!("{connections} connections"), "connection")
            .amounts(1, 1)
            .with(Contestant::Peerloop, move || {
                heap::measuring(Contestant::Peerloop, connections)
            })
    };
    const MANY: usize = 4000;
    let mut all = case(MANY);
    for contestant in [
        Contestant::Pea2pea,
        Contestant::MessageIo,
        Contestant::Tokio,
    ] {
        all = all.with(contestant, move || heap::measuring(contestant, MANY));
    }
    match length {
        Length::Full => vec![all, case(10), case(100), case(1000), case(8000)],
        Length::Quick => vec![all, case(10)],
    }
}

fn growth() -> Vec<Case> {
    let busy = |idle: usize| {
        Case::new(
            "growth",
            format!("{idle} idle beside one busy"),
            "message of 256 B",
        )
        .with(Contestant::Peerloop, move || {
            peerloop::stream::beside_idle(256, 1, idle)
        })
    };
    let timers = |others: u64| {
        Case::new(
            "growth",
            format!("a timer beside {others}"),
            "timer set and cancelled",
        )
        .with(Contestant::Peerloop, move || {
            peerloop::growth::timers(others)
        })
    };
    let mut cases: Vec<Case> = [0, 1, 10, 100, 1000, 5000].map(busy).into();
    cases.extend([0, 10, 100, 1000, 10_000, 100_000, 1_000_000].map(timers));
    cases
}

/// The cost of shards, and their gain where there are cores for them.
fn shards() -> Vec<Case> {
    const SENDERS: usize = 16;
    let case = |size: usize, shards: usize| {
        let name = match shards {
            0 => format!("{SENDERS} senders of {size} B, a plain node"),
            1 => format!("{SENDERS} senders of {size} B, 1 shard"),
            _ => format!("{SENDERS} senders of {size} B, {shards} shards"),
        };
        Case::new("shards", name, "message")
            .items(SENDERS)
            .amounts(4, u64::MAX)
            .with(Contestant::Peerloop, move || match shards {
                0 => peerloop::stream::stream(size, SENDERS),
                _ => peerloop::shards::stream(size, SENDERS, shards),
            })
    };
    [256, 32 * 1024]
        .into_iter()
        .flat_map(|size| [0, 1, 2].map(|shards| case(size, shards)))
        .collect()
}
