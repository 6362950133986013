//! The whole of a simulated world below its nodes: time, what is under way, hosts and what lies between them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::event::{Event, NETWORK, Scheduled};
use super::listen::ListenQueue;
use super::ports::TimeWaits;
use super::ready::Polling;
use super::socket::{Socket, SocketId};
use super::trace::{TraceEntry, Who};
use super::{Faults, Happened, Link, Random, Trace};

/// A turn takes its node this long, so that time goes on however busy a node keeps itself.
const TURN: Duration = Duration::from_micros(1);

/// How late a turn may be for which the system has no time.
const LATE_MAX: Duration = Duration::from_millis(10);

/// Within a host.
const LOOPBACK: Link = Link::new(Duration::from_micros(20));

/// A machine with one address.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// It has lost its power, and answers nobody.
    pub(super) down: bool,
    pub(super) next_port: u16,
    /// Listeners by port.
    pub(super) ports: BTreeMap<u16, Vec<u64>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Internet {
    base: Instant,
    pub(super) now: Duration,
    serial: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) happened: Happened,
    pub(super) trace: Trace,
    pub(super) hosts: BTreeMap<IpAddr, Host>,
    pub(super) pollers: Vec<Polling>,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    /// By host, local and remote address.
    pub(super) by_addresses: BTreeMap<(IpAddr, SocketAddr, SocketAddr), SocketId>,
    pub(super) time_waits: TimeWaits,
    pub(super) listeners: BTreeMap<u64, ListenQueue>,
    pub(super) next_id: u64,
    pub(super) default_link: Link,
    links: BTreeMap<(IpAddr, IpAddr), Link>,
    /// Until when the link from one host to another is busy.
    pub(super) busy_until: BTreeMap<(IpAddr, IpAddr), Duration>,
    pub(super) partitions: BTreeSet<(IpAddr, IpAddr)>,
    /// Segments that their senders will send again when they can.
    pub(super) held: Vec<Event>,
}

impl Internet {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            base: Instant::now(),
            now: Duration::ZERO,
            serial: 0,
            queue: BinaryHeap::new(),
            random: Random::new(seed),
            faults: Faults::drawn(seed),
            happened: Happened::default(),
            trace: Trace::new(),
            hosts: BTreeMap::new(),
            pollers: Vec::new(),
            sockets: BTreeMap::new(),
            by_addresses: BTreeMap::new(),
            time_waits: TimeWaits::default(),
            listeners: BTreeMap::new(),
            next_id: 1,
            default_link: Link::default(),
            links: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            partitions: BTreeSet::new(),
            held: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// The virtual time of an instant that nodes were given.
    pub(crate) fn offset(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    pub(crate) fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    pub(crate) fn happened(&self) -> Happened {
        self.happened
    }

    pub(crate) fn count_crash(&mut self) {
        self.happened.crashes += 1;
    }

    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(crate) fn trace_mut(&mut self) -> &mut Trace {
        &mut self.trace
    }

    pub(crate) fn note(&mut self, who: Who, what: &'static str, subject: u64, detail: u64) {
        let at = self.now;
        let who = match who {
            Who::Node(poller) => Who::Node(self.pollers[poller].name),
            who => who,
        };
        self.trace.push(TraceEntry {
            at,
            who,
            what,
            subject,
            detail,
        });
    }

    /// A host is there from the first time that it is named.
    pub(crate) fn add_host(&mut self, ip: IpAddr) {
        // Where a kernel begins to look for a free port is its own business.
        let first = 32_768 + self.random.below(8_192) as u16;
        self.hosts.entry(ip).or_insert_with(|| Host {
            next_port: first,
            ..Host::default()
        });
    }

    pub(crate) fn has_host(&self, ip: IpAddr) -> bool {
        self.hosts.contains_key(&ip)
    }

    /// A new number for a socket or listener.
    pub(super) fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(super) fn schedule(&mut self, at: Duration, event: Event) {
        self.push(at, NETWORK, event);
    }

    /// Something that follows a moment later.
    pub(super) fn schedule_soon(&mut self, event: Event) {
        let after = Duration::from_micros(self.random.between(1, 500));
        self.schedule(self.now + after, event);
    }

    fn push(&mut self, at: Duration, rank: u32, event: Event) {
        let serial = self.serial;
        self.serial += 1;
        let at = at.max(self.now);
        self.queue.push(Reverse(Scheduled {
            at,
            rank,
            serial,
            event,
        }));
    }

    /// Wants a turn for a node, no later than `at` if it has time then.
    pub(crate) fn want_turn(&mut self, poller: usize, at: Duration) {
        let at = at.max(self.now);
        let polling = &mut self.pollers[poller];
        let at = at.max(polling.free_at);
        if polling.wanted.is_some_and(|wanted| wanted <= at) || polling.gone {
            return;
        }
        polling.wanted = Some(at);
        // Otherwise whatever arrives at that time is there before.
        let rank = if self.random.chance(self.faults.shuffled) {
            self.random.below(2 * u64::from(NETWORK)) as u32
        } else {
            2 * NETWORK
        };
        self.push(at, rank, Event::Turn(poller));
    }

    /// A turn is over, or something was done between turns: when the next is due. `deadline` is what the node itself
    /// says.
    pub(crate) fn plan(&mut self, poller: usize, deadline: Option<Instant>) {
        self.pollers[poller].wanted = None;
        if self.has_reports(poller) {
            self.want_turn(poller, self.now);
        }
        if let Some(deadline) = deadline {
            self.want_turn(poller, self.offset(deadline));
        }
    }

    /// Lets time go on to the next turn of a node, until `until` at the latest; whose turn it is.
    pub(crate) fn advance(&mut self, until: Duration) -> Option<usize> {
        loop {
            if self.queue.peek().is_none_or(|next| next.0.at > until) {
                self.now = self.now.max(until);
                return None;
            }
            let Some(Reverse(next)) = self.queue.pop() else {
                continue;
            };
            let Event::Turn(poller) = next.event else {
                self.now = next.at;
                self.happen(next.event);
                continue;
            };
            let polling = &mut self.pollers[poller];
            if polling.wanted == Some(next.at) && !polling.gone {
                self.now = next.at;
                polling.wanted = None;
                if self.puts_off(poller) {
                    continue;
                }
                self.begin_turn(poller);
                return Some(poller);
            }
        }
    }

    /// A node's turn begins now.
    pub(crate) fn begin_turn(&mut self, poller: usize) {
        let polling = &mut self.pollers[poller];
        polling.wanted = None;
        polling.free_at = self.now + TURN;
    }

    /// Whether the system has others to serve when it is a node's turn, which then comes later.
    fn puts_off(&mut self, poller: usize) -> bool {
        let polling = &mut self.pollers[poller];
        // A node's first turn is not put off: worlds are built on that.
        let is_spared = std::mem::take(&mut polling.put_off) || polling.free_at.is_zero();
        if is_spared || !self.random.chance(self.faults.late_turn) {
            return false;
        }
        self.happened.late_turns += 1;
        let after = Duration::from_nanos(self.random.below(LATE_MAX.as_nanos() as u64));
        let polling = &mut self.pollers[poller];
        polling.put_off = true;
        polling.free_at = self.now + after;
        self.want_turn(poller, self.now);
        true
    }

    /// Whether anything will ever happen without somebody doing something.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_real = |next: &Reverse<Scheduled>| match next.0.event {
            Event::Turn(poller) => self.pollers[poller].wanted == Some(next.0.at),
            _ => true,
        };
        !self.queue.iter().any(is_real)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn(_) => {}
            Event::Reveal { socket } => self.reveal(socket),
            Event::Room { socket } => self.make_room(socket),
            Event::Late { socket } => self.late(socket),
            Event::LateListener { listener } => self.late_listener(listener),
            Event::SimWake { poller } => self.wake(poller),
            Event::GiveUp { socket } => self.give_up(socket),
            Event::DropCall { socket } => self.drop_call(socket),
            Event::Unreachable { to } => self.unreachable(to),
            segment => self.arrive(segment),
        }
    }

    pub(super) fn link_between(&self, a: IpAddr, b: IpAddr) -> Link {
        if a == b {
            return LOOPBACK;
        }
        let link = self.links.get(&pair(a, b));
        link.copied().unwrap_or(self.default_link)
    }

    pub(crate) fn set_link(&mut self, a: IpAddr, b: IpAddr, link: Link) {
        self.links.insert(pair(a, b), link);
    }

    pub(crate) fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
    }
}

/// The same for both directions.
pub(super) fn pair(a: IpAddr, b: IpAddr) -> (IpAddr, IpAddr) {
    (a.min(b), a.max(b))
}
