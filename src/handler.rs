//! The trait that a user implements.

use std::error::Error;

use crate::addr::ConnInfo;
use crate::error::{ConnectError, DisconnectReason};
use crate::id::{ConnId, TimerId};
use crate::net::Net;
use crate::session::Transport;

/// The callbacks of a node. Only [`Handler::on_message`] is required.
///
/// Every method is called by the loop, on the loop's thread, one at a time,
/// with `&mut self`, so that state needs no lock. For each connection the order
/// is [`on_connect`](Handler::on_connect), then messages in the order in which
/// the peer sent them, then [`on_disconnect`](Handler::on_disconnect); the
/// first and the last exactly once. A connection that is never established has
/// [`on_connect_failed`](Handler::on_connect_failed) instead.
///
/// While a method runs, nothing else of this loop does. Long work belongs to
/// another thread, which answers through a [`Handle`](crate::Handle).
///
/// A handler that wraps another one must forward every method, also those that
/// have a default. With
/// [`require_session`](crate::config::ConnectionConfig::require_session) a
/// wrapper that forgets [`Handler::transport`] sends nothing in plaintext.
///
/// # Panics
///
/// By default a panic in a callback ends the connection that it was called for,
/// and the node goes on; see [`OnPanic`](crate::config::OnPanic). A failed
/// assertion in a handler is such a panic: a test sets
/// [`OnPanic::Unwind`](crate::config::OnPanic::Unwind), or it passes all the
/// same.
///
/// # Examples
///
/// ```
/// use peerloop::{ConnId, DisconnectReason, Handler, Net};
///
/// #[derive(Default)]
/// struct Greeter {
///     connected: usize,
/// }
///
/// impl Handler for Greeter {
///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
///         self.connected += 1;
///         let _ = net.send(conn, "welcome");
///     }
///
///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
///         if message == b"bye" {
///             net.close(conn);
///         }
///     }
///
///     fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
///         self.connected -= 1;
///         println!("{conn} disconnected: {reason}");
///     }
/// }
/// ```
pub trait Handler {
    /// The loop runs for the first time. Called once, before any other
    /// callback.
    fn on_start(&mut self, net: &mut Net) {
        let _ = net;
    }

    /// The system accepted a connection, and nothing else was spent on it yet.
    /// The place for a ban list.
    ///
    /// The addresses are canonical, so that a list of IPv4 addresses also
    /// matches IPv4 clients of a dual-stack listener; see
    /// [`to_canonical`](crate::to_canonical). A refused connection is closed at
    /// once, without a message, and no other callback is made for it. The
    /// kernel had accepted it before, so the peer's connect succeeds, and then
    /// its connection ends. To send a reason, admit it, and send and close in
    /// [`Handler::on_connect`].
    ///
    /// The limits are checked afterwards. A connection that they refuse has no
    /// further callback either; [`Metrics`](crate::Metrics) counts it. Count
    /// connections in `on_connect` or [`Handler::transport`] therefore, not
    /// here.
    ///
    /// ```
    /// # use std::collections::HashSet;
    /// # use std::net::IpAddr;
    /// # use peerloop::{Admission, ConnId, ConnInfo, Handler, Net};
    /// # struct Server { banned: HashSet<IpAddr> }
    /// impl Handler for Server {
    ///     fn on_accept(&mut self, _: &mut Net, info: &ConnInfo) -> Admission {
    ///         if self.banned.contains(&info.addr.ip()) {
    ///             Admission::Refuse
    ///         } else {
    ///             Admission::Admit
    ///         }
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
        let _ = (net, info);
        Admission::Admit
    }

    /// Returns the transport of a TCP connection that is established, inbound
    /// or outbound: what stands between its wire and its messages. Called once
    /// per TCP connection.
    ///
    /// After [`Transport::Plain`], the default, [`Handler::on_connect`] follows
    /// at once. After a session it follows when the handshake has completed.
    ///
    /// `info.listener` tells which listener accepted the connection, for
    /// instance a plain one or a secured one.
    ///
    /// # Errors
    ///
    /// Any error ends the connection with [`ConnectError::Transport`]. Its text
    /// is logged at debug level.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "tls")] mod tls_example {
    /// use std::error::Error;
    /// use std::sync::Arc;
    ///
    /// use peerloop::tls;
    /// use peerloop::tls::rustls::pki_types::ServerName;
    /// use peerloop::tls::rustls::{ClientConfig, ServerConfig};
    /// use peerloop::{ConnId, ConnInfo, Direction, Handler, Net, Transport};
    ///
    /// struct Secured {
    ///     client: Arc<ClientConfig>,
    ///     server: Arc<ServerConfig>,
    ///     name: ServerName<'static>,
    /// }
    ///
    /// impl Handler for Secured {
    ///     fn transport(
    ///         &mut self,
    ///         _: &mut Net,
    ///         _: ConnId,
    ///         info: &ConnInfo,
    ///     ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
    ///         Ok(match info.direction {
    ///             Direction::Outbound => {
    ///                 tls::client(self.client.clone(), self.name.clone())?.into()
    ///             }
    ///             Direction::Inbound => tls::server(self.server.clone())?.into(),
    ///         })
    ///     }
    ///
    ///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// # }
    /// ```
    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let _ = (net, conn, info);
        Ok(Transport::Plain)
    }

    /// A connection is open: it is established, and the handshake of its
    /// session, if it has one, has completed. Called exactly once, before its
    /// first message, for inbound and outbound connections alike.
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// A complete message arrived.
    ///
    /// Messages of one connection come in the order in which they were sent,
    /// and every complete message that arrived is delivered before the end is
    /// reported, unless this node closed the connection. The slice is the
    /// loop's own buffer: copy what is to be kept.
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]);

    /// There is room in the send queue again.
    ///
    /// The queue has fallen to
    /// [`low_bytes`](crate::config::SendQueueConfig::low_bytes) after it had
    /// reached [`high_bytes`](crate::config::SendQueueConfig::high_bytes), or
    /// there is room again after a send was refused with
    /// [`SendError::Full`](crate::SendError::Full). Called once for each such
    /// crossing.
    ///
    /// # Examples
    ///
    /// Sends a long list as fast as the peer takes it, in bounded memory:
    ///
    /// ```
    /// # use peerloop::{ConnId, Handler, Net, SendError};
    /// struct Source {
    ///     next: u64,
    ///     end: u64,
    /// }
    ///
    /// impl Handler for Source {
    ///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
    ///         self.on_drain(net, conn);
    ///     }
    ///
    ///     fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
    ///         while net.is_writable(conn) {
    ///             if self.next == self.end {
    ///                 return net.close(conn);
    ///             }
    ///             match net.send(conn, &self.next.to_be_bytes()) {
    ///                 Ok(()) => self.next += 1,
    ///                 Err(SendError::Full) => return, // `on_drain` follows
    ///                 Err(_) => return net.abort(conn),
    ///             }
    ///         }
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// The outcome of [`Net::send_tracked`]. Called exactly once for each that
    /// was accepted, in order, and before [`Handler::on_disconnect`].
    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        let _ = (net, conn, token, outcome);
    }

    /// The peer closed its sending side: no message follows. Called once, and
    /// only where
    /// [`allow_half_open`](crate::config::ConnectionConfig::allow_half_open) is
    /// set.
    ///
    /// Sending goes on until [`Net::close`] or [`Net::close_write`].
    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// A connection never reached [`Handler::on_connect`].
    ///
    /// Called exactly once for each id that was given out, by [`Net::connect`],
    /// [`Net::adopt`] or [`Handler::transport`], and never reached
    /// `on_connect`, inbound and outbound alike. It is the last callback for
    /// the id. Before it there may be `transport` and
    /// [`Handler::on_conn_timer`], and no other one.
    /// [`ConnectError::is_peers_fault`] is for ban scores. The address may be
    /// connected to again from here; beyond
    /// [`connect_retry_rate`](crate::config::Limits::connect_retry_rate) such
    /// an attempt begins later. After a failed handshake the session's last
    /// words are sent first, so this is called up to
    /// [`linger`](crate::config::Timeouts::linger) later.
    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        let _ = (net, conn, info, error);
    }

    /// A connection has ended. Called exactly once for each
    /// [`Handler::on_connect`], as the last callback for its id.
    ///
    /// [`Net::connection`] still answers for it; sends are refused. Its address
    /// may be connected to again from here.
    ///
    /// # Examples
    ///
    /// Bans the address of a peer that breaks the protocol, and ends its other
    /// connections, except for those that are closing already.
    /// [`Handler::on_accept`] refuses it from then on.
    /// [`Handler::on_connect_failed`] reports peers that fail in the handshake.
    ///
    /// ```
    /// # use std::collections::HashSet;
    /// # use std::net::IpAddr;
    /// # use peerloop::{ConnId, DisconnectReason, Handler, Net};
    /// # struct Server { banned: HashSet<IpAddr> }
    /// impl Handler for Server {
    ///     fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
    ///         let Some(ip) = net.connection(conn).map(|it| it.info().addr.ip()) else {
    ///             return;
    ///         };
    ///         if reason.is_peers_fault() && self.banned.insert(ip) {
    ///             let all = net.connections().chain(net.connecting());
    ///             let its = all.filter(|it| it.info().addr.ip() == ip);
    ///             for conn in its.map(|it| it.id()).collect::<Vec<_>>() {
    ///                 net.abort_with_reason(conn, "banned");
    ///             }
    ///         }
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let _ = (net, conn, reason);
    }

    /// A timer fired that was set with [`Net::set_timer`],
    /// [`Net::set_timer_at`] or [`Net::set_interval`]. `key` is what was given
    /// there.
    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        let _ = (net, timer, key);
    }

    /// A timer of a connection fired that was set with [`Net::set_conn_timer`].
    /// `key` is what was given there. Not called after the end of the
    /// connection.
    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, key: u64) {
        let _ = (net, conn, key);
    }

    /// The end of a turn, before what was queued is written. The place to
    /// answer a batch of messages at once.
    fn on_turn(&mut self, net: &mut Net) {
        let _ = net;
    }
}

/// Forwards every callback to a handler behind a box.
impl<H: Handler + ?Sized> Handler for Box<H> {
    fn on_start(&mut self, net: &mut Net) {
        (**self).on_start(net);
    }

    fn on_accept(&mut self, net: &mut Net, info: &ConnInfo) -> Admission {
        (**self).on_accept(net, info)
    }

    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        (**self).transport(net, conn, info)
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        (**self).on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        (**self).on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        (**self).on_drain(net, conn);
    }

    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        (**self).on_sent(net, conn, token, outcome);
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        (**self).on_read_closed(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        (**self).on_connect_failed(net, conn, info, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        (**self).on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        (**self).on_timer(net, timer, key);
    }

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, key: u64) {
        (**self).on_conn_timer(net, conn, key);
    }

    fn on_turn(&mut self, net: &mut Net) {
        (**self).on_turn(net);
    }
}

/// The answer of [`Handler::on_accept`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// Accept the connection.
    Admit,
    /// Close it at once.
    Refuse,
}

/// The outcome of a tracked send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendOutcome {
    /// The kernel took all of the message. Only the peer can tell whether it
    /// arrived.
    HandedOver,
    /// The connection ended before the kernel had taken all of the message. The
    /// peer did not get the whole message.
    Lost,
}
