//! Slowing down what is sent.

use super::*;

/// A sender with limits and a receiver without, connected.
fn sender(
    world: &mut World,
    limits: RateLimits,
    is_sealed: bool,
) -> (NodeId<Clocked>, ConnId, NodeId<Clocked>) {
    let handler = || Clocked {
        is_sealed,
        ..Clocked::default()
    };
    let receiver = world.node(strict(), handler());
    let sender = world.node(limited(limits), handler());
    world.run_for(MS);
    let (conn, _) = connect(world, sender, receiver);
    (sender, conn, receiver)
}

fn send(world: &mut World, from: NodeId<Clocked>, conn: ConnId, messages: usize, len: usize) {
    world.with(from, |_, net| {
        for _ in 0..messages {
            net.send(conn, vec![7; len]).expect("the queue has room");
        }
    });
}

#[test]
fn messages_leave_exactly_at_their_rate() {
    for is_sealed in [false, true] {
        let mut world = calm();
        let limits = sent_messages(10, 5);
        let (from, conn, to) = sender(&mut world, limits, is_sealed);
        send(&mut world, from, conn, 60, 10);
        world.run_for(2 * SECOND);
        // Messages of other lengths join the queue meanwhile.
        for len in 1..=40 {
            send(&mut world, from, conn, 1, len * 100);
        }
        world.run_for(20 * SECOND);
        assert_rate(&world.handler(to).times(), 100, 10, 5);
        assert_eq!(world.net(from).metrics().send_rate_waits, 95);
    }
}

#[test]
fn bytes_leave_at_their_rate() {
    for is_sealed in [false, true] {
        let mut world = calm();
        let (from, conn, to) = sender(&mut world, sent_bytes(10_000, 2_000), is_sealed);
        let before = world.steps();
        let begun = world.now();
        send(&mut world, from, conn, 42, 996);
        world
            .run_until(10 * SECOND, |world| world.handler(to).received.len() == 42)
            .expect("the messages arrive");
        let took = world.now() - begun;
        assert!((4 * SECOND..4100 * MS).contains(&took), "{took:?}");
        let turns = world.steps() - before;
        assert!(turns <= 3 * 250, "{turns} turns");
    }
}

#[test]
fn message_leaves_when_its_tokens_are_there() {
    let mut world = calm();
    let (from, conn, to) = sender(&mut world, sent_bytes(1_000, 100), false);
    send(&mut world, from, conn, 1, 96);
    world.run_for(10 * MS);
    // 10 tokens are there, and the frame has 14 bytes.
    send(&mut world, from, conn, 1, 10);
    world.run_for(SECOND);
    let times = world.handler(to).times();
    assert!(
        (14 * MS..14 * MS + 3 * US).contains(&times[1]),
        "{:?}",
        times[1]
    );
}

#[test]
fn both_limits_hold_at_once() {
    let mut world = calm();
    let limits = RateLimits {
        send_messages: rate(10, 1),
        ..sent_bytes(1_000, 1_000)
    };
    let (from, conn, to) = sender(&mut world, limits, false);
    // First the messages are the stricter limit, and then the bytes.
    send(&mut world, from, conn, 10, 1);
    send(&mut world, from, conn, 10, 996);
    world.run_for(60 * SECOND);
    let times = world.handler(to).times();
    assert!(
        (900 * MS..900 * MS + 3 * US).contains(&times[9]),
        "{:?}",
        times[9]
    );
    let took = times[19] - times[10];
    assert!((8900 * MS..=9100 * MS).contains(&took), "{took:?}");
}

#[test]
fn broadcast_and_posted_sends_are_limited() {
    let mut world = calm();
    let (from, conn, to) = sender(&mut world, sent_messages(10, 1), false);
    world.with(from, move |_, net| {
        for _ in 0..5 {
            assert_eq!(net.broadcast([conn], b"hello").queued, 1);
            assert_eq!(net.broadcast_all(vec![7; 20_000], None).queued, 1);
            net.send_tracked(conn, b"hello", 7).expect("room");
        }
    });
    let post = world.post(from, move |_, net: &mut Net| {
        for _ in 0..5 {
            net.send(conn, b"hello").expect("room");
            net.flush(conn);
        }
    });
    assert!(post.is_ok());
    world.run_for(10 * SECOND);
    assert_rate(&world.handler(to).times(), 20, 10, 1);
}

#[test]
fn close_sends_the_queue_at_the_rate() {
    for is_sealed in [false, true] {
        let mut world = calm();
        let (from, conn, to) = sender(&mut world, sent_messages(1, 1), is_sealed);
        send(&mut world, from, conn, 10, 10);
        world.with(from, |_, net| net.close(conn));
        world.run_for(20 * SECOND);
        let handler = world.handler(to);
        assert_rate(&handler.times(), 10, 1, 1);
        assert_eq!(handler.reasons(), [DisconnectReason::PeerClosed]);
        assert_eq!(world.handler(from).reasons(), [DisconnectReason::Local]);
    }
}

#[test]
fn shutdown_sends_at_the_rate_within_the_grace() {
    for (grace, arrived) in [(20, 10), (5, 6)] {
        let mut world = calm();
        let (from, conn, to) = sender(&mut world, sent_messages(1, 1), false);
        send(&mut world, from, conn, 10, 10);
        world.with(from, |_, net| net.shutdown(grace * SECOND + MS));
        world.run_for(30 * SECOND);
        assert_eq!(world.handler(to).received.len(), arrived);
        assert_eq!(world.handler(from).reasons(), [DisconnectReason::Shutdown]);
    }
}

#[test]
fn new_rate_applies_to_queued_messages() {
    let mut world = calm();
    let (from, conn, to) = sender(&mut world, RateLimits::default(), false);
    let set = |world: &mut World, limits| {
        world
            .with(from, |_, net| net.set_rate(conn, limits))
            .expect("valid");
    };
    set(&mut world, sent_messages(1, 1));
    send(&mut world, from, conn, 30, 10);
    world.run_for(2500 * MS);
    assert_eq!(world.handler(to).received.len(), 3);
    set(&mut world, sent_messages(10, 1));
    world.run_for(SECOND);
    assert_eq!(world.handler(to).received.len(), 13);
    set(&mut world, sent_bytes(1_000, 28));
    // The new bucket is full.
    world.run_for(110 * MS);
    assert_eq!(world.handler(to).received.len(), 13 + 2 + 7);
    set(&mut world, RateLimits::default());
    world.run_for(100 * MS);
    assert_eq!(world.handler(to).received.len(), 30);
}

#[test]
fn last_message_may_use_up_the_write_budget() {
    // The length of one frame, and of its record.
    for (is_sealed, write_bytes) in [(false, 1024), (true, 1024 + 7)] {
        let mut world = calm();
        let handler = || Clocked {
            is_sealed,
            ..Clocked::default()
        };
        let mut config = limited(sent_messages(10, 1));
        config.budget.write_bytes = write_bytes;
        let to = world.node(strict(), handler());
        let from = world.node(config, handler());
        world.run_for(MS);
        let (conn, _) = connect(&mut world, from, to);
        send(&mut world, from, conn, 5, 1020);
        world.run_for(2 * SECOND);
        assert_rate(&world.handler(to).times(), 5, 10, 1);
    }
}
