//! A handler that makes every call at random, and checks the callbacks that
//! must follow.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::IoSlice;
use std::net::{Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use peerloop::config::{ConnectionConfig, OnFull, Timeouts};
use peerloop::error::TransportError;
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

    /// The next message of a connection.
    fn compose(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        let talk = self.talks.get(conn)?;
        let extra = match self.random.below(20) {
            0 => 1 + self.random.below(30_000),
            1..=4 => self.random.below(2_000),
            _ => self.random.below(40),
        };
        Some(talk.kind.message(talk.sent, extra))
    }

    pub fn send(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let len = body.len();
        let could = net.is_writable(conn);
        let result = match self.random.below(5) {
            0 => net.send(conn, Bytes::from(body)),
            1 => {
                let (front, back) = body.split_at(body.len() / 3);
                net.send(conn, Body::parts(&[front, back].map(IoSlice::new)))
            }
            2 => {
                self.next_token += 1;
                let result = net.send_tracked(conn, &body, self.next_token);
                if result.is_ok() {
                    let talk = self.talks.get_mut(conn).expect("it is connected");
                    talk.tracked.push(self.next_token);
                }
                result
            }
            3 => net.send(conn, body),
            _ => net.send(conn, &body),
        };
        let legal = matches!(result, Ok(()) | Err(SendError::Full | SendError::Closed));
        assert!(
            legal && !(could && result == Err(SendError::Closed)),
            "{result:?}"
        );
        if result.is_ok() {
            let talk = self.talks.get_mut(conn).expect("it is connected");
            talk.sent += talk.kind.places(len);
        }
    }

    /// Sends one message more and closes. If the message was refused, the connection is
    /// as it was.
    fn send_and_close(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let state = |net: &Net| net.connection(conn).map(|connection| connection.state());
        let before = state(net);
        let could = net.is_writable(conn);
        let result = net.send_and_close(conn, &body);
        match result {
            Ok(()) => {
                assert_eq!(before, Some(ConnectionState::Connected));
                assert_eq!(state(net), Some(ConnectionState::Closing));
                let refused = net.send(conn, b"closed");
                assert_eq!(refused, Err(SendError::Closed));
            }
            // With `OnFull::Disconnect` it has ended.
            Err(SendError::Full) => {
                assert!([before, Some(ConnectionState::Closing)].contains(&state(net)));
            }
            Err(error) => assert!(!could && error == SendError::Closed, "{error}"),
        }
    }

    /// One message to all for which it is the next one, and to one that has ended.
    fn broadcast(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let Some(Talk { kind, sent, .. }) = self.talks.get(conn) else {
            return;
        };
        let alike = |talk: &Talk| talk.sent == *sent && talk.kind.is_raw() == kind.is_raw();
        let all = self.talks.iter().filter(|(_, talk)| alike(talk));
        let all: Vec<ConnId> = all.map(|(conn, _)| conn).collect();
        let before: Vec<u64> = all.iter().map(|conn| sent_by(net, *conn)).collect();
        let stale = self.stale.first().copied();
        let outcome = net.broadcast(all.iter().copied().chain(stale), &body);
        let mut queued = 0;
        for (conn, before) in all.into_iter().zip(before) {
            if sent_by(net, conn) > before {
                queued += 1;
                let talk = self.talks.get_mut(conn).expect("it is connected");
                talk.sent += talk.kind.places(body.len());
            }
        }
        assert_eq!(outcome.queued, queued, "{outcome:?}");
        assert!(
            outcome.closed >= usize::from(stale.is_some()),
            "{outcome:?}"
        );
    }

    /// Sends one message to all connections but one. In a raw stream it could
    /// not be told from its neighbours.
    fn broadcast_all(&mut self, net: &mut Net, except: ConnId) {
        if self.rules.kinds.iter().any(|kind| kind.is_raw()) {
            return self.broadcast(net, except);
        }
        let all: Vec<ConnId> = net
            .connections()
            .map(|connection| connection.id())
            .collect();
        let before: Vec<u64> = all.iter().map(|conn| sent_by(net, *conn)).collect();
        let outcome = net.broadcast_all(ANNOUNCEMENT, Some(except));
        let mut queued = 0;
        for (conn, before) in all.iter().zip(before) {
            let sent = sent_by(net, *conn) - before;
            assert!(sent <= u64::from(*conn != except), "{conn}: {sent}");
            queued += sent as usize;
        }
        assert_eq!(outcome.queued, queued, "{outcome:?}");
        let tried = outcome.queued + outcome.full + outcome.closed;
        assert_eq!(outcome.unsendable, 0, "{outcome:?}");
        let others = all.iter().filter(|conn| **conn != except);
        assert_eq!(tried, others.count(), "{outcome:?}");
    }

    fn pick(&mut self) -> Option<ConnId> {
        let all: Vec<ConnId> = self.talks.keys().collect();
        let chosen = self.random.below(all.len() as u64) as usize;
        all.get(chosen).copied()
    }

    /// Connects to a node, sometimes with settings that differ from those of
    /// the node.
    fn connect(&mut self, net: &mut Net) {
        let mut addr = self.others[self.random.below(self.others.len() as u64) as usize];
        let second = self.random.chance(0.4);
        addr.set_port(PORTS[usize::from(second)]);
        let mut options = net.connect_options();
        if second {
            options.connection_mut().framing = self.rules.kinds[1].framing();
        }
        if self.random.chance(0.2) {
            let connection = options.connection_mut();
            self.change(connection);
            connection.send_queue.on_full = OnFull::Disconnect;
            options.allow_duplicate = true;
        }
        if self.random.chance(0.1) {
            let mut source = self.listen_addr(0);
            source.set_port(0);
            options.source = Some(source);
        }
        match net.connect_with(addr, options) {
            Ok(conn) => {
                self.begin(conn, Direction::Outbound);
                assert_eq!(net.send(conn, b"too early"), Err(SendError::Closed));
                self.toggle(net, conn);
            }
            Err(ConnectError::ShuttingDown) => assert!(self.is_stopping),
            Err(ConnectError::AlreadyConnected | ConnectError::AlreadyConnecting) => {
                net.find(addr).expect("there is one");
            }
            Err(_) => {}
        }
    }

    /// Changes settings of a connection.
    fn change(&mut self, connection: &mut ConnectionConfig) {
        connection.timeouts = some_timeouts(&mut self.random);
        connection.allow_half_open = true;
        connection.max_message_len = 39_000;
    }

    /// An id was given out.
    fn begin(&mut self, conn: ConnId, direction: Direction) {
        let attempt = Attempt {
            direction,
            must_fail_with: None,
        };
        assert!(
            self.attempts.insert(conn, attempt).is_none(),
            "an id is given out once"
        );
    }

    /// Pauses or resumes a connection that is not open yet, or does both.
    fn toggle(&mut self, net: &mut Net, conn: ConnId) {
        if self.active && self.random.chance(0.3) {
            self.pause(net, conn);
        }
        if self.random.chance(0.5) {
            self.resume(net, conn);
        }
    }

    fn pause(&mut self, net: &mut Net, conn: ConnId) {
        net.pause(conn);
        self.paused.insert(conn);
    }

    /// Resumes a connection. One that is not paused is seldom resumed, because that could
    /// hide that it was paused by mistake.
    fn resume(&mut self, net: &mut Net, conn: ConnId) {
        if self.paused.remove(&conn) || self.random.chance(0.02) {
            net.resume(conn);
        }
    }

    fn toggle_connecting(&mut self, net: &mut Net) {
        let all: Vec<ConnId> = net.connecting().map(|it| it.id()).collect();
        for conn in all {
            assert!(self.attempts.contains_key(&conn));
            self.toggle(net, conn);
        }
    }

    /// Aborts with a reason, with which an open connection has to end.
    fn abort(&mut self, net: &mut Net, conn: ConnId) {
        let was_open = net.connections().any(|it| it.id() == conn);
        let reason = if self.random.chance(0.5) {
            net.abort(conn);
            DisconnectReason::Local
        } else {
            net.abort_with_reason(conn, ABORTED);
            DisconnectReason::Application(ABORTED)
        };
        if was_open {
            let talk = self.talks.get_mut(conn).expect("it is connected");
            talk.must_end_with = Some(reason);
        }
    }

    /// Uses the ids of connections that have ended: nothing follows.
    fn use_stale(&mut self, net: &mut Net) {
        for &conn in &self.stale {
            assert_eq!(net.send(conn, b"stale"), Err(SendError::Closed));
            let tracked = net.send_tracked(conn, b"stale", u64::MAX);
            assert_eq!(tracked, Err(SendError::Closed));
            assert!(!net.is_writable(conn));
            net.close(conn);
            net.abort(conn);
            net.abort_with_reason(conn, "stale");
            net.pause(conn);
            net.resume(conn);
            net.close_write(conn);
            net.flush(conn);
            let refused = net.send_and_close(conn, "stale");
            assert_eq!(refused, Err(SendError::Closed));
        }
    }

    fn relisten(&mut self, net: &mut Net) {
        if self.is_stopping {
            return;
        }
        let which = self.random.below(2) as usize;
        let listener = self.listeners[which].take().expect("it listens");
        let is_open = |net: &Net| net.listeners().any(|it| it.id == listener);
        assert!(is_open(net));
        // The second call has a stale id.
        net.close_listener(listener);
        net.close_listener(listener);
        assert!(!is_open(net));
        self.listen(net, which);
        net.close_listener(listener);
        assert_eq!(net.listeners().count(), PORTS.len());
    }

    fn look_around(&mut self, net: &mut Net) {
        assert_eq!(net.connection_count(), net.connections().count());
        assert_eq!(net.connecting_count(), net.connecting().count());
        for direction in [Direction::Inbound, Direction::Outbound] {
            let connections = net.connections();
            let count = connections.filter(|it| it.info().direction == direction);
            assert_eq!(net.connection_count_of(direction), count.count());
        }
        assert!(net.listeners().count() <= 2 && net.config().connection.max_message_len == 40_000);
        let total = net.traffic();
        for conn in self.talks.keys() {
            let connection = net.connection(conn).expect("it is connected");
            assert!(connection.id() == conn && connection.info().local_addr.is_some());
            let traffic = connection.traffic();
            assert!(traffic.bytes_sent <= total.bytes_sent);
            assert!(traffic.messages_received <= total.messages_received);
            assert!(connection.queued_bytes() as u64 <= traffic.bytes_sent + 64);
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

    /// One thing of all that a handler may do.
    pub fn act(&mut self, net: &mut Net) {
        let what = self.random.below(1000);
        if what < 150 {
            return self.connect(net);
        }
        let Some(conn) = self.pick() else { return };
        match what {
            150..590 => {
                for _ in 0..=self.random.below(5) {
                    self.send(net, conn);
                }
            }
            590..600 => self.send_and_close(net, conn),
            600..660 => self.broadcast(net, conn),
            660..680 => self.broadcast_all(net, conn),
            680..740 => self.pause(net, conn),
            740..840 => self.resume(net, conn),
            840..880 => net.flush(conn),
            880..900 => net.close(conn),
            900..910 => self.abort(net, conn),
            910..930 => net.close_write(conn),
            930..940 => self.relisten(net),
            940..950 => self.cancel_timer(net),
            950..970 => self.use_stale(net),
            970..980 => self.look_around(net),
            980 if self.random.chance(0.2) => {
                let grace = Duration::from_millis(self.random.below(3_000));
                self.shut_down(net, grace);
            }
            981..990 => self.toggle_connecting(net),
            _ => {
                let all: Vec<ConnId> = net.connecting().map(|it| it.id()).collect();
                all.into_iter().for_each(|conn| net.close(conn));
            }
        }
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

    /// Listens on one of the ports: on the second with settings that differ
    /// from those of the node.
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
    let mut time = |most| Some(Duration::from_millis(random.between(200, most)));
    Timeouts {
        connect: time(5_000),
        handshake: time(5_000),
        idle: time(10_000),
        partial_message: time(10_000),
        write_stall: time(5_000),
        linger: time(5_000),
    }
}

impl Handler for Chatter {
    fn on_start(&mut self, net: &mut Net) {
        self.listen(net, 0);
        self.listen(net, 1);
        self.rearm(net);
        self.stumble();
    }

    fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
        assert_eq!(info.direction, Direction::Inbound);
        self.check_inbound(info);
        let _ = net.find(info.addr);
        self.stumble();
        if self.active && self.random.chance(0.05) {
            Admission::Refuse
        } else {
            Admission::Admit
        }
    }

    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        match info.direction {
            Direction::Inbound => {
                self.check_inbound(info);
                self.begin(conn, info.direction);
            }
            Direction::Outbound => assert!(self.attempts.contains_key(&conn)),
        }
        self.toggle(net, conn);
        self.stumble();
        if self.active && self.random.chance(0.02) {
            let attempt = self.attempts.get_mut(&conn).expect("it has begun");
            attempt.must_fail_with = Some(ConnectError::Transport(TransportError::Handler));
            return Err("no transport for this one".into());
        }
        Ok(self.rules.transport(info.direction, &mut self.random))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let connection = net.connection(conn).expect("it is connected");
        let info = connection.info();
        let attempt = self.attempts.remove(&conn).expect("it had no outcome");
        assert!(attempt.direction == info.direction && attempt.must_fail_with.is_none());
        let local_addr = info.local_addr.expect("it is connected");
        let server = match info.direction {
            Direction::Outbound => info.addr,
            Direction::Inbound => local_addr,
        };
        let talk = Talk {
            kind: self.rules.kind(server),
            sent: 0,
            heard: 0,
            messages: 0,
            frame_bytes: 0,
            tracked: Vec::new(),
            is_finished: false,
            must_end_with: None,
        };
        assert!(self.talks.insert(conn, talk).is_none());
        self.stumble();
        if self.random.chance(0.7) {
            self.send(net, conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages += 1;
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert!(!talk.is_finished, "nothing comes after the end");
        assert!(!self.paused.contains(&conn), "{conn} is paused");
        talk.heard = talk.kind.check(talk.heard, message);
        talk.messages += 1;
        talk.frame_bytes += talk.kind.frame_len(message.len());
        talk.check_received(net, conn);
        self.pace.spend(&mut self.random, message);
        if self.active && self.random.chance(0.3) {
            self.act(net);
        }
        self.stumble();
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.stumble();
        // Not always: with a high watermark of a few bytes, each message brings the next drain.
        if self.active && self.random.chance(0.5) {
            self.send(net, conn);
        }
    }

    fn on_sent(&mut self, _: &mut Net, conn: ConnId, token: u64, _: SendOutcome) {
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert_eq!(talk.tracked.remove(0), token, "answers come in order");
        self.stumble();
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert!(!std::mem::replace(&mut talk.is_finished, true));
        self.stumble();
        if self.random.chance(0.5) {
            net.close(conn);
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        let connection = net.connection(conn).expect("this is its last callback");
        assert_eq!(connection.info(), *info);
        let attempt = self.attempts.remove(&conn).expect("it had no outcome");
        assert_eq!(attempt.direction, info.direction);
        if let Some(expected) = attempt.must_fail_with {
            assert_eq!(error, expected);
        }
        self.forget(conn);
        if self.active && self.random.chance(0.1) {
            self.connect(net);
        }
        self.stumble();
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let talk = self.talks.remove(conn).expect("it was connected");
        assert!(talk.tracked.is_empty(), "every tracked send was answered");
        talk.check_received(net, conn);
        if let Some(expected) = talk.must_end_with {
            assert_eq!(reason, expected);
        }
        self.forget(conn);
        if self.active && self.random.chance(0.2) {
            self.act(net);
        }
        self.stumble();
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        let known = self.timers.iter().position(|(set, _)| *set == timer);
        let (_, due) = self.timers.swap_remove(known.expect("a timer fires once"));
        assert!(due <= net.now(), "a timer is never early");
        if self.active {
            self.rearm(net);
            self.act(net);
            self.stumble();
        }
    }

    fn on_turn(&mut self, net: &mut Net) {
        if self.active && self.random.chance(0.01) {
            if let Some(conn) = self.pick() {
                self.send(net, conn);
            }
            self.stumble();
        }
    }
}
