//! A graceful close: the peer receives everything that was queued, then FIN.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use peerloop::{Config, ConnId, ConnectionState, DisconnectReason, Net, SendError};

use crate::util::raw::{join, reset, settle, until_ended, wire};
use crate::util::streams::{KIB, assert_same, body, ends, frames, patient_config, read_clean_end};
use crate::util::{Event, PATIENCE, Recorder, TestNode, frame, run_for};

#[test]
fn close_by_both_ends_sends_what_was_queued() {
    for peer_first in [true, false] {
        let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
        node.net().send(conn, b"last").unwrap();
        peer.write_all(&frame(b"dropped")).unwrap();
        if peer_first {
            peer.shutdown(Shutdown::Write).unwrap();
            node.net().close(conn);
        } else {
            node.net().close(conn);
            settle(&mut node);
            peer.shutdown(Shutdown::Write).unwrap();
        }
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
        let mut arrived = Vec::new();
        peer.read_to_end(&mut arrived).expect("a clean end");
        assert_same(&arrived, &frame(b"last"));
        assert!(node.handler().messages(conn).is_empty());
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(ends(&node), 1);
        assert_eq!(node.net().metrics().bytes_lost, 0);
    }
}

#[test]
fn close_with_peer_gone_is_reported_once() {
    for turn_between in [true, false] {
        let (mut node, conn, peer) = wire(patient_config(), Recorder::default());
        node.net().send(conn, b"last").unwrap();
        node.net().close(conn);
        if turn_between {
            settle(&mut node);
        }
        // With unread data, this is a reset.
        drop(peer);
        let reason = until_ended(&mut node, conn);
        let expected = [DisconnectReason::Local, DisconnectReason::Reset];
        assert!(expected.contains(&reason), "{reason}");
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(ends(&node), 1);
    }
}

#[test]
fn close_flushes_to_a_peer_that_keeps_sending() {
    const LEN: usize = 3 * KIB * KIB;
    let mut received = 0;
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Message(conn, _) = event {
            received += 1;
            if received == 10 {
                net.send(*conn, &body(1, LEN)[..]).unwrap();
                net.close(*conn);
            }
        }
    });
    let mut config = patient_config();
    config.sockets.send_buffer_bytes = Some(16 * KIB);
    let (mut node, conn, peer) = wire(config, handler);
    let mut sending = peer.try_clone().unwrap();
    let sender = thread::spawn(move || {
        let block = frames(0..100, 100);
        while sending.write_all(&block).is_ok() {}
    });
    let (arrived, peer) = read_clean_end(&mut node, peer);
    assert_same(&arrived, &frame(&body(1, LEN)));
    assert_eq!(
        node.handler().ended(conn),
        None,
        "the peer has not ended yet"
    );
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    sender.join().unwrap();
    assert_eq!(node.handler().messages(conn).len(), 10);
    assert_eq!((ends(&node), node.net().metrics().bytes_lost), (1, 0));
}

#[test]
fn close_with_empty_queue_sends_fin_at_once() {
    let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
    node.net().close(conn);
    settle(&mut node);
    assert_eq!(peer.read(&mut [0; 10]).expect("a clean end"), 0);
    run_for(Duration::from_millis(5), [&mut node]);
    assert_eq!(node.handler().ended(conn), None);
    assert_eq!(
        node.net().connection(conn).unwrap().state(),
        ConnectionState::Closing
    );
    assert_eq!(node.net().connection_count(), 0);
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
}

#[test]
fn send_and_close_refused_does_not_close() {
    let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
    let too_long = vec![0; node.net().config().connection.max_message_len + 1];
    assert_eq!(
        node.net().send_and_close(conn, &too_long),
        Err(SendError::TooLarge)
    );
    node.net().send(conn, b"first").unwrap();
    node.net().send_and_close(conn, b"last").unwrap();
    assert_eq!(node.net().send(conn, b"late"), Err(SendError::Closed));
    settle(&mut node);
    let mut arrived = Vec::new();
    peer.read_to_end(&mut arrived).unwrap();
    assert_same(&arrived, &[frame(b"first"), frame(b"last")].concat());
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
}

/// Resets the connection inside a callback of the node, when nothing is left to
/// poll, and then does something in that callback.
fn reset_within_callback(act: fn(&mut Net, ConnId)) -> (TestNode, ConnId) {
    let slot: Arc<Mutex<Option<TcpStream>>> = Arc::default();
    let taken = Arc::clone(&slot);
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Message(conn, _) = event {
            reset(taken.lock().unwrap().take().expect("one message"));
            act(net, *conn);
        }
    });
    let (mut node, conn, mut peer) = wire(Config::default(), handler);
    peer.write_all(&frame(b"go")).unwrap();
    *slot.lock().unwrap() = Some(peer);
    until_ended(&mut node, conn);
    run_for(Duration::from_millis(5), [&mut node]);
    (node, conn)
}

#[test]
fn reset_during_close_is_reported_as_reset() {
    let verbs: [fn(&mut Net, ConnId); 3] = [Net::close, Net::close_write, |net, conn| {
        net.send(conn, b"late").unwrap()
    }];
    let reasons = verbs.map(|verb| {
        let (node, conn) = reset_within_callback(verb);
        assert_eq!(ends(&node), 1);
        node.handler().ended(conn)
    });
    assert_eq!(reasons, [Some(DisconnectReason::Reset); 3]);
}

#[test]
fn on_disconnect_can_broadcast_in_the_same_turn() {
    let handler = Recorder::reacting(|net, event| {
        if let Event::Disconnect(..) = event {
            let others: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
            assert_eq!(net.broadcast(others, b"left").queued, 1);
        }
    });
    let (mut node, conn, peer) = wire(Config::default(), handler);
    let addr = node.net().listeners().next().unwrap().addr;
    let (_, mut other) = join(&mut node, addr);
    drop(peer);
    while node.handler().ended(conn).is_none() {
        let _ = node.turn(Some(PATIENCE)).unwrap();
    }
    let mut received = [0; 8];
    other.read_exact(&mut received).expect("it has left");
    assert_eq!(received[..], frame(b"left"));
}
