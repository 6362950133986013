//! Bytes without framing: one block, again and again.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use peerloop::framing::Framing;
use peerloop::{ConnId, Handler, Net};

use crate::support::blocking::{BLOCK, Block, pair};
use crate::support::messages::{Goal, same_ends};
use crate::support::nodes::{Running, config};
use crate::support::{Job, PATIENCE};

/// Blocks that are compared completely at the beginning.
const COMPARED_WHOLE: u64 = 2;

/// The receiving end: checks what arrives, however it is divided.
struct Check {
    goal: Arc<Goal>,
    block: Bytes,
    /// Number of complete blocks, and of bytes of the next one.
    blocks: u64,
    at: usize,
}

impl Check {
    fn new(goal: &Arc<Goal>) -> Self {
        Self {
            goal: Arc::clone(goal),
            block: goal.messages().get(0).clone(),
            blocks: 0,
            at: 0,
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(BLOCK - self.at));
            let expected = &self.block[self.at..][..part.len()];
            let is_whole = self.blocks < COMPARED_WHOLE;
            if !(is_whole && part == expected || !is_whole && same_ends(expected, part)) {
                let (at, blocks) = (self.at, self.blocks);
                self.goal
                    .fail(format!("byte {at} of block {blocks} is wrong"));
            }
            self.at += part.len();
            if self.at == BLOCK {
                self.at = 0;
                self.blocks = self.goal.count(self.blocks);
            }
            bytes = rest;
        }
    }
}

fn goal() -> Arc<Goal> {
    Arc::new(Goal::new(BLOCK, 1))
}

struct Sink(Check);

impl Handler for Sink {
    fn on_message(&mut self, _: &mut Net, _: ConnId, bytes: &[u8]) {
        self.0.take(bytes);
    }
}

/// Sends the block whenever the queue has room.
struct Source {
    goal: Arc<Goal>,
    block: Bytes,
    left: u64,
}

impl Handler for Source {
    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        while self.left > 0 && net.is_writable(conn) {
            if let Err(error) = net.send(conn, self.block.clone()) {
                return self.goal.fail(format!("a send: {error}"));
            }
            self.left -= 1;
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

struct Nodes {
    source: Running<Source>,
    conn: ConnId,
    goal: Arc<Goal>,
    _sink: Running<Sink>,
}

impl Job for Nodes {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        let conn = self.conn;
        self.source.handle.post(move |source, net| {
            source.left = amount;
            source.on_drain(net, conn);
        })?;
        self.goal.wait()
    }
}

/// Sends `amount` blocks from one node to another one with `Framing::Raw`.
pub fn nodes() -> io::Result<Box<dyn Job>> {
    let mut raw = config();
    raw.connection.framing = Framing::Raw;
    let goal = goal();
    let sink = Running::with(raw.clone(), Sink(Check::new(&goal)))?;
    let source = Source {
        goal: Arc::clone(&goal),
        block: goal.messages().get(0).clone(),
        left: 0,
    };
    let source = Running::with(raw, source)?;
    let conn = source.handle.connect_wait(sink.addr, PATIENCE)?;
    Ok(Box::new(Nodes {
        source,
        conn,
        goal,
        _sink: sink,
    }))
}

struct Threads {
    stream: TcpStream,
    goal: Arc<Goal>,
    reader: Option<JoinHandle<()>>,
}

impl Job for Threads {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.goal.set(amount);
        for _ in 0..amount {
            self.stream.write_all(self.goal.messages().get(0))?;
        }
        self.goal.wait()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Sends `amount` blocks from one thread to another one. A write is a block, and
/// a read takes at most as much.
pub fn threads() -> io::Result<Box<dyn Job>> {
    let (stream, mut accepted) = pair()?;
    let goal = goal();
    let (mut check, seen) = (Check::new(&goal), Arc::clone(&goal));
    let reader = thread::spawn(move || {
        let mut block = Block::aligned();
        loop {
            match accepted.read(block.bytes()) {
                Ok(0) => return seen.fail("the stream ended"),
                Ok(len) => check.take(&block.bytes()[..len]),
                Err(error) => return seen.fail(format!("a read: {error}")),
            }
        }
    });
    Ok(Box::new(Threads {
        stream,
        goal,
        reader: Some(reader),
    }))
}
