//! What a node's callbacks have said so far, and what was wrong about it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::id::{ConnId, Direction};

/// By connection, the tokens of tracked sends, in their order.
pub(super) type Tokens = BTreeMap<ConnId, Vec<u64>>;

/// One for each node. Plain facts; `checks` compares them with what the node itself believes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Connections that were reported and whose end was not.
    pub(super) live: BTreeSet<ConnId>,
    /// Of those, the ones whose peer has ended its side.
    finished: BTreeSet<ConnId>,
    /// By slot, the last id whose end was reported, of a connection or of a dial.
    ended: BTreeMap<usize, ConnId>,
    /// Ids whose end was reported in this turn.
    pub(super) ended_in_turn: Vec<ConnId>,
    /// Dials that were connected, and that were not.
    pub(super) connects_established: u64,
    pub(super) connects_failed: u64,
    /// Connections whose end was reported.
    pub(super) disconnected: u64,
    /// Tracked sends that were answered.
    pub(super) answered: u64,
    /// Those of them in this turn.
    pub(super) answered_in_turn: Tokens,
    /// Answers that were owed when the last turn was over.
    pub(super) owed: Tokens,
    /// The time of the present turn, as its first callback saw it, and that of the last one.
    now: Option<Instant>,
    before: Option<Instant>,
    /// The first thing that was wrong.
    pub(super) violation: Option<String>,
}

impl Ledger {
    pub(super) fn violate(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    /// All callbacks of a turn see the same time, and it never goes back.
    pub(super) fn see_clock(&mut self, now: Instant) {
        if *self.now.get_or_insert(now) != now {
            self.violate(|| "the time went on within a turn".to_owned());
        }
        if self.before.is_some_and(|before| before > now) {
            self.violate(|| "the time went back".to_owned());
        }
    }

    /// A turn is over, and these answers are still owed.
    pub(super) fn end_turn(&mut self, owed: Tokens) {
        self.ended_in_turn.clear();
        self.answered_in_turn.clear();
        self.owed = owed;
        self.before = self.now.take().or(self.before);
    }

    pub(super) fn connected(&mut self, conn: ConnId, direction: Option<Direction>) {
        if self.is_old(conn) {
            self.violate(|| format!("on_connect for {conn}, which has ended"));
        }
        if !self.live.insert(conn) {
            self.violate(|| format!("on_connect for {conn} twice"));
        }
        self.connects_established += u64::from(direction == Some(Direction::Outbound));
    }

    pub(super) fn answered(&mut self, conn: ConnId, token: u64) {
        self.expect_live(conn, "on_sent");
        self.answered += 1;
        self.answered_in_turn.entry(conn).or_default().push(token);
    }

    pub(super) fn finished(&mut self, conn: ConnId) {
        self.expect_live(conn, "on_finished");
        if !self.finished.insert(conn) {
            self.violate(|| format!("on_finished for {conn} twice"));
        }
    }

    pub(super) fn message(&mut self, conn: ConnId) {
        self.expect_live(conn, "on_message");
        if self.finished.contains(&conn) {
            self.violate(|| format!("on_message for {conn} after on_finished"));
        }
    }

    pub(super) fn disconnected(&mut self, conn: ConnId) {
        if !self.live.remove(&conn) {
            self.violate(|| format!("on_disconnect for {conn}, which is not connected"));
        }
        self.finished.remove(&conn);
        self.disconnected += 1;
        self.ended.insert(conn.slot(), conn);
        self.ended_in_turn.push(conn);
    }

    pub(super) fn connect_failed(&mut self, conn: ConnId) {
        if self.live.contains(&conn) || self.is_old(conn) {
            self.violate(|| format!("on_connect_failed for {conn}, which was connected or failed"));
        }
        self.connects_failed += 1;
        self.ended.insert(conn.slot(), conn);
        self.ended_in_turn.push(conn);
    }

    /// A callback that only a live connection may have.
    pub(super) fn expect_live(&mut self, conn: ConnId, callback: &str) {
        if !self.live.contains(&conn) {
            self.violate(|| format!("{callback} for {conn}, which is not connected"));
        }
    }

    /// Whether this id, or a later one of its slot, has ended.
    fn is_old(&self, conn: ConnId) -> bool {
        self.ended
            .get(&conn.slot())
            .is_some_and(|ended| ended.to_bits() >= conn.to_bits())
    }
}
