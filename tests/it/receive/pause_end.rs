//! Connections that end during a pause: the end is reported after what arrived
//! before it.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use peerloop::{Config, DisconnectReason};

use super::pause::{at_messages_from, batch};
use crate::util::framings::framings;
use crate::util::raw::{feed, reset, settle, until_ended, wire};
use crate::util::streams::{
    KIB, assert_callbacks, assert_same, body, ends, frames, patient_config, read_clean_end,
};
use crate::util::{Event, Recorder, frame, run_for};

#[test]
fn fin_during_pause_waits_for_what_came_before() {
    for framing in framings() {
        let (config, bodies, stream) = batch(&framing);
        let handler = at_messages_from(2, |net, conn| net.pause(conn));
        let (mut node, conn, mut peer) = wire(config, handler);
        feed(&mut node, &mut peer, &stream);
        // These stay in the socket, with the end of the stream.
        peer.write_all(&stream).unwrap();
        drop(peer);
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(node.handler().messages(conn), bodies[..2], "{framing:?}");
        assert_eq!(node.handler().ended(conn), None);
        node.handler_mut().reaction = Box::new(|_, _| {});
        node.net().resume(conn);
        until_ended(&mut node, conn);
        run_for(Duration::from_millis(5), [&mut node]);
        let sent = [bodies.clone(), bodies].concat();
        assert_callbacks(&node, conn, &sent, DisconnectReason::PeerClosed);
    }
}

#[test]
fn fin_behind_an_unread_message_waits_for_resume() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    node.net().pause(conn);
    peer.write_all(&frame(b"last")).unwrap();
    drop(peer);
    run_for(Duration::from_millis(20), [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    node.net().resume(conn);
    until_ended(&mut node, conn);
    assert_callbacks(
        &node,
        conn,
        &[b"last".to_vec()],
        DisconnectReason::PeerClosed,
    );
}

#[test]
fn fin_within_message_during_pause_is_truncated() {
    let handler = at_messages_from(1, |net, conn| net.pause(conn));
    let (mut node, conn, mut peer) = wire(Config::default(), handler);
    feed(&mut node, &mut peer, b"\0\0\0\x01a\0\0\0\x01b\0\0\0\x09c");
    drop(peer);
    for _ in 0..2 {
        settle(&mut node);
        assert_eq!(node.handler().ended(conn), None);
        node.net().resume(conn);
    }
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Truncated { bytes: 5 });
    assert_eq!(node.handler().messages(conn), [b"a", b"b"]);
}

#[test]
fn failed_write_during_pause_loses_no_message() {
    let mut paused = false;
    let handler = Recorder::reacting(move |net, event| {
        if let (Event::Message(conn, _), false) = (event, paused) {
            paused = true;
            net.pause(*conn);
        }
    });
    let (mut node, conn, mut peer) = wire(Config::default(), handler);
    feed(&mut node, &mut peer, &frames(0..10, 100));
    drop(peer);
    // The peer resets after the first one. The second one fails.
    for _ in 0..2 {
        if node.net().send(conn, b"late").is_ok() {
            run_for(Duration::from_millis(5), [&mut node]);
        }
    }
    node.net().resume(conn);
    until_ended(&mut node, conn);
    assert_eq!(node.handler().messages(conn).len(), 10);
    assert_eq!(ends(&node), 1);
}

#[test]
fn end_with_nothing_left_needs_no_resume() {
    let endings: [fn(TcpStream); 2] = [drop, reset];
    for (ending, reason) in endings
        .into_iter()
        .zip([DisconnectReason::PeerClosed, DisconnectReason::Reset])
    {
        let (mut node, conn, peer) = wire(Config::default(), Recorder::default());
        node.net().pause(conn);
        ending(peer);
        assert_eq!(until_ended(&mut node, conn), reason);
        assert_eq!(ends(&node), 1);
    }
}

#[test]
fn pause_at_last_message_delays_no_answer() {
    const LEN: usize = 3 * KIB * KIB;
    let handler = Recorder::reacting(|net, event| {
        if let Event::Message(conn, _) = event {
            net.pause(*conn);
            net.send(*conn, &body(1, LEN)[..]).unwrap();
        }
    });
    let (mut node, conn, mut peer) = wire(patient_config(), handler);
    peer.write_all(&frame(b"request")).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let (arrived, _) = read_clean_end(&mut node, peer);
    assert_same(&arrived, &frame(&body(1, LEN)));
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    assert_eq!(node.handler().messages(conn).len(), 1);
}
