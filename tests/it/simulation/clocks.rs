//! Callbacks that take time, and the clocks of hosts.

use super::*;

#[test]
fn answer_leaves_when_the_callback_returns() {
    let mut world = calm(1);
    let by_message = |message: &[u8]| u32::from(message[0]) * 10 * US;
    let server = world.node(strict(), Slow(by_message));
    let client = client_of(&mut world, server);
    for (message, time) in [(0, Duration::ZERO), (1, 10 * US), (250, 2500 * US)] {
        world.with(client, |it, net| it.ask(net, &[message]));
        world.run_for(100 * MS);
        let took = world.handler(client).took.last();
        assert_eq!(took, Some(&(2 * LATENCY + time)));
    }
    // Those of one turn follow each other, and leave together at its end.
    world.with(client, |it, net| {
        (3..6).for_each(|message| it.ask(net, &[message]))
    });
    world.run_for(100 * MS);
    let took = &world.handler(client).took[3..];
    assert_eq!(took, [2 * LATENCY + 120 * US; 3]);
}

#[test]
fn slow_callback_delays_its_own_node_only() {
    let mut world = calm(1);
    let slow = world.node(strict(), Slow(|_| SECOND));
    let quick = world.node(strict(), Slow(|_| Duration::ZERO));
    let [of_slow, of_quick] = [slow, quick].map(|server| client_of(&mut world, server));
    world.with(of_slow, |it, net| it.ask(net, b"x"));
    for _ in 0..10 {
        world.with(of_quick, |it, net| it.ask(net, b"x"));
        world.run_for(10 * MS);
    }
    assert_eq!(world.handler(of_quick).took, [2 * LATENCY; 10]);
    assert!(world.handler(of_slow).took.is_empty());
    // Bytes that arrive meanwhile are handled in the next turn.
    world.with(of_slow, |it, net| it.ask(net, b"x"));
    world.run_for(3 * SECOND);
    let took = &world.handler(of_slow).took;
    assert_eq!(took[0], 2 * LATENCY + SECOND);
    // It was asked 100 ms later. A turn takes a microsecond besides.
    assert_eq!(took[1], 2 * LATENCY + 2 * SECOND - 100 * MS + US);
}

#[test]
fn no_byte_leaves_before_it_is_written() {
    // An acknowledgement that arrives during the callback must not take bytes along
    // that the callback writes later.
    struct Streams;
    impl Handler for Streams {
        fn on_start(&mut self, net: &mut Net) {
            listen(net);
        }
        fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
            for _ in 0..10 {
                net.send(conn, &[0; 100_000]).expect("there is room");
                net.flush(conn);
            }
            sim::spend(SECOND);
            net.send(conn, b"last").expect("there is room");
            net.flush(conn);
        }
    }
    let mut world = calm(1);
    let server = world.node(strict(), Streams);
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    world
        .write_wire(wire, &[0, 0, 0, 1, 7])
        .expect("there is room");
    let begun = world.now();
    let mut read = Vec::new();
    while !read.ends_with(b"last") {
        assert!(world.now() < begun + 10 * SECOND, "it arrives");
        world.run_for(MS);
        world.read_wire(wire, &mut read).expect("it is well");
    }
    assert!(world.now() >= begun + SECOND + 2 * LATENCY);
    assert_eq!(read.len(), 10 * 100_004 + 8);
}

#[test]
fn time_outside_a_turn_is_not_spent() {
    let mut world = calm(1);
    let node = world.node(strict(), Asks::default());
    sim::spend(SECOND);
    assert_eq!(
        (sim::spent(), world.now()),
        (Duration::ZERO, Duration::ZERO)
    );
    // A call between turns has the time of its node, like a callback. The next one
    // begins where it ended.
    let begun = world.with(node, |_, net| {
        sim::spend(SECOND);
        net.now()
    });
    assert_eq!(
        (sim::spent(), world.now()),
        (Duration::ZERO, Duration::ZERO)
    );
    assert_eq!(world.with(node, |_, net| net.now()), begun + SECOND);
}

#[test]
fn slow_callbacks_are_a_fault() {
    let mut world = World::new(3);
    let mut faults = Faults::calm();
    faults.slow_callback = 1.0;
    faults.slow_callback_max = 10 * MS;
    world.faults(faults);
    let server = world.node(strict(), Slow(|_| Duration::ZERO));
    let client = client_of(&mut world, server);
    world.run_for(SECOND);
    for _ in 0..50 {
        world.with(client, |it, net| it.ask(net, b"x"));
        world.run_for(SECOND);
    }
    let took = &world.handler(client).took;
    assert!(
        took.iter().all(|took| *took <= 2 * LATENCY + 30 * MS),
        "{took:?}"
    );
    assert!(
        took.iter().any(|took| *took > 2 * LATENCY + 15 * MS),
        "{took:?}"
    );
    assert!(
        took.iter().any(|took| *took < 2 * LATENCY + 10 * MS),
        "{took:?}"
    );
    assert!(world.fault_counts().slow_callbacks > 100);
}

/// Notes when its timers fire, by its own clock.
#[derive(Default)]
struct Clock {
    begun: Option<Instant>,
    fired: Vec<Duration>,
}

impl Handler for Clock {
    fn on_start(&mut self, net: &mut Net) {
        self.begun = Some(net.now());
        net.set_interval(11 * SECOND, 0);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        self.fired
            .push(net.now() - self.begun.expect("it has begun"));
    }
}

#[test]
fn clock_runs_at_its_rate() {
    let mut world = calm(1);
    let [fast, right, slow] = [1.1, 1.0, 0.9].map(|rate| {
        let node = world.node(strict(), Clock::default());
        world.clock_rate(node, rate);
        node
    });
    world.run_for(110 * SECOND);
    let fired = |world: &World, node: NodeId<Clock>| world.handler(node).fired.len();
    assert_eq!(
        [fast, right, slow].map(|node| fired(&world, node)),
        [11, 10, 9]
    );
    // By its own clock each is exact, but for the rounding to nanoseconds.
    for node in [fast, right, slow] {
        for (index, fired) in (1_u32..).zip(&world.handler(node).fired) {
            let late = *fired - index * 11 * SECOND;
            assert!(late < Duration::from_nanos(2), "{node:?}: {late:?}");
        }
    }
    // From now on it is as slow as the other one, and the timer that it waits for too.
    world.clock_rate(fast, 0.9);
    world.run_for(110 * SECOND);
    assert_eq!(fired(&world, fast), 11 + 9);
}

#[test]
fn clocks_drift_by_the_seed() {
    let mut rates = Vec::new();
    for seed in 0..20 {
        let mut world = World::new(seed);
        let mut faults = Faults::calm();
        faults.clock_drift = 1.0;
        world.faults(faults);
        let node = world.node(strict(), Clock::default());
        world.run_for(1100 * SECOND);
        rates.push(world.handler(node).fired.len());
    }
    let (least, most) = (rates.iter().min(), rates.iter().max());
    assert!(least.is_some_and(|it| (90..95).contains(it)), "{rates:?}");
    assert!(most.is_some_and(|it| (105..=110).contains(it)), "{rates:?}");
}

#[test]
fn timeouts_follow_the_clock_of_the_host() {
    struct Silent(Option<DisconnectReason>);
    impl Handler for Silent {
        fn on_start(&mut self, net: &mut Net) {
            listen(net);
        }
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
        fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
            self.0 = Some(reason);
        }
    }
    for (rate, seconds) in [(1.1, 10), (1.0, 11), (0.9, 12)] {
        let mut world = calm(1);
        let config = with_timeouts(|timeouts| timeouts.idle = Some(11 * SECOND));
        let node = world.node(config, Silent(None));
        world.clock_rate(node, rate);
        let addr = world.addr(node);
        let _wire = world.wire(addr).expect("a wire");
        world.run_for(10 * MS + seconds * SECOND - 100 * MS);
        assert_eq!(world.handler(node).0, None, "at {rate}");
        world.run_for(400 * MS);
        assert!(world.handler(node).0.is_some(), "at {rate}");
    }
}

#[test]
fn selector_is_set_by_host() {
    for_each_seed(50, |seed| {
        let mut world = World::new(seed);
        world.faults(Faults::drawn(seed).lossless());
        let server = world.node(strict(), Slow(|_| Duration::ZERO));
        let client = world.node(strict(), Asks::default());
        world.selector([world.ip(server), world.ip(client)], Selector::Poll);
        let addr = world.addr(server);
        world
            .with(client, |_, net| net.connect(addr))
            .expect("no limit is reached");
        world
            .run_until(10 * SECOND, |world| world.handler(client).conn.is_some())
            .expect("it connects");
        for _ in 0..20 {
            world.with(client, |it, net| it.ask(net, &[7; 3000]));
            world.run_for(10 * MS);
        }
        world
            .run_until(60 * SECOND, |world| world.handler(client).took.len() == 20)
            .expect("all are answered");
    });
}
