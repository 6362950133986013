//! Running until a condition holds, for a time, and to the end.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, node, strict};
use peerloop::{RunEnd, Turn};

#[test]
fn condition_is_called_around_each_turn() {
    let mut node = node(strict(), Recorder::default());
    let mut turns = Vec::new();
    let end = node.run_until(PATIENCE, |handler, net| {
        // Requested work is done in the next turn.
        net.set_timer(Duration::ZERO, 1);
        turns.push(handler.turns);
        handler.turns == 3
    });
    assert_eq!((end.unwrap(), turns), (RunEnd::Done, vec![0, 1, 2, 3]));
    let end = node.run_until(PATIENCE, |_, _| true);
    assert_eq!(end.unwrap(), RunEnd::Done);
    assert_eq!(node.handler().turns, 3, "no further turn");
}

#[test]
fn zero_time_takes_one_turn() {
    let mut node = node(strict(), Recorder::default());
    let end = node.run_until(Duration::ZERO, |_, _| false);
    assert_eq!(end.unwrap(), RunEnd::TimedOut);
    assert_eq!(node.handler().turns, 1);
    let (begun, bound) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(node.run_for(bound).unwrap(), RunEnd::TimedOut);
    assert!(begun.elapsed() >= bound);
}

#[test]
fn maximum_time_is_no_bound() {
    let mut node = node(strict(), Recorder::default());
    node.net().set_timer(Duration::from_millis(10), 7);
    let fired = |event: &Event| matches!(event, Event::Timer(_, 7));
    let end = node.run_until(Duration::MAX, |handler, _| handler.count(fired) == 1);
    assert_eq!(end.unwrap(), RunEnd::Done);
}

#[test]
fn stopped_node_ends_it() {
    let mut node = node(strict(), Recorder::default());
    node.net().shutdown(Duration::ZERO);
    assert_eq!(node.run_for(PATIENCE).unwrap(), RunEnd::Stopped);
    assert_eq!(node.run_for(PATIENCE).unwrap(), RunEnd::Stopped);
    let end = node.run_until(PATIENCE, |_, _| true);
    assert_eq!(end.unwrap(), RunEnd::Done);
    node.run().expect("it is at its end");
}

#[test]
fn stopped_is_returned_once() {
    let mut node = node(strict(), Recorder::default());
    node.net().shutdown(Duration::ZERO);
    assert_eq!(node.turn(None).unwrap(), Turn::Stopped);
    let begun = Instant::now();
    for _ in 0..3 {
        let error = node.turn(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    assert!(begun.elapsed() >= Duration::from_millis(30), "it spins");
    assert_eq!(node.timeout(), None);
}
