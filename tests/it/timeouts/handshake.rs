//! The timeout of a handshake.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::util::outcome::{assert_only_failures, failures};
use crate::util::sessions::{Greeting, Manner, greeting, untimed, with_sessions};
use crate::util::{Recorder, listening, node, raw, run_until};
use peerloop::{Config, ConnectError};

fn config(timeout: u64) -> Config {
    let mut config = untimed();
    config.connection.timeouts.handshake = Some(Duration::from_millis(timeout));
    config
}

#[test]
fn byte_does_not_restart_the_timeout() {
    let recorder = with_sessions(Recorder::default(), |_| Greeting::new(Manner::Silent));
    let (mut node, addr) = listening(config(50), recorder);
    let mut peer = raw::connect(addr);
    let mut last = Instant::now();
    run_until([&mut node], |[node]| {
        if last.elapsed() > Duration::from_millis(4) {
            // The node may have closed.
            let _ = peer.write_all(b"x");
            last = Instant::now();
        }
        node.net().metrics().handshake_timeouts == 1
    });
    assert_eq!(node.net().metrics().partial_message_timeouts, 0);
    run_until([&mut node], |[node]| node.net().connecting_count() == 0);
    assert_only_failures(&mut node, &[ConnectError::HandshakeTimedOut]);
}

#[test]
fn connect_without_answer_times_out() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut node = node(config(50), greeting(Recorder::default()));
    let addr = server.local_addr().expect("an address");
    node.net().connect(addr).expect("a connect");
    run_until([&mut node], |[node]| !failures(node).is_empty());
    assert_only_failures(&mut node, &[ConnectError::HandshakeTimedOut]);
    let metrics = node.net().metrics();
    let timeouts = (metrics.handshake_timeouts, metrics.connect_timeouts);
    assert_eq!(timeouts, (1, 0));
}

#[test]
fn hundred_silent_peers_time_out() {
    let (mut node, addr) = listening(config(300), greeting(Recorder::default()));
    let _peers: Vec<_> = (0..100).map(|_| raw::connect(addr)).collect();
    run_until([&mut node], |[node]| {
        node.net().metrics().handshake_timeouts == 100
    });
    assert_eq!(node.net().metrics().handshakes_failed, 100);
    assert_only_failures(&mut node, &[ConnectError::HandshakeTimedOut; 100]);
}
