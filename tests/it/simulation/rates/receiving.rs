//! Slowing down what is received.

use super::*;

#[test]
fn messages_arrive_exactly_at_their_rate() {
    let mut world = calm();
    let server = node(&mut world, limited(received_messages(10, 5)));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frames(100));
    world.run_for(20 * SECOND);
    assert_rate(&world.handler(server).times(), 100, 10, 5);
    // The bucket fills again, and not beyond its burst.
    pour(&mut world, wire, &frames(7));
    world.run_for(SECOND);
    let times = world.handler(server).times();
    let again: Vec<Duration> = times[100..].iter().map(|at| *at - times[100]).collect();
    assert_rate(&again, 7, 10, 5);
}

#[test]
fn waiting_takes_few_turns() {
    let mut world = calm();
    let server = node(&mut world, limited(received_messages(10, 1)));
    let wire = join(&mut world, server);
    let before = world.steps();
    pour(&mut world, wire, &frames(101));
    world.run_for(60 * SECOND);
    assert_eq!(world.handler(server).received.len(), 101);
    // The tokens take a turn, and the visit takes another one.
    let turns = world.steps() - before;
    assert!(turns <= 2 * 101 + 10, "{turns} turns");
    assert_eq!(world.net(server).metrics().receive_rate_waits, 100);
}

#[test]
fn high_rate_wakes_fifty_times_a_second() {
    let mut world = calm();
    let server = node(&mut world, limited(received_messages(1000, 100)));
    let wire = join(&mut world, server);
    let before = world.steps();
    pour(&mut world, wire, &frames(2100));
    world.run_for(3 * SECOND);
    let times = world.handler(server).times();
    for (count, time) in times.iter().enumerate() {
        // `count` messages were delivered before this one.
        let allowed = 100 + time.as_millis() as usize;
        assert!(count < allowed, "{count} messages at {time:?}");
        let is_first = count > 0 && times[count - 1] < *time;
        assert!(
            !is_first || count + 20 >= allowed,
            "{count} messages at {time:?}"
        );
    }
    assert_eq!(times.len(), 2100);
    let turns = world.steps() - before;
    assert!(turns <= 2 * 100 + 20, "{turns} turns");
}

/// Checks that bytes arrive at a rate of 10,000 per second with a burst of
/// 2,000, up to the quantum of 200.
fn assert_byte_rate(world: &World, node: NodeId<Clocked>, bytes: usize) {
    let handler = world.handler(node);
    let mut total = 0;
    for ((_, _, message), time) in handler.received.iter().zip(handler.times()) {
        total += message.len();
        let allowed = 2_000 + 10 * time.as_millis() as usize;
        assert!(total <= allowed, "{total} bytes at {time:?}");
        assert!(total + 200 >= allowed, "{total} bytes at {time:?}");
    }
    assert_eq!(total, bytes);
}

#[test]
fn bytes_arrive_at_their_rate() {
    let mut world = calm();
    let mut config = limited(received_bytes(10_000, 2_000));
    config.connection.framing = Framing::Raw;
    let server = node(&mut world, config);
    let wire = join(&mut world, server);
    pour(&mut world, wire, &[7; 42_000]);
    world.run_for(5 * SECOND);
    assert_byte_rate(&world, server, 42_000);
}

#[test]
fn message_beyond_burst_arrives_in_time() {
    let mut world = calm();
    let server = node(&mut world, limited(received_bytes(10_000, 100)));
    let wire = join(&mut world, server);
    let begun = world.now();
    pour(&mut world, wire, &frame(&[7; 20_096]));
    world
        .run_until(10 * SECOND, |world| {
            !world.handler(server).received.is_empty()
        })
        .expect("the message arrives");
    let took = world.now() - begun;
    assert!(
        (2 * SECOND..2 * SECOND + 20 * MS).contains(&took),
        "{took:?}"
    );
}

#[test]
fn stricter_of_two_limits_holds() {
    for (own, of_address) in [(10, 100), (100, 10)] {
        let mut world = calm();
        let mut config = limited(received_messages(own, 1));
        config.limits.rate_per_address = received_messages(of_address, 1);
        let server = node(&mut world, config);
        let wire = join(&mut world, server);
        pour(&mut world, wire, &frames(30));
        world.run_for(5 * SECOND);
        assert_rate(&world.handler(server).times(), 30, 10, 1);
    }
}

#[test]
fn pause_ends_neither_wait_nor_limit() {
    let mut world = calm();
    let server = node(&mut world, limited(received_messages(10, 1)));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frames(30));
    let conn = world.handler(server).connected[0];
    world.run_for(250 * MS);
    assert_eq!(world.handler(server).received.len(), 3);
    world.with(server, |_, net| net.pause(conn));
    world.run_for(SECOND);
    assert_eq!(world.handler(server).received.len(), 3);
    world.with(server, |_, net| net.resume(conn));
    world.run_for(MS);
    assert_eq!(world.handler(server).received.len(), 4, "one token");
    for _ in 0..10 {
        world.with(server, |_, net| {
            net.pause(conn);
            net.resume(conn);
        });
        world.run_for(5 * MS);
    }
    assert_eq!(world.handler(server).received.len(), 4);
    world.run_for(10 * SECOND);
    assert_eq!(world.handler(server).received.len(), 30);
}

#[test]
fn new_rate_applies_from_the_next_message() {
    struct Changing {
        times: Vec<Instant>,
    }
    impl Handler for Changing {
        fn on_start(&mut self, net: &mut Net) {
            net.listen(("0.0.0.0", 7000)).expect("the port is free");
        }
        fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
            self.times.push(net.now());
            match self.times.len() {
                10 => net.set_rate(conn, received_messages(10, 1)).expect("valid"),
                20 => net.set_rate(conn, received_messages(1, 1)).expect("valid"),
                25 => net.set_rate(conn, RateLimits::default()).expect("valid"),
                _ => {}
            }
        }
    }
    let mut world = calm();
    let server = world.node(strict(), Changing { times: Vec::new() });
    world.run_for(MS);
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    pour(&mut world, wire, &frames(50));
    world.run_for(20 * SECOND);
    let times = &world.handler(server).times;
    let since: Vec<u128> = times
        .iter()
        .map(|at| ((*at - times[0]).as_micros() + 500) / 1000)
        .collect();
    let at_once = [0; 11].into_iter();
    let tenths = (1..10).map(|tenth| tenth * 100);
    let seconds = (1..=5).map(|second| 900 + second * 1000);
    let rest = [5900; 25].into_iter();
    let expected: Vec<u128> = at_once.chain(tenths).chain(seconds).chain(rest).collect();
    assert_eq!(since, expected);
}

#[test]
fn new_rate_ends_a_wait() {
    let mut world = calm();
    let server = node(&mut world, limited(received_messages(1, 1)));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frames(30));
    world.run_for(1500 * MS);
    assert_eq!(world.handler(server).received.len(), 2);
    let conn = world.handler(server).connected[0];
    world.with(server, |_, net| {
        let zero = received_messages(0, 1);
        assert_eq!(
            net.set_rate(conn, zero).unwrap_err().field,
            "rate.receive_messages"
        );
        net.set_rate(conn, received_messages(10, 1)).expect("valid");
    });
    world.run_for(460 * MS);
    // Half a token is left, and the rest takes 50 ms.
    assert_eq!(world.handler(server).received.len(), 2 + 5);
    world
        .with(server, |_, net| net.set_rate(conn, RateLimits::default()))
        .expect("valid");
    world.run_for(MS);
    assert_eq!(world.handler(server).received.len(), 30);
}

#[test]
fn end_of_stream_follows_the_last_message() {
    let mut world = calm();
    let server = node(&mut world, limited(received_messages(10, 1)));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frames(11));
    world.close_wire(wire);
    world.run_for(5 * SECOND);
    let handler = world.handler(server);
    assert_eq!(handler.received.len(), 11);
    assert_eq!(handler.reasons(), [DisconnectReason::PeerClosed]);
    let after = handler.ended[0].0 - handler.received[10].0;
    assert!(after <= 3 * US, "{after:?}");
}

#[test]
fn close_while_held_back_is_immediate() {
    let mut world = calm();
    let server = node(&mut world, limited(received_messages(1, 1)));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frames(100));
    world.run_for(100 * MS);
    let conn = world.handler(server).connected[0];
    world.with(server, |_, net| net.close(conn));
    world.run_for(100 * MS);
    world.close_wire(wire);
    world.run_for(100 * MS);
    let handler = world.handler(server);
    assert_eq!((handler.received.len(), handler.ended.len()), (1, 1));
}

#[test]
fn slow_handler_does_not_raise_the_rate() {
    struct Slow(Vec<Instant>);
    impl Handler for Slow {
        fn on_start(&mut self, net: &mut Net) {
            net.listen(("0.0.0.0", 7000)).expect("the port is free");
        }
        fn on_message(&mut self, net: &mut Net, _: ConnId, _: &[u8]) {
            self.0.push(net.now() + sim::spent());
            sim::spend(3 * MS);
        }
    }
    let mut world = calm();
    let server = world.node(limited(received_messages(100, 10)), Slow(Vec::new()));
    world.run_for(MS);
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    pour(&mut world, wire, &frames(210));
    world.run_for(10 * SECOND);
    let times = &world.handler(server).0;
    for (message, at) in times.iter().enumerate() {
        let allowed = 10 + (*at - times[0]).as_millis() as usize / 10;
        assert!(message < allowed, "{message} messages, {allowed} allowed");
    }
    let took = times[209] - times[0];
    assert!(
        (2 * SECOND..2 * SECOND + 40 * MS).contains(&took),
        "{took:?}"
    );
}

#[test]
fn sealed_bytes_are_counted_on_the_wire() {
    let mut world = calm();
    let server = world.node(
        limited(received_bytes(10_000, 1_000)),
        Clocked {
            is_sealed: true,
            ..Clocked::default()
        },
    );
    let client = world.node(
        strict(),
        Clocked {
            is_sealed: true,
            ..Clocked::default()
        },
    );
    world.run_for(MS);
    let (conn, _) = connect(&mut world, client, server);
    let begun = world.now();
    for _ in 0..10 {
        world
            .with(client, |_, net| net.send(conn, &[7; 2_096]))
            .expect("room");
    }
    world
        .run_until(10 * SECOND, |world| {
            world.handler(server).received.len() == 10
        })
        .expect("the messages arrive");
    let took = world.now() - begun;
    // 21,000 bytes with the framing, and the overhead of the session.
    assert!((2 * SECOND..2100 * MS).contains(&took), "{took:?}");
}

/// Limits the connection with its 500th message.
#[derive(Default)]
struct Lowering {
    received: usize,
}

impl Handler for Lowering {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(("0.0.0.0", 7000)).expect("the port is free");
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        self.received += 1;
        if self.received == 500 {
            net.set_rate(conn, received_messages(10, 5)).expect("valid");
        }
    }
}

#[test]
fn new_limit_does_not_count_earlier_messages() {
    let mut world = calm();
    let mut config = strict();
    config.limits.rate_per_address = received_messages(100_000, 100_000);
    let server = world.node(config, Lowering::default());
    world.run_for(MS);
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    pour(&mut world, wire, &frames(1000));
    world.run_for(2 * SECOND);
    let received = world.handler(server).received;
    assert!((515..=526).contains(&received), "{received} messages");
}
