//! How raw peers end, and how we end: full queues, drains, tracked sends, half-closes, closes, aborts and lingering.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::util::raw::{accepted, connect, connect_narrow, feed, reset, settle, until_ended, wire};
use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, run_for, run_until};
use peerloop::config::{ConnectionConfig, SendQueueConfig, Timeouts};
use peerloop::error::TimeoutKind;
use peerloop::{
    Bytes, Config, ConnId, ConnectionState, DisconnectReason, Handler, Net, Node, SendError,
    SendOutcome, Turn,
};

const KIB: usize = 1024;

/// Queues small enough to fill, and sockets that take little.
fn narrow_config() -> Config {
    let mut config = patient_config();
    config.connection.send_queue = SendQueueConfig {
        low_bytes: 16 * KIB,
        high_bytes: 64 * KIB,
        max_bytes: 256 * KIB,
        ..Default::default()
    };
    config.sockets.send_buffer_bytes = Some(4 * KIB);
    config
}

/// A close that is not over when a test's own patience is: no deadline stands in for what should have come about.
fn patient_config() -> Config {
    Config {
        connection: ConnectionConfig {
            timeouts: lingering(2 * PATIENCE),
            ..Default::default()
        },
        ..Config::default()
    }
}

fn lingering(linger: Duration) -> Timeouts {
    Timeouts {
        write_stall: None,
        linger: Some(linger),
        ..Timeouts::default()
    }
}

/// A node and a peer between which the kernel keeps little.
fn narrow_wire(config: Config, handler: Recorder) -> (TestNode, ConnId, TcpStream) {
    let (mut node, addr) = listening(config, handler);
    let peer = connect_narrow(addr);
    let conn = accepted(&mut node);
    (node, conn, peer)
}

/// The message with this number: no two are alike, and none looks the same shifted.
fn body(number: usize, len: usize) -> Vec<u8> {
    let mut block = *b"abcdefghijklmnopqrstuvw";
    block.rotate_left(number % 23);
    let mut body = block.repeat(len / 23 + 1)[..len].to_vec();
    let number = number.to_string();
    body[..number.len()].copy_from_slice(number.as_bytes());
    body
}

/// A message as the default framing has it on the wire.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn frames(numbers: std::ops::Range<usize>, len: usize) -> Vec<u8> {
    let frames: Vec<_> = numbers.map(|number| frame(&body(number, len))).collect();
    frames.concat()
}

/// Reads to the end of the stream, in a thread, since the node is run in this one.
fn read_to_end(mut peer: TcpStream) -> JoinHandle<(Vec<u8>, io::Result<usize>, TcpStream)> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let outcome = peer.read_to_end(&mut all);
        (all, outcome, peer)
    })
}

/// Runs the node until the peer's thread is done.
fn run_with<T>(node: &mut TestNode, peer: JoinHandle<T>) -> T {
    run_until([node], |_| peer.is_finished());
    peer.join().unwrap()
}

/// Has the node run while the peer reads so many bytes.
fn read_exactly(node: &mut TestNode, mut peer: TcpStream, count: usize) -> (Vec<u8>, TcpStream) {
    let reader = thread::spawn(move || {
        let mut bytes = vec![0; count];
        peer.read_exact(&mut bytes).map(|()| (bytes, peer))
    });
    run_with(node, reader).unwrap()
}

/// What is queued for a connection; nothing for one that has ended.
fn queued_bytes(net: &Net, conn: ConnId) -> usize {
    net.connection(conn).map_or(0, |conn| conn.queued_bytes())
}

fn drains(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Drain(_)))
}

fn ends(node: &TestNode) -> usize {
    node.handler()
        .count(|event| matches!(event, Event::Disconnect(..)))
}

fn outcomes(node: &TestNode) -> Vec<(u64, SendOutcome)> {
    let pick = |event: &Event| match event {
        Event::Sent(_, token, outcome) => Some((*token, *outcome)),
        _ => None,
    };
    node.handler().events.iter().filter_map(pick).collect()
}

#[track_caller]
fn assert_same(arrived: &[u8], sent: &[u8]) {
    let differs = arrived.iter().zip(sent).position(|(a, b)| a != b);
    assert!(
        arrived == sent,
        "{} bytes of {} came, the first wrong one at {differs:?}",
        arrived.len(),
        sent.len()
    );
}

// A peer that does not read.

/// Sends numbered messages from `next` on until the queue is full and stays so; the number after the last one.
fn fill(node: &mut TestNode, conn: ConnId, mut next: usize, len: usize) -> usize {
    let mut refused = 0;
    while refused < 20 {
        match node.net().send(conn, &body(next, len)[..]) {
            Ok(()) => (next, refused) = (next + 1, 0),
            Err(error) => {
                assert_eq!(error, SendError::Full);
                refused += 1;
                settle(node);
            }
        }
        let (queued, cap) = (
            queued_bytes(node.net(), conn),
            node.net().config().connection.send_queue.max_bytes,
        );
        assert!(queued <= cap, "{queued} bytes are queued");
    }
    next
}

#[test]
fn a_peer_that_does_not_read_fills_the_queue_to_its_cap_and_gets_all_of_it_later() {
    const LEN: usize = 996;
    let (mut node, conn, mut peer) = narrow_wire(narrow_config(), Recorder::default());
    let mut next = 0;
    for cycle in 1..=3 {
        let first = next;
        next = fill(&mut node, conn, first, LEN);
        let queued = queued_bytes(node.net(), conn);
        assert!(
            queued > 256 * KIB - 2000,
            "{queued} bytes are not up to the cap"
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
    // In blocks: the first one is partly written, and the last one partly filled.
    assert!(metrics.max_queued_bytes <= (2 * 256 + 1) * KIB);
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
fn shared_bodies_for_a_peer_that_does_not_read_are_bounded_and_arrive_in_order() {
    const LEN: usize = 20 * KIB;
    let (mut node, conn, peer) = narrow_wire(narrow_config(), Recorder::default());
    let mut count = 0;
    loop {
        // Copied and shared bodies in turns, so that the queue is a chain of both.
        let len = if count % 2 == 0 { LEN } else { 100 };
        match node.net().send(conn, Bytes::from(body(count, len))) {
            Ok(()) => count += 1,
            Err(error) => break assert_eq!(error, SendError::Full),
        }
        settle(&mut node);
    }
    assert!(queued_bytes(node.net(), conn) <= 256 * KIB);
    let sent: Vec<_> = (0..count)
        .map(|number| frame(&body(number, if number % 2 == 0 { LEN } else { 100 })))
        .collect();
    let (arrived, _peer) = read_exactly(&mut node, peer, sent.concat().len());
    assert_same(&arrived, &sent.concat());
    run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
    assert_eq!((drains(&node), node.net().metrics().queued_bytes), (1, 0));
}

#[test]
fn a_drain_is_announced_after_the_high_watermark_was_passed_and_not_before_the_low_one() {
    // Whether the handler asks before it sends, or has never heard of watermarks.
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
        settle(&mut node);
        assert_eq!(drains(&node), 0);
        let (arrived, _peer) = read_exactly(&mut node, peer, count * 1000);
        assert_same(&arrived, &frames(0..count, 996));
        run_until([&mut node], |[node]| queued_bytes(node.net(), conn) == 0);
        let queued = queued_at_drain.lock().unwrap();
        assert!(
            matches!(queued[..], [queued] if queued <= 16 * KIB),
            "{queued:?}"
        );
    }
}

#[test]
fn a_message_that_needs_the_whole_queue_is_not_announced_before_it_fits() {
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
    // Until the socket is full and a little is left behind: less than the low watermark.
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
    // In small sips, so that what is left behind leaves in several writes.
    let (mut arrived, mut peer) = (Vec::new(), peer);
    while arrived.len() < count * 1000 {
        let (sip, reader) = read_exactly(&mut node, peer, 1000);
        arrived.extend(sip);
        peer = reader;
    }
    assert_same(&arrived, &frames(0..count, 996));
    let (arrived, _peer) = read_exactly(&mut node, peer, large + 4);
    assert_same(&arrived, &frame(&body(7, large)));
    assert_eq!(*tries.lock().unwrap(), [Ok(())]);
}

#[test]
fn a_connection_that_was_refused_because_of_another_is_told_when_the_loop_has_room() {
    let mut config = narrow_config();
    config.limits.loop_send_bytes = 384 * KIB;
    config.connection.send_queue.max_bytes = 384 * KIB;
    let (mut node, addr) = listening(config, Recorder::default());
    let hog_peer = connect_narrow(addr);
    let hog = accepted(&mut node);
    let other_peer = connect_narrow(addr);
    let other = accepted(&mut node);
    // Enough to pass the high watermark: two drains are owed to this one in the end, and announced as one.
    for number in 0..70 {
        node.net().send(other, &body(number, 996)[..]).unwrap();
    }
    let count = fill(&mut node, hog, 0, 996);
    let large = [0; 250 * KIB];
    assert_eq!(node.net().send(other, &large), Err(SendError::Full));
    let drain = |conn| move |event: &Event| *event == Event::Drain(conn);
    let (_, _other_peer) = read_exactly(&mut node, other_peer, 70 * 1000);
    run_until([&mut node], |[node]| queued_bytes(node.net(), other) == 0);
    run_for(Duration::from_millis(5), [&mut node]);
    let early = node.handler().count(drain(other));
    assert_eq!(early, 0, "it does not fit beside the other queue");
    let (arrived, _hog_peer) = read_exactly(&mut node, hog_peer, count * 1000);
    assert_same(&arrived, &frames(0..count, 996));
    run_until([&mut node], |[node]| drains(node) == 2);
    run_for(Duration::from_millis(5), [&mut node]);
    for conn in [hog, other] {
        assert_eq!(node.handler().count(drain(conn)), 1);
    }
    node.net().send(other, &large).expect("there is room");
}

// Tracked sends.

/// Tokens from zero on, each once and in order: those handed over first, then those lost. How many of each.
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

/// Queues numbered messages with their numbers as tokens until the queue is full; how many.
fn fill_tracked(node: &mut TestNode, conn: ConnId, len: usize) -> usize {
    let mut count = 0;
    loop {
        let body = body(count, len);
        match node.net().send_tracked(conn, body.as_slice(), count as u64) {
            Ok(()) => count += 1,
            Err(error) => break assert_eq!(error, SendError::Full),
        }
    }
    count
}

#[test]
fn tracked_sends_are_answered_once_and_in_order_while_the_peer_reads() {
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
fn tracked_sends_that_were_answered_cost_nothing_while_the_queue_never_empties() {
    const LEN: usize = 996;
    let (mut node, conn, mut peer) = narrow_wire(narrow_config(), Recorder::default());
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
    // Some for each token that waits, and for the blocks of the queue.
    assert!(
        overhead <= 32 * waiting + 128 * KIB,
        "{overhead} for {waiting}"
    );
}

#[test]
fn tracked_sends_to_a_peer_that_reads_half_and_resets_are_split_where_it_happened() {
    let (mut node, conn, peer) = narrow_wire(narrow_config(), Recorder::default());
    let count = fill_tracked(&mut node, conn, 996);
    let (arrived, peer) = read_exactly(&mut node, peer, count / 2 * 1000);
    assert_same(&arrived, &frames(0..count / 2, 996));
    reset(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
    let (handed_over, lost) = assert_answered(&node, count);
    assert!(handed_over >= count / 2, "the peer has seen more");
    assert!(lost > 0, "the sockets cannot hold the rest");
    let metrics = node.net().metrics();
    assert_eq!(metrics.queued_bytes, 0);
    let lost_bytes = metrics.bytes_lost as usize;
    // The first of the lost may have left in part.
    assert!((lost - 1) * 1000 < lost_bytes && lost_bytes <= lost * 1000);
    assert_eq!(ends(&node), 1);
}

#[test]
fn tracked_sends_of_an_aborted_connection_are_lost_and_what_they_cost_is_given_back() {
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
fn tracked_sends_that_leave_after_a_close_are_handed_over_before_the_end() {
    let (mut node, conn, peer) = wire(patient_config(), Recorder::default());
    let count = 3000;
    for number in 0..count {
        let body = Bytes::from(body(number, 1000));
        node.net()
            .send_tracked(conn, body, number as u64)
            .expect("3 MB fit");
    }
    node.net().close(conn);
    let reader = read_to_end(peer);
    let (arrived, outcome, peer) = run_with(&mut node, reader);
    outcome.expect("a clean end");
    assert_same(&arrived, &frames(0..count, 1000));
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert_eq!(assert_answered(&node, count), (count, 0));
    assert_eq!(drains(&node), 0, "nothing can be sent any more");
}

// Half-closes.

#[test]
fn a_peer_that_ends_its_half_behind_a_request_gets_the_whole_answer() {
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
        let reader = read_to_end(peer);
        let (arrived, outcome, _) = run_with(&mut node, reader);
        outcome.expect("a clean end");
        assert_same(&arrived, &[frame(&body(1, len)), frame(b"end")].concat());
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        let expected = [
            Event::Start,
            Event::Connect(conn),
            Event::Message(conn, b"request".to_vec()),
            Event::Disconnect(conn, DisconnectReason::PeerClosed),
        ];
        let told = |event: &&Event| !matches!(event, Event::Drain(_));
        let events: Vec<_> = node.handler().events.iter().filter(told).cloned().collect();
        assert_eq!(events, expected);
    }
}

#[test]
fn after_close_write_the_peer_sees_the_end_behind_all_data_and_is_still_heard() {
    let mut config = patient_config();
    config.sockets.send_buffer_bytes = Some(16 * KIB);
    let (mut node, conn, peer) = wire(config, Recorder::default());
    let count = 1000;
    for number in 0..count {
        node.net().send(conn, &body(number, 1000)[..]).unwrap();
    }
    node.net().close_write(conn);
    assert_eq!(node.net().send(conn, b"late"), Err(SendError::Closed));
    let reader = read_to_end(peer);
    let (arrived, outcome, mut peer) = run_with(&mut node, reader);
    outcome.expect("a clean end");
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
fn a_close_after_close_write_waits_for_the_peer_and_hears_it_no_more() {
    let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
    node.net().send(conn, b"last").unwrap();
    node.net().close_write(conn);
    settle(&mut node);
    node.net().close(conn);
    feed(&mut node, &mut peer, &frame(b"unheard"));
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
    config
}

/// Answers a request with more than a queue takes, as fast as the peer takes it, and then closes.
#[derive(Default)]
struct Source {
    next: usize,
    story: Vec<&'static str>,
}

impl Source {
    const COUNT: usize = 3000;
    const LEN: usize = 2000;

    fn pump(&mut self, net: &mut Net, conn: ConnId) {
        while net.is_writable(conn) {
            if self.next == Self::COUNT {
                return net.close(conn);
            }
            let body = body(self.next, Self::LEN);
            net.send(conn, &body).expect("it is writable");
            self.next += 1;
        }
    }
}

impl Handler for Source {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        self.story.push("message");
        self.pump(net, conn);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.pump(net, conn);
    }

    fn on_read_closed(&mut self, _: &mut Net, _: ConnId) {
        self.story.push("read closed");
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        assert_eq!(reason, DisconnectReason::Local);
        self.story.push("end");
    }
}

#[test]
fn a_half_open_connection_is_told_of_the_peers_end_once_and_answers_more_than_a_queue_takes() {
    let mut node = Node::new(half_open_config(), Source::default()).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    let mut peer = connect(addr);
    peer.write_all(&frame(b"request")).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let reader = read_to_end(peer);
    let begun = Instant::now();
    while !reader.is_finished() || node.net().connection_count() > 0 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", node.handler().story);
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let (arrived, outcome, _) = reader.join().unwrap();
    outcome.expect("a clean end");
    assert_same(&arrived, &frames(0..Source::COUNT, Source::LEN));
    settle_any(&mut node);
    assert_eq!(node.handler().story, ["message", "read closed", "end"]);
}

fn settle_any<H: Handler>(node: &mut Node<H>) {
    while node.turn(Some(Duration::ZERO)).unwrap() == Turn::MoreWork {}
}

#[test]
fn a_half_open_connection_ends_when_both_halves_have_in_either_order() {
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

/// What a peer reads to the end after a request and FIN, if the answer comes from another thread after the FIN was
/// seen; and whether it was queued.
fn late_answer(allow_half_open: bool) -> (Vec<u8>, Result<(), SendError>) {
    let mut config = patient_config();
    config.connection.allow_half_open = allow_half_open;
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    peer.write_all(&frame(b"a question")).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    run_until([&mut node], |[node]| {
        node.handler().messages(conn).len() == 1
    });
    // The FIN comes with the question or right behind it.
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
    let (answer, end, _) = run_with(&mut node, read_to_end(peer));
    assert_eq!(end.unwrap(), answer.len(), "a clean end");
    (answer, sent)
}

#[test]
fn an_answer_that_comes_after_the_peers_fin_leaves_if_half_open_connections_are_allowed() {
    assert_eq!(late_answer(true), (frame(b"an answer"), Ok(())));
}

/// Without it the connection ends with the FIN, when everything that was queued by then has left.
#[test]
fn an_answer_that_comes_after_the_peers_fin_is_refused_by_default() {
    assert_eq!(late_answer(false), (Vec::new(), Err(SendError::Closed)));
}

#[test]
fn an_end_in_the_middle_of_a_frame_is_none_that_a_half_open_connection_survives() {
    let (mut node, conn, mut peer) = wire(half_open_config(), Recorder::default());
    feed(&mut node, &mut peer, &frame(b"half")[..6]);
    peer.shutdown(Shutdown::Write).unwrap();
    let truncated = DisconnectReason::Truncated { bytes: 6 };
    assert_eq!(until_ended(&mut node, conn), truncated);
}

#[test]
fn a_peer_that_resets_the_half_that_was_left_open_is_noticed() {
    for queued in [true, false] {
        let mut config = narrow_config();
        config.connection.allow_half_open = true;
        let (mut node, conn, peer) = narrow_wire(config, Recorder::default());
        // Shown if the test fails.
        println!("with a queue: {queued}");
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

// Closes and aborts.

#[test]
fn when_both_ends_close_at_once_the_peer_gets_what_was_queued_and_we_hear_nothing_more() {
    for peer_first in [true, false] {
        let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
        node.net().send(conn, b"last").unwrap();
        peer.write_all(&frame(b"unheard")).unwrap();
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
fn a_peer_that_is_gone_with_our_last_words_unread_ends_a_close_once() {
    for turn_between in [true, false] {
        let (mut node, conn, peer) = wire(patient_config(), Recorder::default());
        node.net().send(conn, b"last").unwrap();
        node.net().close(conn);
        if turn_between {
            settle(&mut node);
        }
        // With something unread this is a reset.
        drop(peer);
        let reason = until_ended(&mut node, conn);
        let said = [DisconnectReason::Local, DisconnectReason::Reset].contains(&reason);
        assert!(said, "{reason}");
        run_for(Duration::from_millis(5), [&mut node]);
        assert_eq!(ends(&node), 1);
    }
}

#[test]
fn a_close_sends_all_that_was_queued_and_a_clean_end_to_a_peer_that_never_stops_sending() {
    const LEN: usize = 3 * KIB * KIB;
    let handler = {
        let mut heard = 0;
        Recorder::reacting(move |net, event| {
            if let Event::Message(conn, _) = event {
                heard += 1;
                if heard == 10 {
                    net.send(*conn, &body(1, LEN)[..]).unwrap();
                    net.close(*conn);
                }
            }
        })
    };
    let mut config = patient_config();
    config.sockets.send_buffer_bytes = Some(16 * KIB);
    let (mut node, conn, peer) = wire(config, handler);
    let mut sending = peer.try_clone().unwrap();
    let chatter = thread::spawn(move || {
        let block = frames(0..100, 100);
        while sending.write_all(&block).is_ok() {}
    });
    let reader = read_to_end(peer);
    let (arrived, outcome, peer) = run_with(&mut node, reader);
    outcome.expect("a clean end, not a reset");
    assert_same(&arrived, &frame(&body(1, LEN)));
    assert_eq!(
        node.handler().ended(conn),
        None,
        "the peer has not ended yet"
    );
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    chatter.join().unwrap();
    assert_eq!(node.handler().messages(conn).len(), 10);
    assert_eq!((ends(&node), node.net().metrics().bytes_lost), (1, 0));
}

#[test]
fn a_close_with_nothing_queued_sends_the_end_at_once_and_waits_for_the_peers() {
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
fn what_arrives_after_a_close_is_thrown_away_even_if_it_is_no_frame() {
    let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
    feed(&mut node, &mut peer, &frame(b"one")[..6]);
    node.net().close(conn);
    feed(&mut node, &mut peer, &[0xff; 3000]);
    feed(&mut node, &mut peer, &frame(b"two"));
    drop(peer);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert!(node.handler().messages(conn).is_empty());
    assert_eq!(node.net().metrics().framing_errors, 0);
}

#[test]
fn a_close_of_a_paused_connection_still_sees_the_end_of_the_peer() {
    for ended_before in [true, false] {
        let (mut node, conn, mut peer) = wire(patient_config(), Recorder::default());
        node.net().pause(conn);
        // At once: with poll(2) what is not read brings no second event.
        feed(&mut node, &mut peer, &frame(b"unheard").repeat(3));
        if ended_before {
            // No edge is left that could bring the loop back to this connection.
            peer.shutdown(Shutdown::Write).unwrap();
            run_for(Duration::from_millis(5), [&mut node]);
        }
        node.net().close(conn);
        settle(&mut node);
        drop(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
        assert!(node.handler().messages(conn).is_empty());
    }
}

#[test]
fn a_close_of_a_paused_connection_lets_a_peer_come_to_its_end_that_writes_before_it_reads() {
    let (mut node, conn, mut peer) = narrow_wire(narrow_config(), Recorder::default());
    node.net().pause(conn);
    let count = fill(&mut node, conn, 0, 996);
    let peer = thread::spawn(move || {
        peer.write_all(&frames(0..4000, 1000))?;
        peer.shutdown(Shutdown::Write)?;
        let mut arrived = Vec::new();
        peer.read_to_end(&mut arrived).map(|_| arrived)
    });
    // By now both directions are stuck, and no event is left to come.
    run_for(Duration::from_millis(20), [&mut node]);
    node.net().close(conn);
    let arrived = run_with(&mut node, peer).expect("a clean end");
    assert_same(&arrived, &frames(0..count, 996));
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert!(node.handler().messages(conn).is_empty());
}

#[test]
fn an_abort_resets_the_peer_and_is_reported_once() {
    let before: [fn(&mut Net, ConnId); 5] = [
        |_, _| {},
        |net, conn| net.send(conn, &[1; 1000]).unwrap(),
        |net, conn| net.close(conn),
        |net, conn| net.pause(conn),
        |net, conn| net.close_write(conn),
    ];
    for (index, act) in before.into_iter().enumerate() {
        for turn_between in [false, true] {
            let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
            act(node.net(), conn);
            if turn_between {
                settle(&mut node);
            }
            node.net().abort(conn);
            node.net().abort(conn);
            node.net().close(conn);
            assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
            run_for(Duration::from_millis(5), [&mut node]);
            assert_eq!(ends(&node), 1, "case {index}");
            let outcome = peer
                .read_to_end(&mut Vec::new())
                .map_err(|error| error.kind());
            // Where a FIN was sent before, the peer has reached the end already.
            let finished = turn_between && (index == 2 || index == 4);
            if !finished {
                assert_eq!(outcome, Err(ErrorKind::ConnectionReset), "case {index}");
            }
            assert_eq!(node.net().connection_count(), 0);
        }
    }
}

#[test]
fn an_abort_with_a_reason_reports_it_and_resets_the_peer() {
    for closing in [false, true] {
        let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
        if closing {
            node.net().send(conn, b"never sent").unwrap();
            node.net().close(conn);
        }
        node.net().abort_with_reason(conn, "an empty request");
        let reason = DisconnectReason::Application("an empty request");
        assert_eq!(until_ended(&mut node, conn), reason, "closing: {closing}");
        let error = peer.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(ends(&node), 1);
    }
}

#[test]
fn send_and_close_sends_the_message_before_the_end_and_does_not_close_when_it_is_refused() {
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

#[test]
fn an_abort_and_a_shutdown_without_grace_in_one_turn_end_a_connection_once() {
    let (mut node, conn, _peer) = wire(Config::default(), Recorder::default());
    node.net().abort(conn);
    node.net().shutdown(Duration::ZERO);
    run_until([&mut node], |[node]| {
        crate::util::turn(node, Some(Duration::ZERO)) == Turn::Stopped
    });
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Local));
    assert_eq!((ends(&node), node.net().metrics().disconnected), (1, 1));
}

#[test]
fn an_abort_drops_what_a_full_socket_has_not_taken_and_says_how_much() {
    let lost = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lost);
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Disconnect(conn, _) = event {
            seen.lock().unwrap().push(queued_bytes(net, *conn));
        }
    });
    let (mut node, conn, peer) = narrow_wire(narrow_config(), handler);
    let count = fill(&mut node, conn, 0, 996);
    let queued = queued_bytes(node.net(), conn);
    node.net().abort(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert_eq!(*lost.lock().unwrap(), [queued]);
    let metrics = node.net().metrics();
    assert_eq!(
        (metrics.queued_bytes, metrics.bytes_lost),
        (0, queued as u64)
    );
    let reader = read_to_end(peer);
    let (arrived, outcome, _) = run_with(&mut node, reader);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(arrived.len() + queued <= count * 1000);
    assert_eq!((drains(&node), ends(&node)), (0, 1));
}

/// Lets a test end the peer from inside a callback of the node, at a moment when nothing is left to be polled.
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
fn a_peer_that_resets_while_we_close_is_reported_as_a_reset_and_not_as_an_error_of_ours() {
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
fn messages_that_arrived_before_a_reset_are_delivered_even_if_a_write_finds_it_first() {
    let (mut node, conn, mut peer) = wire(Config::default(), Recorder::default());
    // The write below comes before the read in its turn, since it is asked for between turns.
    peer.write_all(&frames(0..10, 100)).unwrap();
    reset(peer);
    node.net().send(conn, b"late").unwrap();
    node.net().flush(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
    if cfg!(target_os = "linux") {
        assert_eq!(node.handler().messages(conn).len(), 10);
    }
    assert_eq!(ends(&node), 1);
}

#[test]
fn messages_left_over_by_a_pause_are_delivered_although_a_write_has_failed_meanwhile() {
    let handler = {
        let mut paused = false;
        Recorder::reacting(move |net, event| {
            if let (Event::Message(conn, _), false) = (event, paused) {
                paused = true;
                net.pause(*conn);
            }
        })
    };
    let (mut node, conn, mut peer) = wire(Config::default(), handler);
    feed(&mut node, &mut peer, &frames(0..10, 100));
    drop(peer);
    // The first one is answered with a reset, the second one fails.
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
fn a_paused_peer_that_ends_with_nothing_left_to_deliver_is_noticed_without_a_resume() {
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
fn a_pause_at_the_last_message_before_the_end_keeps_neither_the_end_nor_the_answer_back() {
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
    let reader = read_to_end(peer);
    let (arrived, outcome, _) = run_with(&mut node, reader);
    outcome.expect("a clean end");
    assert_same(&arrived, &frame(&body(1, LEN)));
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    assert_eq!(node.handler().messages(conn).len(), 1);
}

// Lingering.

#[test]
fn a_close_gives_up_after_the_linger_time_and_says_whether_bytes_were_left() {
    let linger = Duration::from_millis(200);
    for left in [true, false] {
        let mut config = narrow_config();
        config.connection.timeouts = lingering(linger);
        let (mut node, conn, mut peer) = narrow_wire(config, Recorder::default());
        match left {
            true => assert!(fill(&mut node, conn, 0, 996) > 0),
            false => node.net().send(conn, b"last").unwrap(),
        }
        let begun = Instant::now();
        node.net().close(conn);
        let reason = until_ended(&mut node, conn);
        assert!(begun.elapsed() >= linger, "{:?}", begun.elapsed());
        let metrics = node.net().metrics();
        if left {
            assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::Linger));
            assert!(metrics.bytes_lost > 0);
        } else {
            assert_eq!(reason, DisconnectReason::Local);
            assert_eq!(metrics.bytes_lost, 0);
            let mut arrived = Vec::new();
            peer.read_to_end(&mut arrived).unwrap();
            assert_same(&arrived, &frame(b"last"));
        }
        assert_eq!(metrics.linger_timeouts, u64::from(left));
        assert_eq!((metrics.queued_bytes, ends(&node)), (0, 1));
    }
}

#[test]
fn a_peer_that_has_ended_its_half_and_does_not_take_the_answer_is_given_up_too() {
    let linger = Duration::from_millis(200);
    let mut config = narrow_config();
    config.connection.timeouts = lingering(linger);
    let (mut node, conn, peer) = narrow_wire(config, Recorder::default());
    let count = fill_tracked(&mut node, conn, 996);
    let begun = Instant::now();
    peer.shutdown(Shutdown::Write).unwrap();
    let reason = until_ended(&mut node, conn);
    assert!(begun.elapsed() >= linger);
    assert_eq!(reason, DisconnectReason::Timeout(TimeoutKind::Linger));
    let (_, lost) = assert_answered(&node, count);
    assert!(lost > 0);
    assert_eq!(node.net().metrics().queued_bytes, 0);
}

#[test]
fn a_peer_that_sends_for_ever_after_our_close_is_given_up_with_everything_sent() {
    let linger = Duration::from_millis(200);
    let config = Config {
        connection: ConnectionConfig {
            timeouts: lingering(linger),
            ..Default::default()
        },
        ..Config::default()
    };
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    let chatter = thread::spawn(move || {
        let block = frames(0..100, 100);
        while peer.write_all(&block).is_ok() {}
    });
    run_until([&mut node], |[node]| {
        !node.handler().messages(conn).is_empty()
    });
    let heard = node.handler().messages(conn).len();
    let begun = Instant::now();
    node.net().close(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    assert!(begun.elapsed() >= linger);
    chatter.join().unwrap();
    assert_eq!(node.handler().messages(conn).len(), heard);
    assert_eq!(ends(&node), 1);
}
