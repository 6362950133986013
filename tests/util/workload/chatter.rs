//! A handler that does at random whatever a handler may do, and knows what it has to hear.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::{Ipv6Addr, SocketAddr};
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use peerloop::session::Session;
use peerloop::sim::Random;
use peerloop::{
    Admission, Bytes, ConnId, ConnMap, ConnectError, ConnectOptions, Direction, DisconnectReason,
    HalfOpen, Handler, ListenOptions, Net, Overflow, Permission, SendError, SendOutcome, Timeouts,
    TimerId,
};

use super::talk::{Kind, PORTS, Rules};

/// Stale ids that are kept, to be used all the same.
const STALE_MAX: usize = 8;

/// What both directions of a connection have said.
struct Talk {
    kind: Kind,
    /// Messages, or for raw bytes those, sent and heard.
    sent: u64,
    heard: u64,
    /// Tokens of tracked sends that are not answered.
    tracked: Vec<u64>,
    is_finished: bool,
}

pub struct Chatter {
    random: Random,
    rules: Rules,
    others: Vec<SocketAddr>,
    talks: ConnMap<Talk>,
    /// Dials without an outcome.
    dials: BTreeSet<ConnId>,
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
            rules,
            others: others.to_vec(),
            talks: ConnMap::new(),
            dials: BTreeSet::new(),
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
        self.talks.is_empty() && self.dials.is_empty()
    }

    /// Every panic was one on purpose: a failed assertion is contained like any other.
    pub fn check_panics(&self, net: &Net) {
        assert_eq!(net.metrics().panics, self.panics, "an assertion failed");
    }

    /// Begins nothing any more, and listens to everybody.
    pub fn calm_down(&mut self, net: &mut Net) {
        self.active = false;
        let all: Vec<ConnId> = net.connections().collect();
        all.into_iter().for_each(|conn| net.resume(conn));
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
        let result = match self.random.below(4) {
            0 => net.send_bytes(conn, Bytes::from(body)),
            1 => {
                let (front, back) = body.split_at(body.len() / 3);
                net.send_parts(conn, &[IoSlice::new(front), IoSlice::new(back)])
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

    /// One message to all who are to hear just that next, and to one who is gone.
    fn broadcast(&mut self, net: &mut Net, conn: ConnId) {
        let Some(body) = self.compose(conn) else {
            return;
        };
        let Some(Talk { kind, sent, .. }) = self.talks.get(conn) else {
            return;
        };
        let alike = |talk: &Talk| talk.sent == *sent && talk.kind.is_raw() == kind.is_raw();
        let all = self.talks.iter().filter(|(_, talk)| alike(talk));
        let mut all: Vec<ConnId> = all.map(|(conn, _)| conn).collect();
        let sent_by = |net: &Net, conn| {
            net.connection(conn)
                .map_or(0, |it| it.traffic().messages_sent)
        };
        let before: Vec<u64> = all.iter().map(|conn| sent_by(net, *conn)).collect();
        let gone = self.stale.first().copied();
        let outcome = net.broadcast(all.iter().copied().chain(gone), &body);
        let mut sent = 0;
        for (conn, before) in all.drain(..).zip(before) {
            if sent_by(net, conn) > before {
                sent += 1;
                let talk = self.talks.get_mut(conn).expect("it is connected");
                talk.sent += talk.kind.places(body.len());
            }
        }
        assert_eq!(outcome.sent, sent, "{outcome:?}");
        assert!(outcome.closed >= usize::from(gone.is_some()), "{outcome:?}");
    }

    fn pick(&mut self) -> Option<ConnId> {
        let all: Vec<ConnId> = self.talks.keys().collect();
        let chosen = self.random.below(all.len() as u64) as usize;
        all.get(chosen).copied()
    }

    /// Dials somebody, now and then in a way of its own.
    fn dial(&mut self, net: &mut Net) {
        let mut addr = self.others[self.random.below(self.others.len() as u64) as usize];
        let second = self.random.chance(0.4);
        addr.set_port(PORTS[usize::from(second)]);
        let mut options = ConnectOptions::default();
        if second {
            options.framing = Some(self.rules.kinds[1].framing());
        }
        if self.random.chance(0.2) {
            options.timeouts = Some(some_timeouts(&mut self.random));
            options.overflow = Some(Overflow::Close);
            options.half_open = Some(HalfOpen::Allowed);
            options.max_frame = Some(39_000);
            options.duplicates = Some(Permission::Allowed);
        }
        if self.random.chance(0.1) {
            options.source = Some(self.listen_addr(0)).map(|mut source| {
                source.set_port(0);
                source
            });
        }
        match net.connect_with(addr, options) {
            Ok(conn) => {
                assert!(self.dials.insert(conn), "an id is given out once");
                assert_eq!(net.send(conn, b"too early"), Err(SendError::Closed));
            }
            Err(ConnectError::ShuttingDown) => assert!(self.is_stopping),
            Err(ConnectError::AlreadyConnected | ConnectError::AlreadyConnecting) => {
                net.find(addr).expect("there is one");
            }
            Err(_) => {}
        }
    }

    /// Uses an id whose connection is gone: nothing comes of it.
    fn use_stale(&mut self, net: &mut Net) {
        for &conn in &self.stale {
            assert_eq!(net.send(conn, b"to nobody"), Err(SendError::Closed));
            let tracked = net.send_tracked(conn, b"to nobody", u64::MAX);
            assert_eq!(tracked, Err(SendError::Closed));
            assert!(!net.is_writable(conn));
            net.close(conn);
            net.abort(conn);
            net.pause(conn);
            net.resume(conn);
            net.shutdown_write(conn);
            net.flush(conn);
        }
    }

    fn relisten(&mut self, net: &mut Net) {
        if self.is_stopping {
            return;
        }
        let which = self.random.below(2) as usize;
        net.unlisten(self.listen_addr(which)).expect("it listens");
        net.unlisten(self.listen_addr(which))
            .expect_err("it does not");
        self.listen(net, which);
    }

    fn look_around(&mut self, net: &mut Net) {
        let connected = net.connections().count();
        assert_eq!(net.connection_count(), connected);
        assert_eq!(net.connecting_count(), net.connecting().count());
        assert!(net.listeners().count() <= 2 && net.config().max_frame == 40_000);
        let stats = net.stats();
        for conn in self.talks.keys() {
            let peer = net.connection(conn).expect("it is connected");
            assert!(peer.id() == conn && peer.local_addr().is_some());
            assert!(peer.traffic().bytes_sent <= stats.bytes_sent);
            assert!(net.queued(conn) as u64 <= peer.traffic().bytes_sent + 64);
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
            return self.dial(net);
        }
        let Some(conn) = self.pick() else { return };
        match what {
            150..600 => {
                for _ in 0..=self.random.below(5) {
                    self.send(net, conn);
                }
            }
            600..680 => self.broadcast(net, conn),
            680..740 => net.pause(conn),
            740..840 => net.resume(conn),
            840..880 => net.flush(conn),
            880..900 => net.close(conn),
            900..910 => net.abort(conn),
            910..930 => net.shutdown_write(conn),
            930..940 => self.relisten(net),
            940..950 => self.cancel_timer(net),
            950..970 => self.use_stale(net),
            970..980 => self.look_around(net),
            980 if self.random.chance(0.2) => {
                let grace = Duration::from_millis(self.random.below(3_000));
                self.shut_down(net, grace);
            }
            _ => {
                let all: Vec<ConnId> = net.connecting().collect();
                all.into_iter().for_each(|dial| net.close(dial));
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

    /// Listens on one of the ports: on the second with settings of the listener's own.
    fn listen(&mut self, net: &mut Net, which: usize) {
        let mut options = ListenOptions {
            backlog: 3,
            ..ListenOptions::default()
        };
        if which == 1 {
            options.framing = Some(self.rules.kinds[1].framing());
            options.timeouts = Some(some_timeouts(&mut self.random));
            options.half_open = Some(HalfOpen::Allowed);
            options.max_frame = Some(39_000);
        }
        let addr = self.listen_addr(which);
        let bound = net.listen_with(addr, options).expect("the port is free");
        assert_eq!(bound, addr);
    }

    fn forget(&mut self, conn: ConnId) {
        self.stale.insert(0, conn);
        self.stale.truncate(STALE_MAX);
    }
}

/// Deadlines that are reached now and then.
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

    fn on_accept(&mut self, net: &mut Net, addr: SocketAddr) -> Admission {
        let _ = net.find(addr);
        self.stumble();
        if self.active && self.random.chance(0.05) {
            Admission::Refuse
        } else {
            Admission::Admit
        }
    }

    fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
        self.stumble();
        if self.active && self.random.chance(0.02) {
            return Err(io::Error::other("none for this one"));
        }
        let side = net
            .connection(conn)
            .expect("it is asked for it")
            .direction();
        Ok(self.rules.session(side, &mut self.random))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let peer = net.connection(conn).expect("it is connected");
        let server = match peer.direction() {
            Direction::Outbound => peer.addr(),
            Direction::Inbound => peer.local_addr().expect("it is connected"),
        };
        assert_eq!(
            self.dials.remove(&conn),
            peer.direction() == Direction::Outbound
        );
        let talk = Talk {
            kind: self.rules.kind(server),
            sent: 0,
            heard: 0,
            tracked: Vec::new(),
            is_finished: false,
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
        talk.heard = talk.kind.check(talk.heard, message);
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

    fn on_finished(&mut self, net: &mut Net, conn: ConnId) {
        let talk = self.talks.get_mut(conn).expect("it is connected");
        assert!(!std::mem::replace(&mut talk.is_finished, true));
        self.stumble();
        if self.random.chance(0.5) {
            net.close(conn);
        }
    }

    fn on_connect_failed(&mut self, net: &mut Net, conn: ConnId, _: SocketAddr, _: ConnectError) {
        assert!(
            self.dials.remove(&conn),
            "it was dialled and had no outcome"
        );
        self.forget(conn);
        if self.active && self.random.chance(0.1) {
            self.dial(net);
        }
        self.stumble();
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        let talk = self.talks.remove(conn).expect("it was connected");
        assert!(talk.tracked.is_empty(), "every tracked send was answered");
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
