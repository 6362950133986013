use std::thread;

use bytes::Bytes;

use super::*;
use crate::config::{CommandQueueConfig, Config};
use crate::id::{ConnId, ShardId, WAKER_TOKEN};
use crate::sys::Poller;

/// Returns the queue of a loop that does not run, for up to `max_commands`.
fn queue(max_commands: usize) -> Inbox<()> {
    let poller = Poller::new(None).expect("a poller");
    let wake = poller.registrar().waker(WAKER_TOKEN).expect("a waker");
    let config = Config {
        commands: CommandQueueConfig {
            max_commands,
            ..CommandQueueConfig::default()
        },
        ..Config::default()
    };
    Inbox::new(number(), wake, &config)
}

fn conn(slot: u32) -> ConnId {
    ConnId::new(ShardId::FIRST, slot, 1)
}

/// Queues a message for the connection in this slot.
fn push(inbox: &Inbox<()>, slot: u32) {
    let message = ShardCommand::Send(conn(slot), Bytes::from_static(b"12345"));
    assert!(inbox.sender().pass(message).is_ok());
}

/// Returns the slots of the messages.
fn slots(commands: impl Iterator<Item = Command<()>>) -> Vec<usize> {
    let slot = |command| match command {
        Command::ShardCommand(ShardCommand::Send(conn, _)) => conn.slot(),
        _ => panic!("not a message"),
    };
    commands.map(slot).collect()
}

/// Starts a thread that waits for room in the queue, which is full.
fn wait_for_room(inbox: &Inbox<()>) -> thread::JoinHandle<Result<(), SendError>> {
    let sender = inbox.sender();
    let waiting = thread::spawn(move || sender.push_until(Box::new(|_, _| ()), None));
    while inbox.sender().shared.lock().waiting == 0 {
        thread::yield_now();
    }
    waiting
}

#[test]
fn unused_queue_has_no_memory() {
    let inbox = queue(4096);
    let sender = inbox.sender();
    assert_eq!(sender.shared.lock().commands.capacity(), 0);
    assert_eq!(sender.post(Box::new(|_, _| ())), Ok(()));
    assert!(sender.shared.lock().commands.capacity() < 32);
}

#[test]
fn memory_of_a_burst_is_freed() {
    let mut inbox = queue(4096);
    let mut run = |count| {
        (0..count).for_each(|slot| push(&inbox, slot));
        assert_eq!(inbox.take(1024).count(), count as usize);
        inbox.sender().shared.lock().commands.capacity()
    };
    run(1000);
    assert!(run(1000) >= 1000, "two lists are used in turns");
    run(1);
    run(1);
    assert!(run(1).max(run(1)) < 64);
}

#[test]
fn room_of_a_taken_command_ends_a_wait() {
    let mut inbox = queue(1);
    assert_eq!(inbox.sender().post(Box::new(|_, _| ())), Ok(()));
    let waiting = wait_for_room(&inbox);
    assert_eq!(inbox.take(1).count(), 1);
    assert_eq!(waiting.join().expect("no panic"), Ok(()));
    assert_eq!(inbox.len(), 1);
}

#[test]
fn end_of_the_loop_ends_a_wait() {
    let mut inbox = queue(1);
    assert_eq!(inbox.sender().post(Box::new(|_, _| ())), Ok(()));
    let waiting = wait_for_room(&inbox);
    inbox.close();
    assert_eq!(waiting.join().expect("no panic"), Err(SendError::Closed));
    assert_eq!(inbox.len(), 0);
    let late = inbox.sender().post(Box::new(|_, _| ()));
    assert_eq!(late, Err(SendError::Closed));
}

#[test]
fn budget_and_panic_leave_commands_in_order() {
    let mut inbox = queue(10);
    (1..=5).for_each(|slot| push(&inbox, slot));
    // A panic of the first command drops the iterator.
    assert_eq!(slots(inbox.take(2).take(1)), [1]);
    push(&inbox, 6);
    inbox.rearm();
    assert!(inbox.has_work());
    assert_eq!(inbox.len(), 5);
    assert_eq!(slots(inbox.take(2)), [2, 3]);
    assert!(inbox.has_work());
    assert_eq!(slots(inbox.take(3)), [4, 5, 6]);
    assert!(!inbox.has_work());
    assert_eq!(inbox.sender().shared.lock().bytes, 0);
}
