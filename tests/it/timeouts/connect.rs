//! `Timeouts::connect`.

use std::net::TcpListener;
use std::thread;

use peerloop::config::Timeouts;

use super::{OFF, TIME, config};
use crate::util::{Event, Recorder, node, run_for, run_until, unlimited_time};

const CONNECT: Timeouts = Timeouts {
    connect: Some(TIME),
    ..OFF
};

#[test]
fn established_connection_has_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = node(config(CONNECT), Recorder::default());
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    run_until([&mut node], |[node]| node.handler().connected() == [conn]);
    assert_eq!(node.timeout(), None);
    run_for(2 * TIME, [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
}

#[test]
fn loop_that_runs_late_gives_all_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(CONNECT);
    config.budget = unlimited_time();
    let mut node = node(config, Recorder::default());
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    thread::sleep(TIME);
    let is_outcome = |event: &Event| matches!(event, Event::Connect(_) | Event::ConnectFailed(..));
    run_until([&mut node], |[node]| node.handler().count(is_outcome) > 0);
    assert_eq!(node.handler().connected(), [conn]);
}
