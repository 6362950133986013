//! Options of one listener and of one outbound connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::ConnectionConfig;

/// Options of a listener; see [`Net::listen_with`](crate::Net::listen_with).
///
/// Made by [`Net::listen_options`](crate::Net::listen_options), which fills it from
/// the node's settings, and by the methods of the same name of
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
}

impl ListenOptions {
    pub(crate) fn new(connection: Arc<ConnectionConfig>) -> Self {
        Self {
            connection,
            backlog: 1024,
            reuse_port: false,
            v6_only: false,
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

/// Options of an outbound connection; see
/// [`Net::connect_with`](crate::Net::connect_with).
///
/// Made by [`Net::connect_options`](crate::Net::connect_options), which fills it
/// from the node's settings, and by the methods of the same name of
/// [`Handle`](crate::Handle) and [`ShardsHandle`](crate::node::ShardsHandle). A
/// thousand connects share one [`ConnectionConfig`], unless it is changed.
#[derive(Debug)]
pub struct ConnectOptions {
    connection: Arc<ConnectionConfig>,
    /// A socket to connect, bound and set up by the caller (hole punching, source
    /// ports, devices). It must not be connected yet, and is made non-blocking. Not
    /// together with `source`.
    ///
    /// If the peer connects from the address that is connected to, at the same time, both
    /// ends are outbound; see [`Role`](crate::session::Role) for the handshake of a
    /// session.
    ///
    /// Default: `None`, a new socket.
    pub bound_socket: Option<std::net::TcpStream>,
    /// The local address to connect from. With port 0 the system chooses a port.
    /// Not together with `bound_socket`.
    ///
    /// After a connection that this node closed first, the system keeps its port
    /// for a minute or more (TIME-WAIT; RFC 9293, 3.6.1), and the next connect from
    /// that port fails with `AddrInUse`.
    ///
    /// Default: `None`, the system chooses.
    pub source: Option<SocketAddr>,
    /// Whether the address may be connected to while there is a connection with it,
    /// or an attempt.
    ///
    /// Default: [`Config::allow_duplicates`](crate::Config::allow_duplicates).
    pub allow_duplicate: bool,
}

impl ConnectOptions {
    pub(crate) fn new(connection: Arc<ConnectionConfig>, allow_duplicate: bool) -> Self {
        Self {
            connection,
            bound_socket: None,
            source: None,
            allow_duplicate,
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
