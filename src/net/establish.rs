//! State changes from an accepted or connected socket to an open connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Net;
use crate::addr::{ConnInfo, to_canonical_target};
use crate::config::ConnectionConfig;
use crate::connection::{ConnEntry, Lifecycle};
use crate::cross_shard::ShardSignal;
use crate::framing::Codec;
use crate::id::{ConnId, Direction};

impl Net {
    /// Gives a slot to an accepted connection that has a handshake place and is
    /// charged.
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

    /// Moves a connection to `Handshaking`: its TCP connection is established.
    pub(crate) fn start_handshake(&mut self, conn: ConnId, local_addr: SocketAddr) {
        let now = self.timestamp();
        if let Some(entry) = self.conns.get_mut(conn) {
            debug_assert_eq!(entry.lifecycle(), Lifecycle::Connecting);
            entry.set_handshaking(local_addr, now);
        }
    }

    /// Moves a connection to `Open`: its handshake has completed.
    pub(crate) fn open_connection(&mut self, conn: ConnId) {
        let now = self.timestamp();
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(entry.lifecycle(), Lifecycle::Handshaking);
        entry.set_open(now);
        let direction = entry.direction();
        self.remove_connecting(direction);
        self.open[direction as usize] += 1;
        self.restart_deadline(conn);
    }

    /// Counts that a connection has left the states before `Open`.
    pub(super) fn remove_connecting(&mut self, direction: Direction) {
        self.connecting -= 1;
        self.return_place(direction);
    }

    /// Takes a handshake place for a connection that is about to be accepted.
    /// Returns false if all are taken.
    pub(crate) fn take_handshake_place(&mut self) -> bool {
        self.limits.lock().take_handshake_place(self.conns.shard())
    }

    /// Returns the handshake place of a connection that was not accepted.
    pub(crate) fn return_handshake_place(&mut self) {
        self.return_place(Direction::Inbound);
    }

    fn return_place(&mut self, direction: Direction) {
        let waiting_shards = self.limits.lock().remove_connecting(direction);
        for shard in waiting_shards {
            if shard == self.shard() {
                self.schedule_waiting_listeners();
            } else if let Some(router) = &self.router {
                router.signal(shard, ShardSignal::HandshakePlace);
            }
        }
    }

    /// Returns whether an outbound socket is connected to itself and this is
    /// not allowed.
    pub(crate) fn is_self_connect(&self, conn: ConnId, local_addr: SocketAddr) -> bool {
        let addr = self.conns.get(conn).map(ConnEntry::addr);
        !self.config.allow_self_connections
            && addr.is_some_and(|addr| to_canonical_target(addr) == to_canonical_target(local_addr))
    }
}
