//! Sources of the program: pipes, sockets and the output of children.

mod closing;
mod events;
mod ids;
mod turns;

use std::io::{ErrorKind, Read};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use peerloop::config::OnPanic;
use peerloop::mio::{self, Interest};
use peerloop::{Config, ConnId, Handler, Net, Node, Readiness, SourceId};

use crate::util::PATIENCE;

/// A function that a test runs inside each `on_ready`, with all its sources.
type Reaction<S> = fn(&mut Sources<S>, &mut Net, SourceId);

/// A handler with sources.
struct Sources<S> {
    sources: Vec<(SourceId, S)>,
    ready: Vec<(SourceId, Readiness)>,
    reaction: Reaction<S>,
    /// The bytes that were read, of all sources.
    read: Vec<u8>,
    /// A read returned the end or an error.
    has_ended: bool,
    turns: usize,
}

impl<S> Handler for Sources<S> {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_ready(&mut self, net: &mut Net, source: SourceId, readiness: Readiness) {
        self.ready.push((source, readiness));
        (self.reaction)(self, net, source);
    }

    fn on_turn(&mut self, _: &mut Net) {
        self.turns += 1;
    }
}

type SourceNode<S> = Node<Sources<S>>;

impl<S: mio::event::Source> Sources<S> {
    fn new(reaction: Reaction<S>) -> Self {
        Self {
            sources: Vec::new(),
            ready: Vec::new(),
            reaction,
            read: Vec::new(),
            has_ended: false,
            turns: 0,
        }
    }

    fn register(&mut self, net: &mut Net, mut source: S) -> SourceId {
        let id = net.register(&mut source, Interest::READABLE).unwrap();
        self.sources.push((id, source));
        id
    }

    fn source(&mut self, id: SourceId) -> &mut S {
        let source = self.sources.iter_mut().find(|(own, _)| *own == id);
        &mut source.expect("a registered source").1
    }

    fn take(&mut self, id: SourceId) -> S {
        let index = self.sources.iter().position(|(own, _)| *own == id);
        self.sources.remove(index.expect("a registered source")).1
    }

    fn count(&self, id: SourceId) -> usize {
        self.ready.iter().filter(|(ready, _)| *ready == id).count()
    }
}

/// Reads the source to `WouldBlock` or the end.
fn drain<S: Read + mio::event::Source>(sources: &mut Sources<S>, _: &mut Net, id: SourceId) {
    let mut buffer = [0; 1000];
    loop {
        match sources.source(id).read(&mut buffer) {
            Ok(count) if count > 0 => sources.read.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => {
                sources.has_ended = true;
                return;
            }
        }
    }
}

/// Receives to `WouldBlock`.
fn receive(sources: &mut Sources<mio::net::UdpSocket>, _: &mut Net, id: SourceId) {
    let mut buffer = [0; 100];
    while let Ok(count) = sources.source(id).recv(&mut buffer) {
        sources.read.extend_from_slice(&buffer[..count]);
    }
}

fn node<S: mio::event::Source>(reaction: Reaction<S>) -> SourceNode<S> {
    let config = Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    };
    Node::new(config, Sources::new(reaction)).unwrap()
}

fn register<S: mio::event::Source>(node: &mut SourceNode<S>, source: S) -> SourceId {
    node.with(|sources, net| sources.register(net, source))
}

/// A source, and a socket that sends to it.
fn udp() -> (mio::net::UdpSocket, UdpSocket) {
    let source = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect(source.local_addr().unwrap()).unwrap();
    (source, peer)
}

#[track_caller]
fn run_until<S>(node: &mut SourceNode<S>, mut condition: impl FnMut(&mut Sources<S>) -> bool) {
    let end = node.run_until(PATIENCE, |sources, _| condition(sources));
    assert_eq!(end.unwrap(), peerloop::RunEnd::Done);
}

/// Runs turns for a while in which something is not to happen.
fn run_for<S>(node: &mut SourceNode<S>, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
    }
}
