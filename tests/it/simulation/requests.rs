//! `Requests` with exact times.

use peerloop::requests::{FailedRequest, RequestFailure, Requests};

use super::*;

/// Asks when it is connected. A message is an id, and the context is the time at
/// which the request began.
#[derive(Default)]
struct Requester {
    requests: Requests<Instant>,
    /// The time that the callback takes after it has begun a request.
    spends: Duration,
    conn: Option<ConnId>,
    answered: Vec<Duration>,
    ignored: usize,
    failed: Vec<(RequestFailure, Duration)>,
}

const TIMEOUT: Duration = SECOND;

impl Requester {
    fn ask(&mut self, net: &mut Net) {
        let conn = self.conn.expect("it is connected");
        let begun = self.requests.begin(net, conn, TIMEOUT, net.now());
        let id = begun.expect("within the limits");
        net.send(conn, &id.to_be_bytes()).expect("there is room");
    }

    fn take_failed(&mut self, net: &Net) {
        while let Some(FailedRequest {
            reason, context, ..
        }) = self.requests.next_failed()
        {
            self.failed.push((reason, net.now() - context));
        }
    }
}

impl Handler for Requester {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
        self.ask(net);
        sim::spend(self.spends);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, answer: &[u8]) {
        let id = answer.try_into().map(u64::from_be_bytes).expect("an id");
        match self.requests.answer(net, conn, id) {
            Some(begun) => self.answered.push(net.now() - begun),
            None => self.ignored += 1,
        }
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.requests.on_disconnect(net, conn);
        self.take_failed(net);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        assert!(
            self.requests.on_timer(net, timer),
            "there is no other timer"
        );
        self.take_failed(net);
    }
}

/// A server whose answers take a time, and a client that has asked once.
fn asked(
    time: fn(&[u8]) -> Duration,
    spends: Duration,
) -> (World, NodeId<Slow>, NodeId<Requester>) {
    let mut world = calm(1);
    let server = world.node(strict(), Slow(time));
    let requester = Requester {
        spends,
        ..Default::default()
    };
    let client = world.node(strict(), requester);
    let addr = world.addr(server);
    let connect = move |_: &mut Requester, net: &mut Net| net.connect(addr);
    world.with(client, connect).expect("no limit is reached");
    (world, server, client)
}

#[test]
fn timeout_counts_from_the_end_of_the_turn() {
    for spends in [Duration::ZERO, 3 * SECOND] {
        let (mut world, _, client) = asked(|_| 10 * SECOND, spends);
        world.run_for(MINUTE);
        let it = world.handler(client);
        let time = spends + TIMEOUT;
        assert_eq!(it.failed, [(RequestFailure::TimedOut, time)]);
        assert_eq!(
            (it.answered.len(), it.ignored),
            (0, 1),
            "the answer is late"
        );
    }
}

#[test]
fn answer_in_time_counts() {
    // The request needs a latency, and so does the answer.
    for (spare, answered) in [(US, 1), (Duration::ZERO, 0)] {
        let time = if answered == 1 {
            |_: &[u8]| TIMEOUT - 2 * LATENCY - US
        } else {
            |_: &[u8]| TIMEOUT - 2 * LATENCY + 2 * US
        };
        let (mut world, _, client) = asked(time, Duration::ZERO);
        world.run_for(MINUTE);
        let it = world.handler(client);
        assert_eq!(it.answered.len(), answered, "{spare:?}");
        assert_eq!(it.failed.len(), 1 - answered);
        assert_eq!(it.ignored, 1 - answered);
    }
}

#[test]
fn requests_fail_at_once_with_the_connection() {
    let (mut world, server, client) = asked(|_| Duration::ZERO, Duration::ZERO);
    world.run_for(SECOND);
    assert_eq!(world.handler(client).answered.len(), 1);
    world.partition(client, server);
    world.with(client, |it, net| (0..10).for_each(|_| it.ask(net)));
    world.run_for(300 * MS);
    world.with(client, |it, net| {
        net.abort(it.conn.expect("it is connected"))
    });
    world.run_for(MINUTE);
    let it = world.handler(client);
    assert_eq!(it.failed.len(), 10);
    for (reason, after) in &it.failed {
        assert_eq!(*reason, RequestFailure::Disconnected);
        assert!(*after >= 300 * MS && *after <= 301 * MS, "{after:?}");
    }
}

#[test]
fn answered_requests_leave_no_timer() {
    let (mut world, _, client) = asked(|_| Duration::ZERO, Duration::ZERO);
    for _ in 0..100 {
        world.run_for(10 * MS);
        world.with(client, |it, net| it.ask(net));
    }
    world.run_for(10 * MS);
    assert_eq!(world.handler(client).answered.len(), 101);
    let before = world.steps();
    world.run_for(30 * SECOND);
    assert!(world.steps() - before < 4, "{}", world.steps() - before);
}

#[test]
fn unanswered_request_fails_behind_a_partition() {
    let (mut world, server, client) = asked(|_| Duration::ZERO, Duration::ZERO);
    world.run_for(SECOND);
    world.partition(client, server);
    world.with(client, |it, net| it.ask(net));
    world.run_for(2 * SECOND);
    world.heal_all();
    world.run_for(MINUTE);
    let it = world.handler(client);
    // Between turns the timeout counts from now.
    assert_eq!(it.failed, [(RequestFailure::TimedOut, TIMEOUT)]);
    assert_eq!(
        (it.answered.len(), it.ignored),
        (1, 1),
        "the answer is late"
    );
}
