//! `OnFull`: a queue that overflows refuses the send, or ends the connection.

use std::io::Read;

use peerloop::config::{OnFull, SendQueueConfig};
use peerloop::{Config, ConnId, DisconnectReason, Net, SendError};

use crate::util::raw::{feed, join, until_ended, wire};
use crate::util::streams::{drains, ends};
use crate::util::{Recorder, TestNode, frame, listening, run_until};

fn config(on_full: OnFull) -> Config {
    let mut config = Config::default();
    config.connection.send_queue = SendQueueConfig {
        low_bytes: 1024,
        high_bytes: 4096,
        max_bytes: 8192,
        on_full,
    };
    config
}

/// Sends until a send is refused, then twice more.
fn overflow(net: &mut Net, conn: ConnId) -> [SendError; 3] {
    let refusal = (0..100).find_map(|_| net.send(conn, &[7; 1000]).err());
    let again = [(); 2].map(|()| net.send(conn, &[7; 1000]).unwrap_err());
    [refusal.expect("there is a limit"), again[0], again[1]]
}

#[test]
fn full_queue_disconnects_once_if_configured() {
    let (mut node, addr) = listening(config(OnFull::Disconnect), Recorder::default());
    let (conn, _peer) = join(&mut node, addr);
    let (other, mut other_peer) = join(&mut node, addr);
    let errors = overflow(node.net(), conn);
    let expected = [SendError::Full, SendError::Closed, SendError::Closed];
    assert_eq!(errors, expected);
    assert_eq!(
        until_ended(&mut node, conn),
        DisconnectReason::SendQueueFull
    );
    let metrics = node.net().metrics();
    let counted = (metrics.send_queue_overflows, metrics.sends_refused);
    assert_eq!((counted, metrics.queued_bytes), ((1, 1), 0));
    assert!(metrics.bytes_lost > 0);
    feed(&mut node, &mut other_peer, &frame(b"x"));
    assert_eq!(node.handler().messages(other), [b"x"]);
    assert_eq!(ends(&node), 1);
}

#[test]
fn full_queue_disconnects_in_a_broadcast_too() {
    let (mut node, conn, _peer) = wire(config(OnFull::Disconnect), Recorder::default());
    for _ in 0..100 {
        let _ = node.net().broadcast([conn], &[7; 1000]);
    }
    assert_eq!(
        until_ended(&mut node, conn),
        DisconnectReason::SendQueueFull
    );
    assert_eq!(node.net().metrics().send_queue_overflows, 1);
}

#[test]
fn long_message_on_an_empty_queue_is_no_overflow() {
    let (mut node, conn, mut peer) = wire(config(OnFull::Disconnect), Recorder::default());
    node.net().send(conn, &[7; 20_000]).unwrap();
    let queued = |node: &mut TestNode| node.net().connection(conn).unwrap().queued_bytes();
    run_until([&mut node], |[node]| queued(node) == 0);
    peer.read_exact(&mut [0; 20_004]).unwrap();
}

#[test]
fn full_queue_refuses_by_default() {
    let on_full = SendQueueConfig::default().on_full;
    let (mut node, conn, mut peer) = wire(config(on_full), Recorder::default());
    assert_eq!(overflow(node.net(), conn), [SendError::Full; 3]);
    run_until([&mut node], |[node]| drains(node) == 1);
    let sent = node.net().connection(conn).unwrap().traffic().bytes_sent;
    peer.read_exact(&mut vec![0; sent as usize]).unwrap();
    assert_eq!(node.net().metrics().send_queue_overflows, 0);
}
