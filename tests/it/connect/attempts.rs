//! Attempts to connect: their addresses, their timeout and their end.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::util::sockets::saturated;
use crate::util::{Event, Recorder, TestNode, config_with, node, raw, run_for, run_until};
use peerloop::{Config, ConnId, ConnectError, ConnectionState, Net, SendError};

fn failure(node: &TestNode, conn: ConnId) -> Option<ConnectError> {
    node.handler().events.iter().find_map(|event| match event {
        Event::ConnectFailed(which, error) if *which == conn => Some(*error),
        _ => None,
    })
}

#[test]
fn numeric_addresses_of_every_type_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let config = config_with(|config| config.allow_duplicates = true);
    let mut node = node(config, Recorder::default());
    let net = node.net();
    net.connect(addr).unwrap();
    net.connect(addr.to_string().as_str()).unwrap();
    net.connect((addr.ip(), addr.port())).unwrap();
    run_until([&mut node], |[node]| node.handler().connected().len() == 3);
}

#[test]
fn unanswered_attempt_times_out_not_too_early() {
    let silent = saturated();
    let timeout = Duration::from_millis(200);
    let config = config_with(|config| config.connection.timeouts.connect = Some(timeout));
    let mut node = node(config, Recorder::default());
    let begun = Instant::now();
    let conn = node.net().connect(silent.addr).unwrap();
    let connecting: Vec<ConnId> = node.net().connecting().map(|it| it.id()).collect();
    assert_eq!(connecting, [conn]);
    let state = node.net().connection(conn).unwrap().state();
    assert_eq!(state, ConnectionState::Connecting);
    run_until([&mut node], |[node]| failure(node, conn).is_some());
    assert_eq!(failure(&node, conn), Some(ConnectError::TimedOut));
    assert!(begun.elapsed() >= timeout);
    let metrics = node.net().metrics();
    assert_eq!((metrics.connect_timeouts, metrics.connects_failed), (1, 1));
    assert_eq!((node.net().connecting_count(), node.timeout()), (0, None));
}

#[test]
fn timeout_is_that_of_the_attempt() {
    let silent = saturated();
    let mut node = node(Config::default(), Recorder::default());
    let patient = node.net().connect(silent.addr).unwrap();
    let mut options = node.net().connect_options();
    options.connection_mut().timeouts.connect = Some(Duration::from_millis(20));
    options.allow_duplicate = true;
    let hasty = node.net().connect_with(silent.addr, options).unwrap();
    run_until([&mut node], |[node]| failure(node, hasty).is_some());
    assert_eq!(failure(&node, hasty), Some(ConnectError::TimedOut));
    assert_eq!(failure(&node, patient), None);
}

#[test]
fn cancelled_attempt_fails_once() {
    let cancels: [fn(&mut Net, ConnId); 2] = [Net::close, Net::abort];
    for (cancel, has_begun) in cancels.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let silent = saturated();
        let mut node = node(Config::default(), Recorder::default());
        let conn = node.net().connect(silent.addr).unwrap();
        if has_begun {
            raw::settle(&mut node);
        }
        cancel(node.net(), conn);
        assert_eq!(node.net().connecting_count(), 0);
        run_for(Duration::from_millis(5), [&mut node]);
        let failed = Event::ConnectFailed(conn, ConnectError::Cancelled);
        assert_eq!(node.handler().events, [Event::Start, failed]);
        assert!(node.net().connection(conn).is_none());
        assert_eq!(node.timeout(), None);
    }
}

#[test]
fn sends_before_on_connect_are_refused() {
    let silent = saturated();
    let mut node = node(Config::default(), Recorder::default());
    let conn = node.net().connect(silent.addr).unwrap();
    raw::settle(&mut node);
    assert_eq!(node.net().send(conn, b"early"), Err(SendError::Closed));
    assert!(!node.net().is_writable(conn));
}
