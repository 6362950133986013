//! Chaos on real sockets: a pool of nodes that come, go, talk, hang up, stall and panic at random, under watch.
//!
//! All of them run in one thread, turn by turn. The seed is printed; `CHAOS_SEED` chooses it, and `CHAOS_SECONDS` (20) how
//! long the chaos lasts.
#![cfg(target_os = "linux")]

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use peerloop::config::{
    ConnectionConfig, Limits, OnFull, SendQueueConfig, SocketConfig, Timeouts, TurnBudget,
};
use peerloop::{
    Admission, Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler,
    Listening, Net, Node, SendError, SendOutcome, TimerId, Turn,
};

use crate::util::child::{self, test_path};

const NODES: usize = 16;
const LISTENERS: usize = 4;
const MAX_CONNECTIONS: usize = 24;
const MAX_PER_IP: usize = 4;
const MAX_CONNECTING: usize = 8;

/// How long something may take before the test fails. Far more than needed: these machines are shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// The addresses on which nodes listen and from which they connect are of one range, so that the limit per address is
/// met now and then and does not keep everybody out.
fn address(random: &mut Random) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2 + random.below(64) as u8), 0))
}

/// SplitMix64: the same seed gives the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Once in `times`.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        Some(from[self.below(from.len())])
    }
}

/// What one node knows about one connection, to hold the next callback against it.
#[derive(Default)]
struct Conn {
    next_in: u64,
    next_out: u64,
    last_broadcast: Option<u64>,
    tracked: VecDeque<u64>,
    paused: bool,
    /// Closed by us, in whatever way: nothing may be delivered, nothing may be sent.
    closed: bool,
    write_shut: bool,
    finished: bool,
}

#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    connects: u64,
    disconnects: u64,
    failures: u64,
    messages: u64,
    answers: u64,
    timers: u64,
    panics: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.disconnects += other.disconnects;
        self.failures += other.failures;
        self.messages += other.messages;
        self.answers += other.answers;
        self.timers += other.timers;
        self.panics += other.panics;
    }
}

/// The handler of every node. It notes what must not be and goes on: a failed assertion would be one more contained
/// panic.
struct Member {
    random: Random,
    /// Where nodes listen, or have.
    known: Arc<Mutex<Vec<SocketAddr>>>,
    started: bool,
    connects: HashSet<ConnId>,
    open: HashMap<ConnId, Conn>,
    past: HashSet<ConnId>,
    /// When each timer is due, at the earliest and at the latest. It counts from the end of the turn in which it was set.
    timers: HashMap<u64, (Instant, Option<Instant>)>,
    /// Numbers tokens, timers and broadcasts.
    serial: u64,
    tally: Tally,
    violations: Vec<String>,
}

impl Member {
    fn new(seed: u64, known: Arc<Mutex<Vec<SocketAddr>>>) -> Self {
        Self {
            random: Random(seed),
            known,
            started: false,
            connects: HashSet::new(),
            open: HashMap::new(),
            past: HashSet::new(),
            timers: HashMap::new(),
            serial: 0,
            tally: Tally::default(),
            violations: Vec::new(),
        }
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(what());
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Notes a callback for a connection that has to be there.
    fn entry(&mut self, conn: ConnId, callback: &str) -> Option<&mut Conn> {
        let started = self.started;
        self.expect(started, || format!("{callback} before on_start"));
        if !self.open.contains_key(&conn) {
            let ended = self.past.contains(&conn);
            let what = format!("{callback} for {conn}, which is not open; ended: {ended}");
            self.violations.push(what);
        }
        self.open.get_mut(&conn)
    }

    fn some_conn(&mut self) -> Option<ConnId> {
        let mut all: Vec<ConnId> = self.open.keys().copied().collect();
        all.sort_unstable();
        self.random.pick(&all)
    }

    /// Does this and that, and panics now and then. `conn` is whose callback it is.
    fn misbehave(&mut self, net: &mut Net, conn: Option<ConnId>) {
        for _ in 0..self.random.below(3) {
            self.act(net);
        }
        if self.random.once_in(200) {
            if let Some(conn) = conn.and_then(|conn| self.open.get_mut(&conn)) {
                conn.closed = true;
            }
            self.tally.panics += 1;
            // Unlike `panic!` this says nothing on stderr.
            resume_unwind(Box::new("chaos"));
        }
    }

    fn act(&mut self, net: &mut Net) {
        match self.random.below(48) {
            0..=2 => self.connect(net),
            3..=14 => self.send(net),
            15..=20 => self.send_tracked(net),
            21..=24 => self.broadcast(net),
            25..=27 => self.set_pause(net, true),
            28..=33 => self.set_pause(net, false),
            34 => self.close(net, Net::close),
            35 => self.close(net, Net::abort),
            36 => self.shut_write(net),
            37 => self.give_up_a_connect(net),
            38..=41 => self.set_timer(net),
            42 => {
                if let Some(conn) = self.some_conn() {
                    net.flush(conn);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, net: &mut Net) {
        let known = self.known.lock().expect("no panic while it is held");
        let target = self.random.pick(&known);
        drop(known);
        let Some(target) = target else { return };
        let mut options = net.connect_options();
        options.source = Some(address(&mut self.random));
        options.allow_duplicate |= self.random.once_in(2);
        if let Ok(conn) = net.connect_with(target, options) {
            let fresh = !self.open.contains_key(&conn) && !self.past.contains(&conn);
            let fresh = self.connects.insert(conn) && fresh;
            self.expect(fresh, || format!("{conn} was given out twice"));
        }
    }

    fn body(&mut self, kind: u8, number: u64) -> Vec<u8> {
        let longest = if self.random.once_in(8) { 20_000 } else { 300 };
        let mut body = vec![kind];
        body.extend_from_slice(&number.to_be_bytes());
        body.resize(9 + self.random.below(longest), number as u8);
        body
    }

    /// Holds the outcome of a send against what we did before.
    fn note_send(&mut self, conn: ConnId, result: Result<(), SendError>, token: Option<u64>) {
        let Some(entry) = self.open.get_mut(&conn) else {
            return;
        };
        let may = !entry.closed && !entry.write_shut;
        match result {
            Ok(()) => {
                entry.next_out += 1;
                entry.tracked.extend(token);
                self.expect(may, || format!("{conn} was sent to after its end"));
            }
            Err(SendError::Full | SendError::Closed) => {}
            Err(error) => self.violations.push(format!("sending to {conn}: {error}")),
        }
    }

    fn send(&mut self, net: &mut Net) {
        let Some(conn) = self.some_conn() else { return };
        let number = self.open[&conn].next_out;
        let body = self.body(0, number);
        let result = net.send(conn, &body);
        self.note_send(conn, result, None);
    }

    fn send_tracked(&mut self, net: &mut Net) {
        let Some(conn) = self.some_conn() else { return };
        let number = self.open[&conn].next_out;
        let body = self.body(0, number);
        let token = self.next_serial();
        let result = net.send_tracked(conn, &body[..], token);
        self.note_send(conn, result, Some(token));
    }

    fn broadcast(&mut self, net: &mut Net) {
        let serial = self.next_serial();
        let body = self.body(1, serial);
        let mut all: Vec<ConnId> = self.open.keys().copied().collect();
        all.sort_unstable();
        let count = all.len();
        let outcome = net.broadcast(all, &body[..]);
        let told = outcome.queued + outcome.full + outcome.closed;
        self.expect(outcome.unsendable == 0 && told == count, || {
            format!("a broadcast to {count}: {outcome:?}")
        });
    }

    fn set_pause(&mut self, net: &mut Net, paused: bool) {
        let Some(conn) = self.some_conn() else { return };
        let entry = self.open.entry(conn).or_default();
        entry.paused = paused;
        if paused {
            net.pause(conn);
        } else {
            net.resume(conn);
        }
    }

    fn close(&mut self, net: &mut Net, how: fn(&mut Net, ConnId)) {
        let Some(conn) = self.some_conn() else { return };
        self.open.entry(conn).or_default().closed = true;
        how(net, conn);
    }

    fn shut_write(&mut self, net: &mut Net) {
        let Some(conn) = self.some_conn() else { return };
        self.open.entry(conn).or_default().write_shut = true;
        net.close_write(conn);
    }

    fn give_up_a_connect(&mut self, net: &mut Net) {
        let mut all: Vec<ConnId> = self.connects.iter().copied().collect();
        all.sort_unstable();
        if let Some(conn) = self.random.pick(&all) {
            net.close(conn);
        }
    }

    fn set_timer(&mut self, net: &mut Net) {
        let after = Duration::from_millis(self.random.below(50) as u64);
        let key = self.next_serial();
        self.timers.insert(key, (net.now() + after, None));
        let timer = net.set_timer(after, key);
        if self.random.once_in(4) {
            self.timers.remove(&key);
            let cancelled = net.cancel_timer(timer);
            self.expect(cancelled == Some(key), || {
                format!("timer {key} was not there to be cancelled")
            });
        }
    }

    /// Holds a message against the ones before it.
    fn check_message(&mut self, conn: ConnId, message: &[u8]) {
        let Some(entry) = self.entry(conn, "on_message") else {
            return;
        };
        let Some((&[kind, ref number @ ..], rest)) = message.split_first_chunk::<9>() else {
            return self.violations.push(format!("{conn}: a short message"));
        };
        let number = u64::from_be_bytes(*number);
        let is_next = match kind {
            0 => {
                let due = entry.next_in;
                entry.next_in = number + 1;
                number == due
            }
            _ => entry.last_broadcast.replace(number) < Some(number),
        };
        let silent = entry.closed || entry.paused || entry.finished;
        self.expect(is_next, || {
            format!("{conn}: {number} of kind {kind} is not due")
        });
        self.expect(!silent, || format!("{conn}: {number} was delivered late"));
        let whole = rest.iter().all(|byte| *byte == number as u8);
        self.expect(whole, || format!("{conn}: {number} is torn"));
    }
}

impl Handler for Member {
    fn on_start(&mut self, net: &mut Net) {
        let first = !std::mem::replace(&mut self.started, true);
        self.expect(first, || "a second on_start".to_owned());
        self.misbehave(net, None);
    }

    fn on_accept(&mut self, net: &mut Net, _: &ConnInfo) -> Admission {
        self.misbehave(net, None);
        if self.random.once_in(20) {
            Admission::Refuse
        } else {
            Admission::Admit
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let connected = self.connects.remove(&conn);
        let side = net.connection(conn).map(|peer| peer.info().direction);
        let expected = if connected {
            Direction::Outbound
        } else {
            Direction::Inbound
        };
        self.expect(side == Some(expected), || {
            format!("{conn} is {side:?} and not {expected:?}")
        });
        let fresh = !self.past.contains(&conn);
        let fresh = self.open.insert(conn, Conn::default()).is_none() && fresh;
        self.expect(fresh, || format!("a second on_connect for {conn}"));
        self.tally.connects += 1;
        self.misbehave(net, Some(conn));
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.check_message(conn, message);
        self.tally.messages += 1;
        self.misbehave(net, Some(conn));
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.entry(conn, "on_drain");
        self.misbehave(net, Some(conn));
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, _: SendOutcome) {
        let due = self
            .entry(conn, "on_sent")
            .and_then(|entry| entry.tracked.pop_front());
        self.expect(due == Some(token), || {
            format!("{conn}: {token} was answered where {due:?} was due")
        });
        self.tally.answers += 1;
        self.misbehave(net, Some(conn));
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        let again = self
            .entry(conn, "on_read_closed")
            .is_some_and(|entry| std::mem::replace(&mut entry.finished, true));
        self.expect(!again, || format!("a second on_read_closed for {conn}"));
        self.misbehave(net, Some(conn));
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
        error: ConnectError,
    ) {
        let due = self.connects.remove(&conn) && self.past.insert(conn);
        self.expect(due, || format!("{conn} failed and was no connect: {error}"));
        self.tally.failures += 1;
        self.misbehave(net, None);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let left = self
            .entry(conn, "on_disconnect")
            .map(|entry| entry.tracked.len());
        self.expect(left == Some(0), || {
            format!("{conn}: {left:?} tracked sends unanswered at the end")
        });
        let framing = matches!(
            reason,
            DisconnectReason::MalformedFrame(_) | DisconnectReason::MessageTooLarge { .. }
        );
        self.expect(!framing, || format!("{conn} ended: {reason}"));
        self.open.remove(&conn);
        self.past.insert(conn);
        self.tally.disconnects += 1;
        self.misbehave(net, None);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        let due = self.timers.remove(&key);
        let now = net.now();
        self.expect(due.is_some_and(|(due, _)| due <= now), || {
            format!("timer {key} fired at {now:?}, due at {due:?}")
        });
        self.tally.timers += 1;
        self.misbehave(net, None);
    }

    fn on_turn(&mut self, net: &mut Net) {
        if self.random.once_in(16) {
            self.misbehave(net, None);
        }
    }
}

type Pool = Vec<Node<Member>>;

struct World {
    random: Random,
    known: Arc<Mutex<Vec<SocketAddr>>>,
    nodes: Pool,
    descriptors: usize,
    /// Of the nodes that are no more.
    tally: Tally,
    /// When something last happened, and how much had then.
    progress: (Instant, u64),
}

fn config(random: &mut Random) -> Config {
    let millis = |millis| Some(Duration::from_millis(millis));
    Config {
        connection: ConnectionConfig {
            max_message_len: 32 * 1024,
            timeouts: Timeouts {
                connect: millis(1000),
                handshake: millis(1000),
                idle: millis(1000),
                partial_message: millis(1000),
                write_stall: millis(300),
                linger: millis(300),
            },
            send_queue: SendQueueConfig {
                high_bytes: 16 * 1024,
                low_bytes: 4 * 1024,
                max_bytes: 64 * 1024,
                on_full: random
                    .pick(&[OnFull::Refuse, OnFull::Disconnect])
                    .expect("two"),
            },
            allow_half_open: random.pick(&[false, true]).expect("two"),
            ..Default::default()
        },
        limits: Limits {
            max_connections: MAX_CONNECTIONS,
            reserved_outbound: Some(0),
            max_connections_per_address: MAX_PER_IP,
            max_outbound_connecting: MAX_CONNECTING,
            loop_send_bytes: 512 * 1024,
            ..Default::default()
        },
        read_buffer_bytes: 4096 << random.below(4),
        budget: TurnBudget {
            read_bytes: 2048 << random.below(6),
            write_bytes: 2048 << random.below(6),
            accepts: 1 + random.below(8),
            ..Default::default()
        },
        sockets: SocketConfig {
            send_buffer_bytes: random.once_in(2).then_some(8 * 1024),
            receive_buffer_bytes: random.once_in(2).then_some(8 * 1024),
            ..Default::default()
        },
        slow_turn: None,
        ..Config::default()
    }
}

fn open_descriptors() -> usize {
    let listing = std::fs::read_dir("/proc/self/fd").expect("a /proc");
    listing.count()
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            known: Arc::default(),
            nodes: Vec::new(),
            descriptors: open_descriptors(),
            tally: Tally::default(),
            progress: (Instant::now(), 0),
        }
    }

    fn spawn(&mut self) {
        let member = Member::new(self.random.next(), Arc::clone(&self.known));
        let node = Node::new(config(&mut self.random), member).expect("a node");
        self.nodes.push(node);
        let index = self.nodes.len() - 1;
        self.listen(index);
    }

    fn listen(&mut self, index: usize) {
        let net = self.nodes[index].net();
        if net.listeners().count() >= LISTENERS {
            return;
        }
        // It is refused by nodes that are shutting down, and only by them.
        if let Ok(listening) = net.listen(address(&mut self.random)) {
            let mut known = self.known.lock().expect("no panic while it is held");
            // Some of these are gone already, and are connected all the same.
            if known.len() >= 2 * NODES {
                known.remove(0);
            }
            known.push(listening.addr);
        }
    }

    fn close_listener(&mut self, index: usize) {
        let net = self.nodes[index].net();
        let all: Vec<Listening> = net.listeners().collect();
        if let Some(listening) = self.random.pick(&all) {
            net.close_listener(listening.id);
            assert_eq!(net.listeners().count(), all.len() - 1);
        }
    }

    /// One thing that happens to the pool or to a node of it.
    fn happen(&mut self) {
        if self.nodes.len() < 2 {
            return self.spawn();
        }
        let index = self.random.below(self.nodes.len());
        match self.random.below(400) {
            0..=7 if self.nodes.len() < NODES => self.spawn(),
            8..=9 => {
                let grace = Duration::from_millis(self.random.below(200) as u64);
                self.nodes[index].net().shutdown(grace);
            }
            10 => {
                let node = self.nodes.swap_remove(index);
                self.bury(&node.into_handler());
            }
            11..=18 => self.listen(index),
            19..=20 => self.close_listener(index),
            _ => {
                let handle = self.nodes[index].handle();
                let posted = handle.post(|member, net| {
                    for _ in 0..4 {
                        member.act(net);
                    }
                    member.connect(net);
                });
                // One that has never had a turn since its shutdown takes calls all the same.
                posted.expect("the queue has room");
            }
        }
    }

    /// Gives every node a turn.
    fn turn(&mut self) {
        let mut index = 0;
        while index < self.nodes.len() {
            let node = &mut self.nodes[index];
            let begun = Instant::now();
            let turn = catch_unwind(AssertUnwindSafe(|| node.turn(Some(Duration::ZERO))))
                .unwrap_or_else(|_| panic!("a panic got out of {node:?}"))
                .expect("a turn");
            check_timers(node.handler_mut(), begun, turn);
            check_limits(node);
            assert_no_violation(node.handler());
            if turn == Turn::Stopped {
                let node = self.nodes.swap_remove(index);
                self.stopped(node);
            } else {
                index += 1;
            }
        }
    }

    /// Everything is over for this node: what it was told has to add up.
    fn stopped(&mut self, mut node: Node<Member>) {
        let metrics = node.net().metrics();
        let member = node.handler();
        let tally = member.tally;
        assert!(member.open.is_empty(), "stopped without on_disconnect");
        assert!(
            member.connects.is_empty(),
            "stopped with connects unanswered"
        );
        assert_eq!(tally.connects, tally.disconnects);
        assert_eq!(tally.disconnects, metrics.disconnected);
        assert_eq!(tally.failures, metrics.connects_failed);
        assert_eq!(
            tally.connects + tally.failures,
            metrics.accepted + metrics.connects_started
        );
        assert_eq!(tally.panics, metrics.panics, "a panic of somebody else's");
        assert_eq!(metrics.queued_bytes, 0);
        self.bury(member);
    }

    fn bury(&mut self, member: &Member) {
        assert_no_violation(member);
        self.tally.add(&member.tally);
    }

    fn total(&self) -> Tally {
        let mut total = self.tally;
        for node in &self.nodes {
            total.add(&node.handler().tally);
        }
        total
    }

    /// Watches what no single node can see.
    fn watch(&mut self) {
        // A poller and its waker, the reserve, and as many connections again as are being refused or released.
        let each = 3 + 1 + LISTENERS + 2 * MAX_CONNECTIONS;
        let open = open_descriptors();
        let most = self.descriptors + self.nodes.len() * each;
        assert!(open <= most, "{open} descriptors where {most} are enough");
        let total = self.total();
        let (since, before) = self.progress;
        if total.messages > before {
            self.progress = (Instant::now(), total.messages);
        }
        assert!(since.elapsed() < PATIENCE, "nothing happens: {total:?}");
    }

    fn end(&mut self) {
        for node in &mut self.nodes {
            node.net().shutdown(Duration::from_millis(200));
        }
        let end = Instant::now() + PATIENCE;
        while !self.nodes.is_empty() {
            assert!(Instant::now() < end, "not ended: {:?}", self.nodes);
            self.turn();
        }
        assert_eq!(open_descriptors(), self.descriptors);
    }
}

fn assert_no_violation(member: &Member) {
    assert!(member.violations.is_empty(), "{:#?}", member.violations);
}

/// Whatever was due when a turn began has fired in it.
fn check_timers(member: &mut Member, begun: Instant, turn: Turn) {
    let is_overdue =
        |(_, latest): &&(Instant, Option<Instant>)| latest.is_some_and(|at| at < begun);
    let overdue = member.timers.values().filter(is_overdue).count();
    let took = begun.elapsed();
    for (earliest, latest) in member.timers.values_mut() {
        latest.get_or_insert(*earliest + took);
    }
    member.expect(turn == Turn::Stopped || overdue == 0, || {
        format!("{overdue} timers are overdue")
    });
}

fn check_limits(node: &mut Node<Member>) {
    let net = node.net();
    let all = || net.connections().chain(net.connecting());
    let count = all().count();
    assert!(count <= MAX_CONNECTIONS, "{count} connections");
    assert!(net.connecting_count() <= MAX_CONNECTING);
    let mut per_ip = HashMap::new();
    for conn in all() {
        *per_ip.entry(conn.info().addr.ip()).or_insert(0) += 1;
    }
    let most = per_ip.values().max().copied().unwrap_or(0);
    assert!(most <= MAX_PER_IP, "{per_ip:?}");
    assert!(net.metrics().queued_bytes <= net.config().limits.loop_send_bytes);
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn whatever_a_pool_of_nodes_does_every_promise_holds_and_nothing_is_left() {
    // The descriptors of the process are counted.
    let test = test_path!(whatever_a_pool_of_nodes_does_every_promise_holds_and_nothing_is_left);
    child::alone(test, run_pools);
}

fn run_pools() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = setting("CHAOS_SEED")
        .unwrap_or_else(|| now.expect("a clock after 1970").subsec_nanos().into());
    let time = Duration::from_secs(setting("CHAOS_SECONDS").unwrap_or(20));
    eprintln!("CHAOS_SEED={seed}");
    let mut world = World::new(seed);
    let begun = Instant::now();
    while begun.elapsed() < time {
        world.happen();
        world.turn();
        world.watch();
    }
    world.end();
    let total = world.total();
    eprintln!("{total:?}");
    // Chaos in which a part of it never happens shows nothing.
    assert!(total.connects > 0 && total.failures > 0 && total.messages > 0);
    assert!(total.answers > 0 && total.timers > 0 && total.panics > 0);
}
