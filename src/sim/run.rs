//! Letting time go on, and looking at what comes of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::checks::Connection;
use super::seeds::replay;
use super::stuck::Stuck;
use super::world::World;
use crate::node::Turn;

/// Lines of the trace in the message of a violated check.
const LINES: usize = 50;

/// Nodes that a report describes.
const DESCRIBED: usize = 20;

impl World {
    /// Lets the world go on for this much virtual time.
    ///
    /// # Panics
    ///
    /// When a node breaks a promise of the library: with the seed, what was broken, and how to replay it.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.step(until) {}
        self.check_pairs();
    }

    /// Lets the world go on until `condition` holds. It is asked before the first and after each turn of a node, which in a large
    /// world is often: look at nodes with [`World::handler`].
    ///
    /// # Errors
    ///
    /// [`Stuck`] when it does not hold within the virtual time `bound`.
    ///
    /// # Panics
    ///
    /// As [`World::run_for`].
    pub fn run_until(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Stuck> {
        let until = self.now() + bound;
        while !condition(self) {
            if !self.step(until) {
                let is_quiet = self.internet.lock().is_quiet();
                return Err(Stuck {
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

    /// Has something checked after every turn of a node from now on: what a protocol promises at all times, as that no two nodes
    /// hold the same lock. What comes about only in the end is for [`World::run_until`].
    ///
    /// An error, which says what is wrong, makes the world panic, as a broken promise of the library does: with the seed, the
    /// time, the last lines of the trace, and how to replay it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use peerloop::sim::World;
    /// use peerloop::{Config, ConnId, Handler, Net};
    ///
    /// struct Ledger {
    ///     balance: i64,
    /// }
    ///
    /// impl Handler for Ledger {
    ///     fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
    ///         self.balance += message.len() as i64;
    ///     }
    /// }
    ///
    /// let mut world = World::new(7);
    /// let node = world.node(Config::default(), Ledger { balance: 0 });
    /// world.always(move |world| match world.handler(node).balance {
    ///     0.. => Ok(()),
    ///     debt => Err(format!("{node:?} owes {debt}")),
    /// });
    /// world.run_for(Duration::from_secs(1));
    /// ```
    pub fn always(&mut self, check: impl FnMut(&mut Self) -> Result<(), String> + 'static) {
        self.promises.push(Box::new(check));
    }

    /// One turn of the node that is due next, if one is until then.
    fn step(&mut self, until: Duration) -> bool {
        let Some(poller) = self.internet.lock().advance(until) else {
            return false;
        };
        self.turn(self.by_poller[poller]);
        true
    }

    /// Gives a node that has not run yet its first turn, now.
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
        match node.turn() {
            // Whatever is still reported to it, it does not look at any more.
            Ok(Turn::Stopped) => self.internet.lock().remove_poller(slot.poller),
            Ok(Turn::Waiting | Turn::Busy) => self.plan(index),
            Err(error) => self.fail(index, &format!("a turn failed: {error}")),
        }
        self.check(index);
        self.check_promises();
    }

    /// Wants a node's next turn for when it is due.
    pub(super) fn plan(&mut self, index: usize) {
        let slot = &self.slots[index];
        let Some(node) = &slot.node else { return };
        let now = self.internet.lock().instant();
        let deadline = node.next_turn(now);
        self.internet.lock().plan(slot.poller, deadline);
    }

    fn check(&mut self, index: usize) {
        let Some(node) = &mut self.slots[index].node else {
            return;
        };
        let mut internet = self.internet.lock();
        let result = node.check(&mut internet);
        drop(internet);
        if let Err(violation) = result {
            self.fail(index, &violation);
        }
    }

    /// Checks what the test has said that always holds.
    fn check_promises(&mut self) {
        let mut promises = std::mem::take(&mut self.promises);
        for promise in &mut promises {
            if let Err(violation) = promise(self) {
                self.give_up("a promise was broken", &violation);
            }
        }
        // Those that were added meanwhile come after them.
        promises.append(&mut self.promises);
        self.promises = promises;
    }

    /// Compares both ends of every connection between two nodes.
    fn check_pairs(&mut self) {
        let mut ends: BTreeMap<u64, (usize, Connection)> = BTreeMap::new();
        for (index, slot) in self.slots.iter().enumerate() {
            let connections = slot.node.iter().flat_map(|node| node.connections());
            ends.extend(connections.map(|it| (it.socket, (index, it))));
        }
        let internet = self.internet.lock();
        let violation = ends.values().find_map(|(index, from)| {
            let (to, in_between) = internet.other_end(from.socket)?;
            let (_, to) = ends.get(&to)?;
            let what = compare(from, to, in_between)?;
            Some((*index, what))
        });
        drop(internet);
        if let Some((index, what)) = violation {
            self.fail(index, &what);
        }
    }

    fn fail(&self, index: usize, violation: &str) -> ! {
        self.give_up(&format!("node n{index} broke a promise"), violation)
    }

    fn give_up(&self, what: &str, violation: &str) -> ! {
        let (seed, now) = (self.seed, self.now());
        let tail = self.internet.lock().trace().tail(LINES);
        panic!(
            "{what}, with the seed {seed}, at {now:?}: {violation}\n\
             The last that happened:\n{tail}To replay: {}",
            replay(seed)
        );
    }

    /// What every node is doing, and what happened last.
    fn report(&self) -> String {
        let mut report = String::new();
        for (index, slot) in self.slots.iter().take(DESCRIBED).enumerate() {
            let doing = slot.node.as_ref().map(|node| node.describe());
            let doing = doing.unwrap_or_else(|| "crashed".to_owned());
            let _ = writeln!(report, "  n{index} ({}): {doing}", slot.ip);
        }
        let others = self.slots.len().saturating_sub(DESCRIBED);
        if others > 0 {
            let _ = writeln!(report, "  and {others} others");
        }
        let tail = self.internet.lock().trace().tail(LINES);
        let _ = write!(report, "The last that happened:\n{tail}");
        report
    }
}

/// What is wrong about the way from one end to the other, if something is; `in_between` bytes are in the kernels, unless the
/// connection is broken.
fn compare(from: &Connection, to: &Connection, in_between: Option<usize>) -> Option<String> {
    let (sent, received) = (from.traffic, to.traffic);
    let framed = match (&from.framing, &to.framing) {
        (Some(a), Some(b)) => a.frames_like(b),
        _ => false,
    };
    let too_many = framed && received.messages_received > sent.messages_sent;
    if received.bytes_received > sent.bytes_sent || too_many {
        return Some(format!("{}: more arrived than was sent", from.conn));
    }
    let waiting = in_between.map(|bytes| from.queued + bytes + to.stashed);
    let settled = from.is_open && to.is_open && waiting == Some(0);
    let missing = received.bytes_received != sent.bytes_sent
        || (framed && received.messages_received != sent.messages_sent);
    (settled && missing).then(|| {
        let (conn, sent, received) = (from.conn, sent.messages_sent, received.messages_received);
        format!("{conn}: {sent} messages sent and {received} received, with nothing in between")
    })
}
