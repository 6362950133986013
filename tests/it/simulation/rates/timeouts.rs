//! No timeout blames a peer that is held back.

use super::*;
use peerloop::Direction;
use peerloop::config::{MinRate, Timeouts};
use peerloop::error::TimeoutKind;
use peerloop::session::Session;

/// Limits with timeouts that are shorter than the waits for tokens.
fn impatient(limits: RateLimits) -> Config {
    config_with(|config| {
        *config = limited(limits);
        let short = Some(300 * MS);
        config.connection.timeouts = Timeouts {
            idle: short,
            partial_message: short,
            write_stall: short,
            linger: short,
            ..Timeouts::default()
        };
        config.connection.min_rate = MinRate {
            receive_bytes_per_second: Some(1_000_000),
            send_bytes_per_second: Some(1_000_000),
            after: 300 * MS,
        };
    })
}

#[test]
fn receiving_waits_are_not_counted() {
    let mut world = calm();
    let server = node(&mut world, impatient(received_messages(1, 1)));
    let wire = join(&mut world, server);
    let mut bytes = frames(10);
    bytes.extend(&frame(&[7; 10_000])[..5_000]);
    pour(&mut world, wire, &bytes);
    world.run_for(9 * SECOND + 100 * MS);
    let handler = world.handler(server);
    assert_eq!((handler.received.len(), handler.ended.len()), (10, 0));
    // The incomplete message waits for a token too, and then the peer is to
    // blame.
    world.run_for(2 * SECOND);
    assert_eq!(world.handler(server).ended.len(), 1);
}

#[test]
fn long_message_at_a_low_rate_is_received() {
    let mut world = calm();
    let server = node(&mut world, impatient(received_bytes(1_000, 1)));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frame(&[7; 20_000]));
    world.run_for(25 * SECOND);
    let handler = world.handler(server);
    // It is idle after the message.
    assert_eq!(handler.received.len(), 1);
    let idle = DisconnectReason::Timeout(TimeoutKind::Idle);
    assert_eq!(handler.reasons(), [idle]);
    let after = handler.ended[0].0 - handler.received[0].0;
    assert!((300 * MS..302 * MS).contains(&after), "{after:?}");
}

#[test]
fn wait_does_not_end_the_idle_timeout() {
    let mut world = calm();
    let server = node(&mut world, impatient(received_messages(1, 1)));
    let wire = join(&mut world, server);
    // The second message waits for its token, and no other follows.
    pour(&mut world, wire, &frames(2));
    world.run_for(10 * SECOND);
    let handler = world.handler(server);
    let idle = DisconnectReason::Timeout(TimeoutKind::Idle);
    assert_eq!((handler.received.len(), handler.reasons()), (2, vec![idle]));
    assert_eq!(handler.ended[0].0 - handler.received[1].0, 300 * MS);
}

#[test]
fn peer_is_not_silent_while_it_is_held_back() {
    let mut world = calm();
    let config = config_with(|config| {
        *config = limited(received_messages(1, 1));
        config.connection.timeouts.idle = None;
        config.connection.timeouts.receive_idle = Some(300 * MS);
    });
    let server = node(&mut world, config);
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frames(5));
    world.run_for(10 * SECOND);
    let handler = world.handler(server);
    let silent = DisconnectReason::Timeout(TimeoutKind::ReceiveIdle);
    assert_eq!(
        (handler.received.len(), handler.reasons()),
        (5, vec![silent])
    );
    assert_eq!(handler.ended[0].0 - handler.received[4].0, 300 * MS);
}

#[test]
fn sending_waits_are_not_counted() {
    for closes in [false, true] {
        let mut world = calm();
        let to = node(&mut world, strict());
        let from = node(&mut world, impatient(sent_messages(1, 1)));
        let (conn, _) = connect(&mut world, from, to);
        world.with(from, |_, net| {
            for _ in 0..10 {
                net.send(conn, &[7; 1000]).expect("the queue has room");
            }
            if closes {
                net.close(conn);
            }
        });
        world.run_for(20 * SECOND);
        assert_eq!(world.handler(to).received.len(), 10);
        let reason = match closes {
            true => DisconnectReason::Local,
            false => DisconnectReason::Timeout(TimeoutKind::Idle),
        };
        assert_eq!(world.handler(from).reasons(), [reason]);
    }
}

#[test]
fn peer_that_does_not_read_is_still_ended() {
    let mut world = calm();
    let mut config = impatient(sent_bytes(1_000_000, 100_000));
    config.connection.min_rate = MinRate::default();
    config.sockets.send_buffer_bytes = Some(10_000);
    let from = node(&mut world, config);
    let _wire = join(&mut world, from);
    let conn = world.handler(from).connected[0];
    world
        .with(from, |_, net| net.send(conn, vec![7; 2_000_000]))
        .expect("room");
    world.run_for(20 * SECOND);
    let stalled = DisconnectReason::Timeout(TimeoutKind::WriteStall);
    assert_eq!(world.handler(from).reasons(), [stalled]);
}

#[test]
fn failed_session_closes_without_its_tokens() {
    let mut world = calm();
    let sealed = Clocked {
        is_sealed: true,
        ..Clocked::default()
    };
    let server = world.node(limited(sent_messages(1, 1)), sealed);
    world.run_for(MS);
    let wire = join(&mut world, server);
    let mut hello = Vec::new();
    Xor::new(Direction::Outbound)
        .start(&mut hello)
        .expect("a hello");
    pour(&mut world, wire, &hello);
    world.run_for(10 * MS);
    let conn = world.handler(server).connected[0];
    world.with(server, |_, net| {
        (0..5).for_each(|_| net.send(conn, b"x").expect("room"))
    });
    world.run_for(10 * MS);
    pour(&mut world, wire, &[0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    world.run_for(10 * MS);
    let _ = world.read_wire(wire, &mut Vec::new());
    world.close_wire(wire);
    world.run_for(100 * MS);
    let reasons = world.handler(server).reasons();
    assert!(
        matches!(reasons[..], [DisconnectReason::Session(_)]),
        "{reasons:?}"
    );
}
