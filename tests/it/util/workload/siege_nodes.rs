//! The nodes of a siege: the one that is besieged, and honest peers.

use std::collections::VecDeque;
use std::error::Error;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Limits, OnPanic, SendQueueConfig, Timeouts};
use peerloop::error::SessionError;
use peerloop::session::{Output, Session, Stage};
use peerloop::sim::{Random, spend};
use peerloop::{
    Config, ConnId, ConnInfo, ConnMap, Direction, DisconnectReason, Handler, Net, SendError,
    TimerId, Transport,
};

const PORT: u16 = 7000;

/// The longest message.
pub const MESSAGE_MAX: usize = 40_000;

/// The parameters of an attack.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whether connections have a handshake of two steps.
    pub handshakes: bool,
    /// The time that each message takes at the node.
    cost: Duration,
    pub latency: Duration,
    places: usize,
    /// The memory for sending.
    account: usize,
    /// Peers that ask for much and read little.
    pub readers: usize,
    /// Addresses that take handshakes' places, and how many each tries to have.
    pub squatters: usize,
    pub squats: usize,
    /// Peers that announce long messages, and send a part.
    pub announcers: usize,
    /// Peers of one address that send empty messages as fast as they are taken.
    pub floods: usize,
}

impl Plan {
    pub fn drawn(random: &mut Random) -> Self {
        let mut some = |chance, low, high| {
            let count = random.between(low, high) as usize;
            if random.chance(chance) { count } else { 0 }
        };
        let (readers, squatters) = (some(0.5, 1, 20), some(0.5, 1, 4));
        let (announcers, few, many) = (some(0.3, 1, 20), some(0.3, 1, 8), some(0.07, 100, 120));
        Self {
            handshakes: random.chance(0.7),
            cost: Duration::from_micros(random.between(8, 30)),
            latency: Duration::from_micros(random.between(100, 20_000)),
            places: random.between(5, 12) as usize,
            account: random.between(1_000_000, 8_000_000) as usize,
            readers,
            squatters,
            squats: random.between(4, 12) as usize,
            announcers,
            floods: few.max(many),
        }
    }

    pub fn config(self) -> Config {
        Config {
            on_panic: OnPanic::Unwind,
            connection: ConnectionConfig {
                max_message_len: MESSAGE_MAX,
                send_queue: SendQueueConfig {
                    max_bytes: self.account,
                    ..Default::default()
                },
                timeouts: Timeouts {
                    handshake: Some(Duration::from_secs(5)),
                    ..Default::default()
                },
                ..Default::default()
            },
            limits: Limits {
                max_inbound_handshakes: self.places,
                loop_send_bytes: self.account,
                ..Default::default()
            },
            ..Config::default()
        }
    }

    /// The longest answer that an honest peer requests: a small message, for
    /// which an empty queue has room whatever other queues hold.
    fn answer_max(self) -> u64 {
        (self.account / 4096 - 16) as u64
    }

    /// The time within which an honest peer is answered: two latencies, and the
    /// work of the node before it.
    pub fn served_within(self) -> Duration {
        let turns = if self.floods > 8 { 110 } else { 60 };
        2 * self.latency + Duration::from_millis(turns)
    }

    /// The time within which an honest peer is connected. TCP and each of the
    /// two steps take two latencies and a turn.
    pub fn connected_within(self) -> Duration {
        6 * self.latency + Duration::from_millis(200)
    }

    fn transport(self, direction: Direction) -> Transport {
        if self.handshakes {
            TwoSteps::new(direction).into()
        } else {
            Transport::Plain
        }
    }
}

/// A handshake in which each side sends two steps. Plain TCP follows.
struct TwoSteps {
    is_asking: bool,
    /// Bytes that the other side has yet to send.
    missing: usize,
}

impl TwoSteps {
    fn new(direction: Direction) -> Self {
        Self {
            is_asking: direction == Direction::Outbound,
            missing: 2,
        }
    }
}

impl Session for TwoSteps {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        if self.is_asking {
            wire.push(b's');
        }
        Ok(())
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        let taken = bytes.len().min(self.missing);
        for byte in &bytes[..taken] {
            if *byte != b's' {
                return Err(SessionError::Malformed("no step"));
            }
            self.missing -= 1;
            if !(self.is_asking && self.missing == 0) {
                output.wire.push(b's');
            }
        }
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        if self.missing > 0 {
            Stage::Handshaking
        } else {
            Stage::Transparent
        }
    }

    fn seal(&mut self, _: &[IoSlice<'_>], _: &mut Vec<u8>) -> Result<(), SessionError> {
        unreachable!("it is over before anything is sent")
    }
}

/// The node. It answers each message with as many bytes as the message asks
/// for.
pub struct Besieged {
    plan: Plan,
    /// Answers that wait for room.
    waiting: ConnMap<VecDeque<usize>>,
}

impl Besieged {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            waiting: ConnMap::new(),
        }
    }

    fn answer(&mut self, net: &mut Net, conn: ConnId) {
        let Some(waiting) = self.waiting.get_mut(conn) else {
            return;
        };
        while let Some(len) = waiting.front() {
            match net.send(conn, vec![7; *len]) {
                Ok(()) => drop(waiting.pop_front()),
                Err(SendError::Full | SendError::Closed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Handler for Besieged {
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
        Ok(self.plan.transport(info.direction))
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.waiting.insert(conn, VecDeque::new());
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        spend(self.plan.cost);
        let Ok(len) = message.try_into().map(u32::from_be_bytes) else {
            return;
        };
        let waiting = self.waiting.get_mut(conn).expect("it is connected");
        waiting.push_back(len as usize);
        if waiting.len() == 1 {
            self.answer(net, conn);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.answer(net, conn);
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.waiting.remove(conn);
    }
}

/// An honest peer: it asks one thing at a time. One that does not stay connects anew for each.
pub struct Honest {
    plan: Plan,
    random: Random,
    target: SocketAddr,
    stays: bool,
    conn: Option<ConnId>,
    pub answers: usize,
}

impl Honest {
    pub fn new(plan: Plan, random: &mut Random, target: SocketAddr, stays: bool) -> Self {
        Self {
            plan,
            random: Random::new(random.next_u64()),
            target,
            stays,
            conn: None,
            answers: 0,
        }
    }

    fn ask(&mut self, net: &mut Net) {
        let Some(conn) = self.conn else { return };
        let len = self.random.below(self.plan.answer_max()) as u32;
        net.send(conn, &len.to_be_bytes()).expect("there is room");
    }

    fn pause(&mut self, net: &mut Net) {
        let after = Duration::from_micros(self.random.between(100, 50_000));
        net.set_timer(after, 0);
    }

    fn connect(&self, net: &mut Net) {
        net.connect(self.target).expect("no limit is reached");
    }
}

impl Handler for Honest {
    fn on_start(&mut self, net: &mut Net) {
        self.connect(net);
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.plan.transport(info.direction))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.conn = Some(conn);
        self.ask(net);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        self.answers += 1;
        if !self.stays {
            net.close(conn);
            self.conn = None;
        }
        self.pause(net);
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        match self.conn {
            Some(_) => self.ask(net),
            None => self.connect(net),
        }
    }
}
