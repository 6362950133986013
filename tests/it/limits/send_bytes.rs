//! `Limits::loop_send_bytes`: refused sends are served in order.

use std::net::TcpStream;

use crate::util::raw::{accepted, connect_narrow, settle};
use crate::util::{Event, Recorder, TestNode, config_with, listening};
use peerloop::{ConnId, SendError};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Returns a node whose loop has room for one full queue, and three connections
/// with peers that do not read.
fn three(handler: Recorder) -> (TestNode, [ConnId; 3], [TcpStream; 3]) {
    let config = config_with(|config| {
        config.sockets.send_buffer_bytes = Some(8 * KIB);
        config.connection.send_queue.low_bytes = 16 * KIB;
        config.connection.send_queue.high_bytes = 64 * KIB;
        config.connection.send_queue.max_bytes = MIB;
        config.limits.loop_send_bytes = MIB;
    });
    let (mut node, addr) = listening(config, handler);
    let [a, b, c] = [(); 3].map(|()| {
        let peer = connect_narrow(addr);
        (accepted(&mut node), peer)
    });
    (node, [a.0, b.0, c.0], [a.1, b.1, c.1])
}

fn drains(node: &TestNode) -> Vec<ConnId> {
    let drain = |event: &Event| match event {
        Event::Drain(conn) => Some(*conn),
        _ => None,
    };
    node.handler().events.iter().filter_map(drain).collect()
}

#[test]
fn refused_sends_are_served_in_order() {
    let handler = Recorder::reacting(|net, event| {
        if let Event::Drain(conn) = event {
            net.send(*conn, &[7; 400 * KIB]).expect("there is room");
        }
    });
    let (mut node, [full, first, second], _peers) = three(handler);
    // More than the sockets take, so that their queues are not empty.
    for conn in [first, second] {
        node.net().send(conn, &[7; 50 * KIB]).unwrap();
    }
    node.net().send(full, &[7; 500 * KIB]).unwrap();
    settle(&mut node);
    for conn in [second, first] {
        let sent = node.net().send(conn, &[7; 400 * KIB]);
        assert_eq!(sent, Err(SendError::Full));
    }
    settle(&mut node);
    assert_eq!(drains(&node), []);
    // Room for one of them. The other waits, although its send would fit.
    node.net().abort(full);
    settle(&mut node);
    assert_eq!(drains(&node), [second]);
    // While it waits, no other queue grows.
    let more = node.net().send(second, &[7; 100 * KIB]);
    assert_eq!(more, Err(SendError::Full));
    node.net().abort(second);
    settle(&mut node);
    assert_eq!(drains(&node), [second, first]);
}
