//! Electing a leader, by terms and votes as Raft does (Ongaro and Ousterhout, 2014, section 5.2, without the log): at no time
//! has a term two leaders, and when nothing is in the way any more everybody soon follows the same one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, OnPanic, SocketConfig, Timeouts};
use peerloop::sim::{Faults, Link, NodeId, Random, World, for_each_seed};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, TimerId, Transport,
};

use super::storm::{Mortal, Storm};
use crate::util::secured::Secured;
use crate::util::sessions::Manner;

const PORT: u16 = 7000;

/// How often a leader says that it is there.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// How long a follower hears nothing before it wants to be elected, in milliseconds: drawn anew each time, so that two seldom
/// want it at once.
const PATIENCE: (u64, u64) = (500, 1_000);

const RECONNECT: Duration = Duration::from_millis(300);

/// Timer keys; that of a peer to connect to is the peer's number.
const ELECTION: u64 = 1_000;
const BEAT: u64 = 1_001;

/// What is said, each with the term of who says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Word {
    /// "Vote for me."
    Candidate,
    /// "I do."
    Vote,
    /// "I lead."
    Leader,
}

impl Word {
    fn parse(byte: u8) -> Option<Self> {
        let all = [Self::Candidate, Self::Vote, Self::Leader];
        all.into_iter().find(|it| *it as u8 == byte)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Follower,
    Candidate,
    Leader,
}

struct Elector {
    secured: Secured,
    random: Random,
    me: usize,
    /// All electors, this one too.
    all: Vec<SocketAddr>,
    /// The outbound connections of this node, by peer. It sends on these and receives on the others.
    links: BTreeMap<usize, ConnId>,
    connected: BTreeMap<ConnId, usize>,

    /// Kept on disk.
    term: u64,
    voted_for: Option<usize>,

    role: Role,
    leader: Option<usize>,
    votes: BTreeSet<usize>,
    patience: Option<TimerId>,
    /// The last term that it was elected for.
    won: Option<u64>,
}

impl Elector {
    fn new(secured: Secured, random: Random, me: usize, all: Vec<SocketAddr>) -> Self {
        Self {
            secured,
            random,
            me,
            all,
            links: BTreeMap::new(),
            connected: BTreeMap::new(),
            term: 0,
            voted_for: None,
            role: Role::Follower,
            leader: None,
            votes: BTreeSet::new(),
            patience: None,
            won: None,
        }
    }

    fn connect(&mut self, net: &mut Net, peer: usize) {
        match net.connect(self.all[peer]) {
            Ok(conn) => {
                self.connected.insert(conn, peer);
            }
            Err(_) => {
                net.set_timer(RECONNECT, peer as u64);
            }
        }
    }

    fn lost(&mut self, net: &mut Net, conn: ConnId) {
        if let Some(peer) = self.connected.remove(&conn) {
            self.links.remove(&peer);
            net.set_timer(RECONNECT, peer as u64);
        }
    }

    fn message(&self, word: Word) -> [u8; 10] {
        let mut message = [0; 10];
        message[0] = word as u8;
        message[1] = self.me as u8;
        message[2..].copy_from_slice(&self.term.to_be_bytes());
        message
    }

    fn tell(&self, net: &mut Net, peer: usize, word: Word) {
        if let Some(conn) = self.links.get(&peer) {
            // What does not arrive is said again in the next term, or with the next beat.
            let _ = net.send(*conn, &self.message(word));
        }
    }

    fn tell_all(&self, net: &mut Net, word: Word) {
        (0..self.all.len()).for_each(|peer| self.tell(net, peer, word));
    }

    /// Waits for a leader from now on.
    fn be_patient(&mut self, net: &mut Net) {
        if let Some(timer) = self.patience.take() {
            net.cancel_timer(timer);
        }
        let (low, high) = PATIENCE;
        let after = Duration::from_millis(self.random.between(low, high));
        self.patience = Some(net.set_timer(after, ELECTION));
    }

    fn enter(&mut self, term: u64) {
        self.term = term;
        self.voted_for = None;
        self.role = Role::Follower;
        self.leader = None;
    }

    fn stand(&mut self, net: &mut Net) {
        self.enter(self.term + 1);
        self.role = Role::Candidate;
        self.votes.clear();
        self.voted_for = Some(self.me);
        self.tell_all(net, Word::Candidate);
        self.be_patient(net);
        self.count(net, self.me);
    }

    fn count(&mut self, net: &mut Net, voter: usize) {
        self.votes.insert(voter);
        if self.role == Role::Candidate && 2 * self.votes.len() > self.all.len() {
            self.role = Role::Leader;
            self.leader = Some(self.me);
            self.won = Some(self.term);
            self.beat(net);
        }
    }

    fn beat(&self, net: &mut Net) {
        self.tell_all(net, Word::Leader);
        net.set_timer(HEARTBEAT, BEAT);
    }

    fn hear(&mut self, net: &mut Net, peer: usize, word: Word, term: u64) {
        if term > self.term {
            self.enter(term);
        }
        if term < self.term {
            // Said long ago.
            return;
        }
        match word {
            Word::Candidate if self.voted_for.is_none_or(|it| it == peer) => {
                self.voted_for = Some(peer);
                self.be_patient(net);
                self.tell(net, peer, Word::Vote);
            }
            Word::Candidate => {}
            Word::Vote => self.count(net, peer),
            Word::Leader => {
                assert_ne!(self.role, Role::Leader, "two leaders of term {term}");
                self.role = Role::Follower;
                self.leader = Some(peer);
                self.be_patient(net);
            }
        }
    }
}

fn parse(message: &[u8]) -> Option<(Word, usize, u64)> {
    let (head, term) = message.split_first_chunk::<2>()?;
    let term = u64::from_be_bytes(term.try_into().ok()?);
    Some((Word::parse(head[0])?, usize::from(head[1]), term))
}

impl Handler for Elector {
    fn on_start(&mut self, net: &mut Net) {
        net.listen(SocketAddr::from(([0, 0, 0, 0], PORT)))
            .expect("the port is free");
        let others = (0..self.all.len()).filter(|peer| *peer != self.me);
        others
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|peer| self.connect(net, peer));
        self.be_patient(net);
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.secured.transport(info.direction, Manner::Agrees))
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        if let Some(peer) = self.connected.get(&conn) {
            self.links.insert(*peer, conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        match parse(message) {
            Some((word, peer, term)) => self.hear(net, peer, word, term),
            None => net.abort(conn),
        }
    }

    fn on_connect_failed(&mut self, net: &mut Net, conn: ConnId, _: &ConnInfo, _: ConnectError) {
        self.lost(net, conn);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.lost(net, conn);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        match key {
            ELECTION => {
                assert_eq!(self.patience, Some(timer), "the others were cancelled");
                if self.role == Role::Leader {
                    self.be_patient(net);
                } else {
                    self.stand(net);
                }
            }
            BEAT if self.role == Role::Leader => self.beat(net),
            BEAT => {}
            peer => self.connect(net, peer as usize),
        }
    }
}

impl Mortal for Elector {
    fn reborn(self) -> Self {
        Self {
            term: self.term,
            voted_for: self.voted_for,
            ..Self::new(self.secured, self.random, self.me, self.all)
        }
    }
}

fn config() -> Config {
    Config {
        // An assertion that fails in a callback is to fail the test.
        on_panic: OnPanic::Unwind,
        sockets: SocketConfig {
            // Heartbeats that come a few bytes at a time, over a long way, come too late.
            send_buffer_bytes: Some(64 * 1024),
            receive_buffer_bytes: Some(64 * 1024),
            ..Default::default()
        },
        connection: ConnectionConfig {
            // Each connection is spoken on by one side alone, and followers have nothing to say.
            timeouts: Timeouts {
                idle: None,
                ..Timeouts::default()
            },
            ..Default::default()
        },
        ..Config::default()
    }
}

/// Safety: after every turn of every node, no term has had two leaders.
fn promise_one_leader_a_term(world: &mut World, nodes: &[NodeId<Elector>]) -> Leaders {
    let leaders = Leaders::default();
    let (by_term, nodes) = (Rc::clone(&leaders), nodes.to_vec());
    world.always(move |world| {
        let up = nodes.iter().filter(|node| world.is_up(**node));
        for node in up {
            let Some(term) = world.handler(*node).won else {
                continue;
            };
            let leader = *by_term.borrow_mut().entry(term).or_insert(*node);
            if leader != *node {
                return Err(format!(
                    "term {term} has the leaders {leader:?} and {node:?}"
                ));
            }
        }
        Ok(())
    });
    leaders
}

/// Who was elected for which term.
type Leaders = Rc<RefCell<BTreeMap<u64, NodeId<Elector>>>>;

/// The one that all follow in the same term, if there is such a one.
fn agreed(world: &World, nodes: &[NodeId<Elector>]) -> Option<usize> {
    let first = world.handler(nodes[0]);
    let leader = first.leader?;
    let follows = |node: &NodeId<Elector>| {
        let it = world.handler(*node);
        let leads = it.role == Role::Leader;
        (it.term, it.leader) == (first.term, Some(leader)) && leads == (it.me == leader)
    };
    nodes.iter().all(follows).then_some(leader)
}

/// Takes the leader away, and then one that votes for the next, as soon as it has voted: it must remember that.
fn unsettle(world: &mut World, storm: &mut Storm<Elector>, nodes: &[NodeId<Elector>]) {
    let find = |world: &World, is_it: fn(&Elector) -> bool| {
        let mut all = nodes.iter();
        all.position(|node| world.is_up(*node) && is_it(world.handler(*node)))
    };
    if let Some(leader) = find(world, |it| it.role == Role::Leader) {
        storm.bounce(world, leader);
    }
    let has_voted =
        |it: &Elector| it.voted_for.is_some_and(|voted| voted != it.me) && it.leader.is_none();
    let voter = |world: &World| find(world, has_voted);
    let waited = world.run_until(Duration::from_secs(2), |world| voter(world).is_some());
    if let (Ok(()), Some(voter)) = (waited, voter(world)) {
        storm.bounce(world, voter);
    }
}

/// How many leaders there were.
fn there_is_one_leader(seed: u64, secured: Secured) -> usize {
    /// Some terms, and the time that a kernel may take to call again.
    const SOON: Duration = Duration::from_secs(30);

    let mut world = World::new(seed);
    let mut random = world.random();
    let count = random.between(3, 7) as u8;
    let all: Vec<SocketAddr> = (1..=count)
        .map(|last| SocketAddr::from(([10, 0, 0, last], PORT)))
        .collect();
    let nodes: Vec<NodeId<Elector>> = (0..all.len())
        .map(|me| {
            let random = Random::new(random.next_u64());
            world.node(config(), Elector::new(secured, random, me, all.clone()))
        })
        .collect();
    // Far apart, so that several may want to be elected before they hear of each other.
    let latency = Duration::from_millis(random.between(1, 100));
    world.default_link(Link::new(latency).jitter(latency));
    let mut storm = Storm::new(&mut world, &nodes);
    let leaders = promise_one_leader_a_term(&mut world, &nodes);
    for _ in 0..20 {
        storm.strike(&mut world);
        unsettle(&mut world, &mut storm, &nodes);
        world.run_for(storm.pause());
    }
    storm.end(&mut world);
    world.faults(Faults::calm());
    // A want of descriptors that has begun lasts for three seconds, and then a listener looks again.
    world.run_for(Duration::from_secs(4));
    // Liveness: nothing is in the way any more.
    world
        .run_until(SOON, |world| agreed(world, &nodes).is_some())
        .expect("all follow one leader");
    // And it stays that one.
    let leader = agreed(&world, &nodes);
    world.run_for(Duration::from_secs(10));
    assert_eq!(agreed(&world, &nodes), leader);
    leaders.borrow().len()
}

#[test]
fn no_term_has_two_leaders_and_in_the_end_all_follow_one() {
    let (mut leaders, mut seeds) = (0, 0);
    for_each_seed(40, |seed| {
        leaders += there_is_one_leader(seed, Secured::of_seed(seed));
        seeds += 1;
    });
    println!("{leaders} leaders in {seeds} seeds");
    assert!(leaders > 3 * seeds || seeds < 10, "{leaders} leaders");
}
