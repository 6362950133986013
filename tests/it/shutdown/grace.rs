//! The grace of a shutdown.

use std::io::ErrorKind;
use std::time::Duration;

use peerloop::{Config, DisconnectReason, RunEnd};

use crate::util::{PATIENCE, Recorder, raw};

/// Without a linger timeout only the grace ends the connection.
#[test]
fn grace_requested_between_turns_ends() {
    let mut config = Config::default();
    config.connection.timeouts.linger = None;
    let (mut node, conn, _peer) = raw::wire(config, Recorder::default());
    let grace = Duration::from_millis(20);
    let net = node.net();
    let asked = net.now();
    net.shutdown(grace);
    // The next turn ends later than this call: the grace does not count from there.
    while asked.elapsed() < grace / 2 {
        std::thread::yield_now();
    }
    assert_eq!(node.run_for(PATIENCE).expect("it runs"), RunEnd::Stopped);
    assert!(asked.elapsed() < PATIENCE / 2, "the grace was missed");
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
    let stopped = node.turn(None).expect_err("it has stopped");
    assert_eq!(stopped.kind(), ErrorKind::BrokenPipe);
}
