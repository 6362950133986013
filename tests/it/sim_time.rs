//! Callbacks that take time, clocks that drift, and what is promised in milliseconds. In virtual time, so exactly.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, OnPanic, Timeouts};
use peerloop::sim::{self, Faults, NodeId, Random, Selector, Wire, World, for_each_seed};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, TimerId};

const US: Duration = Duration::from_micros(1);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Every link has it.
const LATENCY: Duration = MS;

fn calm() -> World {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    world
}

fn config() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

fn with_timeouts(change: impl FnOnce(&mut Timeouts)) -> Config {
    let mut connection = ConnectionConfig::default();
    change(&mut connection.timeouts);
    Config {
        connection,
        ..config()
    }
}

fn listen(net: &mut Net) {
    let addr = SocketAddr::from(([0, 0, 0, 0], 7000));
    net.listen(addr).expect("the port is free");
}

/// Answers after a time that depends on the message.
struct Slow(fn(&[u8]) -> Duration);

impl Handler for Slow {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let (now, spent) = (net.now(), sim::spent());
        let time = (self.0)(message);
        sim::spend(time);
        assert_eq!(net.now(), now, "the time of a turn is its beginning");
        assert_eq!(sim::spent(), spent + time);
        net.send(conn, message).expect("there is room");
    }
}

/// Asks, and notes how long each answer took.
#[derive(Default)]
struct Asks {
    conn: Option<ConnId>,
    asked: Vec<Instant>,
    took: Vec<Duration>,
}

impl Asks {
    fn ask(&mut self, net: &mut Net, question: &[u8]) {
        let conn = self.conn.expect("it is connected");
        self.asked.push(net.now());
        net.send(conn, question).expect("there is room");
    }
}

impl Handler for Asks {
    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
    }

    fn on_message(&mut self, net: &mut Net, _: ConnId, _: &[u8]) {
        let asked = self.asked[self.took.len()];
        self.took.push(net.now() - asked);
    }
}

/// A client of this server, connected.
fn client_of(world: &mut World, server: NodeId<Slow>) -> NodeId<Asks> {
    let client = world.node(config(), Asks::default());
    let addr = world.addr(server);
    world
        .with(client, |_, net| net.connect(addr))
        .expect("no limit is reached");
    world.run_for(10 * MS);
    client
}

#[test]
fn what_a_callback_takes_is_when_its_answer_leaves() {
    let mut world = calm();
    let by_message = |message: &[u8]| u32::from(message[0]) * 10 * US;
    let server = world.node(config(), Slow(by_message));
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
fn others_go_on_while_a_callback_takes_time() {
    let mut world = calm();
    let slow = world.node(config(), Slow(|_| SECOND));
    let quick = world.node(config(), Slow(|_| Duration::ZERO));
    let [of_slow, of_quick] = [slow, quick].map(|server| client_of(&mut world, server));
    world.with(of_slow, |it, net| it.ask(net, b"x"));
    for _ in 0..10 {
        world.with(of_quick, |it, net| it.ask(net, b"x"));
        world.run_for(10 * MS);
    }
    assert_eq!(world.handler(of_quick).took, [2 * LATENCY; 10]);
    assert!(world.handler(of_slow).took.is_empty());
    // What has arrived meanwhile has its turn after that.
    world.with(of_slow, |it, net| it.ask(net, b"x"));
    world.run_for(3 * SECOND);
    let took = &world.handler(of_slow).took;
    assert_eq!(took[0], 2 * LATENCY + SECOND);
    // It was asked 100 ms later. A turn takes a microsecond besides.
    assert_eq!(took[1], 2 * LATENCY + 2 * SECOND - 100 * MS + US);
}

#[test]
fn no_byte_leaves_before_it_was_written() {
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
    let mut world = calm();
    let server = world.node(config(), Streams);
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
fn time_outside_a_turn_costs_nothing() {
    let mut world = calm();
    let node = world.node(config(), Asks::default());
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
    let server = world.node(config(), Slow(|_| Duration::ZERO));
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
fn a_clock_runs_at_its_rate() {
    let mut world = calm();
    let [fast, right, slow] = [1.1, 1.0, 0.9].map(|rate| {
        let node = world.node(config(), Clock::default());
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
        let node = world.node(config(), Clock::default());
        world.run_for(1100 * SECOND);
        rates.push(world.handler(node).fired.len());
    }
    let (least, most) = (rates.iter().min(), rates.iter().max());
    assert!(least.is_some_and(|it| (90..95).contains(it)), "{rates:?}");
    assert!(most.is_some_and(|it| (105..=110).contains(it)), "{rates:?}");
}

#[test]
fn timeouts_are_those_of_the_own_clock() {
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
        let mut world = calm();
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
fn a_selector_is_set_by_host() {
    for_each_seed(50, |seed| {
        let mut world = World::new(seed);
        world.faults(Faults::drawn(seed).lossless());
        let server = world.node(config(), Slow(|_| Duration::ZERO));
        let client = world.node(config(), Asks::default());
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

#[test]
fn a_broken_promise_ends_the_run() {
    let outcome = |bound| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = calm();
            let server = world.node(config(), Slow(|message| u32::from(message[0]) * 100 * US));
            let client = client_of(&mut world, server);
            world.promise_served_within(client, bound);
            world.with(client, |it, net| {
                [1, 2].map(|message| it.ask(net, &[message]))
            });
            world.run_for(SECOND);
        }))
    };
    assert!(outcome(2 * LATENCY + 300 * US).is_ok());
    let panic = outcome(2 * LATENCY + 300 * US - Duration::from_nanos(1)).expect_err("it is late");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("was not answered"), "{message}");
}

#[test]
fn a_promise_is_broken_where_nobody_answers() {
    let outcome = |ends: bool| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = calm();
            let server = world.node(config(), Slow(|_| Duration::ZERO));
            let client = client_of(&mut world, server);
            world.promise_served_within(client, 100 * SECOND);
            world.partition_one_way(server, client);
            world.with(client, |it, net| {
                it.ask(net, b"x");
                if ends {
                    net.close(it.conn.expect("it is connected"));
                }
            });
            world.run_for(200 * SECOND);
        }))
    };
    assert!(outcome(true).is_ok(), "it has ended the connection");
    assert!(outcome(false).is_err());
}

#[test]
fn a_promise_to_be_let_in_is_broken_by_a_full_backlog() {
    let outcome = |bound| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = calm();
            let listener = world.wire_listener(0);
            let client = world.node(config(), Asks::default());
            world.promise_connected_within(client, bound);
            let filler = world.wire(listener.addr()).expect("a wire");
            world.run_for(10 * MS);
            world
                .with(client, |_, net| net.connect(listener.addr()))
                .expect("no limit is reached");
            world.run_for(100 * MS);
            world.accept_wire(listener).expect("the first one");
            world.run_for(4 * SECOND);
            assert!(world.is_wire_connected(filler));
        }))
    };
    // The first segment is repeated after a second.
    assert!(outcome(SECOND + 2 * LATENCY).is_ok());
    assert!(outcome(SECOND).is_err());
}

/// Begins something in its first turn, which takes two seconds, and notes its end.
struct Long {
    begin: fn(&mut Net, SocketAddr),
    target: SocketAddr,
    slow: Duration,
    ended: Option<(Instant, String)>,
    begun: Option<Instant>,
}

impl Long {
    fn new(begin: fn(&mut Net, SocketAddr), target: SocketAddr, slow: Duration) -> Self {
        Self {
            begin,
            target,
            slow,
            ended: None,
            begun: None,
        }
    }

    fn end(&mut self, net: &Net, what: impl ToString) {
        self.ended = Some((net.now(), what.to_string()));
    }

    /// How long after its first turn it ended, and how.
    fn outcome(&self) -> (Duration, &str) {
        let (at, what) = self.ended.as_ref().expect("it has ended");
        let armed = self.begun.expect("it has begun") + self.slow;
        (at.saturating_duration_since(armed), what)
    }
}

impl Handler for Long {
    fn on_start(&mut self, net: &mut Net) {
        self.begun = Some(net.now());
        (self.begin)(net, self.target);
        sim::spend(self.slow);
    }

    fn on_connect(&mut self, net: &mut Net, _: ConnId) {
        self.end(net, "connected");
    }

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.end(net, error);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        self.end(net, key);
    }
}

/// A connect to a listener whose backlog is full until 300 ms after it has begun: the first segment is lost, and
/// repeated after a second. How long it took from the end of the turn, and what came out.
fn connect_after(slow: Duration) -> (Duration, String) {
    let mut world = calm();
    let listener = world.wire_listener(0);
    world.wire(listener.addr()).expect("a wire");
    world.run_for(10 * MS);
    let connect = |net: &mut Net, target| {
        net.connect(target).expect("no limit is reached");
    };
    let config = with_timeouts(|timeouts| timeouts.connect = Some(1800 * MS));
    let node = world.node(config, Long::new(connect, listener.addr(), slow));
    world.run_for(slow + 300 * MS);
    world.accept_wire(listener).expect("the first one");
    world.run_for(5 * SECOND);
    let (after, what) = world.handler(node).outcome();
    (after, what.to_owned())
}

#[test]
fn a_connect_has_its_whole_timeout_after_a_long_turn() {
    let expected = (SECOND + 2 * LATENCY, "connected".to_owned());
    assert_eq!(connect_after(Duration::ZERO), expected);
    assert_eq!(connect_after(2 * SECOND), expected);
}

#[test]
fn a_connect_that_is_not_answered_times_out_exactly_after_a_long_turn() {
    let connect = |net: &mut Net, target| {
        net.connect(target).expect("no limit is reached");
    };
    for slow in [Duration::ZERO, 2 * SECOND] {
        let mut world = calm();
        let config = with_timeouts(|timeouts| timeouts.connect = Some(1800 * MS));
        let nowhere = SocketAddr::from(([10, 9, 9, 9], 7000));
        let node = world.node(config, Long::new(connect, nowhere, slow));
        world.run_for(10 * SECOND);
        let (after, what) = world.handler(node).outcome();
        assert_eq!(
            (after, what),
            (1800 * MS, &*ConnectError::TimedOut.to_string())
        );
    }
}

#[test]
fn a_timer_counts_from_the_end_of_the_turn_that_sets_it() {
    let nowhere = SocketAddr::from(([10, 9, 9, 9], 7000));
    let timer = |net: &mut Net, _| {
        net.set_timer(500 * MS, 7);
    };
    for slow in [Duration::ZERO, 2 * SECOND] {
        let mut world = calm();
        let node = world.node(config(), Long::new(timer, nowhere, slow));
        world.run_for(10 * SECOND);
        assert_eq!(world.handler(node).outcome(), (500 * MS, "7"));
    }
}

#[test]
fn an_instant_is_not_moved_by_a_long_turn() {
    let nowhere = SocketAddr::from(([10, 9, 9, 9], 7000));
    // It passes during the turn: the next one is the first that may act on it.
    let timer = |net: &mut Net, _| {
        net.set_timer_at(net.now() + 500 * MS, 7);
    };
    let mut world = calm();
    let node = world.node(config(), Long::new(timer, nowhere, 2 * SECOND));
    world.run_for(10 * SECOND);
    assert_eq!(world.handler(node).outcome(), (US, "7"));
    let timer = |net: &mut Net, _| {
        net.set_timer_at(net.now() + 2500 * MS, 7);
    };
    let node = world.node(config(), Long::new(timer, nowhere, 2 * SECOND));
    world.run_for(10 * SECOND);
    assert_eq!(world.handler(node).outcome(), (500 * MS, "7"));
}

/// Answers a message with many and a close, at the beginning of a turn that takes long.
struct Answers {
    slow: Duration,
    end: Option<DisconnectReason>,
}

const ANSWERS: usize = 48;
const ANSWER: usize = 64 * 1024;

impl Handler for Answers {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        for _ in 0..ANSWERS {
            net.send(conn, &[7; ANSWER]).expect("there is room");
        }
        net.close(conn);
        sim::spend(self.slow);
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.end = Some(reason);
    }
}

/// How many bytes a peer reads that reads all the time, and how the connection ends.
fn received_after(slow: Duration) -> (usize, Option<DisconnectReason>) {
    let mut world = calm();
    let config = with_timeouts(|timeouts| timeouts.linger = Some(SECOND));
    let node = world.node(config, Answers { slow, end: None });
    let addr = world.addr(node);
    let wire = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    world
        .write_wire(wire, &[0, 0, 0, 1, 7])
        .expect("there is room");
    let mut read = Vec::new();
    for _ in 0..5000 {
        world.run_for(MS);
        if !world.is_wire_connected(wire) || world.read_wire(wire, &mut read).expect("it is well") {
            break;
        }
    }
    world.close_wire(wire);
    world.run_for(SECOND);
    (read.len(), world.handler(node).end)
}

#[test]
fn a_close_has_its_whole_linger_after_a_long_turn() {
    let expected = (ANSWERS * (ANSWER + 4), Some(DisconnectReason::Local));
    assert_eq!(received_after(Duration::ZERO), expected);
    assert_eq!(received_after(1200 * MS), expected);
}

/// Answers what is not empty, takes some time for each message, and notes how late its timers are.
struct Flooded {
    work: Duration,
    /// Also answers empty messages, and flushes each answer.
    flushes: bool,
    due: Option<Instant>,
    latest: Duration,
}

impl Flooded {
    const PERIOD: Duration = Duration::from_millis(50);

    fn new(work: Duration) -> Self {
        Self {
            work,
            flushes: false,
            due: None,
            latest: Duration::ZERO,
        }
    }

    fn rearm(&mut self, net: &mut Net) {
        let now = net.now() + sim::spent();
        let mut due = self.due.map_or(now, |due| due + Self::PERIOD);
        while due < now {
            due += Self::PERIOD;
        }
        self.due = Some(due);
        net.set_timer_at(due, 0);
    }
}

impl Handler for Flooded {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
        self.rearm(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        sim::spend(self.work);
        if !message.is_empty() {
            net.send(conn, message).expect("there is room");
        } else if self.flushes {
            // They do not read, so that it may be refused.
            let _ = net.send(conn, message);
            net.flush(conn);
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        let due = self.due.expect("it is set");
        let late = (net.now() + sim::spent()).saturating_duration_since(due);
        self.latest = self.latest.max(late);
        self.rearm(net);
    }
}

/// Peers of one address that send empty messages as fast as they are taken.
fn flood(world: &mut World, target: SocketAddr, count: usize) -> Vec<Wire> {
    let first = world.wire(target).expect("a wire");
    let others = (1..count).map(|_| world.wire_beside(first, target).expect("a wire"));
    let others: Vec<Wire> = others.collect();
    world.run_for(SECOND);
    [vec![first], others].concat()
}

/// An honest peer asks again and again while so many connections of one address flood the node with empty messages.
fn serve_during_flood(handler: Flooded, count: usize, round_trip: Duration, lateness: Duration) {
    let mut world = calm();
    let server = world.node(config(), handler);
    let addr = world.addr(server);
    let client = world.node(config(), Asks::default());
    world
        .with(client, |_, net| net.connect(addr))
        .expect("no limit is reached");
    world.run_for(10 * MS);
    let attackers = flood(&mut world, addr, count);
    world.promise_served_within(client, round_trip);
    let zeros = vec![0; 64 * 1024];
    let mut random = Random::new(7);
    for _ in 0..3000 {
        for wire in &attackers {
            while world.write_wire(*wire, &zeros).is_ok() {}
        }
        // One at a time, at any moment of the turns.
        let waits = world.handler(client).asked.len() > world.handler(client).took.len();
        if !waits && random.chance(0.3) {
            world.with(client, |it, net| it.ask(net, b"honest"));
        }
        world.run_for(MS);
    }
    let took = world.handler(client).took.len();
    assert!(took as u128 >= 3 * SECOND.as_millis() / round_trip.as_millis() / 2);
    let latest = world.handler(server).latest;
    assert!(latest <= lateness, "a timer was {latest:?} late");
}

#[test]
fn eight_floods_hold_up_others_for_50_ms_and_timers_for_20() {
    serve_during_flood(Flooded::new(20 * US), 8, 50 * MS, 20 * MS);
}

/// A flush in each message does not keep a visit from ending.
#[test]
fn floods_of_messages_that_are_flushed_hold_up_nobody_longer() {
    let handler = Flooded {
        flushes: true,
        ..Flooded::new(20 * US)
    };
    serve_during_flood(handler, 8, 50 * MS, 20 * MS);
}

/// A callback that fills a turn alone keeps no new event out: of four visits three are to connections with one.
#[test]
fn floods_of_messages_that_take_a_whole_turn_do_not_keep_others_out() {
    serve_during_flood(Flooded::new(20 * MS), 4, 150 * MS, 60 * MS);
}

/// Takes long for each connection.
struct SlowToConnect {
    longest: Duration,
    connected: usize,
}

impl Handler for SlowToConnect {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        sim::spend(10 * MS);
        self.connected += 1;
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_turn(&mut self, _: &mut Net) {
        self.longest = self.longest.max(sim::spent());
    }
}

#[test]
fn accepting_ends_after_a_time() {
    let mut world = calm();
    let handler = SlowToConnect {
        longest: Duration::ZERO,
        connected: 0,
    };
    let server = world.node(config(), handler);
    let addr = world.addr(server);
    let first = world.wire(addr).expect("a wire");
    for _ in 1..60 {
        world.wire_beside(first, addr).expect("a wire");
    }
    world.run_for(2 * SECOND);
    let (connected, longest) = {
        let handler = world.handler(server);
        (handler.connected, handler.longest)
    };
    assert_eq!(connected, 60);
    // Two of them, at least.
    assert!(longest <= 20 * MS, "{longest:?}");
}

#[test]
fn as_many_floods_as_an_address_may_have_hold_up_others_for_250_ms_and_timers_for_100() {
    serve_during_flood(Flooded::new(20 * US), 128, 250 * MS, 100 * MS);
}
