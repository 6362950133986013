//! Pauses: they stop a batch, lose nothing, and stop only what is received.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use peerloop::framing::Framing;
use peerloop::{Config, ConnId, Net};

use crate::util::framings::{
    BUFFER, assert_arrived, body, config_with, encode_all, framings, framings_for, until_received,
};
use crate::util::raw::{feed, settle, until_ended, wire};
use crate::util::streams::{KIB, messages, patient_config, run_with};
use crate::util::{Event, Recorder, frame, run_for, run_until};

/// Returns a batch of six messages, and a configuration in which raw bytes are six
/// messages too, because the maximum length cuts them.
pub(crate) fn batch(framing: &Framing) -> (Config, Vec<Vec<u8>>, Vec<u8>) {
    let bodies: Vec<_> = (0..6).map(|seed| body(framing, 3, seed)).collect();
    let max_message_len = match framing {
        Framing::Raw => 3,
        _ => 1000,
    };
    let mut config = config_with(framing);
    config.connection.max_message_len = max_message_len;
    let stream = encode_all(framing, &bodies);
    (config, bodies, stream)
}

/// Does something in the callback of every message from the `first` one on, counted
/// from one.
pub(crate) fn at_messages_from(
    first: usize,
    mut act: impl FnMut(&mut Net, ConnId) + Send + 'static,
) -> Recorder {
    let mut seen = 0;
    Recorder::reacting(move |net, event| {
        if let Event::Message(conn, _) = event {
            seen += 1;
            if seen >= first {
                act(net, *conn);
            }
        }
    })
}

#[test]
fn pause_stops_the_batch_and_resume_continues_it() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = at_messages_from(1, |net, conn| net.pause(conn));
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        for count in 1..=bodies.len() {
            for _ in 0..3 {
                settle(&mut node);
                let arrived = node.handler().messages(conn);
                assert_eq!(arrived, bodies[..count], "{framing:?}");
            }
            node.net().resume(conn);
        }
        feed(&mut node, &mut peer, &stream);
        assert_eq!(node.handler().messages(conn).len(), bodies.len() + 1);
    }
}

#[test]
fn resume_reads_what_waits_in_the_socket() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = Recorder::reacting(|net, event| {
            if let Event::Connect(conn) = event {
                net.pause(*conn);
            }
        });
        let (mut node, conn, mut peer) = wire(config, handler);
        let (before, after) = stream.split_at(stream.len() / 2);
        feed(&mut node, &mut peer, before);
        // With poll(2), data that is not read brings no second event.
        peer.write_all(after).unwrap();
        run_for(Duration::from_millis(5), [&mut node]);
        assert!(node.handler().messages(conn).is_empty());
        node.net().resume(conn);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn pause_among_long_messages_loses_none() {
    for framing in framings_for(3 * BUFFER) {
        let lens = [3 * BUFFER, 1, 0, BUFFER, BUFFER - 4, 9 * BUFFER];
        let bodies = lens.map(|len| body(&framing, len, len));
        let stream = encode_all(&framing, &bodies);
        let handler = at_messages_from(1, |net, conn| net.pause(conn));
        let (mut node, conn, mut peer) = wire(config_with(&framing), handler);
        let writer = thread::spawn(move || peer.write_all(&stream));
        for count in 1..=bodies.len() {
            run_until([&mut node], |[node]| {
                node.handler().messages(conn).len() >= count
            });
            settle(&mut node);
            assert_eq!(node.handler().messages(conn).len(), count);
            node.net().resume(conn);
        }
        until_ended(&mut node, conn);
        writer.join().unwrap().unwrap();
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn pause_and_resume_in_a_callback_loses_nothing() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = at_messages_from(1, |net, conn| {
            net.pause(conn);
            net.resume(conn);
        });
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
    }
}

#[test]
fn flush_after_every_message_loses_none() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = Recorder::reacting(|net, event| {
            if let Event::Message(conn, message) = event {
                net.send(*conn, message).unwrap();
                net.flush(*conn);
            }
        });
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        until_received(&mut node, stream.len());
        assert_arrived(&framing, &node.handler().messages(conn), &bodies, "");
        let mut answers = vec![0; stream.len()];
        peer.read_exact(&mut answers).unwrap();
        assert_eq!(answers, stream, "{framing:?}");
    }
}

#[test]
fn paused_connection_is_still_written_to() {
    const LEN: usize = 8 * KIB * KIB;
    let mut config = patient_config();
    config.connection.send_queue.max_bytes = 2 * LEN;
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    node.net().pause(conn);
    peer.write_all(&frame(b"later")).unwrap();
    node.net().send(conn, vec![7; LEN]).unwrap();
    let reader = thread::spawn(move || {
        peer.read_exact(&mut vec![0; 4 + LEN]).unwrap();
        peer
    });
    let _peer = run_with(&mut node, reader);
    assert_eq!(messages(&node), 0);
    node.net().resume(conn);
    run_until([&mut node], |[node]| messages(node) == 1);
}
