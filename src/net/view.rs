//! Looking around.

use std::net::SocketAddr;

use super::Net;
use crate::config::Config;
use crate::id::ConnId;
use crate::limits::canonical;
use crate::peer::{Peer, State};
use crate::stats::{Metrics, Traffic};

impl Net {
    /// What is known about a connection, from the call that dialled it to the end of its last callback.
    pub fn peer(&self, conn: ConnId) -> Option<&Peer> {
        self.peers
            .get(conn)
            .filter(|peer| peer.inner_state() != State::Gone)
    }

    /// Bytes that were accepted for sending on this connection and not handed to the kernel yet, framing included.
    /// Zero for a stale id. Inside [`Handler::on_disconnect`](crate::Handler::on_disconnect) it is what was lost.
    pub fn queued(&self, conn: ConnId) -> usize {
        self.peer(conn).map_or(0, Peer::queued)
    }

    /// Whether now is a good time to send: the connection is open for sending, its queue below
    /// [`Config::queue_high`], and all queues together that far below [`Config::loop_queue_max`]. When it is not,
    /// [`Handler::on_drain`](crate::Handler::on_drain) says when it is again. A message of up to
    /// `queue_max - queue_high` bytes, framing included, and no longer than `queue_high`, is taken then.
    #[inline]
    pub fn is_writable(&mut self, conn: ConnId) -> bool {
        let Some(peer) = self.peers.get_mut(conn).filter(|peer| peer.can_send()) else {
            return false;
        };
        let above = peer.queue_cost() >= peer.profile.queue_high;
        if above {
            peer.owe_drain();
            return false;
        }
        let need = peer.profile.queue_high;
        let fits = self.metrics.has_room(need, self.config.loop_queue_max);
        if !fits {
            self.note_starved(conn, need);
        }
        fits
    }

    /// The established connections that are not closing, in no particular order.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.all_that(|peer| peer.inner_state() == State::Open)
    }

    /// The dials under way, and the accepted connections whose handshake is not over, in no particular order.
    pub fn connecting(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.all_that(Peer::is_unheard)
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
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_unheard() || peer.inner_state() == State::Open);
        let addr = canonical(addr);
        live.find(|(_, peer)| canonical(peer.addr()) == addr)
            .map(|(conn, _)| conn)
    }

    /// Messages and bytes of all connections this node ever had. Adds up those that are there.
    pub fn stats(&self) -> Traffic {
        self.peers
            .iter()
            .fold(self.ended_traffic, |mut sum, (_, peer)| {
                sum += peer.traffic;
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

    fn all_that(&self, is_wanted: impl Fn(&Peer) -> bool) -> impl Iterator<Item = ConnId> {
        self.peers
            .iter()
            .filter(move |(_, peer)| is_wanted(peer))
            .map(|(conn, _)| conn)
    }
}
