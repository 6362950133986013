//! Nodes for the benchmarks: sources, sinks and echoes, each in a thread of its own.

use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peerloop::{Config, ConnId, Handle, Handler, Net, Node};

/// Answers with an empty message after every so many messages on one connection together with the others.
pub struct Sink {
    pub answer_every: u64,
    pub received: u64,
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

/// Sends a number of equal messages on all its connections in turn, as fast as they leave.
#[derive(Default)]
pub struct Source {
    pub conns: Vec<ConnId>,
    pub body: Vec<u8>,
    pub left: u64,
    pub answers: u64,
}

impl Source {
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

/// A node that runs in its own thread until it is dropped.
pub struct Running<H> {
    pub addr: SocketAddr,
    pub handle: Handle<H>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<H: Handler + Send + 'static> Running<H> {
    pub fn new(handler: H) -> io::Result<Self> {
        let mut node = Node::new(config(), handler)?;
        let addr = node.net().listen("127.0.0.1:0")?;
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

pub fn config() -> Config {
    Config::default()
}

/// A source in this thread that has dialled `addr` so many times and is connected.
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

/// Has the source send that many messages on each connection and waits for that many answers.
pub fn transfer(
    node: &mut Node<Source>,
    messages: u64,
    body: &[u8],
    answers: u64,
) -> io::Result<()> {
    let source = node.handler_mut();
    source.body = body.to_vec();
    source.left = messages;
    source.answers = 0;
    let conns = source.conns.clone();
    for conn in conns {
        // What `on_drain` does from now on has to be begun once.
        let mut source = std::mem::take(node.handler_mut());
        source.fill(node.net(), conn);
        *node.handler_mut() = source;
    }
    while node.handler().answers < answers {
        let _ = node.turn(None)?;
    }
    Ok(())
}
