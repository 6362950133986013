//! Connections that are overdue because the node did not run: what arrived in time
//! is read before a timeout is acted on.

use std::io::Write;
use std::thread;
use std::time::Duration;

use peerloop::config::Timeouts;

use super::{FRAME, config};
use crate::util::raw::{feed, settle, wire};
use crate::util::streams::{crowd, ends, messages};
use crate::util::{Event, Recorder, run_until, unlimited_time};

#[test]
fn messages_in_time_come_before_idle_timeouts() {
    let idle = Duration::from_secs(1);
    let config = config(Timeouts {
        idle: Some(idle),
        ..Timeouts::default()
    });
    // The idle timeout does not run during a pause, so connecting may take long.
    let handler = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.pause(*conn);
        }
    });
    let (mut node, mut peers) = crowd(config, handler);
    for conn in node.handler().connected() {
        node.net().resume(conn);
    }
    settle(&mut node);
    for peer in &mut peers {
        peer.write_all(FRAME).unwrap();
    }
    thread::sleep(idle);
    settle(&mut node);
    assert_eq!((messages(&node), ends(&node)), (peers.len(), 0));
}

#[test]
fn message_over_read_budget_is_not_overdue() {
    const LEN: usize = 64 * 1024;
    let partial_message = Duration::from_millis(500);
    let mut config = config(Timeouts {
        partial_message: Some(partial_message),
        ..Timeouts::default()
    });
    config.budget = unlimited_time();
    config.budget.read_bytes = LEN / 4;
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    feed(&mut node, &mut peer, &(LEN as u32).to_be_bytes());
    peer.write_all(&[7; LEN]).unwrap();
    thread::sleep(partial_message);
    run_until([&mut node], |[node]| messages(node) + ends(node) > 0);
    assert_eq!(node.handler().messages(conn), [[7; LEN]]);
    assert_eq!(node.handler().ended(conn), None);
}
