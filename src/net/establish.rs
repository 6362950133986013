//! From an accepted or connected socket to an open connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Net;
use crate::config::{Permission, Profile};
use crate::connection::{ConnEntry, Lifecycle};
use crate::cross_shard::ShardSignal;
use crate::framing::Codec;
use crate::id::{ConnId, Direction};
use crate::limits::canonical;

impl Net {
    /// Gives a connection that was accepted, has a place and is charged for, a slot.
    pub(crate) fn insert_inbound(
        &mut self,
        addr: SocketAddr,
        profile: Arc<Profile>,
        encoder: Codec,
    ) -> ConnId {
        let now = self.now;
        let make = |id| ConnEntry::new(id, addr, Direction::Inbound, now, profile, encoder);
        self.connecting += 1;
        self.conns.insert(make)
    }

    /// The TCP connection is made.
    pub(crate) fn begin_handshake(&mut self, conn: ConnId, local_addr: SocketAddr) {
        let now = self.now;
        if let Some(entry) = self.conns.get_mut(conn) {
            debug_assert_eq!(entry.lifecycle(), Lifecycle::Connecting);
            entry.begin_handshake(local_addr, now);
        }
    }

    /// The handshake is over.
    pub(crate) fn open(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(entry.lifecycle(), Lifecycle::Handshaking);
        entry.open(now);
        let direction = entry.direction();
        self.leave_connecting(direction);
        self.connected += 1;
        self.arm(conn);
    }

    /// A connection is no longer being made, whatever became of it.
    pub(super) fn leave_connecting(&mut self, direction: Direction) {
        self.connecting -= 1;
        self.end_connecting(direction);
    }

    /// Takes the place for one connection more that is about to be accepted, if there is one.
    pub(crate) fn take_place(&mut self) -> bool {
        self.limits.lock().take_place(self.conns.shard())
    }

    /// Gives the place of one that was not accepted after all back.
    pub(crate) fn give_place_back(&mut self) {
        self.end_connecting(Direction::Inbound);
    }

    fn end_connecting(&mut self, direction: Direction) {
        let held_up = self.limits.lock().end_connecting(direction);
        for shard in held_up {
            if shard == self.shard() {
                self.admit_waiting();
            } else if let Some(router) = &self.router {
                router.tell(shard, ShardSignal::Place);
            }
        }
    }

    /// Whether a dial that connected met its own socket, and may not.
    pub(crate) fn is_own_address(&self, conn: ConnId, local_addr: SocketAddr) -> bool {
        let addr = self.conns.get(conn).map(ConnEntry::addr);
        self.config.self_connections == Permission::Refused
            && addr.is_some_and(|addr| canonical(addr) == canonical(local_addr))
    }
}
