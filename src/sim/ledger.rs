//! What a node's callbacks have said so far, and what was wrong about it.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ConnId, Side};

/// One for each node. Plain facts; `checks` compares them with what the node itself believes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Connections that were reported and whose end was not.
    pub(super) live: BTreeSet<ConnId>,
    /// By slot, the last id whose end was reported, of a connection or of a dial.
    ended: BTreeMap<usize, ConnId>,
    /// Ids whose end was reported in this turn.
    pub(super) ended_in_turn: Vec<ConnId>,
    /// Dials that were connected, and that were not.
    pub(super) dials_connected: u64,
    pub(super) dials_failed: u64,
    /// Tracked sends that were answered.
    pub(super) answered: u64,
    /// The first thing that was wrong.
    pub(super) violation: Option<String>,
}

impl Ledger {
    pub(super) fn violate(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    pub(super) fn connected(&mut self, conn: ConnId, side: Option<Side>) {
        if self.is_old(conn) {
            self.violate(|| format!("on_connect for {conn}, which has ended"));
        }
        if !self.live.insert(conn) {
            self.violate(|| format!("on_connect for {conn} twice"));
        }
        self.dials_connected += u64::from(side == Some(Side::Initiator));
    }

    pub(super) fn disconnected(&mut self, conn: ConnId) {
        if !self.live.remove(&conn) {
            self.violate(|| format!("on_disconnect for {conn}, which is not connected"));
        }
        self.ended.insert(conn.slot(), conn);
        self.ended_in_turn.push(conn);
    }

    pub(super) fn connect_failed(&mut self, conn: ConnId) {
        if self.live.contains(&conn) || self.is_old(conn) {
            self.violate(|| format!("on_connect_failed for {conn}, which was connected or failed"));
        }
        self.dials_failed += 1;
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
