//! Looking around.

use std::net::SocketAddr;

use super::Net;
use crate::config::Config;
use crate::connection::{ConnEntry, Lifecycle};
use crate::id::ConnId;
use crate::limits::canonical;
use crate::metrics::Metrics;
use crate::traffic::Traffic;

impl Net {
    /// What is known about a connection, from the call that dialled it to the end of its last callback.
    pub fn connection(&self, conn: ConnId) -> Option<&ConnEntry> {
        self.conns
            .get(conn)
            .filter(|entry| entry.lifecycle() != Lifecycle::Released)
    }

    /// Bytes that were accepted for sending on this connection and not handed to the kernel yet, framing included.
    /// Zero for a stale id. Inside [`Handler::on_disconnect`](crate::Handler::on_disconnect) it is what was lost.
    pub fn queued(&self, conn: ConnId) -> usize {
        self.connection(conn).map_or(0, ConnEntry::queued)
    }

    /// Whether now is a good time to send: the connection is open for sending, its queue below
    /// [`Config::queue_high`], and all queues together that far below [`Config::loop_queue_max`]. When it is not,
    /// [`Handler::on_drain`](crate::Handler::on_drain) says when it is again. A message of up to
    /// `queue_max - queue_high` bytes, framing included, and no longer than `queue_high`, is taken then.
    #[inline]
    pub fn is_writable(&mut self, conn: ConnId) -> bool {
        let Some(entry) = self.conns.get_mut(conn).filter(|entry| entry.can_send()) else {
            return false;
        };
        let above = entry.queue_cost() >= entry.profile.queue_high;
        if above {
            entry.request_drain();
            return false;
        }
        let need = entry.profile.queue_high;
        let fits = self.metrics.has_room(need, self.config.loop_queue_max);
        if !fits {
            self.wait_for_quota(conn, need);
        }
        fits
    }

    /// The established connections that are not closing, in no particular order.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.all_that(|entry| entry.lifecycle() == Lifecycle::Open)
    }

    /// The dials under way, and the accepted connections whose handshake is not over, in no particular order.
    pub fn connecting(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.all_that(ConnEntry::is_unopened)
    }

    /// How many [`Net::connections`] there are; does not count them.
    pub fn connection_count(&self) -> usize {
        self.connected
    }

    /// How many are [`Net::connecting`]; does not count them.
    pub fn connecting_count(&self) -> usize {
        self.connecting
    }

    /// A connection or dial to or from this address that is not ending. An IPv4-mapped IPv6 address is the IPv4 address,
    /// and the unspecified one this host. Looks at all connections, but not at those of other [`Shards`](crate::Shards).
    pub fn find(&self, addr: SocketAddr) -> Option<ConnId> {
        let mut live = self
            .conns
            .iter()
            .filter(|(_, entry)| entry.is_unopened() || entry.lifecycle() == Lifecycle::Open);
        let addr = canonical(addr);
        live.find(|(_, entry)| canonical(entry.addr()) == addr)
            .map(|(conn, _)| conn)
    }

    /// Messages and bytes of all connections this node ever had. Adds up those that are there.
    pub fn stats(&self) -> Traffic {
        self.conns
            .iter()
            .fold(self.ended_traffic, |mut sum, (_, entry)| {
                sum += entry.traffic;
                sum
            })
    }

    /// What this node has done so far.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.metrics;
        metrics.note_peak();
        metrics
    }

    /// The settings that this node was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The node's name in log lines.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    fn all_that(&self, is_wanted: impl Fn(&ConnEntry) -> bool) -> impl Iterator<Item = ConnId> {
        self.conns
            .iter()
            .filter(move |(_, entry)| is_wanted(entry))
            .map(|(conn, _)| conn)
    }
}
