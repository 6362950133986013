//! The trait with the callbacks of a node.

mod boxed;
mod outcome;

use std::error::Error;
use std::net::SocketAddr;

use crate::addr::ConnInfo;
use crate::error::{ConnectError, DisconnectReason};
use crate::id::{ConnId, SourceId, TimerId, UdpId};
use crate::net::Net;
use crate::session::Transport;
use crate::sys::Readiness;

pub use outcome::{Admission, SendOutcome};

/// The callbacks of a node.
///
/// Only [`Handler::on_message`] is required.
///
/// The loop calls every method on its own thread, one at a time, with
/// `&mut self`. The state of a handler therefore needs no lock.
///
/// A connection that was accepted first gets [`on_accept`](Handler::on_accept).
/// Then the callbacks of a connection come in this order:
///
/// 1. [`transport`](Handler::transport), exactly once.
/// 2. [`on_connect`](Handler::on_connect), exactly once.
/// 3. [`on_message`](Handler::on_message) for each message, in the order in
///    which the peer sent them. [`on_drain`](Handler::on_drain),
///    [`on_sent`](Handler::on_sent),
///    [`on_read_closed`](Handler::on_read_closed) and
///    [`on_conn_timer`](Handler::on_conn_timer) may come between them.
/// 4. [`on_disconnect`](Handler::on_disconnect), exactly once.
///
/// A connection that has an id and is not opened gets
/// [`on_connect_failed`](Handler::on_connect_failed) exactly once instead of
/// `on_connect`. An inbound connection that is refused by `on_accept` or by a
/// limit on connections gets no id and no further callback.
///
/// The loop does nothing else while a method runs. Move long work to another
/// thread, which returns its result through a [`Handle`](crate::Handle).
///
/// A handler that wraps another one must forward every method, including
/// methods that have a default. A wrapper that does not forward
/// [`Handler::transport`] would use plain TCP. With
/// [`require_session`](crate::config::ConnectionConfig::require_session) its
/// connections fail instead.
///
/// # Panics
///
/// By default a panic in a callback ends the connection that the callback was
/// called for, if there is one, and the node continues; see
/// [`OnPanic`](crate::config::OnPanic). A failed assertion in a handler is such
/// a panic. Set [`OnPanic::Unwind`](crate::config::OnPanic::Unwind) in tests,
/// because otherwise a failed assertion does not fail the test.
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
    /// Called once, when the loop first runs, before any other callback.
    fn on_start(&mut self, net: &mut Net) {
        let _ = net;
    }

    /// Called when the operating system has accepted a connection. Returns
    /// whether the node admits it.
    ///
    /// Use it for a ban list: a refused connection takes no id and no slot.
    ///
    /// The addresses are canonical, so a list of IPv4 addresses also matches
    /// IPv4 clients of a dual-stack listener; see
    /// [`to_canonical`](crate::to_canonical). Behind a proxy they come from
    /// the [PROXY header](crate::ListenOptions::proxy_protocol).
    ///
    /// A refused connection is closed at once, without a message and without a
    /// further callback. The connect of the peer succeeds nevertheless, because
    /// the kernel had already accepted the connection. To send a reason to the
    /// peer, admit the connection, and call [`Net::send_and_close`] in
    /// [`Handler::on_connect`].
    ///
    /// The limits are checked after this call, except
    /// [`accepts_per_address`](crate::config::Limits::accepts_per_address). A
    /// connection that is refused by a limit on connections gets no further
    /// callback either, and is counted in [`Metrics`](crate::Metrics). The
    /// limits on handshakes are checked after [`Handler::transport`], and a
    /// refusal by them is reported by [`Handler::on_connect_failed`]. Therefore
    /// count open connections in `on_connect`, not here.
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

    /// Returns the transport of a connection: plain TCP or a session.
    ///
    /// Called once per TCP connection, inbound or outbound, when TCP has
    /// connected. After [`Transport::Plain`], which is the default,
    /// [`Handler::on_connect`] follows at once. After a session it follows when
    /// the handshake has completed.
    ///
    /// `info.listener` identifies the listener that accepted the connection. A
    /// node can have one listener for plain connections and one for sessions.
    ///
    /// # Errors
    ///
    /// - Any error ends the connection with [`ConnectError::Transport`]. The
    ///   text of the error is logged at debug level.
    ///
    /// [`Transport`] has an example with TLS.
    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let _ = (net, conn, info);
        Ok(Transport::Plain)
    }

    /// Called exactly once per connection, inbound or outbound, when TCP has
    /// connected and the handshake of its session, if it has one, has
    /// completed.
    ///
    /// It comes before the first message. From this call on the connection is
    /// *open* and can send.
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// Called for each complete message that arrives.
    ///
    /// Messages of one connection are delivered in the order in which the peer
    /// sent them. Every complete message that has arrived is delivered before
    /// the end of the connection is reported, unless this node ended the
    /// connection: by a call, a timeout, a limit or a contained panic.
    ///
    /// `message` is a part of the loop's buffer. Copy the bytes that are needed
    /// after the call.
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]);

    /// Called when the send queue of a connection has room again.
    ///
    /// This is the case when
    ///
    /// - the queue has fallen to
    ///   [`low_bytes`](crate::config::SendQueueConfig::low_bytes) or below
    ///   after it had reached
    ///   [`high_bytes`](crate::config::SendQueueConfig::high_bytes), or
    /// - a message that was refused with
    ///   [`SendError::Full`](crate::SendError::Full) would fit now.
    ///
    /// Called once if both are the case at the same time.
    ///
    /// # Examples
    ///
    /// Sends a long list as fast as the peer reads it, in bounded memory:
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

    /// Called with the outcome of a message that was sent with
    /// [`Net::send_tracked`].
    ///
    /// Called exactly once for each accepted message, in the order in which
    /// they were sent, and before [`Handler::on_disconnect`]. `token` is the
    /// number given to `send_tracked`.
    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        let _ = (net, conn, token, outcome);
    }

    /// Called once when the peer has closed its sending side. No message
    /// follows.
    ///
    /// Called only if
    /// [`allow_half_open`](crate::config::ConnectionConfig::allow_half_open) is
    /// set. This node can send until it calls [`Net::close`] or
    /// [`Net::close_write`].
    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// Called when a connection has ended before [`Handler::on_connect`].
    ///
    /// Called exactly once for each id for which `on_connect` is not called,
    /// inbound or outbound. The id is known from [`Net::connect`],
    /// [`Net::adopt`] or [`Handler::transport`]. It is the last callback for
    /// the id. Only `transport` and [`Handler::on_conn_timer`] can come before
    /// it.
    ///
    /// - Use [`ConnectError::is_peers_fault`] for ban scores.
    /// - The handler may connect to the address again in this call. An attempt
    ///   that exceeds
    ///   [`connect_retry_rate`](crate::config::Limits::connect_retry_rate)
    ///   begins later. [`reconnect`](crate::reconnect) has delays that grow with
    ///   each failure, and keeps a number of connections out of a list.
    /// - After a failed handshake the last bytes of the session are sent first,
    ///   such as an alert of TLS. This delays the call by at most
    ///   [`linger`](crate::config::Timeouts::linger).
    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        let _ = (net, conn, info, error);
    }

    /// Called exactly once after each [`Handler::on_connect`], when the
    /// connection has ended. It is the last callback for the id.
    ///
    /// [`Net::connection`] still returns the connection during this call. Sends
    /// are refused. The handler may connect to the address again in this call;
    /// [`KeepConnected`](crate::reconnect::KeepConnected) does so after a delay.
    ///
    /// # Examples
    ///
    /// Bans the address of a peer that violates the protocol, and aborts its
    /// other connections. [`Handler::on_accept`] refuses the address from then
    /// on. Peers that fail in the handshake are reported by
    /// [`Handler::on_connect_failed`].
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

    /// Called when a timer fires that was set with [`Net::set_timer`],
    /// [`Net::set_timer_at`] or [`Net::set_interval`].
    ///
    /// `key` is the number given to that method.
    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        let _ = (net, timer, key);
    }

    /// Called when a timer fires that was set with [`Net::set_conn_timer`].
    ///
    /// `key` is the number given to that method. Not called after the end of
    /// the connection.
    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, key: u64) {
        let _ = (net, conn, key);
    }

    /// Called for each datagram that arrives on a UDP socket of
    /// [`Net::bind_udp`].
    ///
    /// Datagrams may be lost, duplicated or out of order. `from` is canonical,
    /// and can be forged. `datagram` may be empty, and is a part of the loop's
    /// buffer.
    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        let _ = (net, udp, from, datagram);
    }

    /// Called when the ring of a UDP socket is at most half full and has room
    /// for the longest datagram that was refused with
    /// [`SendToError::Full`](crate::SendToError::Full). Not called otherwise.
    fn on_udp_drain(&mut self, net: &mut Net, udp: UdpId) {
        let _ = (net, udp);
    }

    /// Called when a source is ready that was registered with
    /// [`Net::register`], which has the contract and an example.
    ///
    /// Read or write until `WouldBlock`, because there is no other call before
    /// that. Called at most once for each source and turn, after the messages
    /// of the turn.
    fn on_ready(&mut self, net: &mut Net, source: SourceId, readiness: Readiness) {
        let _ = (net, source, readiness);
    }

    /// Called at the end of each turn, before queued messages are written.
    ///
    /// Use it to process the messages of a turn as one batch. Calls of
    /// `on_drain`, `on_sent`, `on_connect_failed` and `on_disconnect` may
    /// follow in the same turn.
    fn on_turn(&mut self, net: &mut Net) {
        let _ = net;
    }
}
