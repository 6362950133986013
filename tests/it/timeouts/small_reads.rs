//! Timeouts of connections whose peer reads little or nothing.

use std::io::Read;
use std::time::Duration;

use crate::util::raw::{accepted, connect_narrow, settle, until_ended, wire};
use crate::util::{Event, Recorder, config_with, listening, run_until};
use peerloop::DisconnectReason;
use peerloop::error::TimeoutKind;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const TIMEOUT: Duration = Duration::from_millis(300);

#[test]
fn write_stall_ends_a_closing_connection() {
    let config = config_with(|config| {
        config.connection.timeouts.write_stall = Some(TIMEOUT);
        config.connection.timeouts.linger = None;
        config.sockets.send_buffer_bytes = Some(8 * KIB);
    });
    let handler = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.send(*conn, &[7; MIB / 2]).expect("the queue has room");
            net.close(*conn);
        }
    });
    let (mut node, addr) = listening(config, handler);
    let _peer = connect_narrow(addr);
    let conn = accepted(&mut node);
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::WriteStall));
}

/// The poller reports a socket as writable when a third of its buffer is free. A
/// peer that reads less than that makes progress too.
#[test]
fn write_stall_is_reset_by_small_reads() {
    let config = config_with(|config| {
        config.connection.timeouts.write_stall = Some(TIMEOUT);
        config.connection.send_queue.max_bytes = 64 * MIB;
    });
    let (mut node, addr) = listening(config, Recorder::default());
    let mut peer = connect_narrow(addr);
    let conn = accepted(&mut node);
    for _ in 0..16 {
        node.net().send(conn, &[7; MIB]).unwrap();
    }
    settle(&mut node);
    for _ in 0..3 {
        let before = node.net().metrics().queued_bytes;
        peer.read_exact(&mut [0; 256 * KIB]).unwrap();
        run_until([&mut node], |[node]| {
            node.net().metrics().queued_bytes < before
        });
        assert_eq!(node.handler().ended(conn), None);
    }
}

#[test]
fn resume_does_not_extend_linger() {
    let config = config_with(|config| config.connection.timeouts.linger = Some(TIMEOUT));
    let (mut node, conn, _peer) = wire(config, Recorder::default());
    node.net().close(conn);
    run_until([&mut node], |[node]| {
        node.net().pause(conn);
        node.net().resume(conn);
        node.handler().ended(conn).is_some()
    });
}
