//! Counts the locks and the guarded calls of an accepted connection.

use std::net::TcpStream;
use std::time::Duration;

use crate::config::{Config, OnPanic};
use crate::counts::Count;
use crate::error::FramingError;
use crate::framing::{Decoded, Framer, Framing};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::net::Net;
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(30);

struct Idle;

impl Handler for Idle {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

struct Bytes;

impl Framer for Bytes {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let consumed = bytes.len();
        Ok(Decoded::Frame {
            body: 0..consumed,
            consumed,
        })
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(body);
        Ok(())
    }
}

/// Returns the numbers of locks and of guarded calls of the turn that accepts a
/// connection, and of the one that ends it.
fn counts(framing: Framing) -> [(usize, usize); 2] {
    let mut config = Config {
        on_panic: OnPanic::Contain,
        ..Config::default()
    };
    config.connection.framing = framing;
    let mut node = Node::new(config, Idle).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    let peer = TcpStream::connect(addr).unwrap();
    let count = |node: &mut Node<Idle>| {
        let _ = (Count::LimitLocks.take(), Count::GuardedCalls.take());
        let _ = node.turn(Some(PATIENCE)).unwrap();
        (Count::LimitLocks.take(), Count::GuardedCalls.take())
    };
    let begin = count(&mut node);
    assert_eq!(node.net().connection_count(), 1);
    drop(peer);
    let end = count(&mut node);
    assert_eq!(node.net().connection_count(), 0);
    [begin, end]
}

#[test]
fn accept_takes_two_locks_and_its_callbacks() {
    // `on_accept`, `transport`, `on_connect` and `on_turn`, with a lock before
    // the first and one after it; then `on_disconnect` and `on_turn`.
    let built_in = [(2, 4), (1, 2)];
    assert_eq!(counts(Framing::default()), built_in);
    // The framers of a custom framing are made in a guarded call, and each is
    // dropped in one.
    let custom = [(2, 5), (1, 4)];
    assert_eq!(counts(Framing::custom(|| Bytes)), custom);
}
