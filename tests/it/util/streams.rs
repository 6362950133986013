//! Streams between a node and a raw peer: numbered messages, small queues and
//! buffers, peers that read in a thread, and the callbacks of one connection.

use std::io::{self, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use peerloop::config::{ConnectionConfig, SendQueueConfig, Timeouts};
use peerloop::{Config, ConnId, DisconnectReason, Net, SendError, SendOutcome};

use super::raw::{accepted, connect, connect_narrow, settle};
use super::{Event, PATIENCE, Recorder, TestNode, frame, listening, run_until, unlimited_time};

pub const KIB: usize = 1024;

/// Returns timeouts with this time for a close, and without `write_stall`.
pub fn lingering(linger: Duration) -> Timeouts {
    Timeouts {
        write_stall: None,
        linger: Some(linger),
        ..Timeouts::default()
    }
}

/// Returns a configuration in which a close has more time than a test, so that no
/// timeout ends what something else must end.
pub fn patient_config() -> Config {
    Config {
        connection: ConnectionConfig {
            timeouts: lingering(2 * PATIENCE),
            ..Default::default()
        },
        ..Config::default()
    }
}

/// Returns a patient configuration with queues that are easily filled, and a
/// small send buffer.
pub fn narrow_config() -> Config {
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

/// Returns a node and a peer between which the kernel holds little.
pub fn narrow_wire(config: Config, handler: Recorder) -> (TestNode, ConnId, TcpStream) {
    let (mut node, addr) = listening(config, handler);
    let peer = connect_narrow(addr);
    let conn = accepted(&mut node);
    (node, conn, peer)
}

/// Returns a node with more connections than one poll reports events for, and
/// their peers.
pub fn crowd(mut config: Config, handler: Recorder) -> (TestNode, Vec<TcpStream>) {
    const CROWD: usize = 1100;
    config.limits.max_connections_per_address = CROWD;
    config.budget = unlimited_time();
    let (mut node, addr) = listening(config, handler);
    let mut peers = Vec::with_capacity(CROWD);
    while peers.len() < CROWD {
        peers.extend((0..100).map(|_| connect(addr)));
        run_until([&mut node], |[node]| {
            node.net().connection_count() == peers.len()
        });
    }
    settle(&mut node);
    (node, peers)
}

/// Returns the message with this number. No two are alike, and none looks the
/// same shifted.
pub fn body(number: usize, len: usize) -> Vec<u8> {
    let mut block = *b"abcdefghijklmnopqrstuvw";
    block.rotate_left(number % 23);
    let mut body = block.repeat(len / 23 + 1)[..len].to_vec();
    let number = number.to_string();
    body[..number.len()].copy_from_slice(number.as_bytes());
    body
}

pub fn frames(numbers: Range<usize>, len: usize) -> Vec<u8> {
    let frames: Vec<_> = numbers.map(|number| frame(&body(number, len))).collect();
    frames.concat()
}

/// Sends numbered messages from `next` on until the queue is full and stays full.
/// Returns the number after the last one.
pub fn fill(node: &mut TestNode, conn: ConnId, mut next: usize, len: usize) -> usize {
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
        let queued = queued_bytes(node.net(), conn);
        let max = node.net().config().connection.send_queue.max_bytes;
        assert!(queued <= max, "{queued} bytes are queued");
    }
    next
}

/// Queues numbered messages with their numbers as tokens until the queue is full.
/// Returns how many.
pub fn fill_tracked(node: &mut TestNode, conn: ConnId, len: usize) -> usize {
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

/// Returns the number of queued bytes, zero after the end of the connection.
pub fn queued_bytes(net: &Net, conn: ConnId) -> usize {
    net.connection(conn).map_or(0, |conn| conn.queued_bytes())
}

/// Has a thread read to the end of the stream, because the node runs in this one.
pub fn read_to_end(mut peer: TcpStream) -> JoinHandle<(Vec<u8>, io::Result<usize>, TcpStream)> {
    thread::spawn(move || {
        let mut all = Vec::new();
        let outcome = peer.read_to_end(&mut all);
        (all, outcome, peer)
    })
}

/// Runs the node until the thread of the peer has ended.
#[track_caller]
pub fn run_with<T>(node: &mut TestNode, peer: JoinHandle<T>) -> T {
    run_until([node], |_| peer.is_finished());
    peer.join().unwrap()
}

/// Runs the node while the peer reads this many bytes.
pub fn read_exactly(
    node: &mut TestNode,
    mut peer: TcpStream,
    count: usize,
) -> (Vec<u8>, TcpStream) {
    let reader = thread::spawn(move || {
        let mut bytes = vec![0; count];
        peer.read_exact(&mut bytes).map(|()| (bytes, peer))
    });
    run_with(node, reader).unwrap()
}

/// Runs the node while the peer reads to a clean end of the stream.
#[track_caller]
pub fn read_clean_end(node: &mut TestNode, peer: TcpStream) -> (Vec<u8>, TcpStream) {
    let (arrived, outcome, peer) = run_with(node, read_to_end(peer));
    outcome.expect("a clean end");
    (arrived, peer)
}

#[track_caller]
pub fn assert_same(arrived: &[u8], sent: &[u8]) {
    let differs = arrived.iter().zip(sent).position(|(a, b)| a != b);
    assert!(
        arrived == sent,
        "{} bytes of {} came, the first wrong one at {differs:?}",
        arrived.len(),
        sent.len()
    );
}

pub fn messages(node: &TestNode) -> usize {
    let is_message = |event: &Event| matches!(event, Event::Message(..));
    node.handler().count(is_message)
}

pub fn drains(node: &TestNode) -> usize {
    let is_drain = |event: &Event| matches!(event, Event::Drain(_));
    node.handler().count(is_drain)
}

pub fn ends(node: &TestNode) -> usize {
    let is_end = |event: &Event| matches!(event, Event::Disconnect(..));
    node.handler().count(is_end)
}

/// Returns the outcomes of tracked sends, in the order of their callbacks.
pub fn outcomes(node: &TestNode) -> Vec<(u64, SendOutcome)> {
    let pick = |event: &Event| match event {
        Event::Sent(_, token, outcome) => Some((*token, *outcome)),
        _ => None,
    };
    node.handler().events.iter().filter_map(pick).collect()
}

/// Checks the callbacks of a connection: `on_connect`, each message once and in
/// order, and `on_disconnect` with this reason.
#[track_caller]
pub fn assert_callbacks(
    node: &TestNode,
    conn: ConnId,
    bodies: &[Vec<u8>],
    reason: DisconnectReason,
) {
    let mut expected = vec![Event::Connect(conn)];
    expected.extend(bodies.iter().map(|body| Event::Message(conn, body.clone())));
    expected.push(Event::Disconnect(conn, reason));
    let of_conn = |event: &&Event| match event {
        Event::Connect(which) | Event::Message(which, _) | Event::Disconnect(which, _) => {
            *which == conn
        }
        _ => false,
    };
    let happened: Vec<_> = node.handler().events.iter().filter(of_conn).collect();
    let same = happened.len() == expected.len() && happened.into_iter().eq(&expected);
    let ended = node.handler().ended(conn);
    assert!(
        same,
        "{} messages: the callbacks of {conn} differ; ended: {ended:?}",
        bodies.len()
    );
}
