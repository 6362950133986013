//! Connects and adopted streams, before they have an inbound half.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use super::Net;
use crate::addr::{ConnInfo, to_canonical};
use crate::config::ConnectOptions;
use crate::connection::{ConnEntry, ConnectionState};
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::id::{ConnId, Direction, SLOTS_MAX};
use crate::sys::Stream;

/// An address to connect to: a [`SocketAddr`], a pair such as
/// `(Ipv4Addr::LOCALHOST, 80)`, or a numeric `&str` such as `"127.0.0.1:80"`.
///
/// A link-local IPv6 address has a scope id, which a pair does not have. Use a
/// [`SocketAddr`], for example the source of a datagram with another port.
///
/// This trait is sealed. The loop does not resolve host names, because that
/// would block it. [`Handle::connect_wait`](crate::Handle::connect_wait)
/// resolves them on the caller's thread.
pub trait ConnectAddr: sealed::Sealed {
    /// Returns the address, or `None` if it is not numeric.
    fn to_socket_addr(&self) -> Option<SocketAddr>;
}

mod sealed {
    #[allow(unnameable_types, reason = "this is what seals the trait")]
    pub trait Sealed {}
    impl Sealed for std::net::SocketAddr {}
    impl Sealed for (std::net::IpAddr, u16) {}
    impl Sealed for (std::net::Ipv4Addr, u16) {}
    impl Sealed for (std::net::Ipv6Addr, u16) {}
    impl Sealed for &str {}
}

impl ConnectAddr for SocketAddr {
    fn to_socket_addr(&self) -> Option<SocketAddr> {
        Some(*self)
    }
}

impl ConnectAddr for (IpAddr, u16) {
    fn to_socket_addr(&self) -> Option<SocketAddr> {
        Some((*self).into())
    }
}

impl ConnectAddr for (Ipv4Addr, u16) {
    fn to_socket_addr(&self) -> Option<SocketAddr> {
        Some((*self).into())
    }
}

impl ConnectAddr for (Ipv6Addr, u16) {
    fn to_socket_addr(&self) -> Option<SocketAddr> {
        Some((*self).into())
    }
}

impl ConnectAddr for &str {
    fn to_socket_addr(&self) -> Option<SocketAddr> {
        self.parse().ok()
    }
}

/// A requested connection that the loop has not started.
#[derive(Debug)]
pub(crate) struct PendingConnect {
    pub(crate) conn: ConnId,
    pub(crate) socket: PendingSocket,
    pub(crate) decoder: Codec,
}

/// The source of the socket of a pending connection.
#[derive(Debug)]
pub(crate) enum PendingSocket {
    Connect {
        addr: SocketAddr,
        bound_socket: Option<TcpStream>,
        source: Option<SocketAddr>,
    },
    Adopt(Stream),
}

impl Net {
    /// Returns options for [`Net::connect_with`], with the node's settings.
    pub fn connect_options(&self) -> ConnectOptions {
        let connection = Arc::clone(&self.connection_config);
        ConnectOptions::new(connection, self.config.allow_duplicates)
    }

    /// Connects to `addr` and returns the id of the connection at once.
    ///
    /// Exactly one of [`Handler::on_connect`](crate::Handler::on_connect) and
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed)
    /// follows. Until `on_connect`, sends to the id are refused with
    /// [`SendError::Closed`](crate::SendError::Closed). [`Net::close`] and
    /// [`Net::abort`] cancel the attempt.
    ///
    /// The connect starts at the end of this turn. After a failed connect,
    /// further attempts to the same address and port are limited to
    /// [`Limits::connect_retry_rate`](crate::config::Limits::connect_retry_rate),
    /// and an attempt beyond that rate starts later.
    ///
    /// # Errors
    ///
    /// After an error no callback follows.
    ///
    /// - [`ConnectError::ShuttingDown`] after [`Net::shutdown`];
    /// - [`ConnectError::InvalidAddress`] if the port is zero or the text is
    ///   not a numeric address;
    /// - [`ConnectError::AlreadyConnected`] or
    ///   [`ConnectError::AlreadyConnecting`] if the node has a connection or a
    ///   pending connect to this address, and
    ///   [`Config::allow_duplicates`](crate::Config::allow_duplicates) is
    ///   false. If another [shard](crate::shards) has the connection or the
    ///   connect, the error is always `AlreadyConnected`;
    /// - [`ConnectError::TooManyConnecting`],
    ///   [`ConnectError::TooManyConnections`],
    ///   [`ConnectError::TooManyFromAddress`] or
    ///   [`ConnectError::TooManyFromPrefix`] if that limit is reached.
    pub fn connect(&mut self, addr: impl ConnectAddr) -> Result<ConnId, ConnectError> {
        let options = self.connect_options();
        self.connect_with(addr, options)
    }

    /// Connects to `addr` with options; see [`Net::connect`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::connect`];
    /// - [`ConnectError::InvalidOption`] with the name of the field if an
    ///   option is invalid.
    pub fn connect_with(
        &mut self,
        addr: impl ConnectAddr,
        options: ConnectOptions,
    ) -> Result<ConnId, ConnectError> {
        if self.stopping.is_some() {
            return Err(ConnectError::ShuttingDown);
        }
        let addr = addr
            .to_socket_addr()
            .filter(|addr| addr.port() != 0)
            .ok_or(ConnectError::InvalidAddress)?;
        let foreign = |source: SocketAddr| source.is_ipv4() != addr.is_ipv4();
        if options.source.is_some_and(foreign)
            || (options.source.is_some() && options.bound_socket.is_some())
        {
            return Err(ConnectError::InvalidOption("source"));
        }
        let info = ConnInfo {
            direction: Direction::Outbound,
            addr: to_canonical(addr),
            local_addr: None,
            listener: None,
        };
        let (conn, decoder) = self.insert_pending(&info, &options)?;
        let pending = PendingConnect {
            conn,
            socket: PendingSocket::Connect {
                addr,
                bound_socket: options.bound_socket,
                source: options.source,
            },
            decoder,
        };
        self.schedule_connect(pending, options.delay);
        Ok(conn)
    }

    /// Adds a connected stream, as if this node had accepted or connected it.
    /// Returns the id of the connection at once.
    ///
    /// The callbacks of [`Net::connect`] follow.
    /// [`Handler::on_accept`](crate::Handler::on_accept) is not called.
    ///
    /// The connection counts for the limits, as one that was accepted or
    /// connected. An outbound stream counts for `max_outbound_connecting` until
    /// it is open. An inbound stream with a session takes a place of
    /// [`max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes).
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use peerloop::{Config, ConnId, Direction, Handler, Net, Node};
    ///
    /// # struct Server;
    /// # impl Handler for Server {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let _client = TcpStream::connect(listener.local_addr()?)?;
    /// let (stream, _) = listener.accept()?;
    ///
    /// let mut node = Node::new(Config::default(), Server)?;
    /// let conn = node.net().adopt(stream, Direction::Inbound)?;
    /// # assert!(node.net().connection(conn).is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::connect`], except `InvalidAddress`;
    /// - [`ConnectError::Io`] if the stream is not connected or cannot be made
    ///   non-blocking, and with the kind `Unsupported` in the simulator.
    pub fn adopt(
        &mut self,
        stream: TcpStream,
        direction: Direction,
    ) -> Result<ConnId, ConnectError> {
        let options = self.connect_options();
        self.adopt_with(stream, direction, options)
    }

    /// Adds a connected stream with options; see [`Net::adopt`].
    ///
    /// `bound_socket`, `source` and `delay` must not be set. `allow_duplicate`
    /// applies to outbound streams only.
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::adopt`];
    /// - [`ConnectError::InvalidOption`] with the name of the field if an
    ///   option is invalid.
    pub fn adopt_with(
        &mut self,
        stream: TcpStream,
        direction: Direction,
        options: ConnectOptions,
    ) -> Result<ConnId, ConnectError> {
        if self.stopping.is_some() {
            return Err(ConnectError::ShuttingDown);
        }
        let set = [
            ("bound_socket", options.bound_socket.is_some()),
            ("source", options.source.is_some()),
            ("delay", options.delay.is_some()),
        ];
        if let Some((field, _)) = set.into_iter().find(|(_, is_set)| *is_set) {
            return Err(ConnectError::InvalidOption(field));
        }
        let adopted = self.registrar.adopt(stream, &self.sockets);
        let (stream, addr) = adopted.map_err(|error| ConnectError::Io((&error).into()))?;
        let info = ConnInfo {
            direction,
            addr: to_canonical(addr),
            local_addr: None,
            listener: None,
        };
        let (conn, decoder) = self.insert_pending(&info, &options)?;
        self.work.connects.push_back(PendingConnect {
            conn,
            socket: PendingSocket::Adopt(stream),
            decoder,
        });
        Ok(conn)
    }

    /// Charges a connection that has no socket yet, and assigns a slot to it.
    fn insert_pending(
        &mut self,
        info: &ConnInfo,
        options: &ConnectOptions,
    ) -> Result<(ConnId, Codec), ConnectError> {
        let config = self
            .validated(options.shared_connection())
            .map_err(|error| ConnectError::InvalidOption(error.field))?;
        // A slot is free again only after the turn. Therefore the limits alone
        // do not bound the number of slots of a handler that connects and
        // closes repeatedly in one turn, and a slot number could overflow into
        // the bits of the shard.
        if self.conns.len() >= SLOTS_MAX as usize {
            return Err(ConnectError::TooManyConnections);
        }
        // A custom framer may panic here, before anything is charged.
        let (decoder, encoder) = (Codec::new(&config.framing), Codec::new(&config.framing));
        // Duplicates are checked before the limits, so that an error of a limit
        // does not hide an existing connection.
        let is_outbound = info.direction == Direction::Outbound;
        let mut limits = self.limits.lock();
        if is_outbound && !options.allow_duplicate && limits.has_address(info.addr) {
            drop(limits);
            return Err(self.duplicate_error(info.addr));
        }
        if is_outbound {
            limits.check_outbound()?;
        }
        limits.charge(info)?;
        if is_outbound {
            limits.add_outbound_connecting();
        }
        drop(limits);
        let now = self.timestamp();
        let make = |id| ConnEntry::new(id, info, now, config, encoder);
        let conn = self.conns.insert(make);
        self.connecting += 1;
        match info.direction {
            Direction::Outbound => self.metrics.connects_started += 1,
            Direction::Inbound => self.metrics.accepted += 1,
        }
        if let Some(router) = &self.router {
            router.add_connection();
        }
        self.restart_deadline(conn);
        Ok((conn, decoder))
    }

    fn duplicate_error(&self, addr: SocketAddr) -> ConnectError {
        let state = self
            .find(addr)
            .and_then(|conn| self.conns.get(conn))
            .map(ConnEntry::state);
        match state {
            Some(ConnectionState::Connecting) => ConnectError::AlreadyConnecting,
            _ => ConnectError::AlreadyConnected,
        }
    }
}
