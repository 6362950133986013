//! A full send queue: refused sends, the watermarks and `on_drain`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use peerloop::SendError;

use crate::util::raw::settle;
use crate::util::streams::{
    KIB, assert_same, body, drains, ends, fill, frames, narrow_config, narrow_wire, queued_bytes,
    read_exactly,
};
use crate::util::{Event, Recorder, frame, run_for, run_until};

#[test]
fn full_queue_refuses_and_loses_nothing() {
    const LEN: usize = 996;
    let (mut node, conn, mut peer) = narrow_wire(narrow_config(), Recorder::default());
    let mut next = 0;
    for cycle in 1..=3 {
        let first = next;
        next = fill(&mut node, conn, first, LEN);
        let queued = queued_bytes(node.net(), conn);
        assert!(
            queued > 256 * KIB - 2000,
            "{queued} bytes do not fill the queue"
        );
        assert_eq!(drains(&node), cycle - 1, "nothing has left");
        let sent = frames(first..next, LEN);
        let (arrived, reader) = read_exactly(&mut node, peer, sent.len());
        peer = reader;
        assert_same(&arrived, &sent);
        run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(drains(&node), cycle, "one for each time it was full");
        assert_eq!(node.net().metrics().queued_bytes, 0);
    }
    let metrics = node.net().metrics();
    // In blocks: the first is partly written, and the last is partly filled.
    assert!(metrics.max_queued_bytes <= (2 * 288 + 1) * KIB);
    assert!(metrics.sends_refused >= 60, "{metrics:?}");
    assert_eq!(metrics.drains, 3);
    let sent = (next, next * (LEN + 4));
    let traffic = node.net().traffic();
    assert_eq!(
        (traffic.messages_sent as usize, traffic.bytes_sent as usize),
        sent
    );
    assert_eq!(ends(&node), 0);
}

#[test]
fn drain_after_high_waits_for_low_watermark() {
    // With and without a look at `is_writable` before each send.
    for asking in [true, false] {
        let queued_at_drain = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&queued_at_drain);
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Drain(conn) = event {
                seen.lock().unwrap().push(queued_bytes(net, *conn));
            }
        });
        let (mut node, conn, peer) = narrow_wire(narrow_config(), handler);
        let mut count = 0;
        while count < 66 || asking && node.net().is_writable(conn) {
            node.net().send(conn, &body(count, 996)[..]).unwrap();
            count += 1;
        }
        assert_eq!(count, 66, "the high watermark lies at 64 KiB");
        assert!(!node.net().is_writable(conn));
        settle(&mut node);
        assert_eq!(drains(&node), 0);
        let (arrived, _peer) = read_exactly(&mut node, peer, count * 1000);
        assert_same(&arrived, &frames(0..count, 996));
        run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
        assert!(node.net().is_writable(conn));
        let queued = queued_at_drain.lock().unwrap();
        assert!(
            matches!(queued[..], [queued] if queued <= 16 * KIB),
            "{queued:?}"
        );
    }
}

#[test]
fn queue_below_high_watermark_gets_no_drain() {
    let (mut node, conn, peer) = narrow_wire(narrow_config(), Recorder::default());
    for number in 0..20 {
        node.net().send(conn, &body(number, 996)[..]).unwrap();
    }
    let _ = read_exactly(&mut node, peer, 20 * 1000);
    run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
    assert_eq!(drains(&node), 0);
}

#[test]
fn drain_waits_until_the_refused_message_fits() {
    let large = 256 * KIB;
    let tries = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let handler = Recorder::reacting(move |net, event| {
        let mut tries = seen.lock().unwrap();
        if let (Event::Drain(conn), false) = (event, tries.contains(&Ok(()))) {
            tries.push(net.send(*conn, &body(7, large)[..]));
        }
    });
    let (mut node, conn, peer) = narrow_wire(narrow_config(), handler);
    let mut count = 0;
    // Until the socket is full and less than the low watermark is queued.
    while queued_bytes(node.net(), conn) < 8000 {
        node.net().send(conn, &body(count, 996)[..]).unwrap();
        count += 1;
        settle(&mut node);
    }
    assert_eq!(
        node.net().send(conn, &body(7, large)[..]),
        Err(SendError::Full)
    );
    for _ in 0..20 {
        settle(&mut node);
    }
    assert_eq!(*tries.lock().unwrap(), []);
    // In small pieces, so that the queue is written in several calls.
    let (mut arrived, mut peer) = (Vec::new(), peer);
    while arrived.len() < count * 1000 {
        let (piece, reader) = read_exactly(&mut node, peer, 1000);
        arrived.extend(piece);
        peer = reader;
    }
    assert_same(&arrived, &frames(0..count, 996));
    let (arrived, _peer) = read_exactly(&mut node, peer, large + 4);
    assert_same(&arrived, &frame(&body(7, large)));
    assert_eq!(*tries.lock().unwrap(), [Ok(())]);
}
