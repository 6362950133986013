//! Errors of sessions.

use std::error::Error;
use std::fmt;

/// Why a session ended its connection. The text is for people.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer sent what the protocol does not allow: malformed or forged
    /// bytes, or a message out of turn.
    Malformed(&'static str),
    /// This side refused the peer: a key, a certificate, a network or a version
    /// that it does not accept.
    Refused(&'static str),
    /// The peer refused this side, and said so.
    RefusedByPeer(&'static str),
    /// The stream ended without the close notification that the protocol
    /// requires. It may have been cut off. The queued messages are dropped. The
    /// sessions of the modules `tls` and `noise` have an option that accepts
    /// such an end, `allow_missing_close_notify`.
    Truncated,
    /// This side failed, and the peer is not the cause.
    Failed(&'static str),
    /// A method of the session panicked; see
    /// [`OnPanic`](crate::config::OnPanic).
    Panicked,
}

impl SessionError {
    /// Returns whether the error shows misbehavior of the peer, for ban scores.
    ///
    /// True for [`SessionError::Malformed`] and [`SessionError::Refused`].
    /// False for [`SessionError::RefusedByPeer`] and for failures of this side.
    /// False also for [`SessionError::Truncated`], which anyone on the way can
    /// cause.
    pub fn is_peers_fault(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Refused(_))
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Refused(why) => write!(f, "the peer was refused: {why}"),
            Self::RefusedByPeer(why) => write!(f, "refused by the peer: {why}"),
            Self::Truncated => f.write_str("the stream ended without a close notification"),
            Self::Failed(what) => write!(f, "failed: {what}"),
            Self::Panicked => f.write_str("the session panicked"),
        }
    }
}

impl Error for SessionError {}
