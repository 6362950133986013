//! Timeouts of connections, on real sockets.

mod connect;
mod idle;
#[cfg(target_os = "linux")]
mod link_down;
mod overdue;
mod partial_message;
mod ping;
mod receive_idle;
mod small_reads;
mod write_stall;

mod handshake;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, MinRate, Timeouts};
use peerloop::error::TimeoutKind;
use peerloop::{Config, ConnId, DisconnectReason};

use crate::util::raw::until_ended;
use crate::util::{PATIENCE, TestNode};

/// The timeout under test.
const TIME: Duration = Duration::from_millis(300);

/// No timeout.
const OFF: Timeouts = Timeouts {
    connect: None,
    idle: None,
    receive_idle: None,
    partial_message: None,
    write_stall: None,
    linger: None,
    handshake: None,
};

const IDLE: Timeouts = Timeouts {
    idle: Some(TIME),
    ..OFF
};

/// A message of one byte in the default framing.
const FRAME: &[u8] = b"\0\0\0\x01x";

/// The header of a message of the maximum length.
const LONG_HEADER: &[u8] = &(8u32 << 20).to_be_bytes();

/// Returns a configuration with these timeouts and without a minimum rate.
fn config(timeouts: Timeouts) -> Config {
    Config {
        connection: ConnectionConfig {
            timeouts,
            min_rate: MinRate {
                receive_bytes_per_second: None,
                send_bytes_per_second: None,
                after: TIME,
            },
            ..Default::default()
        },
        ..Config::default()
    }
}

/// Returns how many timeouts were counted: connect, idle, partial message, write
/// stall, linger.
fn counted(node: &mut TestNode) -> [u64; 5] {
    let metrics = node.net().metrics();
    [
        metrics.connect_timeouts,
        metrics.idle_timeouts,
        metrics.partial_message_timeouts,
        metrics.write_stall_timeouts,
        metrics.linger_timeouts,
    ]
}

/// Runs the node until the connection ends with this timeout, which must not be
/// before `TIME` has passed.
#[track_caller]
fn assert_times_out(node: &mut TestNode, conn: ConnId, kind: TimeoutKind, since: Instant) {
    let reason = until_ended(node, conn);
    assert_eq!(reason, DisconnectReason::Timeout(kind));
    assert!(since.elapsed() >= TIME, "{:?}", since.elapsed());
}

/// Sends these bytes again and again until the connection ends.
fn send_until_ended(node: &mut TestNode, conn: ConnId, peer: &mut TcpStream, bytes: &[u8]) {
    let begun = Instant::now();
    while node.handler().ended(conn).is_none() {
        assert!(begun.elapsed() < PATIENCE, "the connection does not end");
        // The node may have closed it already.
        let _ = peer.write(bytes);
        turn(node);
    }
}

/// Runs one turn. It reads before it looks at timeouts, so that a test that is
/// delayed does not end a connection.
fn turn(node: &mut TestNode) {
    let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
}
