//! The trait of sessions and the types of its methods.

use std::io::IoSlice;
use std::time::Duration;

use super::Identity;
use crate::error::SessionError;

/// A handshake, a cipher, or both, between the wire and the framing of one
/// connection.
///
/// A session turns the bytes of the wire into plaintext, and plaintext into the
/// bytes of the wire. It performs no I/O, reads no clock and never blocks: the
/// loop passes it the bytes that were read, writes the bytes that it appends,
/// and calls it after [`Session::timeout`] and
/// [`Net::wake_session`](crate::Net::wake_session).
/// [`Handler::transport`](crate::Handler::transport) returns the
/// session of a new connection, inbound or outbound. The session is dropped
/// with its connection, or earlier, when it becomes [`Stage::Transparent`].
///
/// # Stages
///
/// ```text
///                start, receive ..              receive, seal ..              receive
///   Handshaking ──────────────────► Established ─────────────────► Finished
///        │                                            the close notification of the peer
///        │
///        └────────────────────────► Transparent
///                                   the session is dropped, the connection is plain TCP
/// ```
///
/// The connection is not established while the session is
/// [`Stage::Handshaking`]: a send fails with
/// [`SendError::Closed`](crate::SendError::Closed), the handshake timeout runs,
/// and an inbound connection counts towards the maximum number of inbound
/// handshakes. The time that a turn spends on all handshakes together is
/// bounded: see
/// [`TurnBudget::handshake_steps`](crate::config::TurnBudget::handshake_steps).
///
/// When the handshake has completed,
/// [`Handler::on_connect`](crate::Handler::on_connect) is called. Messages that
/// arrived together with the end of the handshake are delivered after that
/// call. A session without a handshake is [`Stage::Established`] from the
/// start.
///
/// Once the session is [`Stage::Finished`], [`Session::receive`] is not called
/// again. Bytes that arrive after the close notification are discarded.
///
/// # Failure
///
/// An error of any method ends the connection. Bytes that the session appended
/// before the error, such as an alert, are written first. During the handshake
/// the reason is [`ConnectError::Session`](crate::ConnectError::Session), and
/// [`Metrics::handshakes_failed`](crate::Metrics::handshakes_failed) counts it.
/// Afterwards the reason is
/// [`DisconnectReason::Session`](crate::DisconnectReason::Session). After an
/// error only [`Session::take_identity`] is called.
///
/// # Examples
///
/// Both ends send a magic number. Then the connection is plain TCP.
///
/// ```
/// use std::error::Error;
///
/// use peerloop::error::SessionError;
/// use peerloop::session::{Output, Session, Stage};
/// use peerloop::{ConnId, ConnInfo, Handler, Net, Transport};
///
/// const MAGIC: [u8; 4] = *b"game";
///
/// struct Greeting {
///     stage: Stage,
/// }
///
/// impl Session for Greeting {
///     fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
///         wire.extend_from_slice(&MAGIC);
///         Ok(())
///     }
///
///     fn receive(&mut self, wire: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
///         let Some(theirs) = wire.first_chunk() else {
///             return Ok(0); // Called again with the same bytes and more.
///         };
///         if *theirs != MAGIC {
///             return Err(SessionError::Refused("another protocol"));
///         }
///         self.stage = Stage::Transparent;
///         Ok(MAGIC.len()) // The framing gets the rest.
///     }
///
///     fn stage(&self) -> Stage {
///         self.stage
///     }
/// }
///
/// struct Game;
///
/// impl Handler for Game {
///     fn transport(
///         &mut self,
///         _: &mut Net,
///         _: ConnId,
///         _: &ConnInfo,
///     ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
///         Ok(Greeting { stage: Stage::Handshaking }.into())
///     }
///
///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
/// }
/// ```
///
/// [`Hello`](crate::hello::Hello) is a ready-made handshake that exchanges
/// versions and node ids.
///
/// The [module](super) has examples of a handshake that waits for a lookup, and
/// of a record layer.
pub trait Session: Send {
    /// Begins the handshake: appends the first bytes of this end to `wire`. By
    /// default does nothing.
    ///
    /// Called once, when the TCP connection is established, before any other
    /// method. The end that waits for the first message appends nothing.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`].
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let _ = wire;
        Ok(())
    }

    /// Takes bytes from the start of `wire`, and returns their number.
    ///
    /// Appends to `out` the plaintext of these bytes and the answers to the
    /// peer.
    ///
    /// - Take all bytes that can be used, because the next call comes only when
    ///   more have arrived.
    /// - `wire` is mutable, so that a cipher can decrypt in place. The taken
    ///   bytes may be overwritten.
    /// - The bytes that were not taken must be unchanged. The next call passes
    ///   them again, with more bytes after them. At most 128 KiB may be left,
    ///   or the connection ends with [`SessionError::Malformed`]. They count as
    ///   the beginning of a message, to which the timeout for incomplete
    ///   messages applies. The timeout does not apply to bytes that a session
    ///   keeps inside.
    /// - A session that has become [`Stage::Transparent`] leaves the bytes that
    ///   follow its handshake. They are the first bytes of the plain stream.
    /// - The plaintext should not be much longer than the taken bytes.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`]. Plaintext
    /// that was appended before the error is delivered. A returned number that
    /// is larger than `wire.len()` ends the connection with
    /// [`SessionError::Failed`].
    fn receive(&mut self, wire: &mut [u8], out: &mut Output<'_>) -> Result<usize, SessionError>;

    /// Returns the stage of the session.
    ///
    /// Called after each call of another method.
    fn stage(&self) -> Stage;

    /// Appends the sealed form of `plaintext` to `wire`.
    ///
    /// The plaintext is at most 64 KiB, in the order in which it is to arrive.
    /// It may begin and end anywhere in a frame. All of it must be sealed, and
    /// at least one byte must be appended, or the connection ends with
    /// [`SessionError::Failed`]. Called only while the session is
    /// [`Stage::Established`] or [`Stage::Finished`]. A session that becomes
    /// [`Stage::Transparent`] does not need it.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`]. By default
    /// returns [`SessionError::Failed`].
    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let _ = (plaintext, wire);
        Err(SessionError::Failed("this session does not seal"))
    }

    /// Appends the close notification of this end to `wire`, such as the
    /// close_notify alert of TLS. By default does nothing.
    ///
    /// Called once, when all queued messages are sealed, before the FIN. Not
    /// called before the end of the handshake, nor after an abort or an error.
    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        let _ = wire;
    }

    /// Checks whether the stream may end here. By default accepts every end.
    ///
    /// # Errors
    ///
    /// - [`SessionError::Truncated`]: the protocol has a close notification,
    ///   and it has not arrived. The error is the reason for the end.
    fn wire_ended(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    /// Returns the time after which [`Session::on_timeout`] is called. Default:
    /// `None`, never.
    ///
    /// Asked after each call of another method, except `stage` and
    /// `held_bytes`:
    ///
    /// - A timer that runs continues while the same duration is returned, so
    ///   that traffic does not postpone it.
    /// - A different duration sets the timer anew. It counts from the end of
    ///   the turn, as [`Net::set_timer`](crate::Net::set_timer) does.
    /// - `None` cancels the timer.
    /// - After [`Session::on_timeout`] the timer is set anew in any case.
    ///
    /// A session that forwards to one session and later to another must not
    /// return the same duration for both, because the timer of the first would
    /// then serve as that of the second. [`Sequence`](super::Sequence) adds one
    /// or two nanoseconds to the later one.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Called when the time of [`Session::timeout`] has passed, during the
    /// handshake and on an open connection.
    ///
    /// Its output and the stage after it have the same effect as with
    /// [`Session::receive`]: the handshake may complete, plaintext is
    /// delivered, and bytes for the peer are written. By default does nothing.
    /// Afterwards `receive` is called with the bytes that the session had not
    /// taken, if there are any.
    ///
    /// - It is never called early. It may be late by two turns, because it is
    ///   called in the visits to connections, within their budgets.
    /// - It is called at most once per turn. A duration of zero therefore
    ///   cannot keep a turn from ending. It keeps the loop from sleeping.
    /// - While more than 64 KiB of answers are not written, a call that is due
    ///   is postponed by the duration. A peer that does not read can therefore
    ///   not make the answers grow.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`].
    fn on_timeout(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        let _ = out;
        Ok(())
    }

    /// Called after [`Net::wake_session`](crate::Net::wake_session), during the
    /// handshake and on an open connection. A handshake can thus wait for the
    /// result of a lookup on another thread.
    ///
    /// It has the effects of [`Session::on_timeout`]. Several wakes may
    /// result in one call, and a wake may come before the session waits for
    /// one. By default does nothing.
    ///
    /// The handshake timeout of the connection runs during the wait. If all
    /// [places](crate::config::Limits::max_inbound_handshakes) are taken, the
    /// handshake can lose its place like one that waits for its peer.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`].
    fn on_wake(&mut self, out: &mut Output<'_>) -> Result<(), SessionError> {
        let _ = out;
        Ok(())
    }

    /// Returns the data about the peer that the handshake provided. Default:
    /// `None`.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Returns the identity of the peer and removes it from the session, so
    /// that it is not kept twice. By default returns [`Session::identity`], a
    /// copy.
    ///
    /// Called once, at the end of the handshake. The loop keeps the result as
    /// long as the connection.
    fn take_identity(&mut self) -> Option<Identity> {
        self.identity()
    }

    /// Returns the number of bytes on the heap that the session holds for input
    /// which it has taken and not delivered, such as a part of a message. They
    /// count as memory that the peer uses.
    ///
    /// Default: 0. Called after each call of [`Session::receive`],
    /// [`Session::on_timeout`] and [`Session::on_wake`].
    fn held_bytes(&self) -> usize {
        0
    }
}

/// The buffers to which [`Session::receive`], [`Session::on_timeout`] and
/// [`Session::on_wake`] append.
///
/// A session appends, and does not change the bytes that the buffers contain
/// already.
#[derive(Debug)]
#[non_exhaustive]
pub struct Output<'a> {
    /// Plaintext for the framing.
    pub plaintext: &'a mut Vec<u8>,
    /// Bytes for the peer.
    pub wire: &'a mut Vec<u8>,
}

impl<'a> Output<'a> {
    /// Returns an output with these buffers, in order to call a session from
    /// another session or a test.
    pub fn new(plaintext: &'a mut Vec<u8>, wire: &'a mut Vec<u8>) -> Self {
        Self { plaintext, wire }
    }
}

/// The stage of a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Stage {
    /// The handshake has not completed.
    Handshaking,
    /// The handshake has completed. Plaintext can be sealed and received.
    Established,
    /// The handshake has completed. From here on the connection is plain TCP.
    Transparent,
    /// The close notification of the peer has arrived. Plaintext can still be
    /// sealed.
    Finished,
}
