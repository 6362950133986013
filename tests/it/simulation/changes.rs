//! Settings that change while a connection exists, in virtual time.

use peerloop::config::{OnFramingError, Timeouts};
use peerloop::error::TimeoutKind;

use super::*;

/// A message of one byte in the default framing.
const FRAME: &[u8] = b"\0\0\0\x01x";

/// A node and a scripted peer that is connected to it. The peer sends a message,
/// which arrives after `LATENCY`.
fn node_and_peer(world: &mut World, config: Config) -> (NodeId<Plain>, ConnId, Wire) {
    let node = world.node(config, Plain::server());
    world.run_for(MS);
    let addr = world.addr(node);
    let wire = world.wire(addr).expect("a wire");
    until(world, node, |it| !it.connected.is_empty());
    let conn = world.handler(node).connected[0];
    (node, conn, wire)
}

/// Sends bytes. Returns the time at which they arrive.
fn write(world: &mut World, wire: Wire, bytes: &[u8]) -> Duration {
    let written = world.write_wire(wire, bytes).expect("there is room");
    assert_eq!(written, bytes.len());
    world.now() + LATENCY
}

/// Runs until the connection has ended. Returns the time and the reason.
fn end(world: &mut World, node: NodeId<Plain>) -> (Duration, DisconnectReason) {
    until(world, node, |it| !it.ended.is_empty());
    (world.now(), world.handler(node).ended[0])
}

fn set(world: &mut World, node: NodeId<Plain>, change: impl FnOnce(&mut Timeouts)) {
    world.with(node, |it, net| {
        let conn = it.connected[0];
        let config = net.connection(conn).expect("it is connected").config();
        let mut timeouts = config.timeouts;
        change(&mut timeouts);
        net.set_timeouts(conn, timeouts).expect("they are valid");
    });
}

#[track_caller]
fn assert_ends(world: &mut World, node: NodeId<Plain>, expected: (Duration, DisconnectReason)) {
    let (at, reason) = end(world, node);
    assert_eq!(reason, expected.1);
    let late = at.checked_sub(expected.0).expect("it is not early");
    assert!(late <= MS, "{late:?} late");
}

const IDLE: DisconnectReason = DisconnectReason::Timeout(TimeoutKind::Idle);

#[test]
fn new_idle_counts_from_the_last_message() {
    for (idle, wait, left) in [
        (5_000, 3_000, 2_000),
        (90_000, 3_000, 87_000),
        (2_000, 3_000, 0),
    ] {
        let mut world = calm(1);
        let (node, _, wire) = node_and_peer(&mut world, strict());
        let sent = write(&mut world, wire, FRAME);
        world.run_for(wait * MS);
        let called = world.now();
        set(&mut world, node, |it| it.idle = Some(idle * MS));
        let at = if left == 0 { called } else { sent + idle * MS };
        assert_ends(&mut world, node, (at, IDLE));
    }
}

/// Calling it again and again does not keep a silent peer.
#[test]
fn repeated_calls_restart_nothing() {
    let mut world = calm(2);
    let (node, _, wire) = node_and_peer(&mut world, strict());
    let sent = write(&mut world, wire, FRAME);
    for _ in 0..9 {
        world.run_for(MS * 500);
        set(&mut world, node, |it| it.idle = Some(5 * SECOND));
    }
    assert_ends(&mut world, node, (sent + 5 * SECOND, IDLE));
}

#[test]
fn idle_set_late_counts_from_the_last_message() {
    let mut world = calm(3);
    let config = with_timeouts(|it| it.idle = None);
    let (node, _, wire) = node_and_peer(&mut world, config);
    let sent = write(&mut world, wire, FRAME);
    world.run_for(20 * SECOND);
    set(&mut world, node, |it| it.idle = Some(25 * SECOND));
    assert_ends(&mut world, node, (sent + 25 * SECOND, IDLE));
}

#[test]
fn new_partial_message_counts_from_the_last_byte() {
    let mut world = calm(4);
    let (node, _, wire) = node_and_peer(&mut world, strict());
    let sent = write(&mut world, wire, &FRAME[..2]);
    world.run_for(SECOND);
    set(&mut world, node, |it| it.partial_message = Some(3 * SECOND));
    let kind = TimeoutKind::PartialMessage;
    let expected = (sent + 3 * SECOND, DisconnectReason::Timeout(kind));
    assert_ends(&mut world, node, expected);
}

/// The bytes that are kept are decoded again, but none has arrived.
#[test]
fn new_maximum_restarts_no_timeout() {
    let mut world = calm(8);
    let config = with_timeouts(|it| it.partial_message = Some(3 * SECOND));
    let (node, conn, wire) = node_and_peer(&mut world, config);
    let sent = write(&mut world, wire, &FRAME[..2]);
    for max in 1..=5 {
        world.run_for(SECOND / 2);
        let set = world.with(node, |_, net| net.set_max_message_len(conn, max));
        assert_eq!(set, Ok(()));
    }
    let kind = TimeoutKind::PartialMessage;
    let expected = (sent + 3 * SECOND, DisconnectReason::Timeout(kind));
    assert_ends(&mut world, node, expected);
}

#[test]
fn new_receive_idle_counts_from_the_last_byte() {
    let mut world = calm(9);
    let (node, conn, wire) = node_and_peer(&mut world, strict());
    let sent = write(&mut world, wire, FRAME);
    for _ in 0..4 {
        world.run_for(SECOND / 2);
        send(&mut world, node, conn, b"x");
    }
    set(&mut world, node, |it| it.receive_idle = Some(3 * SECOND));
    let kind = TimeoutKind::ReceiveIdle;
    let expected = (sent + 3 * SECOND, DisconnectReason::Timeout(kind));
    assert_ends(&mut world, node, expected);
}

#[test]
fn new_linger_applies_to_a_close_in_progress() {
    let mut world = calm(5);
    let (node, conn, _) = node_and_peer(&mut world, strict());
    world.with(node, |_, net| net.close(conn));
    let closed = world.now();
    world.run_for(SECOND);
    set(&mut world, node, |it| it.linger = Some(2 * SECOND));
    let expected = (closed + 2 * SECOND, DisconnectReason::Local);
    assert_ends(&mut world, node, expected);
}

#[test]
fn new_connect_timeout_counts_from_the_connect() {
    let mut world = calm(6);
    let client = world.node(strict(), Plain::default());
    let nobody: SocketAddr = "10.99.0.1:7000".parse().expect("an address");
    let delay = 2 * SECOND;
    let conn = world.with(client, |_, net| {
        let mut options = net.connect_options();
        options.delay = Some(delay);
        net.connect_with(nobody, options).expect("no limit")
    });
    let begun = world.now();
    world.with(client, |_, net| {
        let timeouts = Timeouts {
            connect: Some(SECOND),
            ..Timeouts::default()
        };
        net.set_timeouts(conn, timeouts).expect("they are valid");
    });
    until(&mut world, client, |it| !it.failed.is_empty());
    let took = world.now() - begun;
    assert_eq!(world.handler(client).failed, [ConnectError::TimedOut]);
    let expected = delay + SECOND;
    assert!((expected..expected + 2 * MS).contains(&took), "{took:?}");
}

/// The peer sends garbage without end, and never closes.
#[test]
fn close_for_framing_error_ends_after_linger() {
    let mut config = with_timeouts(|it| it.linger = Some(3 * SECOND));
    config.connection.on_framing_error = OnFramingError::Close;
    let mut world = calm(7);
    let (node, _, wire) = node_and_peer(&mut world, config);
    let sent = write(&mut world, wire, &[FRAME, &[0xff; 8]].concat());
    while world.handler(node).ended.is_empty() {
        let _ = world.write_wire(wire, &[0xff; 4096]);
        world.run_for(MS);
        assert!(world.now() < sent + 4 * SECOND, "it does not end");
    }
    let took = world.now() - sent;
    assert!(
        (3 * SECOND..3 * SECOND + 2 * MS).contains(&took),
        "{took:?}"
    );
    let reason = world.handler(node).ended[0];
    assert!(matches!(reason, DisconnectReason::MessageTooLarge { .. }));
    let mut answer = Vec::new();
    assert!(world.read_wire(wire, &mut answer).is_ok());
    assert_eq!(answer, FRAME);
}

#[test]
fn framings_change_in_random_worlds() {
    for_each_seed(SEEDS, crate::util::workload::upgrade);
}
