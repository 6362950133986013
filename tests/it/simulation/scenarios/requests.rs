//! Requests and answers: a client asks one of several servers, and another one
//! when the answer takes too long or the connection ends. Every request has
//! exactly one outcome, whatever happens to the servers and links.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::config::OnPanic;
use peerloop::reconnect::{BackoffConfig, KeepConnected, KeepConnectedConfig};
use peerloop::requests::Requests;
use peerloop::sim::{NodeId, Random, World, for_each_seed};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, TimerId, Transport,
};

use super::storm::{Mortal, Storm};
use crate::util::secured::Secured;
use crate::util::sessions::Manner;

const PORT: u16 = 7000;

/// The time for an answer of one server, and the number of servers that are
/// asked before a request has failed.
const TIMEOUT: Duration = Duration::from_millis(800);
const ATTEMPTS: u32 = 6;

/// How long after a loss a server is connected to again.
const RECONNECT: BackoffConfig = BackoffConfig {
    first: Duration::from_millis(300),
    max: Duration::from_millis(600),
    factor: 2,
};

/// Answers after a delay, not in order. A message has a ticket, which the
/// answer repeats, and the question, eight bytes each.
struct Server {
    secured: Secured,
    random: Random,
    /// The connection and the answer, by timer key.
    due: BTreeMap<u64, (ConnId, [u8; 16])>,
    next_key: u64,
}

/// The answer of every server.
fn answer(question: u64) -> u64 {
    question.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7)
}

fn message(ticket: u64, body: u64) -> [u8; 16] {
    let mut message = [0; 16];
    message[..8].copy_from_slice(&ticket.to_be_bytes());
    message[8..].copy_from_slice(&body.to_be_bytes());
    message
}

/// A ticket, and a question or an answer.
fn parse(message: &[u8]) -> Option<(u64, u64)> {
    let both = u128::from_be_bytes(message.try_into().ok()?);
    Some(((both >> 64) as u64, both as u64))
}

impl Server {
    fn new(secured: Secured, random: Random) -> Self {
        Self {
            secured,
            random,
            due: BTreeMap::new(),
            next_key: 0,
        }
    }
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(SocketAddr::from(([0, 0, 0, 0], PORT)))
            .expect("the port is free");
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.secured.transport(info.direction, Manner::Agrees))
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, request: &[u8]) {
        let Some((ticket, question)) = parse(request) else {
            return net.abort(conn);
        };
        // Most answers are quick, some arrive after the timeout, and some are
        // never sent.
        let after = match self.random.below(10) {
            0 => return,
            1 | 2 => self.random.between(500, 2_500),
            _ => self.random.between(0, 50),
        };
        self.next_key += 1;
        let answer = message(ticket, answer(question));
        self.due.insert(self.next_key, (conn, answer));
        net.set_timer(Duration::from_millis(after), self.next_key);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        let (conn, answer) = self.due.remove(&key).expect("each timer fires once");
        // The connection may have ended.
        let _ = net.send(conn, &answer);
    }
}

impl Mortal for Server {
    fn reborn(self) -> Self {
        Self::new(self.secured, self.random)
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Answered(u64),
    Failed,
}

/// An attempt at a request that has not come to anything yet.
#[derive(Clone, Copy)]
struct Attempt {
    request: u64,
    number: u32,
}

struct Client {
    secured: Secured,
    servers: Vec<SocketAddr>,
    keep: KeepConnected,
    connected: Vec<ConnId>,
    /// The id of a request is the ticket. Each attempt has its own, so that an
    /// answer to an earlier attempt is recognized.
    pending: Requests<Attempt>,
    /// The attempts for which there was no server, by timer.
    unasked: BTreeMap<u64, Attempt>,
    outcomes: BTreeMap<u64, Outcome>,
    late: u64,
    retries: u64,
}

impl Client {
    fn new(secured: Secured, seed: u64, servers: Vec<SocketAddr>) -> Self {
        let config = KeepConnectedConfig {
            connections: servers.len(),
            backoff: RECONNECT,
            ..Default::default()
        };
        Self {
            secured,
            servers,
            keep: KeepConnected::new(config, seed).expect("valid settings"),
            connected: Vec::new(),
            pending: Requests::default(),
            unasked: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            late: 0,
            retries: 0,
        }
    }

    /// Asks the next server: a retry asks another one than the attempt before,
    /// if there is another. If no server can be asked, the attempt still takes
    /// its time.
    fn ask(&mut self, net: &mut Net, attempt: Attempt) {
        let turn = attempt.request as usize + attempt.number as usize;
        if let Some(server) = self.connected.iter().cycle().nth(turn) {
            if let Ok(ticket) = self.pending.begin(net, *server, TIMEOUT, attempt) {
                // If it is not sent, it is not answered in time.
                let _ = net.send(*server, &message(ticket, attempt.request));
                return;
            }
        }
        let key = attempt.request * u64::from(ATTEMPTS) + u64::from(attempt.number);
        self.unasked.insert(key, attempt);
        net.set_timer(TIMEOUT, key);
    }

    /// An attempt came to nothing.
    fn retry(&mut self, net: &mut Net, attempt: Attempt) {
        let number = attempt.number + 1;
        if number == ATTEMPTS {
            return self.settle(attempt.request, Outcome::Failed);
        }
        self.retries += 1;
        self.ask(net, Attempt { number, ..attempt });
    }

    fn retry_failed(&mut self, net: &mut Net) {
        while let Some(failed) = self.pending.next_failed() {
            self.retry(net, failed.context);
        }
    }

    fn settle(&mut self, request: u64, outcome: Outcome) {
        let before = self.outcomes.insert(request, outcome);
        assert_eq!(before, None, "a second outcome of request {request}");
    }
}

impl Handler for Client {
    fn on_start(&mut self, net: &mut Net) {
        for addr in &self.servers {
            self.keep.add(net, *addr).expect("a valid address");
        }
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.secured.transport(info.direction, Manner::Agrees))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let kept = self.keep.on_connect(net, conn);
        kept.expect("all connections are kept");
        self.connected.push(conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let (ticket, answer) = parse(message).expect("our servers are honest");
        match self.pending.answer(net, conn, ticket) {
            Some(attempt) => self.settle(attempt.request, Outcome::Answered(answer)),
            None => self.late += 1,
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
        error: ConnectError,
    ) {
        let kept = self.keep.on_connect_failed(net, conn, error);
        kept.expect("all connections are kept");
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        let kept = self.keep.on_disconnect(net, conn);
        kept.expect("all connections are kept");
        self.connected.retain(|it| *it != conn);
        self.pending.on_disconnect(net, conn);
        self.retry_failed(net);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        if self.keep.on_timer(net, timer) {
            return;
        }
        if self.pending.on_timer(net, timer) {
            return self.retry_failed(net);
        }
        let attempt = self.unasked.remove(&key);
        self.retry(net, attempt.expect("each timer fires once"));
    }
}

/// The counts of all worlds.
#[derive(Default)]
struct Tally {
    answered: u64,
    failed: u64,
    late: u64,
    retries: u64,
}

/// Requests are made while servers crash and links are cut. In the end each
/// request has its outcome.
fn every_request_has_one_outcome(seed: u64, secured: Secured, tally: &mut Tally) {
    const REQUESTS: u64 = 100;
    // Each attempt takes at most its whole time.
    const ENOUGH: Duration = TIMEOUT.saturating_mul(ATTEMPTS + 1);

    let mut world = World::new(seed);
    let mut random = world.random();
    let servers: Vec<NodeId<Server>> = (0..random.between(2, 5))
        .map(|_| {
            world.node(
                config(),
                Server::new(secured, Random::new(random.next_u64())),
            )
        })
        .collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|it| world.addr(*it)).collect();
    let client = world.node(config(), Client::new(secured, seed, addresses));
    let mut storm = Storm::new(&mut world, &servers);
    let mut made = 0;
    while made < REQUESTS {
        storm.strike(&mut world);
        if random.chance(0.2) {
            world.partition(client, servers[random.below(servers.len() as u64) as usize]);
        }
        for _ in 0..random.between(1, 10).min(REQUESTS - made) {
            let attempt = Attempt {
                request: made,
                number: 0,
            };
            world.with(client, |it, net| it.ask(net, attempt));
            made += 1;
        }
        world.run_for(storm.pause());
    }
    storm.end(&mut world);
    world
        .run_until(ENOUGH, |world| {
            world.handler(client).outcomes.len() == REQUESTS as usize
        })
        .expect("every request has an outcome");
    // Late answers come in; they must change nothing, and no timer may be left.
    let before = world.handler(client).outcomes.clone();
    world.run_for(Duration::from_secs(10));
    let Client {
        outcomes,
        pending,
        late,
        retries,
        ..
    } = world.handler(client);
    assert!(*outcomes == before && pending.is_empty());
    for (request, outcome) in outcomes {
        match outcome {
            Outcome::Answered(got) => {
                assert_eq!(*got, answer(*request), "request {request}");
                tally.answered += 1;
            }
            Outcome::Failed => tally.failed += 1,
        }
    }
    tally.late += late;
    tally.retries += retries;
}

/// An assertion that fails in a callback is to fail the test.
fn config() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

#[test]
fn request_has_exactly_one_outcome() {
    let (mut tally, mut seeds) = (Tally::default(), 0);
    for_each_seed(20, |seed| {
        every_request_has_one_outcome(seed, Secured::of_seed(seed), &mut tally);
        seeds += 1;
    });
    let Tally {
        answered,
        failed,
        late,
        retries,
    } = tally;
    println!("{answered} answered, {failed} failed, {late} late, {retries} retries");
    assert!(
        seeds < 10 || (answered > failed && [failed, late, retries].iter().all(|it| *it > seeds)),
        "{answered} answered, {failed} failed, {late} late, {retries} retries"
    );
}
