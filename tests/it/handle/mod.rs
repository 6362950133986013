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

use crate::util::sockets::{refusing, saturated};
use crate::util::{
    Event, PATIENCE, Recorder, TestNode, eventually, listening, node, raw, run_until, strict,
};
use peerloop::config::{CommandQueueConfig, OnFull, SendQueueConfig, TurnBudget};
use peerloop::{
    Bytes, Config, ConnId, ConnectError, DisconnectReason, Handle, Handler, Net, Node, RunningNode,
    SendError, Turn,
};

/// Long enough to be sure that something has begun that needs no peer.
const SHORT: Duration = Duration::from_millis(50);

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

fn nothing(_: &mut Recorder, _: &mut Net) {}
