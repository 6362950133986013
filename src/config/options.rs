//! Options of one listener and of one outbound connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ConnectionConfig;
use super::check::{check, check_nonzero};
use crate::error::ConfigError;

/// Options of a listener; see [`Net::listen_with`](crate::Net::listen_with).
///
/// Made by [`Net::listen_options`](crate::Net::listen_options), which fills it
/// from the node's settings, and by the methods of the same name of
/// [`Handle`](crate::Handle) and [`ShardsHandle`](crate::node::ShardsHandle).
///
/// ```
/// # use peerloop::{ConnId, Handler, Net};
/// # struct Server;
/// impl Handler for Server {
///     fn on_start(&mut self, net: &mut Net) {
///         let mut options = net.listen_options();
///         options.connection_mut().max_message_len = 64 * 1024;
///         let listening = net.listen_with("127.0.0.1:0", options);
/// #       assert!(listening.is_ok());
///     }
/// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    connection: Arc<ConnectionConfig>,
    /// Maximum number of connections that wait in the kernel until they are
    /// accepted (`listen(2)`). Linux caps it at `net.core.somaxconn`.
    ///
    /// Default: 1,024.
    pub backlog: u32,
    /// Sets SO_REUSEPORT (Unix), so that several listeners share one port.
    ///
    /// Default: false.
    pub reuse_port: bool,
    /// Whether an IPv6 listener accepts IPv6 connections only (IPV6_V6ONLY).
    ///
    /// Default: false, `[::]` accepts IPv4 connections too. Their addresses are
    /// reported as IPv4 addresses.
    pub v6_only: bool,
    /// Limits of this listener within those of the node.
    ///
    /// Default: none.
    pub limits: ListenerLimits,
}

impl ListenOptions {
    pub(crate) fn new(connection: Arc<ConnectionConfig>) -> Self {
        Self {
            connection,
            backlog: 1024,
            reuse_port: false,
            v6_only: false,
            limits: ListenerLimits::default(),
        }
    }

    /// The settings of the accepted connections.
    pub fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    /// The settings of the accepted connections, to be changed.
    pub fn connection_mut(&mut self) -> &mut ConnectionConfig {
        Arc::make_mut(&mut self.connection)
    }

    pub(crate) fn shared_connection(&self) -> &Arc<ConnectionConfig> {
        &self.connection
    }
}

/// Limits of one listener, within the [`Limits`](crate::config::Limits) of the
/// node. With [`Shards`](crate::node::Shards) they hold for all shards
/// together.
///
/// A node with a second listener, for instance for metrics, reserves some slots
/// for it, so that it can be reached while the node is full. It also bounds it,
/// so that it cannot fill the node:
///
/// ```
/// # use peerloop::{ConnId, Handler, Net};
/// # struct Server;
/// use peerloop::config::ListenerLimits;
///
/// impl Handler for Server {
///     fn on_start(&mut self, net: &mut Net) {
///         let mut options = net.listen_options();
///         options.limits = ListenerLimits {
///             max_connections: Some(16),
///             reserved_connections: 4,
///             ..Default::default()
///         };
///         let metrics = net.listen_with("127.0.0.1:0", options);
/// #       assert!(metrics.is_ok());
///     }
/// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListenerLimits {
    /// Maximum number of connections that this listener has accepted and that
    /// have not ended. A further one is accepted and closed.
    ///
    /// Default: `None`, only the limits of the node apply.
    pub max_connections: Option<usize>,
    /// Number of slots of
    /// [`Limits::max_connections`](crate::config::Limits::max_connections) that
    /// only connections of this listener can have. It can have other free slots
    /// too. All reservations together, with
    /// [`Limits::reserved_outbound`](crate::config::Limits::reserved_outbound),
    /// are at most `max_connections`.
    ///
    /// Default: 0.
    pub reserved_connections: usize,
    /// Maximum number of handshakes of connections of this listener. While all
    /// are taken, a new handshake takes the place of another handshake of this
    /// listener, as
    /// [`Limits::max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes)
    /// describes.
    ///
    /// Default: `None`, only the limit of the node applies. That does not let
    /// the clients of one listener lock out those of another, because an
    /// address with fewer places always gets one.
    pub max_handshakes: Option<usize>,
}

impl ListenerLimits {
    /// Checks what can be checked without the node.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        check_nonzero([
            ("limits.max_connections", self.max_connections == Some(0)),
            ("limits.max_handshakes", self.max_handshakes == Some(0)),
        ])?;
        let max = self.max_connections.unwrap_or(usize::MAX);
        let fits = self.reserved_connections <= max;
        let problem = "is more than `limits.max_connections`";
        check(fits, "limits.reserved_connections", problem)
    }
}

/// Options of an outbound connection; see
/// [`Net::connect_with`](crate::Net::connect_with).
///
/// Made by [`Net::connect_options`](crate::Net::connect_options), which fills
/// it from the node's settings, and by the methods of the same name of
/// [`Handle`](crate::Handle) and [`ShardsHandle`](crate::node::ShardsHandle). A
/// thousand connects share one [`ConnectionConfig`], unless it is changed.
#[derive(Debug)]
pub struct ConnectOptions {
    connection: Arc<ConnectionConfig>,
    /// A socket to connect, bound and set up by the caller (hole punching,
    /// source ports, devices). It must not be connected yet, and is made
    /// non-blocking. Not together with `source`.
    ///
    /// If the peer connects from the address that is connected to, at the same
    /// time, both ends are outbound; see [`Role`](crate::session::Role) for the
    /// handshake of a session.
    ///
    /// Default: `None`, a new socket.
    pub bound_socket: Option<std::net::TcpStream>,
    /// The local address to connect from. With port 0 the system chooses a
    /// port. Not together with `bound_socket`.
    ///
    /// After a connection that this node closed first, the system keeps its
    /// port for a minute or more (TIME-WAIT; RFC 9293, 3.6.1), and the next
    /// connect from that port fails with `AddrInUse`.
    ///
    /// On Linux a socket that is bound with port 0 takes a local port that no
    /// other socket of this address has, whatever it connects to: at most some
    /// 28,000 connections from one source address (ip(7),
    /// `ip_local_port_range`). Without a source, connections to different
    /// destinations share ports. The library does not set
    /// IP_BIND_ADDRESS_NO_PORT, which avoids this; a `bound_socket` can have
    /// it.
    ///
    /// Default: `None`, the system chooses.
    pub source: Option<SocketAddr>,
    /// Whether the address may be connected to while there is a connection with
    /// it, or an attempt.
    ///
    /// Default: [`Config::allow_duplicates`](crate::Config::allow_duplicates).
    pub allow_duplicate: bool,
    /// The time after which the attempt begins. It has no file descriptor until
    /// then, its connect timeout has not started, and
    /// [`Net::close`](crate::Net::close) cancels it.
    ///
    /// - `None`: at once, except for an attempt that follows failed ones beyond
    ///   [`Limits::connect_retry_rate`](crate::config::Limits::connect_retry_rate).
    /// - `Some`: exactly this time, and the rate does not count it. With
    ///   `Some(Duration::ZERO)` it begins at once, as hole punching needs it.
    ///
    /// Default: `None`.
    pub delay: Option<Duration>,
}

impl ConnectOptions {
    pub(crate) fn new(connection: Arc<ConnectionConfig>, allow_duplicate: bool) -> Self {
        Self {
            connection,
            bound_socket: None,
            source: None,
            allow_duplicate,
            delay: None,
        }
    }

    /// The settings of the connection.
    pub fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    /// The settings of the connection, to be changed.
    pub fn connection_mut(&mut self) -> &mut ConnectionConfig {
        Arc::make_mut(&mut self.connection)
    }

    pub(crate) fn shared_connection(&self) -> &Arc<ConnectionConfig> {
        &self.connection
    }
}
