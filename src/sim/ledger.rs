//! The callbacks of a node so far, and the first violation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::error::{ConnectError, DisconnectReason};
use crate::id::{ConnId, Direction};

/// Tokens of tracked sends by connection, in their order.
pub(super) type Tokens = BTreeMap<ConnId, Vec<u64>>;

/// The messages of one connection that follow each other in a turn.
#[derive(Clone, Copy, Debug)]
struct MessageRun {
    conn: ConnId,
    began: Instant,
    messages: u64,
    /// Maximum number of messages, once the time is used up.
    most: Option<u64>,
}

/// Maximum number of messages between two readings of the clock in a visit.
const LOOK_AFTER_MAX: u64 = 64;

/// The callbacks of one node. `checks` compares them with the state of the
/// node.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Connections for which `on_connect` was called and `on_disconnect` was
    /// not.
    pub(super) live: BTreeSet<ConnId>,
    /// Live connections whose peer has closed its sending side.
    finished: BTreeSet<ConnId>,
    /// By slot, the last id whose end was reported.
    ended: BTreeMap<usize, ConnId>,
    /// Ids whose end was reported in this turn.
    pub(super) ended_in_turn: Vec<ConnId>,
    /// Those ids that this node did not end.
    pub(super) lost_in_turn: Vec<ConnId>,
    /// Numbers of connections that were established, and that failed.
    pub(super) connected: u64,
    pub(super) failed: u64,
    /// Number of failed connections that were outbound.
    pub(super) failed_outbound: u64,
    /// Number of connections that ended with `on_disconnect`.
    pub(super) disconnected: u64,
    /// Number of tracked sends that were answered.
    pub(super) answered: u64,
    /// Answers of this turn.
    pub(super) answered_in_turn: Tokens,
    /// Answers that were owed at the end of the last turn.
    pub(super) owed: Tokens,
    /// Time of this turn at its first callback, and time of the last turn.
    now: Option<Instant>,
    before: Option<Instant>,
    /// Clock of the loop at the last callback.
    clock: Option<Instant>,
    visit: Option<MessageRun>,
    /// The first violation.
    pub(super) violation: Option<String>,
}

impl Ledger {
    pub(super) fn violate(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    /// Checks that all callbacks of a turn have the same time, which never goes
    /// back, and that the clock of the loop never goes back.
    pub(super) fn check_clock(&mut self, now: Instant, clock: Instant) {
        if now > clock || self.clock.is_some_and(|before| before > clock) {
            self.violate(|| "the clock of the loop went back".to_owned());
        }
        self.clock = Some(clock);
        if *self.now.get_or_insert(now) != now {
            self.violate(|| "the clock moved within a turn".to_owned());
        }
        if self.before.is_some_and(|before| before > now) {
            self.violate(|| "the clock went back".to_owned());
        }
    }

    /// Ends a turn, after which the answers in `owed` are owed.
    pub(super) fn end_turn(&mut self, owed: Tokens) {
        self.ended_in_turn.clear();
        self.lost_in_turn.clear();
        self.visit = None;
        self.answered_in_turn.clear();
        self.owed = owed;
        self.before = self.now.take().or(self.before);
    }

    pub(super) fn connected(&mut self, conn: ConnId) {
        if self.is_old(conn) {
            self.violate(|| format!("on_connect for {conn}, which has ended"));
        }
        if !self.live.insert(conn) {
            self.violate(|| format!("on_connect for {conn} twice"));
        }
        self.connected += 1;
    }

    pub(super) fn answered(&mut self, conn: ConnId, token: u64) {
        self.expect_live(conn, "on_sent");
        self.answered += 1;
        self.answered_in_turn.entry(conn).or_default().push(token);
    }

    pub(super) fn read_closed(&mut self, conn: ConnId) {
        self.expect_live(conn, "on_read_closed");
        if !self.finished.insert(conn) {
            self.violate(|| format!("on_read_closed for {conn} twice"));
        }
    }

    pub(super) fn message(&mut self, conn: ConnId) {
        self.expect_live(conn, "on_message");
        if self.finished.contains(&conn) {
            self.violate(|| format!("on_message for {conn} after on_read_closed"));
        }
    }

    /// Checks the time of a visit after a message, whose callback began and
    /// ended at these times. A visit reads the clock after 1, 2, 4, ... 64
    /// messages and then after every 64 messages, or at the next of these if a
    /// flush came between. It may therefore continue for as many messages as it
    /// had when its time was used up.
    pub(super) fn check_visit(
        &mut self,
        conn: ConnId,
        (began, ended): (Instant, Instant),
        max_visit_time: Duration,
    ) {
        let visit = self.visit.filter(|visit| visit.conn == conn);
        let mut visit = visit.unwrap_or(MessageRun {
            conn,
            began,
            messages: 0,
            most: None,
        });
        visit.messages += 1;
        let messages = visit.messages;
        if visit.most.is_some_and(|most| messages > most) {
            let time = began.saturating_duration_since(visit.began);
            self.violate(|| format!("message {messages} of a visit to {conn}, after {time:?}"));
        }
        if visit.most.is_none() && ended.saturating_duration_since(visit.began) >= max_visit_time {
            // One reading may be delayed, and the next one comes after as many
            // messages again.
            visit.most = Some(messages + 2 * messages.clamp(1, LOOK_AFTER_MAX) + 1);
        }
        self.visit = Some(visit);
    }

    pub(super) fn disconnected(&mut self, conn: ConnId, reason: DisconnectReason) {
        use DisconnectReason::{Application, Local};
        if !matches!(reason, Local | Application(_)) {
            self.lost_in_turn.push(conn);
        }
        if !self.live.remove(&conn) {
            self.violate(|| format!("on_disconnect for {conn}, which is not connected"));
        }
        self.finished.remove(&conn);
        self.disconnected += 1;
        self.ended.insert(conn.slot(), conn);
        self.ended_in_turn.push(conn);
    }

    pub(super) fn connect_failed(
        &mut self,
        conn: ConnId,
        direction: Direction,
        error: ConnectError,
    ) {
        if error != ConnectError::Cancelled {
            self.lost_in_turn.push(conn);
        }
        if self.live.contains(&conn) || self.is_old(conn) {
            self.violate(|| format!("on_connect_failed for {conn}, which was connected or failed"));
        }
        self.failed += 1;
        self.failed_outbound += u64::from(direction == Direction::Outbound);
        self.ended.insert(conn.slot(), conn);
        self.ended_in_turn.push(conn);
    }

    /// Checks a callback that only a live connection may have.
    pub(super) fn expect_live(&mut self, conn: ConnId, callback: &str) {
        if !self.live.contains(&conn) {
            self.violate(|| format!("{callback} for {conn}, which is not connected"));
        }
    }

    /// Returns whether this id, or a later one of its slot, has ended.
    fn is_old(&self, conn: ConnId) -> bool {
        self.ended
            .get(&conn.slot())
            .is_some_and(|ended| ended.to_bits() >= conn.to_bits())
    }
}
