//! Nodes: a source and a sink, one that answers and one that asks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::config::Limits;
use peerloop::{Config, ConnId, ConnMap, Handle, Handler, Net, Node, RunningNode};

use super::messages::{Goal, Trips};
use super::{Job, PATIENCE, failed};

/// The defaults, except that one address may have many connections: benchmarks
/// connect within one machine.
pub fn config() -> Config {
    Config {
        limits: Limits {
            max_connections_per_address: 10_000,
            max_outbound_connecting: 10_000,
            ..Default::default()
        },
        allow_duplicates: true,
        ..Config::default()
    }
}

/// A node that listens, with its thread.
pub struct Running<H> {
    pub addr: SocketAddr,
    pub handle: Handle<H>,
    _node: RunningNode<H>,
}

impl<H: Handler + Send + 'static> Running<H> {
    pub fn new(handler: H) -> io::Result<Self> {
        Self::with(config(), handler)
    }

    pub fn with(config: Config, handler: H) -> io::Result<Self> {
        let mut node = Node::new(config, handler)?;
        let addr = node.net().listen("127.0.0.1:0")?.addr;
        let node = node.spawn()?;
        Ok(Self {
            addr,
            handle: node.handle(),
            _node: node,
        })
    }

    /// Connects to `other` this many times. Returns when both nodes have all
    /// connections.
    pub fn connect_to<T>(&self, other: &Running<T>, connections: usize) -> io::Result<()>
    where
        T: Handler + Send + 'static,
    {
        for _ in 0..connections {
            self.handle.connect_wait(other.addr, PATIENCE)?;
        }
        other.wait_for(connections)
    }

    /// Waits until the node has this many connections.
    pub fn wait_for(&self, connections: usize) -> io::Result<()> {
        let begun = Instant::now();
        while self.handle.ask(|_, net| net.connection_count())? != connections {
            if begun.elapsed() > PATIENCE {
                return Err(failed("not all connections were established in time"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Checks the messages of all its connections.
pub struct Sink {
    goal: Arc<Goal>,
    received: ConnMap<u64>,
}

impl Sink {
    pub fn new(goal: &Arc<Goal>) -> Self {
        Self {
            goal: Arc::clone(goal),
            received: ConnMap::new(),
        }
    }
}

impl Handler for Sink {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.received.insert(conn, 0);
    }

    fn on_message(&mut self, _: &mut Net, conn: ConnId, message: &[u8]) {
        let received = &mut self.received[conn];
        *received = self.goal.take(*received, message);
    }
}

/// How a message is passed to `Net::send`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// As a slice, which is copied.
    Borrowed,
    /// As `Bytes`, which are not copied from 16 KiB on.
    Owned,
}

/// Sends the same messages on each of its connections.
pub struct Source {
    goal: Arc<Goal>,
    bodies: Bodies,
    each: u64,
    sent: ConnMap<u64>,
}

impl Source {
    pub fn new(goal: &Arc<Goal>) -> Self {
        Self::of(goal, Bodies::Borrowed)
    }

    pub fn of(goal: &Arc<Goal>, bodies: Bodies) -> Self {
        Self {
            goal: Arc::clone(goal),
            bodies,
            each: 0,
            sent: ConnMap::new(),
        }
    }

    /// Sends this many messages on each connection, as soon as its queue has
    /// room.
    pub fn begin(&mut self, net: &mut Net, each: u64) {
        self.each = each;
        let conns: Vec<ConnId> = self.sent.keys().collect();
        for conn in conns {
            self.sent[conn] = 0;
            self.on_drain(net, conn);
        }
    }

    /// Queues this many messages for all connections, with a send for each.
    pub fn send_to_each(&self, net: &mut Net, amount: u64) {
        for number in 0..amount {
            let message = self.goal.messages().get(number);
            for conn in self.sent.keys() {
                if let Err(error) = net.send(conn, message) {
                    return self.goal.fail(format!("a send: {error}"));
                }
            }
        }
    }

    /// Queues this many messages for all connections at once.
    pub fn broadcast(&self, net: &mut Net, amount: u64) {
        for number in 0..amount {
            let message = self.goal.messages().get(number);
            let outcome = net.broadcast(self.sent.keys(), message);
            if outcome.queued != self.sent.len() {
                return self.goal.fail(format!("a broadcast: {outcome:?}"));
            }
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
            let message = self.goal.messages().get(*sent);
            let sending = match self.bodies {
                Bodies::Borrowed => net.send(conn, message),
                Bodies::Owned => net.send(conn, message.clone()),
            };
            if let Err(error) = sending {
                return self.goal.fail(format!("a send: {error}"));
            }
            *sent += 1;
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// A source and a sink, in a thread each.
struct Transfer {
    source: Running<Source>,
    goal: Arc<Goal>,
    _sink: Running<Sink>,
}

impl Transfer {
    fn new(size: usize, connections: usize, bodies: Bodies) -> io::Result<Self> {
        let goal = Arc::new(Goal::new(size, connections));
        let sink = Running::new(Sink::new(&goal))?;
        let source = Running::new(Source::of(&goal, bodies))?;
        source.connect_to(&sink, connections)?;
        Ok(Self {
            source,
            goal,
            _sink: sink,
        })
    }
}

struct Stream(Transfer);

impl Job for Stream {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        self.0.goal.set(amount);
        let begin = move |source: &mut Source, net: &mut Net| source.begin(net, amount);
        self.0.source.handle.post(begin)?;
        self.0.goal.wait()
    }
}

/// Sends `amount` borrowed messages on each connection between two nodes.
pub fn stream(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    stream_of(size, connections, Bodies::Borrowed)
}

/// Sends `amount` messages on each connection between two nodes.
pub fn stream_of(size: usize, connections: usize, bodies: Bodies) -> io::Result<Box<dyn Job>> {
    Ok(Box::new(Stream(Transfer::new(size, connections, bodies)?)))
}

/// A way to send messages to all connections.
type SendToAll = fn(&Source, &mut Net, u64);

struct Broadcast(Transfer, SendToAll);

impl Job for Broadcast {
    fn run(&mut self, amount: u64) -> io::Result<()> {
        let send = self.1;
        for batch in batches(amount) {
            self.0.goal.set(batch);
            let begin = move |source: &mut Source, net: &mut Net| send(source, net, batch);
            self.0.source.handle.post(begin)?;
            self.0.goal.wait()?;
        }
        Ok(())
    }
}

/// Broadcasts `amount` messages to all connections between two nodes.
pub fn broadcast(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let transfer = Transfer::new(size, connections, Bodies::Borrowed)?;
    Ok(Box::new(Broadcast(transfer, Source::broadcast)))
}

/// Sends `amount` messages to all connections between two nodes one by one.
pub fn sends(size: usize, connections: usize) -> io::Result<Box<dyn Job>> {
    let transfer = Transfer::new(size, connections, Bodies::Borrowed)?;
    Ok(Box::new(Broadcast(transfer, Source::send_to_each)))
}

/// Divides an amount into batches that fit the queues of every library. A batch
/// is begun when the one before has arrived.
pub fn batches(amount: u64) -> impl Iterator<Item = u64> {
    const BATCH: u64 = 32;
    (0..amount.div_ceil(BATCH)).map(move |batch| BATCH.min(amount - batch * BATCH))
}

/// Answers every message with itself.
pub struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if net.send(conn, message).is_err() {
            net.abort(conn);
        }
    }
}

/// Makes round trips on its one connection.
pub struct Pinger {
    pub trips: Trips,
    conn: Option<ConnId>,
}

impl Pinger {
    pub fn new(size: usize, outstanding: u64) -> Self {
        Self {
            trips: Trips::new(size, outstanding),
            conn: None,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.conn.is_some()
    }

    /// Begins this many round trips.
    pub fn begin(&mut self, net: &mut Net, trips: u64) {
        self.trips.begin(trips);
        self.ask(net);
    }

    fn ask(&mut self, net: &mut Net) {
        let Some(conn) = self.conn else { return };
        while let Some(question) = self.trips.ask() {
            if net.send(conn, question).is_err() {
                return net.abort(conn);
            }
        }
    }
}

impl Handler for Pinger {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
    }

    fn on_message(&mut self, net: &mut Net, _: ConnId, message: &[u8]) {
        self.trips.take(message);
        self.ask(net);
    }
}
