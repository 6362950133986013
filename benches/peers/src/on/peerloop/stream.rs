//! One way, as fast as it goes.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use peerloop::{ConnId, ConnMap, Handler, Net};

use super::{BACKLOG, Running, config};
use crate::job::{Job, Value};
use crate::messages::{Goal, Messages};

/// Checks and counts what comes on all its connections.
pub struct Sink {
    goal: Arc<Goal>,
    had: ConnMap<u64>,
}

impl Sink {
    pub fn new(goal: Arc<Goal>) -> Self {
        let had = ConnMap::new();
        Self { goal, had }
    }
}

impl Handler for Sink {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.had.insert(conn, 0);
    }

    fn on_message(&mut self, _: &mut Net, conn: ConnId, message: &[u8]) {
        let had = &mut self.had[conn];
        *had = self.goal.take(*had, message);
    }
}

/// Sends the same number of messages on each of its connections.
pub struct Source {
    messages: Messages,
    each: u64,
    sent: ConnMap<u64>,
    goal: Arc<Goal>,
}

impl Source {
    pub fn new(goal: Arc<Goal>) -> Self {
        Self {
            messages: goal.messages().clone(),
            each: 0,
            sent: ConnMap::new(),
            goal,
        }
    }

    fn begin(&mut self, net: &mut Net, each: u64) {
        self.each = each;
        let conns: Vec<ConnId> = self.sent.keys().collect();
        for conn in conns {
            self.sent[conn] = 0;
            self.on_drain(net, conn);
        }
    }
}

impl Handler for Source {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.sent.insert(conn, 0);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        let sent = &mut self.sent[conn];
        while *sent < self.each && net.is_writable(conn) {
            if let Err(error) = net.send(conn, self.messages.get(*sent)) {
                return self.goal.fail(format!("a send: {error}"));
            }
            *sent += 1;
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// A source, and whatever it sends to.
pub struct Stream<T> {
    source: Running<Source>,
    goal: Arc<Goal>,
    _sink: T,
}

impl<T> Stream<T> {
    pub fn new(source: Running<Source>, goal: Arc<Goal>, sink: T) -> Self {
        Self {
            source,
            goal,
            _sink: sink,
        }
    }
}

impl<T> Job for Stream<T> {
    fn run(&mut self, amount: u64) -> io::Result<Vec<Value>> {
        self.goal.set(amount);
        let begin = move |source: &mut Source, net: &mut Net| source.begin(net, amount);
        self.source.handle.post(begin)?;
        self.goal.wait()?;
        Ok(Vec::new())
    }
}

/// `amount` messages on each of so many connections from one node to another, in
/// two threads.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    beside_idle(size, connections, 0)
}

/// The same, beside idle connections to the receiver.
pub fn beside_idle(size: usize, connections: usize, idle: usize) -> io::Result<Box<dyn Job>> {
    let goal = Arc::new(Goal::new(Messages::of(size), connections));
    let sink = Running::new(config(), Sink::new(Arc::clone(&goal)))?;
    let mut others = Vec::with_capacity(idle);
    while others.len() < idle {
        others.push(TcpStream::connect(sink.addr)?);
        if others.len() % BACKLOG == 0 || others.len() == idle {
            sink.wait_for(others.len())?;
        }
    }
    let source = Running::new(config(), Source::new(Arc::clone(&goal)))?;
    source.connect_to(&sink, connections)?;
    Ok(Box::new(Stream::new(source, goal, (sink, others))))
}
