//! Options of one listener and of one outbound connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::ConnectionConfig;
use super::TrustedProxies;
use super::check::{check, check_nonzero};
use crate::error::ConfigError;

/// Options of a listener, for [`Net::listen_with`](crate::Net::listen_with).
///
/// Created by [`Net::listen_options`](crate::Net::listen_options), which copies
/// the node's settings, and by the methods of the same name of
/// [`Node`](crate::Node), [`Handle`](crate::Handle) and
/// [`ShardsHandle`](crate::node::ShardsHandle).
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
    /// Maximum number of connections that wait in the kernel to be accepted
    /// (`listen(2)`). Linux limits it to `net.core.somaxconn`.
    ///
    /// Default: 1,024.
    pub backlog: u32,
    /// Whether to set SO_REUSEPORT (Unix), so that several listeners can share
    /// a port.
    ///
    /// Default: false.
    pub reuse_port: bool,
    /// Whether an IPv6 listener accepts IPv6 connections only (IPV6_V6ONLY). If
    /// false, a listener on `[::]` accepts IPv4 connections too, and their
    /// addresses are reported as IPv4 addresses.
    ///
    /// Default: false.
    pub v6_only: bool,
    /// Limits of this listener, within the limits of the node.
    ///
    /// Default: no limits beyond the limits of the node.
    pub limits: ListenerLimits,
    /// The proxies whose connections begin with a header of the PROXY protocol,
    /// version 1 or 2 (`doc/proxy-protocol.txt` of haproxy). `None` expects no
    /// header.
    ///
    /// The header contains the addresses of the connection that the proxy
    /// relays. The loop reads it before
    /// [`Handler::on_accept`](crate::Handler::on_accept). From then on, all
    /// callbacks, limits and accessors use the source address of the header as
    /// the address of the peer, and the destination address of the header as
    /// the local address. The bytes after the header come from the client.
    /// With [`Shards`](crate::node::Shards), the shard that the connection is
    /// assigned to reads the header.
    ///
    /// - **Other hosts.** A connection from an address outside of these
    ///   networks is closed before anything is read. A client that reaches this
    ///   port directly could otherwise avoid the limits of the proxy. For
    ///   direct clients, open a second listener without this option.
    /// - **No header.** A connection without a complete, valid header is
    ///   closed. The protocol forbids to guess whether there is one.
    /// - **The proxy itself.** A header without a TCP address, such as `LOCAL`
    ///   of a health check, `UNKNOWN`, or one for a Unix socket, leaves the
    ///   addresses of the socket in place. Such connections count for the
    ///   limits of the proxy's address;
    ///   [`Limits::exempt_networks`](crate::config::Limits::exempt_networks)
    ///   exempts it. No other connection counts for the proxy's address.
    /// - **Place.** While its header is incomplete, a connection has no id and
    ///   takes a place of
    ///   [`Limits::max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes).
    /// - **Time.** The whole header must arrive within
    ///   [`Timeouts::handshake`](crate::config::Timeouts::handshake) of this
    ///   listener. The handshake of a session has that time again.
    /// - **Length.** A header of version 1 has at most 107 bytes, and one of
    ///   version 2 at most 65,551. At most 107 bytes of it are kept.
    ///   Type-length-value entries of version 2 are skipped. A checksum in them
    ///   is not verified.
    ///
    /// Connections that are closed for one of these reasons are counted in
    /// [`Metrics::refused_untrusted`](crate::Metrics::refused_untrusted) and
    /// [`Metrics::proxy_header_errors`](crate::Metrics::proxy_header_errors).
    /// The guide [open_internet](crate::guide::open_internet) has the settings
    /// of haproxy.
    ///
    /// ```
    /// # use peerloop::{ConnId, Handler, Net};
    /// # struct Server;
    /// use peerloop::config::TrustedProxies;
    ///
    /// impl Handler for Server {
    ///     fn on_start(&mut self, net: &mut Net) {
    ///         let proxy = "127.0.0.1".parse().expect("an address");
    ///         let mut options = net.listen_options();
    ///         options.proxy_protocol = Some(TrustedProxies::new([proxy]));
    ///         let listening = net.listen_with("127.0.0.1:0", options);
    /// #       assert!(listening.is_ok());
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// # let mut node = peerloop::Node::new(Default::default(), Server).unwrap();
    /// # let _ = node.turn(Some(std::time::Duration::ZERO)).unwrap();
    /// ```
    ///
    /// Default: `None`.
    pub proxy_protocol: Option<TrustedProxies>,
}

impl ListenOptions {
    pub(crate) fn new(connection: Arc<ConnectionConfig>) -> Self {
        Self {
            connection,
            backlog: 1024,
            reuse_port: false,
            v6_only: false,
            limits: ListenerLimits::default(),
            proxy_protocol: None,
        }
    }

    /// Checks the fields, except for the settings of connections.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.limits.validate()?;
        let proxies = self.proxy_protocol.as_ref();
        proxies.map_or(Ok(()), TrustedProxies::validate)
    }

    /// Returns the settings of accepted connections.
    pub fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    /// Returns the settings of accepted connections, mutably.
    pub fn connection_mut(&mut self) -> &mut ConnectionConfig {
        Arc::make_mut(&mut self.connection)
    }

    pub(crate) fn shared_connection(&self) -> &Arc<ConnectionConfig> {
        &self.connection
    }
}

/// Limits of one listener, within the [`Limits`](crate::config::Limits) of the
/// node. With [`Shards`](crate::node::Shards) they apply to all shards
/// together.
///
/// A node with a second listener, for example for metrics, can reserve slots
/// for it, so that the listener accepts connections while the node is full. It
/// can also limit the number of its connections:
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
    /// have not ended. A further connection is accepted and closed. Not zero.
    ///
    /// Default: `None`, which means that only the limits of the node apply.
    pub max_connections: Option<usize>,
    /// Number of slots of
    /// [`Limits::max_connections`](crate::config::Limits::max_connections) that
    /// only connections of this listener can use. They can use other free slots
    /// too.
    ///
    /// At most `max_connections` of this listener. The sum of all reservations,
    /// including
    /// [`Limits::reserved_outbound`](crate::config::Limits::reserved_outbound),
    /// is at most `Limits::max_connections`. Otherwise listening fails with
    /// `InvalidInput`.
    ///
    /// Default: 0.
    pub reserved_connections: usize,
    /// Maximum number of handshakes of this listener that have not completed.
    /// While all are in progress, a new handshake competes with the other
    /// handshakes of this listener, as described at
    /// [`Limits::max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes).
    /// Not zero.
    ///
    /// Default: `None`, which means that only the limit of the node applies.
    /// Clients of one listener cannot exclude clients of another one, because
    /// an address with fewer places always gets one.
    pub max_handshakes: Option<usize>,
}

impl ListenerLimits {
    /// Checks the fields against each other.
    fn validate(&self) -> Result<(), ConfigError> {
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

/// Options of an outbound connection, for
/// [`Net::connect_with`](crate::Net::connect_with).
///
/// Created by [`Net::connect_options`](crate::Net::connect_options), which
/// copies the node's settings, and by the methods of the same name of
/// [`Node`](crate::Node), [`Handle`](crate::Handle) and
/// [`ShardsHandle`](crate::node::ShardsHandle). All options share one
/// [`ConnectionConfig`] until one of them changes it.
#[derive(Debug)]
pub struct ConnectOptions {
    connection: Arc<ConnectionConfig>,
    /// A socket to connect, for example one with a certain source port or
    /// device, or for hole punching. It must not be connected. It is made
    /// non-blocking. Cannot be combined with `source`.
    ///
    /// If the peer connects at the same time from the address that is connected
    /// to (TCP simultaneous open), both ends are outbound.
    /// [`Role`](crate::session::Role) describes how the handshake of a session
    /// handles this. The recipe [hole
    /// punching](crate::guide::recipes#hole-punching) says which socket.
    ///
    /// Default: `None`, which means a new socket.
    pub bound_socket: Option<std::net::TcpStream>,
    /// The local address to connect from. With port 0 the system chooses the
    /// port. Cannot be combined with `bound_socket`. The address family must be
    /// the family of the peer's address.
    ///
    /// After this node has closed a connection first, the system reserves its
    /// port for a minute or more (TIME-WAIT; RFC 9293, 3.6.1). During that time
    /// a connect from the same port fails with `AddrInUse`.
    ///
    /// On Linux, a socket that is bound with port 0 gets a local port that no
    /// other socket of this address has, independent of the destination. This
    /// limits one source address to about 28,000 connections (ip(7),
    /// `ip_local_port_range`). Without `source`, connections to different
    /// destinations share ports. The library does not set
    /// IP_BIND_ADDRESS_NO_PORT, which avoids this limit. Use a `bound_socket`
    /// for that.
    ///
    /// Default: `None`, which means that the system chooses.
    pub source: Option<SocketAddr>,
    /// Whether the node may connect to an address to which it has a connection
    /// or a pending connect.
    ///
    /// Default: [`Config::allow_duplicates`](crate::Config::allow_duplicates).
    pub allow_duplicate: bool,
    /// The time after which the attempt begins. Before that it has no file
    /// descriptor, its connect timeout has not started, and
    /// [`Net::close`](crate::Net::close) cancels it.
    ///
    /// - `None`: The attempt begins at once, unless attempts to this address
    ///   have failed more often than
    ///   [`Limits::connect_retry_rate`](crate::config::Limits::connect_retry_rate)
    ///   allows.
    /// - `Some`: The attempt begins after this time, and is not charged against
    ///   the rate. `Some(Duration::ZERO)` begins at once, as hole punching
    ///   requires.
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

    /// Returns the settings of the connection.
    pub fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    /// Returns the settings of the connection, mutably.
    pub fn connection_mut(&mut self) -> &mut ConnectionConfig {
        Arc::make_mut(&mut self.connection)
    }

    pub(crate) fn shared_connection(&self) -> &Arc<ConnectionConfig> {
        &self.connection
    }
}
