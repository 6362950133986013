//! `ConnectionConfig::on_framing_error`: what happens to queued messages when the
//! peer sends a malformed frame.

use std::io::{Read, Write};
use std::time::Duration;

use peerloop::config::OnFramingError;
use peerloop::{Config, DisconnectReason, SendError};

use super::malformed::{MAX, malformed};
use crate::util::framings::{config_with, encode};
use crate::util::raw::{feed, settle, until_ended, wire};
use crate::util::sessions::sealed;
use crate::util::streams::{fill, lingering, narrow_config, narrow_wire, read_clean_end};
use crate::util::{Event, PATIENCE, Recorder, frame, pair, run_until, unlimited_time};

const CLOSE: OnFramingError = OnFramingError::Close;

/// Bytes that are no frame in the default framing, after a good one.
const GOOD: &[u8] = b"\0\0\0\x05hello";
const GARBAGE: &[u8] = &[0xff; 8];

fn closing_config() -> Config {
    let mut config = Config::default();
    config.connection.on_framing_error = CLOSE;
    config
}

fn is_framing_error(reason: DisconnectReason) -> bool {
    matches!(
        reason,
        DisconnectReason::MalformedFrame(_) | DisconnectReason::MessageTooLarge { .. }
    )
}

#[test]
fn close_answers_what_came_before() {
    for (framing, bytes, _) in malformed() {
        let mut config = config_with(&framing);
        config.connection.max_message_len = MAX;
        config.connection.on_framing_error = CLOSE;
        config.connection.timeouts = lingering(2 * PATIENCE);
        let (mut node, conn, mut peer) = wire(config, Recorder::echo());
        let legal = encode(&framing, b"hello");
        // The good frame after it is not delivered.
        feed(&mut node, &mut peer, &[&legal, &bytes, &legal[..]].concat());
        assert_eq!(node.handler().ended(conn), None, "the peer has not closed");
        assert_eq!(node.net().send(conn, b"late"), Err(SendError::Closed));
        let (answer, peer) = read_clean_end(&mut node, peer);
        assert_eq!(answer, legal, "{framing:?} {bytes:?}");
        drop(peer);
        let reason = until_ended(&mut node, conn);
        assert!(is_framing_error(reason), "{reason}");
        assert_eq!(node.handler().messages(conn), [b"hello"]);
        assert_eq!(node.net().metrics().framing_errors, 1);
    }
}

#[test]
fn abort_drops_the_answers() {
    // Both frames are delivered in one turn, before the answer can leave.
    let config = Config {
        budget: unlimited_time(),
        ..Config::default()
    };
    let (mut node, conn, mut peer) = wire(config, Recorder::echo());
    feed(&mut node, &mut peer, &[GOOD, GARBAGE].concat());
    assert!(is_framing_error(until_ended(&mut node, conn)));
    assert!(peer.read(&mut [0]).is_err(), "it is reset");
}

#[test]
fn close_discards_further_input() {
    let mut config = closing_config();
    config.connection.timeouts = lingering(2 * PATIENCE);
    let (mut node, conn, mut peer) = wire(config, Recorder::echo());
    feed(&mut node, &mut peer, &[GOOD, GARBAGE].concat());
    let writer = std::thread::spawn(move || {
        // Much more than the buffers of the kernel hold.
        let block = vec![0xff; 64 * 1024];
        (0..500).for_each(|_| peer.write_all(&block).expect("it is read"));
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).expect("a clean end");
        answer
    });
    run_until([&mut node], |[node]| {
        assert!(node.net().metrics().received_bytes < 1024);
        node.handler().ended(conn).is_some()
    });
    assert_eq!(writer.join().unwrap(), GOOD);
    assert!(is_framing_error(node.handler().ended(conn).unwrap()));
}

/// The answers cannot leave. The framing error is reported nevertheless.
#[test]
fn close_ends_after_linger_at_a_deaf_peer() {
    let mut config = narrow_config();
    config.connection.on_framing_error = CLOSE;
    config.connection.timeouts = lingering(Duration::from_millis(200));
    let (mut node, conn, mut peer) = narrow_wire(config, Recorder::default());
    fill(&mut node, conn, 0, 10_000);
    peer.write_all(GARBAGE).unwrap();
    assert!(is_framing_error(until_ended(&mut node, conn)));
    let metrics = node.net().metrics();
    assert_eq!((metrics.framing_errors, metrics.linger_timeouts), (1, 0));
    assert!(metrics.bytes_lost > 0);
}

#[test]
fn close_ends_when_the_peer_resets() {
    let (mut node, conn, mut peer) = wire(closing_config(), Recorder::echo());
    feed(&mut node, &mut peer, GARBAGE);
    assert_eq!(node.handler().ended(conn), None);
    crate::util::raw::reset(peer);
    assert!(is_framing_error(until_ended(&mut node, conn)));
}

#[test]
fn close_and_abort_are_calls_as_before() {
    let (mut node, conn, mut peer) = wire(closing_config(), Recorder::echo());
    feed(&mut node, &mut peer, GARBAGE);
    node.net().close(conn);
    settle(&mut node);
    assert_eq!(node.handler().ended(conn), None);
    node.net().abort(conn);
    assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
}

/// The session seals the answer, and its close notification precedes FIN.
#[test]
fn close_notifies_the_peer_of_a_session() {
    let mut config = closing_config();
    let client = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            net.send(*conn, b"hello").unwrap();
            net.set_max_message_len(*conn, 2000).unwrap();
            net.send(*conn, &[0; 2000]).unwrap();
        }
    });
    config.connection.max_message_len = 1000;
    let (mut a, there, mut b, here) = pair(config, sealed(client), sealed(Recorder::echo()));
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().ended(there).is_some() && b.handler().ended(here).is_some()
    });
    assert_eq!(a.handler().messages(there), [b"hello"]);
    assert_eq!(a.handler().ended(there), Some(DisconnectReason::PeerClosed));
    let max = 1000;
    let reason = DisconnectReason::MessageTooLarge { len: 2000, max };
    assert_eq!(b.handler().ended(here), Some(reason));
    assert_eq!(
        frame(b"hello").len() as u64,
        b.net().traffic().bytes_received
    );
}
