//! `Config::slow_turn`.

use std::thread;
use std::time::Duration;

use peerloop::{Config, Net};

use crate::util::raw::settle;
use crate::util::{PATIENCE, Recorder, node, run_until, unlimited_time};

fn config(slow_turn: Option<Duration>) -> Config {
    Config {
        slow_turn,
        budget: unlimited_time(),
        ..Config::default()
    }
}

/// Returns how many slow turns are counted for this many calls of 5 ms each, all of
/// one turn.
fn counted(slow_turn: Option<Duration>, calls: u64) -> u64 {
    let mut node = node(config(slow_turn), Recorder::default());
    settle(&mut node);
    let handle = node.handle();
    let before = node.net().metrics();
    for _ in 0..calls {
        let call = |_: &mut Recorder, _: &mut Net| thread::sleep(Duration::from_millis(5));
        handle.post(call).unwrap();
    }
    run_until([&mut node], |[node]| node.net().metrics().commands == calls);
    node.net().metrics().slow_turns - before.slow_turns
}

#[test]
fn turn_above_the_limit_is_counted() {
    // More may be counted while the machine is busy.
    assert!(counted(Some(Duration::from_millis(1)), 1) >= 1, "one call");
    assert!(counted(Some(Duration::from_millis(40)), 10) >= 1, "the sum");
    assert_eq!(counted(Some(PATIENCE), 1), 0);
    assert_eq!(counted(None, 1), 0);
}

/// The time for which a turn waits for events is not its work.
#[test]
fn turn_that_waits_is_not_slow() {
    let limit = Duration::from_millis(40);
    let mut node = node(config(Some(limit)), Recorder::default());
    settle(&mut node);
    let mut is_slow = || {
        let before = node.net().metrics().slow_turns;
        let _ = node.turn(Some(limit + limit / 4)).unwrap();
        node.net().metrics().slow_turns > before
    };
    // Some of them may be slow while the machine is busy, but not all.
    assert!((0..10).any(|_| !is_slow()));
}
