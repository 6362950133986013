//! Floor 2: what stands between the wire and the framing of one connection: a handshake, a cipher, or both.

mod sequence;

use std::io::IoSlice;

pub use sequence::Sequence;

use crate::error::SessionError;

/// A handshake, a secure channel, or both, on one connection: wire bytes in, plaintext out, and back.
///
/// A session does no input or output of its own, reads no clock and never blocks. The loop shows it what arrived and sends
/// what it wrote. It is made by [`Handler::session`](crate::Handler::session), for connections dialled and accepted
/// alike, and lives as long as its connection, unless it becomes [`Stage::Transparent`].
///
/// # The life of a session
///
/// ```text
///                 start, receive ..        receive, seal ..              receive
///   Handshaking ────────────────────► Established ─────────► Finished (the peer said goodbye)
///        │
///        └──────────────────────────► Transparent: the session is dropped, the connection is plain TCP
/// ```
///
/// While it is [`Stage::Handshaking`], the connection is connecting: sends to it are refused,
/// [`Timeouts::handshake`](crate::Timeouts::handshake) runs, and an accepted one counts against
/// [`Config::max_connecting_inbound`](crate::Config::max_connecting_inbound). Then
/// [`Handler::on_connect`](crate::Handler::on_connect) is called, and the messages that came together with the end of the
/// handshake follow.
///
/// An error ends the connection, after what the session wrote before it, an alert for instance, has left. It reaches
/// the dialling handler as [`ConnectError::Session`](crate::ConnectError::Session) during the handshake and either handler
/// as [`DisconnectReason::Session`](crate::DisconnectReason::Session) after it; an accepted connection whose handshake
/// fails is counted in [`Metrics::handshakes_failed`](crate::Metrics::handshakes_failed), and no handler hears of it. No
/// method but [`Session::identity`] is called after an error.
///
/// # Examples
///
/// Both ends say a magic number, and then speak plainly:
///
/// ```
/// use peerloop::session::{Output, Session, Stage};
/// use peerloop::{ConnId, Handler, Net, SessionError};
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
///     fn receive(&mut self, bytes: &[u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
///         let Some(theirs) = bytes.first_chunk() else {
///             return Ok(0); // Nothing is used up: the same bytes come again with more behind them.
///         };
///         if *theirs != MAGIC {
///             return Err(SessionError::Refused("another protocol"));
///         }
///         self.stage = Stage::Transparent;
///         Ok(MAGIC.len()) // What follows is the framing's.
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
///     fn session(&mut self, _: &mut Net, _: ConnId) -> std::io::Result<Option<Box<dyn Session>>> {
///         Ok(Some(Box::new(Greeting { stage: Stage::Handshaking })))
///     }
///
///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
/// }
/// ```
pub trait Session: Send {
    /// The TCP connection is made. Called once, before anything else. Appends what this side says first to `wire`;
    /// a side that waits for the other appends nothing.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`].
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let _ = wire;
        Ok(())
    }

    /// Takes bytes from the wire, as many as it can use, and says how many that were. Appends to `output` the
    /// plaintext that they carry and the answers that they ask for.
    ///
    /// The bytes not taken come again, with more behind them: at most 128 KiB may be left. A session that has become
    /// [`Stage::Transparent`] leaves all that is not its own. One call takes all it can: there is none before more bytes
    /// arrive. The plaintext should be of the order of the bytes taken.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`]. Plaintext appended before the error is delivered.
    fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError>;

    /// Where the session stands. Asked after [`Session::start`] and every [`Session::receive`].
    fn stage(&self) -> Stage;

    /// Appends to `wire` the sealed form of `plaintext`: whole frames or parts of them, up to 64 KiB, in the order in
    /// which they are to arrive. Called only while [`Stage::Established`] or [`Stage::Finished`]; a session that is
    /// dropped after its handshake does not need it.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`].
    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        let _ = (plaintext, wire);
        Err(SessionError::Failed("this session seals nothing"))
    }

    /// Appends the last word of this side to `wire`, TLS's close_notify for instance. Called once, when everything that was
    /// queued is sealed and the sending half is about to be closed.
    fn goodbye(&mut self, wire: &mut Vec<u8>) {
        let _ = wire;
    }

    /// The wire ended, and everything that had arrived was received.
    ///
    /// # Errors
    ///
    /// [`SessionError::Truncated`] where the protocol has a goodbye and the peer has not said it. It becomes the reason
    /// of the end.
    fn wire_ended(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    /// What the handshake proved about the peer; asked once, at its end, and kept in
    /// [`Peer::identity`](crate::Peer::identity).
    fn identity(&self) -> Option<Identity> {
        None
    }
}

/// Where what a session makes goes.
#[derive(Debug)]
pub struct Output<'a> {
    /// For the framing: append only.
    pub plaintext: &'a mut Vec<u8>,
    /// For the peer: append only.
    pub wire: &'a mut Vec<u8>,
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// The two sides are not agreed yet.
    Handshaking,
    /// They are: plaintext can be sealed and received.
    Established,
    /// They are, and nothing stands between the wire and the framing from here on.
    Transparent,
    /// Established, and the peer said that nothing more will come from it.
    Finished,
}

/// What a session proved about the peer, and what was agreed on with it. Which fields are set is the session's to say.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The peer's public key, as the protocol encodes it.
    pub public_key: Option<Vec<u8>>,
    /// The peer's certificates in DER, its own first.
    pub certificates: Vec<Vec<u8>>,
    /// The name that the peer goes by: what it was verified to be, or what it asked for.
    pub name: Option<String>,
    /// The protocol that was agreed on, such as TLS's ALPN.
    pub protocol: Option<Vec<u8>>,
    /// What the peer said beside in the handshake.
    pub payload: Vec<u8>,
}
