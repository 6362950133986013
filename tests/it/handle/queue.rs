//! The command queue of handles: its limits, and how often it wakes the loop.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use peerloop::config::CommandQueueConfig;
use peerloop::{Bytes, Config, Handle, Net, SendError};

use crate::util::raw::{settle, until_ended, wire};
use crate::util::{Recorder, config_with, node, run_until};

#[test]
fn hundred_commands_wake_the_loop_once() {
    let mut node = node(Config::default(), Recorder::default());
    settle(&mut node);
    let handle = node.handle();
    for round in 1..=3 {
        for _ in 0..100 {
            handle.post(|_, _| {}).unwrap();
        }
        run_until([&mut node], |[node]| {
            node.net().metrics().commands == round * 100
        });
        settle(&mut node);
        let metrics = node.net().metrics();
        let wakes = (metrics.wakes_sent, metrics.wakes_saved);
        assert_eq!(wakes, (round, round * 99));
    }
}

/// Each turn and wake is a system call, and threads that wait for answers ask
/// again while the loop runs the commands of the others.
#[test]
fn commands_that_come_meanwhile_share_the_turn() {
    let config = config_with(|config| config.budget.commands = 3);
    let mut node = node(config, Recorder::default());
    settle(&mut node);
    let handle = node.handle();
    let calls = Arc::new(AtomicUsize::new(0));
    post_again(&handle, &calls);
    for commands in [3, 6, 9] {
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), commands, "the budget");
    }
    // Further calls share the wake of the first one in its turn.
    assert_eq!(node.net().metrics().wakes_sent, 4);
}

/// Posts a call that posts itself again.
fn post_again(handle: &Handle<Recorder>, calls: &Arc<AtomicUsize>) {
    let (again, calls) = (handle.clone(), calls.clone());
    let call = move |_: &mut Recorder, _: &mut Net| {
        calls.fetch_add(1, Ordering::Relaxed);
        post_again(&again, &calls);
    };
    handle.post(call).unwrap();
}

fn small_queue() -> Config {
    Config {
        commands: CommandQueueConfig {
            max_commands: 3,
            max_bytes: 1000,
        },
        ..Config::default()
    }
}

fn body(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

#[test]
fn byte_limit_is_returned_by_executed_commands() {
    let (mut node, conn, mut peer) = wire(small_queue(), Recorder::default());
    let handle = node.handle();
    for _ in 0..3 {
        handle.send(conn, body(600)).unwrap();
        assert_eq!(handle.send(conn, body(401)), Err(SendError::Full));
        handle.send(conn, body(400)).unwrap();
        assert_eq!(handle.send(conn, body(1)), Err(SendError::Full));
        // Calls have no bytes, and there is room for one more command.
        handle.post(|_, _| {}).unwrap();
        let before = node.net().metrics().commands;
        run_until([&mut node], |[node]| {
            node.net().metrics().commands == before + 3
        });
        peer.read_exact(&mut [0; 1008]).unwrap();
    }
    assert_eq!(node.net().metrics().commands_lost, 0);
}

#[test]
fn byte_limit_lets_one_long_message_pass() {
    let (mut node, conn, mut peer) = wire(small_queue(), Recorder::default());
    let handle = node.handle();
    for _ in 0..2 {
        handle.send(conn, body(5000)).unwrap();
        assert_eq!(handle.send(conn, body(1)), Err(SendError::Full));
        let before = node.net().metrics().commands;
        run_until([&mut node], |[node]| node.net().metrics().commands > before);
        peer.read_exact(&mut [0; 5004]).unwrap();
    }
}

#[test]
fn byte_limit_is_returned_by_lost_messages() {
    let (mut node, conn, _peer) = wire(small_queue(), Recorder::default());
    let handle = node.handle();
    for _ in 0..3 {
        handle.send(conn, body(1)).unwrap();
    }
    // Refused for the number of commands, not for their bytes.
    assert_eq!(handle.send(conn, body(900)), Err(SendError::Full));
    run_until([&mut node], |[node]| node.net().metrics().commands == 3);
    node.net().abort(conn);
    until_ended(&mut node, conn);
    handle.send(conn, body(1)).unwrap();
    handle.send(conn, body(999)).unwrap();
    run_until([&mut node], |[node]| node.net().metrics().commands == 5);
    assert_eq!(node.net().metrics().commands_lost, 2);
    handle.send(conn, body(1)).unwrap();
    handle.send(conn, body(999)).unwrap();
}
