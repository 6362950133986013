//! What a user implements.

use std::io;
use std::net::SocketAddr;

use crate::error::{ConnectError, DisconnectReason};
use crate::id::{ConnId, TimerId};
use crate::net::Net;
use crate::session::Session;

/// What a program does with its connections. Only [`Handler::on_message`] must be written.
///
/// Every method is called by the loop, on the loop's thread, one at a time, with `&mut self`: state needs no lock. For
/// each connection the order is [`on_connect`](Handler::on_connect), then messages in the order in which the peer sent
/// them, then [`on_disconnect`](Handler::on_disconnect); the first and the last exactly once. A dial that comes to
/// nothing has [`on_connect_failed`](Handler::on_connect_failed) instead of all that.
///
/// While a method runs, nothing else of this loop does. Long work belongs into a thread of its own, which answers
/// through a [`Handle`](crate::Handle).
///
/// # Examples
///
/// ```
/// use peerloop::{ConnId, DisconnectReason, Handler, Net};
///
/// #[derive(Default)]
/// struct Greeter {
///     guests: usize,
/// }
///
/// impl Handler for Greeter {
///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
///         self.guests += 1;
///         let _ = net.send(conn, b"welcome");
///     }
///
///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
///         if message == b"bye" {
///             net.close(conn);
///         }
///     }
///
///     fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
///         self.guests -= 1;
///         println!("{conn} is gone: {reason}");
///     }
/// }
/// ```
pub trait Handler {
    /// The loop runs for the first time. Called once, before any other callback.
    fn on_start(&mut self, net: &mut Net) {
        let _ = net;
    }

    /// The system accepted a connection from `addr`; nothing else was spent on it yet. The place for a ban list.
    /// A refused connection is closed at once, without a word, and no other callback is ever made for it; to say why,
    /// admit it, and send and close in [`Handler::on_connect`].
    fn on_accept(&mut self, net: &mut Net, addr: SocketAddr) -> Admission {
        let _ = (net, addr);
        Admission::Admit
    }

    /// A TCP connection is made, dialled or accepted: what is to stand between its wire and its messages? `None`, the
    /// default, is plain TCP, and [`Handler::on_connect`] follows at once; with a [`Session`] it follows when the
    /// handshake is over. [`Net::connection`] tells the address and the side.
    ///
    /// # Errors
    ///
    /// An error, such as a server name that is none, ends the connection: a dial fails with
    /// [`ConnectError::Io`] of its kind, an accepted connection is closed.
    fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
        let _ = (net, conn);
        Ok(None)
    }

    /// A connection is established. Called exactly once for each, before its first message, for dialled and accepted
    /// ones alike; [`ConnEntry::direction`](crate::Peer::direction) tells which it is.
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// A whole message arrived. Messages of one connection come in the order in which they were sent, and every
    /// message that arrived whole is delivered before the end is reported, unless this node closed the connection.
    ///
    /// The slice is the loop's own buffer: copy what is to be kept.
    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]);

    /// There is room again: since a send was refused with [`SendError::Full`](crate::SendError::Full), or since the
    /// queue passed [`Config::queue_high`](crate::Config::queue_high), it has fallen to
    /// [`Config::queue_low`](crate::Config::queue_low). Called once for each such crossing.
    ///
    /// # Examples
    ///
    /// Sending a long list as fast as the peer takes it, in bounded memory:
    ///
    /// ```
    /// # use peerloop::{ConnId, Handler, Net};
    /// struct Source {
    ///     numbers: std::ops::Range<u64>,
    /// }
    ///
    /// impl Handler for Source {
    ///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
    ///         self.on_drain(net, conn);
    ///     }
    ///
    ///     fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
    ///         while net.is_writable(conn) {
    ///             let Some(number) = self.numbers.next() else {
    ///                 return net.close(conn);
    ///             };
    ///             if net.send(conn, &number.to_be_bytes()).is_err() {
    ///                 return net.abort(conn);
    ///             }
    ///         }
    ///     }
    /// #   fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    /// ```
    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// The answer to [`Net::send_tracked`], exactly once for each that was accepted, in order, and before
    /// [`Handler::on_disconnect`].
    fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
        let _ = (net, conn, token, outcome);
    }

    /// The peer has ended its side: no message will come any more. Called only where
    /// [`Config::half_open`](crate::Config::half_open) lets the connection live on, once; sending goes on until
    /// [`Net::close`] or [`Net::shutdown_write`].
    fn on_finished(&mut self, net: &mut Net, conn: ConnId) {
        let _ = (net, conn);
    }

    /// A dial came to nothing, in TCP or in its handshake. Called exactly once for a dial that never reaches
    /// [`Handler::on_connect`]; but for [`Handler::session`] no other callback is made for its id. Of an accepted
    /// connection whose handshake failed nothing is heard; [`Metrics::handshakes_failed`](crate::Metrics::handshakes_failed)
    /// counts it.
    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        addr: SocketAddr,
        error: ConnectError,
    ) {
        let _ = (net, conn, addr, error);
    }

    /// A connection has ended. Called exactly once for each [`Handler::on_connect`], as the last callback for its id.
    /// [`Net::connection`] and [`Net::queued`] still answer; sends are refused. To dial again from here is fine.
    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        let _ = (net, conn, reason);
    }

    /// A timer set with [`Net::set_timer`] is due; `key` is what was given there.
    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        let _ = (net, timer, key);
    }

    /// The end of a turn, before what was queued is written: the place to answer a batch of messages at once.
    fn on_turn(&mut self, net: &mut Net) {
        let _ = net;
    }
}

/// A handler behind a box, so that different kinds can be members of one [`Group`](crate::Group).
impl<H: Handler + ?Sized> Handler for Box<H> {
    fn on_start(&mut self, net: &mut Net) {
        (**self).on_start(net);
    }

    fn on_accept(&mut self, net: &mut Net, addr: SocketAddr) -> Admission {
        (**self).on_accept(net, addr)
    }

    fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
        (**self).session(net, conn)
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

    fn on_finished(&mut self, net: &mut Net, conn: ConnId) {
        (**self).on_finished(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        addr: SocketAddr,
        error: ConnectError,
    ) {
        (**self).on_connect_failed(net, conn, addr, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        (**self).on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        (**self).on_timer(net, timer, key);
    }

    fn on_turn(&mut self, net: &mut Net) {
        (**self).on_turn(net);
    }
}

/// What [`Handler::on_accept`] says of a newcomer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Admission {
    /// Let it in.
    Admit,
    /// Close it at once.
    Refuse,
}

/// What became of a tracked send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendOutcome {
    /// The kernel took all of it. Whether the peer ever sees it only the peer can say.
    HandedOver,
    /// The connection ended before the kernel had taken all of it; the peer did not get the whole message.
    Lost,
}
