//! State changes from an accepted or connected socket to an open connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Net;
use crate::addr::{ConnInfo, to_canonical_target};
use crate::config::ConnectionConfig;
use crate::connection::{ConnEntry, Lifecycle};
use crate::cross_shard::ShardSignal;
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::id::{ConnId, Direction};

impl Net {
    /// Assigns a slot to an accepted connection that is charged.
    pub(crate) fn insert_accepted(
        &mut self,
        info: &ConnInfo,
        config: Arc<ConnectionConfig>,
        encoder: Codec,
    ) -> ConnId {
        let now = self.timestamp();
        let make = |id| ConnEntry::new(id, info, now, config, encoder);
        self.connecting += 1;
        self.conns.insert(make)
    }

    /// Moves a connection to `Handshaking`, when its TCP connection is
    /// established.
    pub(crate) fn start_handshake(&mut self, conn: ConnId, local_addr: SocketAddr) {
        let now = self.timestamp();
        if let Some(entry) = self.conns.get_mut(conn) {
            debug_assert_eq!(entry.lifecycle(), Lifecycle::Connecting);
            entry.set_handshaking(local_addr, now);
        }
    }

    /// Moves a connection to `Open`, when its handshake has completed.
    pub(crate) fn open_connection(&mut self, conn: ConnId) {
        let now = self.timestamp();
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(entry.lifecycle(), Lifecycle::Handshaking);
        entry.set_open(now);
        let (direction, addr) = (entry.direction(), entry.addr());
        self.remove_connecting(conn, direction);
        if direction == Direction::Outbound {
            self.limits.lock().retries.note_success(addr);
        }
        self.open[direction as usize] += 1;
        self.begin_rates(conn);
        self.restart_deadline(conn);
    }

    /// Updates the counts for a connection that has left the states before
    /// `Open`. An inbound connection without a session has no handshake place.
    pub(super) fn remove_connecting(&mut self, conn: ConnId, direction: Direction) {
        self.connecting -= 1;
        let entry = self.conns.get_mut(conn);
        let has_place = entry.is_some_and(|entry| std::mem::take(&mut entry.has_place));
        match direction {
            Direction::Outbound => self.limits.lock().remove_outbound_connecting(),
            Direction::Inbound if has_place => self.limits.lock().places.give_back(conn),
            Direction::Inbound => {}
        }
    }

    /// Takes a handshake place for an inbound connection that has a session. If
    /// there is no place, or the rate of the address is exceeded, ends the
    /// connection and returns false. Outbound connections need no place.
    /// `is_silent` returns whether a handshake of this shard waits for its peer.
    pub(crate) fn take_handshake_place(
        &mut self,
        conn: ConnId,
        is_silent: &dyn Fn(ConnId) -> bool,
    ) -> bool {
        let info = self.conns.get(conn).map(ConnEntry::info);
        let Some(info) = info.filter(|info| info.direction == Direction::Inbound) else {
            return true;
        };
        let headers = &self.headers;
        let is_silent = |conn| is_silent(conn) || headers.is_silent(conn);
        let mut limits = self.limits.lock();
        let is_limited = self.config.limits.handshakes_per_address.is_some();
        if is_limited && !limits.admits_handshake(info.addr, self.now) {
            drop(limits);
            self.metrics.refused_by_handshake_rate += 1;
            self.fail_connection(conn, ConnectError::TooManyHandshakesFromAddress);
            return false;
        }
        let taken = limits.take_handshake_place(conn, &info, self.now, &is_silent);
        drop(limits);
        let Ok(victim) = taken else {
            self.metrics.refused_by_handshakes += 1;
            self.fail_connection(conn, ConnectError::TooManyConnecting);
            return false;
        };
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.has_place = true;
        }
        self.evict_from_place(victim);
        true
    }

    /// Ends the handshake that has lost its place, if any.
    pub(super) fn evict_from_place(&mut self, victim: Option<ConnId>) {
        match victim {
            Some(victim) if victim.shard() == self.shard() => self.evict(victim),
            Some(victim) => self.evict_remote(victim),
            None => {}
        }
    }

    /// Makes another shard end a handshake that has lost its place.
    fn evict_remote(&mut self, conn: ConnId) {
        self.limits.lock().places.note_evicted(conn);
        if let Some(router) = &self.router {
            router.signal(conn.shard(), ShardSignal::Eviction);
        }
    }

    /// Ends the handshakes of this shard that have lost their places to
    /// handshakes of other shards. A handshake that has completed meanwhile is
    /// not affected.
    pub(crate) fn end_evicted(&mut self) {
        let evicted = self.limits.lock().places.take_evicted(self.shard());
        for conn in evicted {
            self.evict(conn);
        }
    }

    fn evict(&mut self, conn: ConnId) {
        if self.headers.contains(conn) {
            self.metrics.handshakes_evicted += 1;
            return self.discard_header(conn);
        }
        let entry = self.conns.get(conn);
        if entry.is_some_and(|entry| entry.lifecycle() == Lifecycle::Handshaking) {
            self.metrics.handshakes_evicted += 1;
            self.fail_connection(conn, ConnectError::Evicted);
        }
    }

    /// Records that the handshake of a connection has received something.
    pub(crate) fn note_handshake_step(&mut self, conn: ConnId) {
        self.limits.lock().places.note_step(conn, self.now);
    }

    /// Returns whether an outbound socket is connected to itself, unless that
    /// is allowed.
    pub(crate) fn is_self_connect(&self, conn: ConnId, local_addr: SocketAddr) -> bool {
        let addr = self.conns.get(conn).map(ConnEntry::addr);
        !self.config.allow_self_connections
            && addr.is_some_and(|addr| to_canonical_target(addr) == to_canonical_target(local_addr))
    }
}
