//! Floods delay other connections and timers by bounded times.

use super::*;

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

    /// Returns how long the timer has been due.
    fn lateness(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.due.expect("it is set"))
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
        let late = self.lateness(net.now() + sim::spent());
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

/// An honest peer sends requests while `count` connections of one address flood
/// the node with empty messages.
fn serve_during_flood(handler: Flooded, count: usize, round_trip: Duration, lateness: Duration) {
    let mut world = calm(1);
    let server = world.node(strict(), handler);
    let addr = world.addr(server);
    let client = world.node(strict(), Asks::default());
    world
        .with(client, |_, net| net.connect(addr))
        .expect("no limit is reached");
    world.run_for(10 * MS);
    let attackers = flood(&mut world, addr, count);
    world.promise_served_within(client, round_trip);
    let zeros = vec![0; 64 * 1024];
    let mut random = Random::new(7);
    for _ in 0..1000 {
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
    assert!(took as u128 >= SECOND.as_millis() / round_trip.as_millis() / 2);
    // The timer that is set may be overdue.
    let latest = world.with(server, |it, net| it.lateness(net.now()).max(it.latest));
    assert!(latest <= lateness, "a timer was {latest:?} late");
}

#[test]
fn eight_floods_delay_by_50_ms() {
    serve_during_flood(Flooded::new(20 * US), 8, 50 * MS, 20 * MS);
}

/// A flush in each message does not keep a visit from ending.
#[test]
fn eight_flushed_floods_delay_by_50_ms() {
    let handler = Flooded {
        flushes: true,
        ..Flooded::new(20 * US)
    };
    serve_during_flood(handler, 8, 50 * MS, 20 * MS);
}

/// A callback that fills a turn does not keep new events out: of four visits
/// three are to connections with a new event.
#[test]
fn messages_of_a_whole_turn_delay_by_150_ms() {
    serve_during_flood(Flooded::new(20 * MS), 4, 150 * MS, 60 * MS);
}

/// While turns are full, timers come before the visits. A timer that becomes due
/// in a turn therefore does not wait for the visits of the next one.
#[test]
fn timers_wait_for_one_turn_and_not_two() {
    serve_during_flood(Flooded::new(19 * MS), 4, 150 * MS, 20 * MS);
}

#[test]
fn floods_of_one_address_delay_by_250_ms() {
    serve_during_flood(Flooded::new(20 * US), 128, 250 * MS, 100 * MS);
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
    let mut world = calm(1);
    let handler = SlowToConnect {
        longest: Duration::ZERO,
        connected: 0,
    };
    let server = world.node(strict(), handler);
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
