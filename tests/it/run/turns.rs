//! When a turn is due, and how long it waits.

use std::time::{Duration, Instant};

use crate::util::{Recorder, TestNode, config_with, listening, node, raw};
use peerloop::{Config, ConnId, Handle, Net, Turn};

#[test]
fn node_is_send_and_handle_is_sync() {
    fn is_send<T: Send>() {}
    fn is_sync<T: Sync>() {}
    is_send::<TestNode>();
    is_send::<Handle<Recorder>>();
    is_sync::<Handle<Recorder>>();
}

#[test]
fn turn_waits_for_its_timeout() {
    let mut node = node(Config::default(), Recorder::default());
    for _ in 0..10 {
        assert_eq!(node.turn(Some(Duration::ZERO)).unwrap(), Turn::Waiting);
    }
    let begun = Instant::now();
    let turn = node.turn(Some(Duration::from_millis(20))).unwrap();
    assert_eq!(turn, Turn::Waiting);
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[test]
fn timeout_is_the_time_of_the_next_turn() {
    // Without the timeouts of every open connection.
    let config = config_with(|config| {
        config.connection.timeouts.idle = None;
        config.connection.timeouts.partial_message = None;
        config.connection.timeouts.write_stall = None;
    });
    let (mut node, addr) = listening(config, Recorder::default());
    assert_eq!(node.timeout(), Some(Duration::ZERO), "on_start is due");
    raw::settle(&mut node);
    assert_eq!(node.timeout(), None);
    let timer = node.net().set_timer(Duration::from_secs(60), 1);
    let timeout = node.timeout().expect("a timer is set");
    assert!(timeout <= Duration::from_secs(60) && !timeout.is_zero());
    node.net().cancel_timer(timer);
    assert_eq!(node.timeout(), None);
    node.handle().post(|_, _| ()).unwrap();
    assert_eq!(node.timeout(), Some(Duration::ZERO), "a command waits");
    raw::settle(&mut node);
    let (conn, _peer) = raw::join(&mut node, addr);
    assert_eq!(node.timeout(), None);
    type Call = fn(&mut Net, ConnId);
    let calls: [(Call, bool); 4] = [
        (|net, conn| net.send(conn, b"x").unwrap(), true),
        (Net::pause, false),
        (Net::resume, true),
        (Net::close, true),
    ];
    for (call, is_due) in calls {
        call(node.net(), conn);
        assert_eq!(node.timeout() == Some(Duration::ZERO), is_due);
        raw::settle(&mut node);
    }
    assert!(node.timeout().is_some(), "the connection lingers");
}
