//! Timers and timeouts that begin in a turn count from its end.

use super::*;

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

/// Connects to a listener whose backlog is full until 300 ms after the connect:
/// the first segment is lost, and repeated after a second. Returns the time
/// from the end of the turn, and the outcome.
fn connect_after(slow: Duration) -> (Duration, String) {
    let mut world = calm(1);
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
fn connect_has_its_whole_timeout() {
    let expected = (SECOND + 2 * LATENCY, "connected".to_owned());
    assert_eq!(connect_after(Duration::ZERO), expected);
    assert_eq!(connect_after(2 * SECOND), expected);
}

#[test]
fn connect_times_out_exactly() {
    let connect = |net: &mut Net, target| {
        net.connect(target).expect("no limit is reached");
    };
    for slow in [Duration::ZERO, 2 * SECOND] {
        let mut world = calm(1);
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
fn timer_counts_from_the_end_of_its_turn() {
    let nowhere = SocketAddr::from(([10, 9, 9, 9], 7000));
    let timer = |net: &mut Net, _| {
        net.set_timer(500 * MS, 7);
    };
    for slow in [Duration::ZERO, 2 * SECOND] {
        let mut world = calm(1);
        let node = world.node(strict(), Long::new(timer, nowhere, slow));
        world.run_for(10 * SECOND);
        assert_eq!(world.handler(node).outcome(), (500 * MS, "7"));
    }
}

#[test]
fn timer_at_an_instant_is_not_moved() {
    let nowhere = SocketAddr::from(([10, 9, 9, 9], 7000));
    // It passes during the turn: the next one is the first that may act on it.
    let timer = |net: &mut Net, _| {
        net.set_timer_at(net.now() + 500 * MS, 7);
    };
    let mut world = calm(1);
    let node = world.node(strict(), Long::new(timer, nowhere, 2 * SECOND));
    world.run_for(10 * SECOND);
    assert_eq!(world.handler(node).outcome(), (US, "7"));
    let timer = |net: &mut Net, _| {
        net.set_timer_at(net.now() + 2500 * MS, 7);
    };
    let node = world.node(strict(), Long::new(timer, nowhere, 2 * SECOND));
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
    let mut world = calm(1);
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
fn close_has_its_whole_linger() {
    let expected = (ANSWERS * (ANSWER + 4), Some(DisconnectReason::Local));
    assert_eq!(received_after(Duration::ZERO), expected);
    assert_eq!(received_after(1200 * MS), expected);
}
