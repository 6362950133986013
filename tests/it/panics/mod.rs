//! Panics of callbacks, sessions and framers: they end one connection, and nothing
//! else.

mod callbacks;
mod destructors;
mod framers;
mod framing_factory;
mod session;
mod unwinding;

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::panic;
use std::sync::{Arc, Mutex};

use peerloop::Config;
use peerloop::config::SendQueueConfig;

use crate::util::raw::feed;
use crate::util::{Event, Recorder, TestNode, frame, listening};

/// The payload of the panics here.
const ON_PURPOSE: &str = "on purpose";

/// Panics without output on standard error.
fn panic_quietly() -> ! {
    panic::resume_unwind(Box::new(ON_PURPOSE))
}

/// Selects callbacks.
type Selects = fn(&Event) -> bool;

/// Makes the next selected callback panic, once.
#[derive(Clone, Default)]
struct Trigger(Arc<Mutex<Option<Selects>>>);

impl Trigger {
    fn arm(&self, selects: Selects) {
        *self.0.lock().unwrap() = Some(selects);
    }

    fn is_armed(&self) -> bool {
        self.0.lock().unwrap().is_some()
    }

    fn fires(&self, event: &Event) -> bool {
        let mut selects = self.0.lock().unwrap();
        selects.take_if(|selects| selects(event)).is_some()
    }
}

/// Returns a configuration in which every callback is easily provoked.
fn config() -> Config {
    let mut config = Config::default();
    config.connection.allow_half_open = true;
    config.connection.send_queue = SendQueueConfig {
        low_bytes: 512,
        high_bytes: 1024,
        ..Default::default()
    };
    config
}

/// Returns a node that answers every message with itself, and panics in the
/// callback that its trigger selects.
fn panicking(config: Config) -> (TestNode, SocketAddr, Trigger) {
    let trigger = Trigger::default();
    let handler = {
        let trigger = trigger.clone();
        Recorder::reacting(move |net, event| {
            if trigger.fires(event) {
                panic_quietly();
            }
            if let Event::Message(conn, message) = event {
                // Some peers have closed the connection already.
                let _ = net.send(*conn, message);
            }
        })
    };
    let (node, addr) = listening(config, handler);
    (node, addr, trigger)
}

/// Checks that the node answers this peer.
#[track_caller]
fn assert_served(node: &mut TestNode, peer: &mut TcpStream) {
    feed(node, peer, &frame(b"hello"));
    let mut answer = [0; 9];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *frame(b"hello"));
}

/// Returns whether the node has closed the connection, after what it sent before.
fn is_closed(peer: &mut TcpStream) -> bool {
    match peer.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}
