//! `Traffic`, and the bytes that `Metrics` counts.

use std::io::Write;
use std::sync::mpsc;

use crate::util::streams::{fill, narrow_config, narrow_wire, queued_bytes};
use crate::util::{Event, Recorder, frame, listening, node, raw, run_until};
use peerloop::{Config, Traffic};

/// The traffic as the other end counts it.
fn mirrored(traffic: Traffic) -> Traffic {
    let mut mirrored = Traffic::default();
    mirrored.messages_sent = traffic.messages_received;
    mirrored.bytes_sent = traffic.bytes_received;
    mirrored.messages_received = traffic.messages_sent;
    mirrored.bytes_received = traffic.bytes_sent;
    mirrored
}

#[test]
fn both_ends_agree_and_nodes_keep_the_sum() {
    let mut a = node(Config::default(), Recorder::default());
    let (mut b, addr) = listening(Config::default(), Recorder::default());
    let mut total = Traffic::default();
    let mut lens = (1..=4096).cycle().step_by(997);
    for (round, messages) in [2, 17, 64].into_iter().enumerate() {
        let to_b = a.net().connect(addr).unwrap();
        run_until([&mut a, &mut b], |nodes| {
            let mut nodes = nodes.iter();
            nodes.all(|node| node.handler().connected().len() > round)
        });
        let to_a = b.handler().connected()[round];
        let mut expected = Traffic::default();
        for len in lens.by_ref().take(messages) {
            a.net().send(to_b, vec![1; len]).unwrap();
            expected.messages_sent += 1;
            expected.bytes_sent += 4 + len as u64;
        }
        b.net().send(to_a, b"one").unwrap();
        expected.messages_received = 1;
        expected.bytes_received = 4 + 3;
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().messages(to_b).len() == 1 && b.handler().messages(to_a).len() == messages
        });
        let [at_a, at_b] = [(&mut a, to_b), (&mut b, to_a)]
            .map(|(node, conn)| node.net().connection(conn).unwrap().traffic());
        assert_eq!((at_a, at_b), (expected, mirrored(expected)));
        a.net().close(to_b);
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
        });
        total += expected;
        assert_eq!(a.net().traffic(), total);
        assert_eq!(b.net().traffic(), mirrored(total));
    }
}

#[test]
fn traffic_includes_the_batch_in_progress() {
    let (sender, counted) = mpsc::channel();
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Message(conn, _) = event {
            let traffic = net.connection(*conn).expect("it is open").traffic();
            sender
                .send((traffic, net.traffic()))
                .expect("the test waits");
        }
    });
    let (mut node, conn, mut peer) = raw::wire(Config::default(), handler);
    let batch = [frame(b"a"), frame(b"bc"), frame(b"def")].concat();
    peer.write_all(&batch).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).len() == 3
    });
    let after = node.net().connection(conn).unwrap().traffic();
    let counted: Vec<_> = counted.try_iter().collect();
    let numbers = |it: &Traffic| (it.messages_received, it.bytes_received);
    let of_connection: Vec<_> = counted.iter().map(|(it, _)| numbers(it)).collect();
    assert_eq!(of_connection, [(1, 5), (2, 11), (3, 18)]);
    assert!(counted.iter().all(|(it, node)| it == node));
    assert_eq!(numbers(&after), (3, 18));
}

#[test]
fn bytes_lost_with_a_connection_are_counted() {
    let (mut node, conn, _peer) = narrow_wire(narrow_config(), Recorder::default());
    fill(&mut node, conn, 0, 996);
    let queued = queued_bytes(node.net(), conn);
    assert!(queued > 100_000);
    node.net().abort(conn);
    raw::settle(&mut node);
    let metrics = node.net().metrics();
    assert_eq!(
        (metrics.bytes_lost, metrics.queued_bytes),
        (queued as u64, 0)
    );
    assert!(metrics.max_queued_bytes >= queued && metrics.sends_refused > 0);
}
