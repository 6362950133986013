//! Reaching a node from other threads.

mod ask;
mod commands;
mod connect_wait;
mod queue;
mod send_wait;

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, raw, run_until};
use peerloop::config::{CommandQueueConfig, OnFull, OnPanic, SendQueueConfig, TurnBudget};
use peerloop::{
    Bytes, Config, ConnId, ConnectError, DisconnectReason, Handle, Handler, Net, Node, RunningNode,
    SendError, Turn,
};
use socket2::{Domain, Socket, Type};

/// Long enough to be sure that something has begun that needs no peer.
const SHORT: Duration = Duration::from_millis(50);

fn strict() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

fn running(handler: Recorder) -> RunningNode<Recorder> {
    node(strict(), handler).spawn().expect("a thread")
}

fn kind<T>(result: io::Result<T>) -> Result<(), ErrorKind> {
    result.map(|_| ()).map_err(|error| error.kind())
}

fn is_refused(outcome: Result<ConnId, ConnectError>) -> bool {
    matches!(outcome, Err(ConnectError::Io(error)) if error.kind == ErrorKind::ConnectionRefused)
}

/// Stops the node, and returns its handler.
fn stop(node: RunningNode<Recorder>) -> Recorder {
    node.shutdown(Duration::ZERO);
    node.join().expect("it stops")
}

/// An address where attempts to connect are not answered, and the sockets that keep it
/// so.
fn silent() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).expect("an address");
    listener.listen(1).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let addr = addr.as_socket().expect("an address of IP");
    let mut sockets = vec![listener];
    for _ in 0..8 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let _ = socket.connect(&addr.into());
        sockets.push(socket);
    }
    (addr, sockets)
}

/// An address that refuses.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// Waits for a condition.
#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "the condition did not become true");
        thread::yield_now();
    }
}

fn nothing(_: &mut Recorder, _: &mut Net) {}
