//! An id whose connection has ended reaches no other connection.

use std::collections::BTreeSet;
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::util::raw::{feed, join, settle, until_ended, wire};
use crate::util::{Event, Recorder, TestNode, config_with, frame, listening, run_until};
use peerloop::{Body, BroadcastOutcome, Bytes, Config, ConnId, SendError};

/// Returns the slot of an id: the first half of its text.
fn slot(conn: ConnId) -> String {
    let text = conn.to_string();
    let (slot, _) = text.split_once('.').expect("slot and generation");
    slot.to_owned()
}

/// Returns a node whose only slot is in use for the second time: the stale id, the
/// new one and its peer.
fn reused_slot() -> (TestNode, ConnId, ConnId, TcpStream) {
    let (mut node, stale, peer) = wire(Config::default(), Recorder::default());
    drop(peer);
    until_ended(&mut node, stale);
    let addr = node.net().listeners().next().expect("a listener").addr;
    let (fresh, peer) = join(&mut node, addr);
    assert_eq!(slot(stale), slot(fresh), "the slot is used again");
    assert_ne!(stale, fresh);
    (node, stale, fresh, peer)
}

#[test]
fn every_call_misses_the_new_connection() {
    let (mut node, stale, fresh, mut peer) = reused_slot();
    let net = node.net();
    let parts = [IoSlice::new(b"no"), IoSlice::new(b"body")];
    assert_eq!(net.send(stale, b"no"), Err(SendError::Closed));
    let large = Bytes::from(vec![0; 100_000]);
    assert_eq!(net.send(stale, large), Err(SendError::Closed));
    let body = Body::parts(&parts);
    assert_eq!(net.send(stale, body), Err(SendError::Closed));
    assert_eq!(net.send_and_close(stale, b"no"), Err(SendError::Closed));
    assert_eq!(net.send_tracked(stale, b"no", 1), Err(SendError::Closed));
    let mut closed = BroadcastOutcome::default();
    closed.closed = 1;
    assert_eq!(net.broadcast([stale], b"no"), closed);
    net.flush(stale);
    net.pause(stale);
    net.close_write(stale);
    net.close(stale);
    net.abort(stale);
    net.abort_with_reason(stale, "no");
    assert!(net.connection(stale).is_none() && !net.is_writable(stale));
    node.handle()
        .send(stale, Bytes::from_static(b"no"))
        .unwrap();
    peer.write_all(&frame(b"read")).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().messages(fresh) == [b"read"]
    });
    node.net().pause(fresh);
    node.net().resume(stale);
    feed(&mut node, &mut peer, &frame(b"later"));
    assert_eq!(node.handler().messages(fresh).len(), 1);
    node.net().resume(fresh);
    run_until([&mut node], |[node]| {
        node.handler().messages(fresh).len() == 2
    });
    node.net().send(fresh, b"yes").unwrap();
    node.net().close(fresh);
    settle(&mut node);
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    assert_eq!(received, frame(b"yes"), "and nothing else");
    assert_eq!(node.net().metrics().commands_lost, 1);
    let is_answer = |event: &Event| matches!(event, Event::Sent(..));
    assert_eq!(node.handler().count(is_answer), 0);
}

#[test]
fn slot_is_not_reused_in_the_turn_that_frees_it() {
    let (_other, addr) = listening(Config::default(), Recorder::default());
    let connected = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&connected);
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Disconnect(..) | Event::ConnectFailed(..) = event {
            let mut connected = shared.lock().unwrap();
            if connected.len() < 8 {
                let conn = net.connect(addr).expect("there is room");
                // Half of them end in this turn too.
                if connected.len() % 2 == 0 {
                    net.close(conn);
                }
                connected.push(conn);
            }
        }
    });
    let config = config_with(|config| config.allow_duplicates = true);
    let (mut node, own) = listening(config, handler);
    let ended = [(); 3].map(|()| join(&mut node, own));
    for (conn, _) in &ended {
        node.net().abort(*conn);
    }
    let _ = node.turn(Some(Duration::ZERO)).unwrap();
    let connected = connected.lock().unwrap();
    assert!(connected.len() > 3, "in the same turn");
    let all = ended.iter().map(|(conn, _)| conn).chain(&*connected);
    let slots: BTreeSet<String> = all.map(|conn| slot(*conn)).collect();
    assert_eq!(slots.len(), ended.len() + connected.len());
}
