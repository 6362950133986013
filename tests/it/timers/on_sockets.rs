//! Timers of a node on real sockets, with the clock of the system.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::util::{Event, Recorder, TestNode, node, run_for, run_until};
use peerloop::Config;

/// The keys in the order in which they fired.
fn fired(node: &TestNode) -> Vec<u64> {
    let key = |event: &Event| match event {
        Event::Timer(_, key) => Some(*key),
        _ => None,
    };
    node.handler().events.iter().filter_map(key).collect()
}

#[test]
fn order_is_by_time_and_then_by_call() {
    let mut node = node(Config::default(), Recorder::default());
    let mut timers = Vec::new();
    for _ in 0..10 {
        for milliseconds in [5, 1, 9, 1, 5] {
            let key = timers.len() as u64;
            let after = Duration::from_millis(milliseconds);
            let timer = node.net().set_timer(after, key);
            timers.push((milliseconds, key, timer));
        }
    }
    run_until([&mut node], |[node]| fired(node).len() == timers.len());
    timers.sort_by_key(|(milliseconds, key, _)| (*milliseconds, *key));
    let timers = timers.into_iter();
    let expected: Vec<Event> = timers.map(|(_, key, it)| Event::Timer(it, key)).collect();
    assert_eq!(node.handler().events[1..], expected);
}

#[test]
fn due_timer_is_cancelled_by_another() {
    let (sender, answers) = mpsc::channel();
    let mut timers = Vec::new();
    let handler = Recorder::reacting(move |net, event| match event {
        Event::Start => timers.extend((0..4).map(|key| net.set_timer(Duration::ZERO, key))),
        Event::Timer(_, 1) => {
            // Fired, firing, due, and cancelled.
            for which in [0, 1, 2, 2] {
                let answer = net.cancel_timer(timers[which]);
                sender.send(answer).expect("the test waits");
            }
        }
        _ => {}
    });
    let mut node = node(Config::default(), handler);
    run_until([&mut node], |[node]| fired(node).len() == 3);
    run_for(Duration::from_millis(5), [&mut node]);
    assert_eq!(fired(&node), [0, 1, 3]);
    let answers: Vec<_> = answers.try_iter().collect();
    assert_eq!(answers, [None, None, Some(2), None]);
}

#[test]
fn id_of_a_fired_timer_cancels_no_other() {
    let mut node = node(Config::default(), Recorder::default());
    let old = node.net().set_timer(Duration::ZERO, 1);
    run_until([&mut node], |[node]| fired(node) == [1]);
    let new = node.net().set_timer(Duration::ZERO, 2);
    assert_ne!(old, new);
    assert_eq!(node.net().cancel_timer(old), None);
    run_until([&mut node], |[node]| fired(node) == [1, 2]);
}

#[test]
fn timer_set_by_itself_fires_once_a_turn() {
    let handler = Recorder::reacting(|net, event| {
        if let Event::Start | Event::Timer(..) = event {
            net.set_timer(Duration::ZERO, 0);
        }
    });
    let mut node = node(Config::default(), handler);
    for turns in 0..20 {
        let _ = node.turn(None).unwrap();
        assert_eq!(fired(&node).len(), turns);
        assert_eq!(node.timeout(), Some(Duration::ZERO));
    }
}

#[test]
fn no_timer_is_early() {
    let (sender, early) = mpsc::channel();
    let mut due = Vec::new();
    let handler = Recorder::reacting(move |net, event| match event {
        Event::Start => {
            for key in 0..60 {
                let after = Duration::from_micros(333 * key);
                due.push(Instant::now() + after);
                net.set_timer(Instant::now() - net.now() + after, key);
            }
        }
        Event::Timer(_, key) if Instant::now() < due[*key as usize] => {
            sender.send(*key).expect("the test waits");
        }
        _ => {}
    });
    let mut node = node(Config::default(), handler);
    run_until([&mut node], |[node]| fired(node).len() == 60);
    assert_eq!(early.try_iter().collect::<Vec<_>>(), [0; 0]);
}

#[test]
fn longest_duration_neither_fires_nor_overflows() {
    let mut node = node(Config::default(), Recorder::default());
    let timer = node.net().set_timer(Duration::MAX, 1);
    run_for(Duration::from_millis(5), [&mut node]);
    assert_eq!(fired(&node).len(), 0);
    assert_eq!(node.net().cancel_timer(timer), Some(1));
    assert_eq!(node.timeout(), None);
}
