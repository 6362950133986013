//! Streams that one end has closed: `close_write`, FIN of the peer, and
//! `allow_half_open`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use peerloop::{Config, ConnectionState, DisconnectReason, Net, SendError};

use crate::util::raw::{feed, reset, settle, until_ended, wire};
use crate::util::streams::{
    KIB, assert_same, body, ends, fill, frames, narrow_config, narrow_wire, patient_config,
    read_clean_end, run_with,
};
use crate::util::{Event, Recorder, frame, run_for, run_until};

#[test]
fn fin_behind_a_request_gets_the_whole_answer() {
    for len in [10, 70 * KIB, 3 * KIB * KIB] {
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Message(conn, _) = event {
                net.send(*conn, &body(1, len)[..]).unwrap();
                net.send(*conn, b"end").unwrap();
            }
        });
        let mut config = patient_config();
        config.sockets.send_buffer_bytes = Some(16 * KIB);
        config.budget.write_bytes = 5000;
        let (mut node, conn, mut peer) = wire(config, handler);
        peer.write_all(&frame(b"request")).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let (arrived, _) = read_clean_end(&mut node, peer);
        assert_same(&arrived, &[frame(&body(1, len)), frame(b"end")].concat());
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        let expected = [
            Event::Start,
            Event::Connect(conn),
            Event::Message(conn, b"request".to_vec()),
            Event::Disconnect(conn, DisconnectReason::PeerClosed),
        ];
        let reported = |event: &&Event| !matches!(event, Event::Drain(_));
        let events: Vec<_> = node
            .handler()
            .events
            .iter()
            .filter(reported)
            .cloned()
            .collect();
        assert_eq!(events, expected);
    }
}

#[test]
fn close_write_sends_fin_and_still_receives() {
    let mut config = patient_config();
    config.sockets.send_buffer_bytes = Some(16 * KIB);
    let (mut node, conn, peer) = wire(config, Recorder::default());
    let count = 1000;
    for number in 0..count {
        node.net().send(conn, &body(number, 1000)[..]).unwrap();
    }
    node.net().close_write(conn);
    assert_eq!(node.net().send(conn, b"late"), Err(SendError::Closed));
    let (arrived, mut peer) = read_clean_end(&mut node, peer);
    assert_same(&arrived, &frames(0..count, 1000));
    assert_eq!(
        node.net().connection(conn).unwrap().state(),
        ConnectionState::Connected
    );
    for number in 0..10 {
        feed(&mut node, &mut peer, &frame(&body(number, 100)));
        assert_eq!(node.handler().messages(conn).len(), number + 1);
        assert_eq!(node.net().send(conn, b"late"), Err(SendError::Closed));
    }
    assert_eq!(ends(&node), 0);
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    assert_eq!(ends(&node), 1);
}

#[test]
fn close_after_close_write_delivers_no_message() {
    let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
    node.net().send(conn, b"last").unwrap();
    node.net().close_write(conn);
    settle(&mut node);
    node.net().close(conn);
    feed(&mut node, &mut peer, &frame(b"dropped"));
    let mut arrived = Vec::new();
    peer.read_to_end(&mut arrived).unwrap();
    assert_same(&arrived, &frame(b"last"));
    assert_eq!(node.handler().ended(conn), None);
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert!(node.handler().messages(conn).is_empty());
}

fn half_open_config() -> Config {
    let mut config = patient_config();
    config.connection.allow_half_open = true;
    // Small, so that the socket is reported writable often.
    config.sockets.send_buffer_bytes = Some(16 * KIB);
    config
}

#[test]
fn half_open_answers_more_than_a_queue_takes() {
    const COUNT: usize = 1000;
    let mut next = 0;
    let pump = move |net: &mut Net, event: &Event| {
        let (Event::Message(conn, _) | Event::Drain(conn)) = event else {
            return;
        };
        while net.is_writable(*conn) {
            if next == COUNT {
                return net.close(*conn);
            }
            net.send(*conn, body(next, 2000)).unwrap();
            next += 1;
        }
    };
    let (mut node, conn, mut peer) = wire(half_open_config(), Recorder::reacting(pump));
    peer.write_all(&frame(b"request")).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let (arrived, _peer) = read_clean_end(&mut node, peer);
    assert_same(&arrived, &frames(0..COUNT, 2000));
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    let reported = |event: &&Event| !matches!(event, Event::Drain(_));
    let events: Vec<_> = node.handler().events.iter().filter(reported).collect();
    let request = Event::Message(conn, b"request".to_vec());
    let end = Event::Disconnect(conn, DisconnectReason::Local);
    assert_eq!(events[2..], [&request, &Event::ReadClosed(conn), &end]);
}

#[test]
fn half_open_ends_with_both_halves_in_any_order() {
    for ours_first in [true, false] {
        let (mut node, conn, mut peer) = wire(half_open_config(), Recorder::default());
        if ours_first {
            node.net().close_write(conn);
            settle(&mut node);
            feed(&mut node, &mut peer, &frame(b"last"));
            peer.shutdown(Shutdown::Write).unwrap();
        } else {
            feed(&mut node, &mut peer, &frame(b"last"));
            peer.shutdown(Shutdown::Write).unwrap();
            run_for(Duration::from_millis(5), [&mut node]);
            assert_eq!(node.handler().ended(conn), None);
            node.net().send(conn, b"answer").unwrap();
            node.net().close_write(conn);
        }
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        assert_eq!(node.handler().messages(conn), [b"last"]);
        let mut arrived = Vec::new();
        peer.read_to_end(&mut arrived).expect("a clean end");
        let answer = if ours_first {
            Vec::new()
        } else {
            frame(b"answer")
        };
        assert_same(&arrived, &answer);
        assert_eq!(ends(&node), 1);
    }
}

/// Returns what a peer reads to the end of the stream after a request and FIN, if
/// another thread answers after FIN was received; and whether the answer was queued.
fn late_answer(allow_half_open: bool) -> (Vec<u8>, Result<(), SendError>) {
    let mut config = patient_config();
    config.connection.allow_half_open = allow_half_open;
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    peer.write_all(&frame(b"a question")).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).len() == 1
    });
    // FIN arrives with the question or directly after it.
    run_for(Duration::from_millis(20), [&mut node]);
    let handle = node.handle();
    let answering = thread::spawn(move || {
        handle.ask(move |_, net| {
            let sent = net.send(conn, b"an answer");
            net.close(conn);
            sent
        })
    });
    let sent = run_with(&mut node, answering).unwrap();
    let (answer, _) = read_clean_end(&mut node, peer);
    (answer, sent)
}

#[test]
fn answer_after_fin_is_sent_only_if_half_open() {
    assert_eq!(late_answer(true), (frame(b"an answer"), Ok(())));
    assert_eq!(late_answer(false), (Vec::new(), Err(SendError::Closed)));
}

#[test]
fn fin_within_message_ends_half_open() {
    let (mut node, conn, mut peer) = wire(half_open_config(), Recorder::default());
    feed(&mut node, &mut peer, &frame(b"half")[..6]);
    peer.shutdown(Shutdown::Write).unwrap();
    let truncated = DisconnectReason::Truncated { bytes: 6 };
    assert_eq!(until_ended(&mut node, conn), truncated);
    assert!(!node.handler().events.contains(&Event::ReadClosed(conn)));
}

#[test]
fn reset_of_half_open_is_reported_once() {
    for queued in [true, false] {
        let mut config = narrow_config();
        config.connection.allow_half_open = true;
        let (mut node, conn, peer) = narrow_wire(config, Recorder::default());
        if queued {
            fill(&mut node, conn, 0, 996);
        }
        peer.shutdown(Shutdown::Write).unwrap();
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
        reset(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
        assert_eq!(ends(&node), 1);
    }
}

#[test]
fn reset_together_with_fin_ends_half_open() {
    let (mut node, conn, peer) = wire(half_open_config(), Recorder::default());
    peer.shutdown(Shutdown::Write).unwrap();
    // Both arrive before the node polls, and make one event.
    reset(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
}
