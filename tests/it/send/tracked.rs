//! Tracked sends: each token is reported once, in order, before the end.

use std::io::{ErrorKind, Read};

use peerloop::{Bytes, Config, DisconnectReason, Net, SendOutcome};

use crate::util::raw::{reset, settle, until_ended, wire};
use crate::util::streams::{
    KIB, assert_same, body, drains, ends, fill_tracked, frames, narrow_config, narrow_wire,
    outcomes, patient_config, queued_bytes, read_clean_end, read_exactly,
};
use crate::util::{Event, Recorder, TestNode, run_until};

/// Checks that each token is reported once and in order, first those handed over,
/// then those lost. Returns how many of each.
#[track_caller]
fn assert_answered(node: &TestNode, count: usize) -> (usize, usize) {
    let outcomes = outcomes(node);
    let tokens = outcomes.iter().map(|(token, _)| *token);
    assert!(tokens.eq(0..count as u64), "{outcomes:?}");
    let handed_over = |(_, outcome): &&(u64, SendOutcome)| *outcome == SendOutcome::HandedOver;
    let first = outcomes.iter().take_while(handed_over).count();
    assert_eq!(outcomes.iter().filter(handed_over).count(), first);
    let events = &node.handler().events;
    let last_sent = events
        .iter()
        .rposition(|event| matches!(event, Event::Sent(..)));
    let end = events
        .iter()
        .position(|event| matches!(event, Event::Disconnect(..)));
    assert!(end.is_none_or(|end| last_sent < Some(end)));
    (first, count - first)
}

#[test]
fn token_of_each_send_is_reported_in_order() {
    let (mut node, conn, peer) = narrow_wire(narrow_config(), Recorder::default());
    let count = fill_tracked(&mut node, conn, 996);
    let (_, peer) = read_exactly(&mut node, peer, count * 1000);
    run_until([&mut node], |[node]| outcomes(node).len() == count);
    assert_eq!(assert_answered(&node, count), (count, 0));
    assert_eq!(node.net().metrics().queued_bytes, 0);
    drop(peer);
    until_ended(&mut node, conn);
    assert_eq!(assert_answered(&node, count), (count, 0));
}

#[test]
fn token_that_was_reported_takes_no_memory() {
    const LEN: usize = 996;
    let mut config = narrow_config();
    // Memory is short, so that the blocks of the queue are small.
    config.limits.loop_send_bytes = 1024 * KIB;
    let (mut node, conn, mut peer) = narrow_wire(config, Recorder::default());
    let count = fill_tracked(&mut node, conn, LEN);
    let mut sent = count;
    for _ in 0..100 {
        (_, peer) = read_exactly(&mut node, peer, 100 * (LEN + 4));
        let room = |net: &mut Net| queued_bytes(net, conn) < 200 * (LEN + 4);
        while room(node.net()) {
            let body = body(sent, LEN);
            let outcome = node.net().send_tracked(conn, body.as_slice(), sent as u64);
            assert_eq!(outcome, Ok(()), "there is room");
            sent += 1;
        }
        settle(&mut node);
    }
    let waiting = sent - outcomes(&node).len();
    let overhead = node.net().metrics().queued_bytes - queued_bytes(node.net(), conn);
    // 32 bytes for each waiting token, and the blocks of the queue.
    assert!(
        overhead <= 32 * waiting + 32 * KIB,
        "{overhead} for {waiting}"
    );
}

#[test]
fn reset_splits_tokens_where_the_stream_was_cut() {
    let (mut node, conn, peer) = narrow_wire(narrow_config(), Recorder::default());
    let count = fill_tracked(&mut node, conn, 996);
    let (arrived, peer) = read_exactly(&mut node, peer, count / 2 * 1000);
    assert_same(&arrived, &frames(0..count / 2, 996));
    reset(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
    let (handed_over, lost) = assert_answered(&node, count);
    assert!(handed_over >= count / 2, "the peer has read that many");
    assert!(lost > 0, "the sockets cannot hold the rest");
    let metrics = node.net().metrics();
    assert_eq!(metrics.queued_bytes, 0);
    let lost_bytes = metrics.bytes_lost as usize;
    // The first of the lost may have left in part.
    assert!((lost - 1) * 1000 < lost_bytes && lost_bytes <= lost * 1000);
    assert_eq!(ends(&node), 1);
}

#[test]
fn abort_reports_queued_tokens_as_lost() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    for token in 0..100 {
        node.net().send_tracked(conn, b"never", token).unwrap();
    }
    node.net().abort(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert_eq!(assert_answered(&node, 100), (0, 100));
    let metrics = node.net().metrics();
    assert_eq!((metrics.queued_bytes, metrics.bytes_lost), (0, 900));
    let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn close_hands_tracked_sends_over_before_the_end() {
    let (mut node, conn, peer) = wire(patient_config(), Recorder::default());
    let count = 3000;
    for number in 0..count {
        let body = Bytes::from(body(number, 1000));
        node.net()
            .send_tracked(conn, body, number as u64)
            .expect("3 MB fit");
    }
    node.net().close(conn);
    let (arrived, peer) = read_clean_end(&mut node, peer);
    assert_same(&arrived, &frames(0..count, 1000));
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert_eq!(assert_answered(&node, count), (count, 0));
    assert_eq!(drains(&node), 0, "a closed connection has no drain");
}
