//! What stands between the wire and the framing of one connection: a handshake, a cipher, or both.

use std::io::IoSlice;

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
/// While it is [`Stage::Handshaking`], the connection is connecting: sends to it are refused with
/// [`SendError::Closed`](crate::SendError::Closed), [`Timeouts::handshake`](crate::Timeouts::handshake) runs, an accepted
/// one counts against [`Config::max_connecting_inbound`](crate::Config::max_connecting_inbound), and so many calls of
/// [`Session::receive`] are made in a turn as [`Config::handshake_budget`](crate::Config::handshake_budget) says, for all
/// handshakes together. Then [`Handler::on_connect`](crate::Handler::on_connect) is called, and the messages that came
/// together with the end of the handshake follow. A session without a handshake is [`Stage::Established`] from the start.
///
/// Once it is [`Stage::Finished`], nothing more is received: what comes after the peer's goodbye is thrown away.
///
/// An error ends the connection, after what the session wrote before it, an alert for instance, has left. It reaches
/// the dialling handler as [`ConnectError::Session`](crate::ConnectError::Session) during the handshake and either handler
/// as [`DisconnectReason::Session`](crate::DisconnectReason::Session) after it; an accepted connection whose handshake
/// fails is counted in [`Metrics::handshakes_failed`](crate::Metrics::handshakes_failed), and no handler hears of it. No
/// method but [`Session::identity`] is called after an error.
///
/// # Examples
///
/// ## A handshake
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
///
/// The example `handshake` has one that says who is who.
///
/// ## Records
///
/// The stream goes in pieces, each with its length and a sum over it and its number; a piece of nothing is the goodbye. With
/// a keyed hash in place of the sum, and a key that only the two ends have, it would keep forgers out. Behind a greeting,
/// `Sequence::new(Greeting { .. }, Records::default())` is both; see [`Sequence`].
///
/// ```
/// use std::io::IoSlice;
///
/// use peerloop::SessionError;
/// use peerloop::session::{Output, Session, Stage};
///
/// const HEADER_LEN: usize = 6;
/// const PIECE_MAX: usize = 16 * 1024;
///
/// /// Length and sum, both big-endian.
/// fn header(number: u32, piece: &[u8]) -> [u8; HEADER_LEN] {
///     let sum = piece.iter().fold(number, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
///     let [a, b, c, d] = sum.to_be_bytes();
///     let [high, low] = (piece.len() as u16).to_be_bytes();
///     [high, low, a, b, c, d]
/// }
///
/// #[derive(Default)]
/// struct Records {
///     sent: u32,
///     received: u32,
///     finished: bool,
/// }
///
/// impl Records {
///     fn say(&mut self, piece: &[u8], wire: &mut Vec<u8>) {
///         wire.extend_from_slice(&header(self.sent, piece));
///         wire.extend_from_slice(piece);
///         self.sent = self.sent.wrapping_add(1);
///     }
/// }
///
/// impl Session for Records {
///     fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
///         let mut rest = bytes;
///         while let Some((head, body)) = rest.split_first_chunk::<HEADER_LEN>() {
///             let len = usize::from(u16::from_be_bytes([head[0], head[1]]));
///             if len > PIECE_MAX {
///                 return Err(SessionError::Malformed("a piece that is too long"));
///             }
///             let Some(piece) = body.get(..len) else {
///                 break; // The beginning of a piece stays untaken.
///             };
///             if *head != header(self.received, piece) {
///                 return Err(SessionError::Malformed("a wrong sum"));
///             }
///             self.received = self.received.wrapping_add(1);
///             output.plaintext.extend_from_slice(piece);
///             rest = &body[len..];
///             if len == 0 {
///                 self.finished = true;
///                 break;
///             }
///         }
///         Ok(bytes.len() - rest.len())
///     }
///
///     fn stage(&self) -> Stage {
///         if self.finished { Stage::Finished } else { Stage::Established }
///     }
///
///     fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
///         // Cut wherever it pleases: messages are told apart in the stream that the other end puts together.
///         for piece in plaintext.iter().flat_map(|slice| slice.chunks(PIECE_MAX)) {
///             self.say(piece, wire);
///         }
///         Ok(())
///     }
///
///     fn goodbye(&mut self, wire: &mut Vec<u8>) {
///         self.say(b"", wire);
///     }
///
///     fn wire_ended(&mut self) -> Result<(), SessionError> {
///         if self.finished { Ok(()) } else { Err(SessionError::Truncated) }
///     }
/// }
///
/// // It can be tried without a network.
/// let (mut here, mut there) = (Records::default(), Records::default());
/// let (mut wire, mut plaintext, mut answer) = (Vec::new(), Vec::new(), Vec::new());
/// here.seal(&[IoSlice::new(b"good "), IoSlice::new(b"day")], &mut wire)?;
/// here.goodbye(&mut wire);
/// let taken = there.receive(&wire, &mut Output { plaintext: &mut plaintext, wire: &mut answer })?;
/// assert_eq!((plaintext.as_slice(), there.stage()), (&b"good day"[..], Stage::Finished));
/// # assert_eq!(taken, wire.len());
/// # Ok::<_, SessionError>(())
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
    /// The bytes not taken come again, with more behind them: at most 128 KiB may be left, or the connection ends with
    /// [`SessionError::Malformed`]. They count as the beginning of a message, which
    /// [`Timeouts::partial_message`](crate::Timeouts::partial_message) does not let last forever; a session that keeps such a
    /// beginning to itself forgoes that. A session that has become [`Stage::Transparent`] leaves all that is not its own.
    /// One call takes all it can: there is none before more bytes arrive. The plaintext should be of the order of the
    /// bytes taken.
    ///
    /// # Errors
    ///
    /// Any [`SessionError`] ends the connection; see [`Session`]. Plaintext appended before the error is delivered.
    fn receive(&mut self, bytes: &[u8], output: &mut Output<'_>) -> Result<usize, SessionError>;

    /// Where the session stands. Asked after [`Session::start`] and every [`Session::receive`].
    fn stage(&self) -> Stage;

    /// Appends to `wire` the sealed form of `plaintext`: whole frames or parts of them, up to 64 KiB in all, in the order
    /// in which they are to arrive. Something has to come of it. Called only while [`Stage::Established`] or [`Stage::Finished`]; a session that is
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
    /// queued is sealed and the sending half is about to be closed; not after an abort or an error, nor before the end of
    /// the handshake.
    fn goodbye(&mut self, wire: &mut Vec<u8>) {
        let _ = wire;
    }

    /// The wire ended, and everything that had arrived was received, but for what the session has left untaken.
    ///
    /// # Errors
    ///
    /// [`SessionError::Truncated`] where the protocol has a goodbye and the peer has not said it. It becomes the reason
    /// of the end.
    fn wire_ended(&mut self) -> Result<(), SessionError> {
        Ok(())
    }

    /// What the handshake proved about the peer; asked once, at its end, and kept in
    /// [`ConnEntry::identity`](crate::Peer::identity).
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
///
/// A session of your own begins with [`Identity::default`], in which nothing is, and sets what it knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The peer's public key, as the protocol encodes it.
    pub public_key: Option<Vec<u8>>,
    /// The peer's certificates in DER, its own first.
    pub certificates: Vec<Vec<u8>>,
    /// The name that the peer was verified to have.
    pub name: Option<String>,
    /// The name by which the peer called this node, such as TLS's SNI. It proves nothing about the peer.
    pub requested_name: Option<String>,
    /// The protocol that was agreed on, such as TLS's ALPN.
    pub protocol: Option<Vec<u8>>,
    /// What the peer said beside in the handshake.
    pub payload: Vec<u8>,
}
