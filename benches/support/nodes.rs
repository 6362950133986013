//! Nodes for the benchmarks: sources, sinks and echoes, each in its own thread.

use peerloop::config::Limits;
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peerloop::{Config, ConnId, Handle, Handler, Net, Node, TimerId};

/// Answers with an empty message after every so many messages, over all its connections together.
pub struct Sink {
    answer_every: u64,
    received: u64,
}

impl Sink {
    pub fn answering_every(messages: u64) -> Self {
        Self {
            answer_every: messages,
            received: 0,
        }
    }
}

impl Handler for Sink {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        black_box(message);
        self.received += 1;
        if self.received == self.answer_every {
            self.received = 0;
            net.send(conn, b"").expect("an answer fits");
        }
    }
}

/// Answers every message with itself.
pub struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        net.send(conn, message).expect("an echo fits");
    }
}

/// Sends a number of equal messages on all its connections in turn, as fast as
/// possible.
#[derive(Default)]
pub struct Source {
    pub conns: Vec<ConnId>,
    pub body: Vec<u8>,
    pub left: u64,
    pub answers: u64,
}

impl Source {
    /// Begins to send so many messages, over all connections together.
    pub fn begin(&mut self, net: &mut Net, messages: u64, body: &[u8]) {
        self.body = body.to_vec();
        self.left = messages;
        self.answers = 0;
        // What `on_drain` does from now on has to be begun once.
        for conn in self.conns.clone() {
            self.fill(net, conn);
        }
    }

    fn fill(&mut self, net: &mut Net, conn: ConnId) {
        while self.left > 0 && net.is_writable(conn) {
            self.left -= 1;
            net.send(conn, black_box(&self.body))
                .expect("it is writable");
        }
    }
}

impl Handler for Source {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conns.push(conn);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.fill(net, conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
        self.answers += 1;
    }
}

/// Keeps a number of round trips under way on its one connection.
#[derive(Default)]
pub struct Pinger {
    pub conn: Option<ConnId>,
    pub to_send: u64,
    pub to_receive: u64,
}

impl Handler for Pinger {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.to_receive -= 1;
        if self.to_send > 0 {
            self.to_send -= 1;
            net.send(conn, message).expect("a ping fits");
        }
    }
}

/// A pinger in this thread, connected to `addr`.
pub fn pinger(addr: SocketAddr) -> io::Result<Node<Pinger>> {
    let mut node = Node::new(config(), Pinger::default())?;
    node.net().connect(addr)?;
    while node.handler().conn.is_none() {
        let _ = node.turn(None)?;
    }
    Ok(node)
}

/// Makes that many round trips of 64 bytes, so many of them at once.
pub fn ping(node: &mut Node<Pinger>, trips: u64, outstanding: u64) -> io::Result<()> {
    let pinger = node.handler_mut();
    let conn = pinger.conn.expect("it is connected");
    pinger.to_receive = trips;
    pinger.to_send = trips - outstanding;
    for _ in 0..outstanding {
        node.net().send(conn, &[7; 64]).map_err(io::Error::other)?;
    }
    while node.handler().to_receive > 0 {
        let _ = node.turn(None)?;
    }
    Ok(())
}

/// Counts its timers.
#[derive(Default)]
pub struct Clock {
    pub fired: usize,
}

impl Handler for Clock {
    fn on_timer(&mut self, _: &mut Net, _: TimerId, _: u64) {
        self.fired += 1;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// A node that runs in its own thread until it is dropped.
pub struct Running<H> {
    pub addr: SocketAddr,
    pub handle: Handle<H>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<H: Handler + Send + 'static> Running<H> {
    pub fn new(handler: H) -> io::Result<Self> {
        let mut node = Node::new(config(), handler)?;
        let addr = node.net().listen("127.0.0.1:0")?.addr;
        let handle = node.handle();
        let thread = Some(thread::spawn(move || node.run()));
        Ok(Self {
            addr,
            handle,
            thread,
        })
    }
}

impl<H> Drop for Running<H> {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Many connections from one address to another, which is what benchmarks on one machine are.
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

/// A source in this thread with this many connections to `addr`.
pub fn source(addr: SocketAddr, connections: usize) -> io::Result<Node<Source>> {
    let mut node = Node::new(config(), Source::default())?;
    for _ in 0..connections {
        node.net().connect(addr)?;
    }
    while node.handler().conns.len() < connections {
        let _ = node.turn(None)?;
    }
    Ok(node)
}

/// Has the source send that many messages, over all its connections together, and
/// waits for the one answer.
pub fn transfer(node: &mut Node<Source>, messages: u64, body: &[u8]) -> io::Result<()> {
    let mut source = std::mem::take(node.handler_mut());
    source.begin(node.net(), messages, body);
    *node.handler_mut() = source;
    while node.handler().answers == 0 {
        let _ = node.turn(None)?;
    }
    Ok(())
}

/// Has the source send that many messages to each of its connections, and waits for
/// the one answer. The queues take all of them, so that the way in and out of them
/// is measured, and not the waiting.
pub fn broadcast(node: &mut Node<Source>, messages: u64, body: &[u8]) -> io::Result<()> {
    node.handler_mut().answers = 0;
    let conns = node.handler().conns.clone();
    for _ in 0..messages {
        let outcome = node.net().broadcast(conns.iter().copied(), body);
        assert_eq!(outcome.queued, conns.len(), "the queues take a whole batch");
    }
    while node.handler().answers == 0 {
        let _ = node.turn(None)?;
    }
    Ok(())
}
