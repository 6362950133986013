//! Views of connections, and counters.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use super::Net;
use crate::addr::{ConnInfo, to_canonical_target};
use crate::config::{Config, ConnectionConfig};
use crate::connection::{ConnEntry, ConnectionState, Entries, Lifecycle};
use crate::id::{ConnId, Direction, ListenerId};
use crate::metrics::Metrics;
use crate::session::Identity;
use crate::traffic::Traffic;

/// A view of a connection, returned by [`Net::connection`].
///
/// It borrows the [`Net`] and is `Copy`.
#[derive(Clone, Copy)]
pub struct Connection<'a> {
    entry: &'a ConnEntry,
    net: &'a Net,
}

impl<'a> Connection<'a> {
    /// Returns the id of the connection.
    pub fn id(&self) -> ConnId {
        self.entry.id()
    }

    /// Returns the addresses, the direction and the listener.
    pub fn info(&self) -> ConnInfo {
        self.entry.info()
    }

    /// Returns the state of the connection.
    pub fn state(&self) -> ConnectionState {
        self.entry.state()
    }

    /// Returns the time at which the connection was opened. Before that,
    /// returns the time at which its current state began: the connect or the
    /// handshake.
    pub fn since(&self) -> Instant {
        self.entry.since().instant(self.net.epoch)
    }

    /// Returns the identity of the peer that the session's handshake
    /// established. Returns `None` for plain connections, before the handshake
    /// has completed, and for sessions without an identity.
    pub fn identity(&self) -> Option<&'a Identity> {
        self.entry.identity()
    }

    /// Returns the numbers of messages and bytes in both directions. Inside
    /// [`Handler::on_message`](crate::Handler::on_message) the current message
    /// is included.
    pub fn traffic(&self) -> Traffic {
        let mut traffic = self.entry.traffic;
        if self.net.work.batch.conn == Some(self.id()) {
            traffic += self.net.work.batch.traffic();
        }
        traffic
    }

    /// Returns the number of bytes that were accepted for sending and that the
    /// kernel has not taken, including the framing. Inside
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect) these bytes
    /// are lost.
    pub fn queued_bytes(&self) -> usize {
        self.entry.queued_bytes()
    }

    /// Returns the settings of the connection, as the listener or the connect
    /// had them and [`Net::set_framing`], [`Net::set_max_message_len`],
    /// [`Net::set_rate`] and [`Net::set_timeouts`] have changed them.
    pub fn config(&self) -> &'a ConnectionConfig {
        &self.entry.config
    }

    /// Returns the listener that accepted the connection. Returns `None` for
    /// outbound and for adopted connections.
    pub fn listener(&self) -> Option<ListenerId> {
        self.entry.info().listener
    }
}

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}

/// An iterator over connections; see [`Net::connections`] and
/// [`Net::connecting`].
#[derive(Clone)]
pub struct Connections<'a> {
    entries: Entries<'a, ConnEntry>,
    net: &'a Net,
    is_wanted: fn(&ConnEntry) -> bool,
}

impl<'a> Iterator for Connections<'a> {
    type Item = Connection<'a>;

    fn next(&mut self) -> Option<Connection<'a>> {
        let Self {
            entries,
            net,
            is_wanted,
        } = self;
        let entry = entries.find(|entry| is_wanted(entry))?;
        Some(Connection { entry, net })
    }
}

impl fmt::Debug for Connections<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl Net {
    /// Returns a view of a connection.
    ///
    /// An id is valid from the call that returned it to the end of its last
    /// callback. Returns `None` for a stale id and for a connection of another
    /// [shard](crate::shards).
    pub fn connection(&self, conn: ConnId) -> Option<Connection<'_>> {
        self.conns
            .get(conn)
            .filter(|entry| entry.lifecycle() != Lifecycle::Released)
            .map(|entry| Connection { entry, net: self })
    }

    /// Returns the socket of a connection, for options that the library does
    /// not wrap (Unix).
    ///
    /// Returns `None` before there is a socket, for a stale id, for a
    /// connection of another [shard](crate::shards), and in the simulator.
    ///
    /// Reading from it or writing to it breaks the connection. A duplicate of
    /// the descriptor keeps the TCP connection open after its end here.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] mod linux {
    /// use peerloop::{ConnId, Handler, Net};
    /// use socket2::SockRef;
    ///
    /// # struct Server;
    /// impl Handler for Server {
    ///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
    ///         if let Some(socket) = net.socket(conn) {
    ///             let _ = SockRef::from(&socket).set_tcp_quickack(true);
    ///         }
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// # }
    /// ```
    #[cfg(unix)]
    pub fn socket(&self, conn: ConnId) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.stream(conn)?.as_fd()
    }

    /// Returns the socket of a connection, for options that the library does
    /// not wrap (Windows).
    ///
    /// Returns `None` before there is a socket, for a stale id, for a
    /// connection of another [shard](crate::shards), and in the simulator.
    /// Reading from it or writing to it breaks the connection.
    #[cfg(windows)]
    pub fn socket(&self, conn: ConnId) -> Option<std::os::windows::io::BorrowedSocket<'_>> {
        self.stream(conn)?.as_socket()
    }

    /// Returns the open connections of this loop, in no particular order.
    /// Connections that are closing are not included.
    ///
    /// ```
    /// # use std::net::SocketAddr;
    /// # use peerloop::{Net, SendError};
    /// fn greet(net: &mut Net, addr: SocketAddr) -> Result<(), SendError> {
    ///     if let Some(c) = net.connections().find(|c| c.info().addr == addr) {
    ///         net.send(c.id(), b"hello")?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn connections(&self) -> Connections<'_> {
        self.connections_that(|entry| entry.lifecycle() == Lifecycle::Open)
    }

    /// Returns the connections of this loop that are connecting or in their
    /// handshake, in both directions and in no particular order.
    pub fn connecting(&self) -> Connections<'_> {
        self.connections_that(ConnEntry::is_unopened)
    }

    /// Returns the number of [`Net::connections`], in constant time.
    pub fn connection_count(&self) -> usize {
        self.open[0] + self.open[1]
    }

    /// Returns the number of [`Net::connections`] that were opened in this
    /// direction, in constant time.
    pub fn connection_count_of(&self, direction: Direction) -> usize {
        self.open[direction as usize]
    }

    /// Returns the number of [`Net::connecting`], in constant time.
    pub fn connecting_count(&self) -> usize {
        self.connecting
    }

    /// Returns a connection of this loop to the peer at this address that is
    /// connecting, in its handshake or open.
    ///
    /// The address is compared in its [canonical form](crate::to_canonical).
    /// The unspecified address counts as the loopback address. The search looks
    /// at every connection of this loop, and not at other
    /// [shards](crate::shards).
    pub fn find(&self, addr: SocketAddr) -> Option<ConnId> {
        let addr = to_canonical_target(addr);
        let is_live =
            |entry: &&ConnEntry| entry.is_unopened() || entry.lifecycle() == Lifecycle::Open;
        self.conns
            .entries()
            .filter(is_live)
            .find(|entry| to_canonical_target(entry.addr()) == addr)
            .map(|entry| entry.id())
    }

    /// Returns whether a message should be sent now: the connection is open for
    /// sending, and its queue is below
    /// [`high_bytes`](crate::config::SendQueueConfig::high_bytes).
    ///
    /// After a send has made it false,
    /// [`Handler::on_drain`](crate::Handler::on_drain) is called when there is
    /// room. Even if this returns true, a send is refused with
    /// [`SendError::Full`](crate::SendError::Full) if the message does not fit
    /// into `max_bytes` or into
    /// [`loop_send_bytes`](crate::config::Limits::loop_send_bytes). `on_drain`
    /// follows then too. Returns false for a stale id and for a connection of
    /// another [shard](crate::shards).
    #[inline]
    pub fn is_writable(&self, conn: ConnId) -> bool {
        self.conns.get(conn).is_some_and(|entry| {
            entry.can_send() && entry.queue_cost() < entry.config.send_queue.high_bytes
        })
    }

    /// Returns the numbers of messages and bytes of all connections that this
    /// loop has had.
    pub fn traffic(&self) -> Traffic {
        let mut sum = self.ended_traffic;
        for entry in self.conns.entries() {
            sum += entry.traffic;
        }
        sum += self.work.batch.traffic();
        sum
    }

    /// Returns the counters of this loop.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.metrics;
        metrics.received_bytes = self.received_bytes;
        metrics.queued_bytes = self.pool.account.used();
        metrics.max_queued_bytes = self.pool.account.max_used();
        metrics.udp = self.udp.traffic();
        metrics
    }

    /// Returns the settings that the node was created with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the name of the node in log lines.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    fn connections_that(&self, is_wanted: fn(&ConnEntry) -> bool) -> Connections<'_> {
        Connections {
            entries: self.conns.entries(),
            net: self,
            is_wanted,
        }
    }
}
