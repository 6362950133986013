//! Sends that are refused because of `Limits::loop_send_bytes`.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use peerloop::{Config, ConnId, SendError};

use crate::util::streams::{KIB, fill, narrow_config, narrow_wire, queued_bytes, read_exactly};
use crate::util::{Event, Recorder, TestNode, listening, raw, run_until};

fn config(loop_send_bytes: usize) -> Config {
    let mut config = narrow_config();
    config.connection.send_queue.max_bytes = 128 * KIB;
    config.limits.loop_send_bytes = loop_send_bytes;
    config
}

fn is_drained(node: &TestNode, conn: ConnId) -> bool {
    node.handler().events.contains(&Event::Drain(conn))
}

#[test]
fn refused_send_owes_a_drain_once_there_is_room() {
    let (mut node, addr) = listening(config(150 * KIB), Recorder::default());
    let [(first, first_peer), (second, _second), (third, _third)] = [(); 3].map(|()| {
        let peer = raw::connect_narrow(addr);
        (raw::accepted(&mut node), peer)
    });
    let count = fill(&mut node, first, 0, 996);
    fill(&mut node, second, 0, 996);
    assert!(node.net().metrics().queued_bytes <= 150 * KIB);
    // The queue of the third is empty, and the loop has no room. `is_writable` looks
    // at the queue only.
    assert_eq!(queued_bytes(node.net(), third), 0);
    let body = [9; 50 * KIB];
    assert_eq!(node.net().send(third, &body), Err(SendError::Full));
    assert!(node.net().is_writable(third));
    node.net()
        .send(third, &body[..2000])
        .expect("room for less");
    raw::settle(&mut node);
    assert!(!is_drained(&node, third));
    let _ = read_exactly(&mut node, first_peer, count * 1000);
    run_until([&mut node], |[node]| is_drained(node, third));
    node.net().send(third, &body).unwrap();
}

/// Ends the connection with the full queue at the end of a chain, in which the end of
/// each connection aborts the next.
fn assert_drained_after_chain(len: usize) {
    let chain = Arc::new(Mutex::new(Vec::<ConnId>::new()));
    let links = Arc::clone(&chain);
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Disconnect(..) = event {
            if let Some(next) = links.lock().unwrap().pop() {
                net.abort(next);
            }
        }
    });
    let (mut node, full, _full_peer) = narrow_wire(config(128 * KIB), handler);
    let addr = node.net().listeners().next().unwrap().addr;
    let (other, _other_peer) = raw::join(&mut node, addr);
    let links: Vec<(ConnId, TcpStream)> = (1..len).map(|_| raw::join(&mut node, addr)).collect();
    fill(&mut node, full, 0, 996);
    let refused = node.net().send(other, &[9; 80 * KIB]);
    assert_eq!(refused, Err(SendError::Full));
    let mut conns = vec![full];
    conns.extend(links.iter().map(|(conn, _)| *conn));
    let first = conns.pop().expect("at least the full one");
    *chain.lock().unwrap() = conns;
    node.net().abort(first);
    raw::settle(&mut node);
    assert_eq!(node.net().metrics().queued_bytes, 0);
    assert!(is_drained(&node, other), "after a chain of {len}");
}

#[test]
fn room_made_by_an_end_is_announced_at_once() {
    (1..8).for_each(assert_drained_after_chain);
}
