//! `on_drain` after the queue of a connection has exceeded `high_bytes`.

use std::sync::mpsc;
use std::time::Duration;

use crate::util::narrow::{drains, fill, narrow, queued_bytes, read_in_thread};
use crate::util::{Event, Recorder, config_with, run_for, run_until};
use peerloop::{Config, ConnId, Net};

fn config() -> Config {
    config_with(|config| {
        config.connection.send_queue.low_bytes = 16 * 1024;
        config.connection.send_queue.high_bytes = 64 * 1024;
        config.connection.send_queue.max_bytes = 128 * 1024;
    })
}

#[test]
fn each_crossing_is_followed_by_one_drain() {
    let (sender, queued_at_drain) = mpsc::channel();
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Drain(conn) = event {
            let queued = queued_bytes(net, *conn);
            sender.send(queued).expect("the test waits");
        }
    });
    let (mut node, conn, mut peer) = narrow(config(), handler);
    let is_above_high: fn(&Net, ConnId) -> bool = |net, conn| !net.is_writable(conn);
    let is_refused: fn(&Net, ConnId) -> bool = |_, _| false;
    let rounds = [is_above_high, is_refused, is_above_high];
    for (before, enough) in rounds.into_iter().enumerate() {
        let sent = fill(&mut node, conn, enough);
        assert!(!node.net().is_writable(conn));
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(drains(&node), before, "the peer has read nothing");
        let reader = read_in_thread(peer, sent);
        run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
        peer = reader.join().unwrap();
        assert_eq!(drains(&node), before + 1);
        assert!(node.net().is_writable(conn));
    }
    assert!(queued_at_drain.try_iter().all(|len| len <= 16 * 1024));
    assert_eq!(node.net().metrics().drains, 3);
}

#[test]
fn queue_below_the_mark_gets_no_drain() {
    let (mut node, conn, peer) = narrow(config(), Recorder::default());
    for _ in 0..20 {
        node.net().send(conn, &[9; 1000]).unwrap();
    }
    let reader = read_in_thread(peer, 20 * 1004);
    run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
    reader.join().unwrap();
    assert_eq!(drains(&node), 0);
}
