//! Dialling.

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::Socket;

use super::Net;
use crate::config::DialOptions;
use crate::error::ConnectError;
use crate::id::{ConnId, Side};
use crate::peer::{Ending, Peer, State};

/// A dial that was asked for and that the loop has not begun.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) conn: ConnId,
    pub(crate) addr: SocketAddr,
    pub(crate) socket: Option<Socket>,
    pub(crate) source: Option<SocketAddr>,
}

impl Net {
    /// Dials `addr`. The id is there at once, the outcome follows: either
    /// [`Handler::on_connect`](crate::Handler::on_connect) or
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed), exactly one of them, exactly once.
    ///
    /// The dial begins at the end of this turn. Until it is connected, sends to the id are refused;
    /// [`Net::close`] and [`Net::abort`] give it up.
    ///
    /// # Errors
    ///
    /// Nothing was begun and no callback will follow when this returns
    /// - [`ConnectError::ShuttingDown`] after [`Net::shutdown`];
    /// - [`ConnectError::TooManyConnections`] at [`Config::max_connections`](crate::Config::max_connections);
    /// - [`ConnectError::InvalidAddress`] when the port is zero.
    pub fn connect(&mut self, addr: SocketAddr) -> Result<ConnId, ConnectError> {
        self.connect_with(addr, DialOptions::default())
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
        options: DialOptions,
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
        let profile = self
            .profile
            .with(options.framing, options.max_frame, options.timeouts)
            .map_err(|error| ConnectError::InvalidOption(error.field))?;
        if self.connections_in_use() >= self.config.max_connections {
            return Err(ConnectError::TooManyConnections);
        }
        let (now, timeout) = (self.now, profile.timeouts.connect);
        let make = |id| Peer::new(id, addr, Side::Initiator, now, profile);
        let conn = self.peers.insert(make);
        self.connecting += 1;
        self.metrics.dialled += 1;
        self.set_deadline(conn, timeout);
        let (socket, source) = (options.socket, options.source);
        self.work.dials.push(Dial {
            conn,
            addr,
            socket,
            source,
        });
        Ok(conn)
    }

    /// Gives a connection that was accepted a slot.
    pub(crate) fn insert_accepted(
        &mut self,
        addr: SocketAddr,
        profile: &Arc<crate::config::Profile>,
    ) -> ConnId {
        let now = self.now;
        let make = |id| Peer::new(id, addr, Side::Responder, now, Arc::clone(profile));
        self.connecting += 1;
        self.peers.insert(make)
    }

    /// The TCP connection is made.
    pub(crate) fn open(&mut self, conn: ConnId, local_addr: SocketAddr) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(peer.inner_state(), State::Connecting);
        peer.open(local_addr, now);
        self.connecting -= 1;
        self.connected += 1;
        self.set_deadline(conn, None);
    }

    /// A dial came to nothing.
    pub(crate) fn fail(&mut self, conn: ConnId, error: ConnectError) {
        self.end(conn, Ending::Failed(error));
    }
}
