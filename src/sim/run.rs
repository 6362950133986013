//! Runs a world and checks it after each turn.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::checks::CheckedConnection;
use super::node_time::NodeTime;
use super::seeds::replay;
use super::timed_out::TimedOut;
use super::world::World;
use crate::node::Turn;

/// Number of lines of the trace in the message of a failed check.
const LINES: usize = 50;

/// Maximum number of nodes that a report describes.
const DESCRIBED: usize = 20;

impl World {
    /// Runs the world for this much virtual time.
    ///
    /// # Panics
    ///
    /// Panics if a node violates a guarantee of the library, or if a check of
    /// [`World::always`] or a promise fails. The message contains the seed, the
    /// violation and the command that replays the run. A panic of a handler
    /// propagates if [`Config::on_panic`](crate::Config::on_panic) is `Unwind`.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.step(until) {}
        self.check_promises();
        self.check_pairs();
    }

    /// Runs the world until `condition` returns true.
    ///
    /// The condition is evaluated before the first turn and after each turn of
    /// a node. Use [`World::handler`] in it to look at nodes, because that does
    /// not change the run.
    ///
    /// # Errors
    ///
    /// - [`TimedOut`]: the condition did not hold within `bound` of virtual
    ///   time. The text describes each node.
    ///
    /// # Panics
    ///
    /// As [`World::run_for`].
    pub fn run_until(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), TimedOut> {
        let until = self.now() + bound;
        while !condition(self) {
            if !self.step(until) {
                let is_quiet = self.internet.lock().is_quiet();
                return Err(TimedOut {
                    seed: self.seed,
                    at: bound,
                    is_quiet,
                    report: self.report(),
                });
            }
        }
        self.check_pairs();
        Ok(())
    }

    /// Adds an invariant, which is checked after each turn of a node: for
    /// example, that no two nodes hold the same lock. For a condition that
    /// holds only in the end, use [`World::run_until`].
    ///
    /// If `check` returns an error, the world panics. The message contains the
    /// error, the seed, the time, the last lines of the trace and the command
    /// that replays the run.
    ///
    /// ```
    /// use std::time::Duration;
    /// use peerloop::sim::World;
    /// use peerloop::config::OnPanic;
    /// use peerloop::{Config, ConnId, Handler, Net};
    ///
    /// struct Account {
    ///     balance: i64,
    /// }
    ///
    /// impl Handler for Account {
    ///     fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
    ///         self.balance += message.len() as i64;
    ///     }
    /// }
    ///
    /// let mut world = World::new(7);
    /// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
    /// let node = world.node(config, Account { balance: 0 });
    /// world.always(move |world| match world.handler(node).balance {
    ///     0.. => Ok(()),
    ///     debt => Err(format!("{node:?} owes {debt}")),
    /// });
    /// world.run_for(Duration::from_secs(1));
    /// ```
    pub fn always(&mut self, check: impl FnMut(&mut Self) -> Result<(), String> + 'static) {
        self.invariants.push(Box::new(check));
    }

    /// Runs the turn of the node that is due next. Returns false if no turn is
    /// due until `until`.
    fn step(&mut self, until: Duration) -> bool {
        let Some(poller) = self.internet.lock().advance(until) else {
            return false;
        };
        self.turn(self.by_poller[poller]);
        true
    }

    /// Runs the first turn of a node now, unless the node has had it.
    pub(super) fn start(&mut self, index: usize) {
        let slot = &self.slots[index];
        if slot.node.as_ref().is_some_and(|node| !node.has_started()) {
            self.internet.lock().begin_turn(slot.poller);
            self.turn(index);
        }
    }

    fn turn(&mut self, index: usize) {
        self.steps += 1;
        let slot = &mut self.slots[index];
        let Some(node) = &mut slot.node else { return };
        let node_time = NodeTime::enter(&self.internet, slot.poller);
        let turn = node.turn();
        let ended = self.internet.lock().clock(slot.poller);
        drop(node_time);
        match turn {
            // A stopped node has no turns, so no event is reported to it any
            // more.
            Ok(Turn::Stopped) => self.internet.lock().remove_poller(slot.poller),
            Ok(Turn::Waiting | Turn::MoreWork) => self.plan(index),
            Err(error) => self.fail(index, &format!("a turn failed: {error}")),
        }
        // An answer that arrives in this turn may be too late.
        self.check_promises();
        self.update_promises(index);
        self.check(index, ended);
        self.check_invariants();
    }

    /// Plans the next turn of a node.
    pub(super) fn plan(&mut self, index: usize) {
        let slot = &self.slots[index];
        let Some(node) = &slot.node else { return };
        let now = self.internet.lock().clock(slot.poller);
        let deadline = node.next_turn(now);
        self.internet.lock().plan(slot.poller, deadline);
    }

    /// Checks a node after its turn, which ended at `ended` by its clock.
    fn check(&mut self, index: usize, ended: Instant) {
        let Some(node) = &mut self.slots[index].node else {
            return;
        };
        let mut internet = self.internet.lock();
        let result = node.check(&mut internet, ended);
        drop(internet);
        if let Err(violation) = result {
            self.fail(index, &violation);
        }
    }

    /// Counts the messages that a node has exchanged, after its turn or a call.
    pub(super) fn update_promises(&mut self, index: usize) {
        let now = self.now();
        let Some(node) = &self.slots[index].node else {
            return;
        };
        let mut promises = self.promises.iter_mut().filter(|it| it.index == index);
        let result = promises.try_for_each(|it| it.update(now, &node.exchanges(), node.lost()));
        if let Err(what) = result {
            self.fail_with("a promise is broken", &what);
        }
    }

    fn check_promises(&self) {
        let now = self.now();
        if let Err(what) = self.promises.iter().try_for_each(|it| it.check(now)) {
            self.fail_with("a promise is broken", &what);
        }
    }

    /// Checks the invariants of [`World::always`].
    fn check_invariants(&mut self) {
        let mut invariants = std::mem::take(&mut self.invariants);
        for invariant in &mut invariants {
            if let Err(violation) = invariant(self) {
                self.fail_with("an invariant is violated", &violation);
            }
        }
        // Invariants that were added meanwhile come last.
        invariants.append(&mut self.invariants);
        self.invariants = invariants;
    }

    /// Compares both ends of each connection between two nodes.
    fn check_pairs(&mut self) {
        let connections = self.slots.iter().enumerate().flat_map(|(index, slot)| {
            let connections = slot.node.iter().flat_map(|node| node.connections());
            connections.map(move |it| (it.socket, (index, it)))
        });
        let ends: BTreeMap<u64, (usize, CheckedConnection)> = connections.collect();
        let internet = self.internet.lock();
        let violation = ends.values().find_map(|(index, from)| {
            let (to, in_between) = internet.other_end(from.socket)?;
            let (_, to) = ends.get(&to)?;
            let passed = internet.undelivered(to.socket);
            let header = passed.map_or(0, |(_, passed)| passed.header);
            let what = compare(from, to, header, in_between)?;
            Some((*index, what))
        });
        drop(internet);
        if let Some((index, what)) = violation {
            self.fail(index, &what);
        }
    }

    fn fail(&self, index: usize, violation: &str) -> ! {
        self.fail_with(&format!("node n{index} violates a guarantee"), violation)
    }

    fn fail_with(&self, what: &str, violation: &str) -> ! {
        let (seed, now) = (self.seed, self.now());
        let tail = self.internet.lock().trace().tail(LINES);
        panic!(
            "{what}, with the seed {seed}, at {now:?}: {violation}\n\
             The end of the trace:\n{tail}To replay: {}",
            replay(seed)
        );
    }

    /// Describes the nodes, and appends the end of the trace.
    fn report(&self) -> String {
        let mut report = String::new();
        for (index, slot) in self.slots.iter().take(DESCRIBED).enumerate() {
            let doing = slot.node.as_ref().map(|node| node.describe());
            let doing = doing.unwrap_or_else(|| "crashed".to_owned());
            let _ = writeln!(report, "  n{index} ({}): {doing}", slot.ip);
        }
        let others = self.slots.len().saturating_sub(DESCRIBED);
        if others > 0 {
            let _ = writeln!(report, "  and {others} more nodes");
        }
        let tail = self.internet.lock().trace().tail(LINES);
        let _ = write!(report, "The end of the trace:\n{tail}");
        report
    }
}

/// Compares the messages sent at one end with the messages received at the
/// other end. The first `header` bytes were a PROXY header, and `in_between`
/// bytes are in the kernels; `None` if the connection is broken. Returns a
/// description of the difference.
fn compare(
    from: &CheckedConnection,
    to: &CheckedConnection,
    header: u64,
    in_between: Option<usize>,
) -> Option<String> {
    let (sent, mut received) = (from.traffic, to.traffic);
    received.bytes_received += header;
    let is_framed_alike = match (&from.framing, &to.framing) {
        (Some(a), Some(b)) => a.frames_like(b),
        _ => false,
    };
    let is_beyond = is_framed_alike && received.messages_received > sent.messages_sent;
    if received.bytes_received > sent.bytes_sent || is_beyond {
        return Some(format!("{}: more was received than sent", from.conn));
    }
    let waiting = in_between.map(|bytes| from.queued + bytes + to.partial);
    let is_settled = from.is_open && to.is_open && waiting == Some(0);
    let is_missing = received.bytes_received != sent.bytes_sent
        || (is_framed_alike && received.messages_received != sent.messages_sent);
    (is_settled && is_missing).then(|| {
        let (conn, sent, received) = (from.conn, sent.messages_sent, received.messages_received);
        format!("{conn}: {sent} messages sent and {received} received, with nothing in between")
    })
}
