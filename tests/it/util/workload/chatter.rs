//! A handler that makes every call at random, and checks the callbacks that
//! must follow.

mod callbacks;
mod calls;
mod sends;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::IoSlice;
use std::net::{Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, OnFull, Timeouts};
use peerloop::error::TransportError;
use peerloop::framing::Framing;
use peerloop::sim::{Random, spend};
use peerloop::{
    Admission, Body, Bytes, ConnId, ConnInfo, ConnMap, ConnectError, ConnectionState, Direction,
    DisconnectReason, Handler, ListenerId, Net, SendError, SendOutcome, TimerId, Transport,
};

use super::talk::{ANNOUNCEMENT, Kind, PORTS, Rules};

/// Stale ids that are kept, to be used all the same.
const STALE_MAX: usize = 8;

/// The reason of an abort.
const ABORTED: &str = "aborted by the workload";

/// Counts of the messages of both directions of a connection.
struct Talk {
    kind: Kind,
    /// Messages sent and received; for raw bytes, bytes.
    sent: u64,
    heard: u64,
    /// Received messages, and the bytes of their frames.
    messages: u64,
    frame_bytes: u64,
    /// Tokens of tracked sends that are not answered.
    tracked: Vec<u64>,
    is_finished: bool,
    /// The reason with which it has to end, if that is known.
    must_end_with: Option<DisconnectReason>,
}

/// A connection whose id was given out and that has no outcome.
struct Attempt {
    direction: Direction,
    /// The error with which it has to fail, if that is known.
    must_fail_with: Option<ConnectError>,
}

impl Talk {
    /// Compares what the node counted with what was received, the present message
    /// included.
    fn check_received(&self, net: &Net, conn: ConnId) {
        let connection = net.connection(conn).expect("it is connected");
        let traffic = connection.traffic();
        let counted = (traffic.messages_received, traffic.bytes_received);
        assert_eq!(counted, (self.messages, self.frame_bytes), "{conn}");
    }
}

/// How much time a message takes.
#[derive(Clone, Copy, Debug)]
enum Pace {
    Instant,
    Fixed(Duration),
    /// Up to this much.
    Random(Duration),
    /// So much for each byte.
    ByLength(Duration),
}

impl Pace {
    fn drawn(random: &mut Random) -> Self {
        let mut most = |nanos| Duration::from_nanos(random.below(nanos));
        let (short, long, by_byte) = (most(50_000), most(500_000), most(200));
        match random.below(8) {
            0 => Self::Fixed(short),
            1 => Self::Random(long),
            2 => Self::ByLength(by_byte),
            _ => Self::Instant,
        }
    }

    fn spend(self, random: &mut Random, message: &[u8]) {
        match self {
            Self::Instant => {}
            Self::Fixed(time) => spend(time),
            Self::Random(most) => spend(Duration::from_nanos(random.below(most.as_nanos() as u64))),
            Self::ByLength(time) => spend(time * message.len() as u32),
        }
    }
}

pub struct Chatter {
    random: Random,
    pace: Pace,
    rules: Rules,
    others: Vec<SocketAddr>,
    talks: ConnMap<Talk>,
    attempts: BTreeMap<ConnId, Attempt>,
    /// The connections and attempts that are paused.
    paused: BTreeSet<ConnId>,
    /// The listeners that are open, by port.
    listeners: [Option<ListenerId>; PORTS.len()],
    /// All listeners so far, and the index of the port of each.
    listener_ports: BTreeMap<ListenerId, usize>,
    stale: Vec<ConnId>,
    next_token: u64,
    /// Timers that have not fired, with the time before which they must not.
    timers: Vec<(TimerId, Instant)>,
    /// Whether it still begins anything.
    active: bool,
    is_stopping: bool,
    pub messages: u64,
    /// Panics on purpose.
    panics: u64,
}

impl Chatter {
    pub fn new(random: &mut Random, rules: Rules, others: &[SocketAddr]) -> Self {
        Self {
            random: Random::new(random.next_u64()),
            pace: Pace::drawn(random),
            rules,
            others: others.to_vec(),
            talks: ConnMap::new(),
            attempts: BTreeMap::new(),
            paused: BTreeSet::new(),
            listeners: [None; PORTS.len()],
            listener_ports: BTreeMap::new(),
            stale: Vec::new(),
            next_token: 0,
            timers: Vec::new(),
            active: true,
            is_stopping: false,
            messages: 0,
            panics: 0,
        }
    }

    /// Nothing is left that could still end.
    pub fn is_alone(&self) -> bool {
        self.talks.is_empty() && self.attempts.is_empty()
    }

    /// Every panic was one on purpose: a failed assertion is contained like any other.
    pub fn check_panics(&self, net: &Net) {
        assert_eq!(net.metrics().panics, self.panics, "an assertion failed");
    }

    /// Begins nothing further, and reads from all connections.
    pub fn calm_down(&mut self, net: &mut Net) {
        self.active = false;
        // Only these, so that others which are paused by mistake stay so and are found.
        let paused = std::mem::take(&mut self.paused);
        paused.into_iter().for_each(|conn| net.resume(conn));
    }

    pub fn shut_down(&mut self, net: &mut Net, grace: Duration) {
        self.is_stopping = true;
        net.shutdown(grace);
        assert_eq!(net.connect(self.others[0]), Err(ConnectError::ShuttingDown));
        net.listen(self.listen_addr(0)).expect_err("it is ending");
    }

    /// Panics now and then, where that is contained, without the noise that a panic makes.
    fn stumble(&mut self) {
        let Some(rate) = self.rules.panics.filter(|_| self.active) else {
            return;
        };
        if self.random.chance(rate) {
            self.panics += 1;
            resume_unwind(Box::new("on purpose"));
        }
    }

    fn set_timer(&mut self, net: &mut Net, after: Duration, key: u64) -> TimerId {
        let timer = net.set_timer(after, key);
        self.timers.push((timer, net.now() + after));
        timer
    }

    fn cancel_timer(&mut self, net: &mut Net) {
        let timer = self.set_timer(net, Duration::from_millis(3), 0);
        self.timers.pop();
        assert_eq!(net.cancel_timer(timer), Some(0));
        assert_eq!(net.cancel_timer(timer), None);
    }

    fn rearm(&mut self, net: &mut Net) {
        let after = Duration::from_micros(self.random.between(1, 20_000));
        self.set_timer(net, after, 1);
    }

    fn listen_addr(&self, which: usize) -> SocketAddr {
        if self.rules.is_v6 {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORTS[which]))
        } else {
            SocketAddr::from(([0, 0, 0, 0], PORTS[which]))
        }
    }

    /// Listens on one of the ports: on the second with other
    /// settings than the node has.
    fn listen(&mut self, net: &mut Net, which: usize) {
        let mut options = net.listen_options();
        options.backlog = 3;
        if which == 1 {
            let connection = options.connection_mut();
            self.change(connection);
            connection.framing = self.rules.kinds[1].framing();
        }
        let addr = self.listen_addr(which);
        let listening = net.listen_with(addr, options).expect("the port is free");
        assert_eq!(listening.addr, addr);
        self.listeners[which] = Some(listening.id);
        let known = self.listener_ports.insert(listening.id, which);
        assert_eq!(known, None, "an id is given out once");
    }

    /// Checks the information about an inbound connection.
    fn check_inbound(&self, info: &ConnInfo) {
        let listener = info.listener.expect("an inbound connection has one");
        let which = self.listener_ports[&listener];
        let port = info.local_addr.map(|addr| addr.port());
        assert_eq!(port, Some(PORTS[which]));
    }

    fn forget(&mut self, conn: ConnId) {
        self.paused.remove(&conn);
        self.stale.insert(0, conn);
        self.stale.truncate(STALE_MAX);
    }
}

/// How many messages were accepted for sending.
fn sent_by(net: &Net, conn: ConnId) -> u64 {
    net.connection(conn)
        .map_or(0, |it| it.traffic().messages_sent)
}

/// Timeouts that pass now and then.
pub fn some_timeouts(random: &mut Random) -> Timeouts {
    let is_alive = random.chance(0.3);
    let mut time = |most| Some(Duration::from_millis(random.between(200, most)));
    Timeouts {
        connect: time(5_000),
        handshake: time(5_000),
        idle: time(10_000),
        receive_idle: time(10_000).filter(|_| is_alive),
        partial_message: time(10_000),
        write_stall: time(5_000),
        linger: time(5_000),
    }
}
