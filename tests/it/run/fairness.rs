//! One busy connection does not delay the others.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::util::raw::{join, wire};
use crate::util::streams::queued_bytes;
use crate::util::{
    Event, PATIENCE, Recorder, TestNode, config_with, frame, listening, unlimited_time,
};
use peerloop::{Bytes, Config, ConnId};

const BUDGET: usize = 16 * 1024;

/// Maximum number of turns until a message arrives. One would do if the kernel were
/// always prompt.
const MAX_TURNS: usize = 5;

/// Writes as much as the sockets hold. Zeros are empty frames, wherever a write ends.
fn flood(mut peer: &TcpStream) {
    loop {
        match peer.write(&[0; 64 * 1024]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads everything that has arrived. Returns the number of bytes.
fn read_available(mut peer: &TcpStream) -> usize {
    let mut total = 0;
    let mut buffer = [0; 64 * 1024];
    loop {
        match peer.read(&mut buffer) {
            Ok(0) => panic!("the connection ended"),
            Ok(count) => total += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

fn write_budget() -> Config {
    config_with(|config| {
        config.budget.write_bytes = BUDGET;
        config.connection.send_queue.max_bytes = 64 << 20;
    })
}

fn messages_since(node: &TestNode, first: usize, conn: ConnId) -> usize {
    let events = &node.handler().events[first..];
    let is_one = |event: &&Event| matches!(event, Event::Message(from, _) if *from == conn);
    events.iter().filter(is_one).count()
}

#[test]
fn floods_do_not_delay_a_small_message() {
    let config = config_with(|config| {
        config.budget = unlimited_time();
        config.budget.read_bytes = BUDGET;
    });
    let (mut node, addr) = listening(config, Recorder::default());
    let hot = [(); 4].map(|()| join(&mut node, addr));
    let (quiet, mut quiet_peer) = join(&mut node, addr);
    for (_, peer) in &hot {
        peer.set_nonblocking(true).unwrap();
    }
    for _ in 0..20 {
        quiet_peer.write_all(&frame(b"small")).unwrap();
        let mut turns = 0;
        let mut delivered = false;
        while !delivered {
            hot.iter().for_each(|(_, peer)| flood(peer));
            let first = node.handler().events.len();
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            for (conn, _) in &hot {
                // The budget's first bytes may complete a frame.
                assert!(messages_since(&node, first, *conn) <= BUDGET / 4 + 1);
            }
            delivered = messages_since(&node, first, quiet) > 0;
            turns += 1;
            assert!(turns <= MAX_TURNS, "still not delivered");
        }
    }
    for (conn, _) in hot {
        let flooded = node.handler().messages(conn).len();
        assert!(flooded > BUDGET / 4, "only {flooded} messages");
    }
}

#[test]
fn long_queue_does_not_delay_a_write_to_another() {
    let (mut node, addr) = listening(write_budget(), Recorder::default());
    let (hot, mut hot_peer) = join(&mut node, addr);
    let (quiet, mut quiet_peer) = join(&mut node, addr);
    hot_peer.set_nonblocking(true).unwrap();
    let body = Bytes::from(vec![1; 1 << 20]);
    for _ in 0..4 {
        node.net().send(hot, body.clone()).unwrap();
        node.net().send(hot, &body).unwrap();
    }
    let mut received = 0;
    while queued_bytes(node.net(), hot) > 0 {
        node.net().send(quiet, b"small").unwrap();
        let before = queued_bytes(node.net(), hot);
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        assert!(before - queued_bytes(node.net(), hot) <= BUDGET);
        assert_eq!(queued_bytes(node.net(), quiet), 0, "sent in the same turn");
        let mut small = [0; 9];
        quiet_peer.read_exact(&mut small).unwrap();
        assert_eq!(small[..], frame(b"small"));
        // A peer that always has room for more.
        received += read_available(&hot_peer);
    }
    hot_peer.set_nonblocking(false).unwrap();
    let mut rest = vec![0; 8 * (4 + body.len()) - received];
    hot_peer.read_exact(&mut rest).unwrap();
}

#[test]
fn flush_after_every_answer_keeps_to_the_budget() {
    let handler = Recorder::reacting(|net, event| {
        if let Event::Message(conn, _) = event {
            net.send(*conn, &[1; 10_000]).expect("there is room");
            net.flush(*conn);
        }
    });
    let (mut node, conn, mut peer) = wire(write_budget(), handler);
    peer.write_all(&frame(b"").repeat(20)).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (mut written, mut received) = (0, 0);
    let end = Instant::now() + PATIENCE;
    while received < 20 * 10_004 {
        assert!(Instant::now() < end, "{received} bytes arrived");
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        received += read_available(&peer);
        let sent = node.net().traffic().bytes_sent as usize;
        let now = sent - queued_bytes(node.net(), conn);
        assert!(now - written <= BUDGET, "{} in one turn", now - written);
        written = now;
    }
}
