//! The simulated kernels and network below the nodes: their parts, and the
//! order of events.
//!
//! Each part keeps its state in a separate file, which imports no process. The
//! processes (`connect`, `segments`, `calls` and so on) are methods of
//! [`Internet`], which owns the parts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::clock::WHOLE;
use super::event::{Event, PollerId, SocketId};
use super::fault_counts::FaultCounts;
use super::faults::Faults;
use super::host_table::HostTable;
use super::link::Link;
use super::links::Links;
use super::listen_queue::ListenQueue;
use super::poller_state::PollerState;
use super::random::Random;
use super::schedule::{NETWORK, Schedule};
use super::selector::Selector;
use super::socket::SocketTable;
use super::trace::{Actor, Trace, TraceEntry};
use super::udp_socket::UdpSocketTable;

/// Time that a turn takes, so that time advances however busy a node is.
const TURN: Duration = Duration::from_micros(1);

/// Maximum delay of a turn by the system.
const LATE_MAX: Duration = Duration::from_millis(10);

/// The simulated kernels and network of a world.
#[derive(Debug)]
pub(crate) struct Internet {
    pub(super) schedule: Schedule,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) counts: FaultCounts,
    pub(super) trace: Trace,
    pub(super) hosts: HostTable,
    pub(super) links: Links,
    pub(super) pollers: Vec<PollerState>,
    pub(super) sockets: SocketTable,
    pub(super) listeners: BTreeMap<SocketId, ListenQueue>,
    pub(super) udp: UdpSocketTable,
    next_id: SocketId,
    /// Time at which the turn of the current node began, and the lead of its
    /// clock over the schedule.
    turn_began: Duration,
    ahead: Duration,
}

impl Internet {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            schedule: Schedule::new(),
            random: Random::new(seed),
            faults: Faults::drawn(seed),
            counts: FaultCounts::default(),
            trace: Trace::new(),
            hosts: HostTable::default(),
            links: Links::default(),
            pollers: Vec::new(),
            sockets: BTreeMap::new(),
            listeners: BTreeMap::new(),
            udp: BTreeMap::new(),
            next_id: 1,
            turn_began: Duration::ZERO,
            ahead: Duration::ZERO,
        }
    }

    /// Returns the time. During a turn it is the time of that node, which is
    /// ahead of the others' if its callbacks take time.
    pub(crate) fn now(&self) -> Duration {
        self.schedule.now() + self.ahead
    }

    /// Returns the time on the clock of a node.
    pub(crate) fn clock(&self, poller: PollerId) -> Instant {
        let clock = self.hosts.clock(self.pollers[poller].host);
        self.schedule.base() + clock.at(self.now())
    }

    /// Enters a turn of a node, or a call of its program between turns. Until
    /// [`Internet::leave`] the time is that of this node.
    pub(crate) fn enter(&mut self, poller: PollerId) {
        let busy_until = self.pollers[poller].busy_until;
        self.ahead = busy_until.saturating_sub(self.schedule.now());
        self.turn_began = self.now();
    }

    /// Spends time in a callback. Bytes that arrive meanwhile are there in the
    /// next turn.
    pub(crate) fn spend(&mut self, time: Duration) {
        self.ahead += time;
    }

    /// Returns the time that the callbacks of this turn have taken, by the
    /// clock of its node.
    pub(crate) fn spent(&self, poller: PollerId) -> Duration {
        let clock = self.hosts.clock(self.pollers[poller].host);
        clock.at(self.now()) - clock.at(self.turn_began)
    }

    /// Spends the time of a callback, if the faults draw one.
    pub(crate) fn draw_callback_time(&mut self) {
        if self.random.chance(self.faults.slow_callback) {
            self.counts.slow_callbacks += 1;
            let most = self.faults.slow_callback_max.as_nanos();
            let time = self.random.below(u64::try_from(most).unwrap_or(u64::MAX));
            self.spend(Duration::from_nanos(time));
        }
    }

    /// Leaves the turn of a node, or the call.
    pub(crate) fn leave(&mut self, poller: PollerId) {
        let now = self.now();
        if !std::mem::take(&mut self.ahead).is_zero() {
            let state = &mut self.pollers[poller];
            (state.busy_until, state.free_at) = (now, now + TURN);
        }
    }

    pub(crate) fn set_selector(&mut self, ip: IpAddr, selector: Selector) {
        self.hosts.set_selector(ip, selector);
    }

    /// Sets the rate of a host's clock, in millionths.
    pub(crate) fn set_clock_rate(&mut self, ip: IpAddr, rate: u64) {
        let now = self.now();
        self.hosts.set_clock_rate(ip, now, rate);
    }

    pub(crate) fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    pub(crate) fn counts(&self) -> FaultCounts {
        self.counts
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

    /// Adds a line to the trace. A node is identified by its number.
    pub(crate) fn note(&mut self, actor: Actor, what: &'static str, subject: u64, detail: u64) {
        let actor = match actor {
            Actor::Node(poller) => Actor::Node(self.pollers[poller].name),
            actor => actor,
        };
        self.trace.push(TraceEntry {
            at: self.now(),
            actor,
            what,
            subject,
            detail,
        });
    }

    /// Adds a host, unless it exists.
    pub(crate) fn add_host(&mut self, ip: IpAddr) {
        // The first port is random, because programs cannot rely on the port
        // that a kernel chooses.
        let port = 32_768 + self.random.below(8_192) as u16;
        let is_new = !self.hosts.contains(ip);
        self.hosts.add(ip, port);
        if is_new {
            self.draw_host(ip);
        }
    }

    /// Draws the selector and the clock of a host.
    fn draw_host(&mut self, ip: IpAddr) {
        if self.random.chance(self.faults.poll_selector) {
            self.hosts.set_selector(ip, Selector::Poll);
        }
        if self.random.chance(self.faults.clock_drift) {
            let rate = self.random.between(WHOLE * 9 / 10, WHOLE * 11 / 10);
            self.set_clock_rate(ip, rate);
        }
    }

    pub(crate) fn has_host(&self, ip: IpAddr) -> bool {
        self.hosts.contains(ip)
    }

    pub(crate) fn set_link(&mut self, a: IpAddr, b: IpAddr, link: Link) {
        self.links.set(a, b, link);
    }

    pub(crate) fn set_default_link(&mut self, link: Link) {
        self.links.set_default(link);
    }

    /// Returns a new id for a socket or listener.
    pub(super) fn take_id(&mut self) -> SocketId {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Returns a random id below the next one of a socket or listener.
    pub(super) fn draw_id(&mut self) -> SocketId {
        self.random.below(self.next_id)
    }

    pub(super) fn schedule(&mut self, at: Duration, event: Event) {
        self.schedule.push(at, NETWORK, event);
    }

    pub(super) fn schedule_after(&mut self, delay: Duration, event: Event) {
        self.schedule(self.now() + delay, event);
    }

    /// Schedules an event for a moment later.
    pub(super) fn schedule_soon(&mut self, event: Event) {
        let delay = Duration::from_micros(self.random.between(1, 500));
        self.schedule_after(delay, event);
    }

    /// Requests a turn for a node at `at`, or when it has time after that.
    pub(crate) fn want_turn(&mut self, poller: PollerId, at: Duration) {
        let at = at.max(self.schedule.now());
        let state = &mut self.pollers[poller];
        let at = at.max(state.free_at);
        if state.wanted.is_some_and(|wanted| wanted <= at) || state.is_removed() {
            return;
        }
        state.wanted = Some(at);
        // Without this fault a turn comes after all events of the same time.
        let rank = if self.random.chance(self.faults.shuffled) {
            self.random.below(2 * u64::from(NETWORK)) as u32
        } else {
            2 * NETWORK
        };
        self.schedule.push(at, rank, Event::Turn(poller));
    }

    /// Plans the next turn of a node after a turn, or after a call between
    /// turns. `deadline` is the next deadline of the node, on its own clock.
    pub(crate) fn plan(&mut self, poller: PollerId, deadline: Option<Instant>) {
        self.pollers[poller].wanted = None;
        if self.pollers[poller].has_reports() {
            self.want_turn(poller, self.schedule.now());
        }
        if let Some(deadline) = deadline {
            let shown = deadline.saturating_duration_since(self.schedule.base());
            let clock = self.hosts.clock(self.pollers[poller].host);
            self.want_turn(poller, clock.when(shown));
        }
    }

    /// Advances the time to the next turn of a node, or to `until`. Returns the
    /// poller of the node.
    pub(crate) fn advance(&mut self, until: Duration) -> Option<PollerId> {
        while let Some(next) = self.schedule.pop(until) {
            let Event::Turn(poller) = next.event else {
                self.schedule.advance_to(next.at);
                self.process(next.event);
                continue;
            };
            let state = &mut self.pollers[poller];
            if state.wanted != Some(next.at) || state.is_removed() {
                continue;
            }
            state.wanted = None;
            self.schedule.advance_to(next.at);
            if !self.delays_turn(poller) {
                self.begin_turn(poller);
                return Some(poller);
            }
        }
        self.schedule.advance_to(until);
        None
    }

    /// Begins a turn of a node.
    pub(crate) fn begin_turn(&mut self, poller: PollerId) {
        let state = &mut self.pollers[poller];
        state.wanted = None;
        state.free_at = self.schedule.now() + TURN;
    }

    /// Draws whether the system delays a node's turn. If it does, the turn is
    /// planned again.
    fn delays_turn(&mut self, poller: PollerId) -> bool {
        let state = &mut self.pollers[poller];
        // The first turn is never delayed, because `World::addr` promises that.
        let is_exempt = std::mem::take(&mut state.was_delayed) || state.free_at.is_zero();
        if is_exempt || !self.random.chance(self.faults.late_turn) {
            return false;
        }
        self.counts.late_turns += 1;
        let delay = Duration::from_nanos(self.random.below(LATE_MAX.as_nanos() as u64));
        let now = self.schedule.now();
        let state = &mut self.pollers[poller];
        state.was_delayed = true;
        state.free_at = now + delay;
        self.want_turn(poller, now);
        true
    }

    /// Returns whether no event will happen unless the test causes one.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.schedule.pending().any(|next| match next.event {
            Event::Turn(poller) => self.pollers[poller].wanted == Some(next.at),
            _ => true,
        })
    }

    fn process(&mut self, event: Event) {
        match event {
            Event::Turn(_) => {}
            Event::ShowReceived { socket } => self.show_received(socket),
            Event::ShowRoom { socket } => self.show_room(socket),
            Event::ReportLate { socket } => self.report_late(socket),
            Event::ReportListenerLate { listener } => self.report_listener_late(listener),
            Event::Wake { poller } => self.wake(poller),
            Event::RetransmitTimeout { socket } => self.retransmit_timeout(socket),
            Event::ConnectTimeout { socket } => self.connect_timeout(socket),
            Event::HandshakeTimeout { socket } => self.drop_handshake(socket),
            Event::Unreachable { to } => self.unreachable(to),
            Event::Udp(event) => self.process_udp(event),
            segment => self.arrive(segment),
        }
    }
}
