//! Outbound connects, up to the socket.

use std::net::SocketAddr;

use socket2::Socket;

use super::Net;
use crate::config::{ConnectOptions, Overrides, Permission};
use crate::connection::{ConnEntry, ConnectionState, Ending};
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::id::{ConnId, Direction, SLOTS_MAX};

/// A dial that was asked for and that the loop has not begun.
#[derive(Debug)]
pub(crate) struct PendingConnect {
    pub(crate) conn: ConnId,
    pub(crate) addr: SocketAddr,
    pub(crate) socket: Option<Socket>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) decoder: Codec,
}

impl Net {
    /// Dials `addr`. The id is there at once, the outcome follows: either
    /// [`Handler::on_connect`](crate::Handler::on_connect) or
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed), exactly one of them, exactly once.
    ///
    /// Names are not resolved here, since that would block the loop: use `ToSocketAddrs` before, or in a thread.
    ///
    /// The dial begins at the end of this turn. Until it is connected, sends to the id are refused;
    /// [`Net::close`] and [`Net::abort`] give it up.
    ///
    /// # Errors
    ///
    /// Nothing was begun and no callback will follow when this returns
    /// - [`ConnectError::ShuttingDown`] after [`Net::shutdown`];
    /// - [`ConnectError::InvalidAddress`] when the port is zero;
    /// - [`ConnectError::AlreadyConnected`] or [`ConnectError::AlreadyConnecting`] when there is a connection with this
    ///   address, or a dial, and [`Config::duplicates`](crate::Config::duplicates) are refused; of other
    ///   [`Shards`](crate::Shards) the first is said of both;
    /// - [`ConnectError::TooManyConnecting`], [`ConnectError::TooManyConnections`],
    ///   [`ConnectError::TooManyFromAddress`] or [`ConnectError::TooManyFromPrefix`] at the limit of that name.
    pub fn connect(&mut self, addr: SocketAddr) -> Result<ConnId, ConnectError> {
        self.connect_with(addr, ConnectOptions::default())
    }

    /// Dials `addr` with a socket, a source address, a framing or deadlines of its own; see [`Net::connect`].
    ///
    /// # Errors
    ///
    /// Those of [`Net::connect`], and
    /// - [`ConnectError::InvalidOption`] when an option cannot work; the field is named.
    pub fn connect_with(
        &mut self,
        addr: SocketAddr,
        options: ConnectOptions,
    ) -> Result<ConnId, ConnectError> {
        if self.stopping.is_some() {
            return Err(ConnectError::ShuttingDown);
        }
        if addr.port() == 0 {
            return Err(ConnectError::InvalidAddress);
        }
        if options.socket.is_some() && options.source.is_some() {
            return Err(ConnectError::InvalidOption("source"));
        }
        if options
            .source
            .is_some_and(|source| source.is_ipv4() != addr.is_ipv4())
        {
            return Err(ConnectError::InvalidOption("source"));
        }
        let overrides = Overrides {
            framing: options.framing,
            max_frame: options.max_frame,
            timeouts: options.timeouts,
            overflow: options.overflow,
            half_open: options.half_open,
        };
        let profile = self
            .profile
            .with(overrides)
            .map_err(|error| ConnectError::InvalidOption(error.field))?;
        // Slots are free again only after the turn, so the limits alone do not keep a handler that dials and gives up, over and
        // over in one turn, from ids that would be those of another shard.
        if self.conns.len() >= SLOTS_MAX as usize {
            return Err(ConnectError::TooManyConnections);
        }
        // A user's framer may panic here: nothing is charged yet.
        let codecs = (Codec::new(&profile.framing), Codec::new(&profile.framing));
        // Before the budgets: that there is a connection already must not be masked by a limit.
        let duplicates = options.duplicates.unwrap_or(self.config.duplicates);
        let mut limits = self.limits.lock();
        if duplicates == Permission::Refused && limits.knows(addr) {
            drop(limits);
            return Err(self.duplicate_error(addr));
        }
        limits.check_outbound()?;
        limits.charge(addr)?;
        limits.start_connect();
        drop(limits);
        let now = self.now;
        let (decoder, encoder) = codecs;
        let make = |id| ConnEntry::new(id, addr, Direction::Outbound, now, profile, encoder);
        let conn = self.conns.insert(make);
        self.connecting += 1;
        self.metrics.connects_started += 1;
        if let Some(router) = &self.router {
            router.connects_started();
        }
        self.arm(conn);
        let (socket, source) = (options.socket, options.source);
        self.work.connects.push(PendingConnect {
            conn,
            addr,
            socket,
            source,
            decoder,
        });
        Ok(conn)
    }

    /// A dial begins only now: the time that the node was not run is not the peer's.
    pub(crate) fn connect_started(&mut self, conn: ConnId) {
        let now = self.now;
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.start_connect(now);
            self.arm(conn);
        }
    }

    /// A dial came to nothing.
    pub(crate) fn fail(&mut self, conn: ConnId, error: ConnectError) {
        self.end(conn, Ending::Failed(error));
    }

    fn duplicate_error(&self, addr: SocketAddr) -> ConnectError {
        let state = self
            .find(addr)
            .and_then(|conn| self.connection(conn))
            .map(ConnEntry::state);
        match state {
            Some(ConnectionState::Connecting) => ConnectError::AlreadyConnecting,
            _ => ConnectError::AlreadyConnected,
        }
    }
}
