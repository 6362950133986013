//! The command queue: posts, messages and shutdowns, against turns and the end
//! of the node.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use peerloop::config::{CommandQueueConfig, TurnBudget};
use peerloop::{Config, ConnId, Handler, Net, Node, SendError, Turn};

use crate::input::Input;

/// Maximum number of waiting commands.
const QUEUE: usize = 8;

/// Maximum number of bytes of waiting messages.
const QUEUE_BYTES: usize = 64;

#[derive(Default)]
struct Log(Vec<u64>);

impl Handler for Log {
    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Runs a turn of a node that may have stopped already.
fn turn(node: &mut Node<Log>) -> Turn {
    match node.turn(Some(Duration::ZERO)) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Turn::Stopped,
        turn => turn.expect("a turn"),
    }
}

/// Runs one call of a handle, or one turn, for each byte.
pub fn commands(data: &[u8]) {
    let mut input = Input::new(data);
    let config = Config {
        commands: CommandQueueConfig {
            max_commands: QUEUE,
            max_bytes: QUEUE_BYTES,
        },
        budget: TurnBudget {
            commands: 1 + input.below(QUEUE),
            ..Default::default()
        },
        ..Config::default()
    };
    let mut node = Node::new(config, Log::default()).expect("a node");
    let handle = node.handle();
    let unknown = ConnId::from_bits(1 << 32).expect("an id");
    let (mut asked, mut messages, mut has_stopped) = (0, 0, false);
    while !input.is_empty() {
        match input.below(8) {
            0..=3 => {
                let number = asked;
                if handle
                    .post(move |log: &mut Log, _| log.0.push(number))
                    .is_ok()
                {
                    asked += 1;
                }
            }
            4 | 5 => match handle.send(unknown, Bytes::from(vec![0; input.below(100)])) {
                Ok(()) => messages += 1,
                Err(SendError::Closed) => {
                    assert!(has_stopped, "only a stopped node is closed")
                }
                Err(error) => assert_eq!(error, SendError::Full),
            },
            6 => {
                has_stopped |= turn(&mut node) == Turn::Stopped;
            }
            _ if input.below(16) == 0 => handle.shutdown(Duration::ZERO),
            _ => {}
        }
    }
    while !has_stopped && turn(&mut node) == Turn::MoreWork {}
    has_stopped |= turn(&mut node) == Turn::Stopped;
    // Calls run in the order in which they were posted, once each. All of them
    // run, unless the node has stopped.
    let done: Vec<u64> = (0..node.handler().0.len() as u64).collect();
    assert_eq!(node.handler().0, done);
    let metrics = node.net().metrics();
    if has_stopped {
        assert!(handle.post(|_, _| {}).is_err());
    } else {
        assert_eq!(done.len() as u64, asked);
        assert_eq!(
            (metrics.commands, metrics.commands_lost),
            (asked + messages, messages)
        );
    }
}
