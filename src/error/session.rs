//! Errors of sessions.

use std::error::Error;
use std::fmt;

/// The reason why a session ended its connection. The texts are for humans and
/// may change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer violated the protocol: it sent malformed or forged bytes, or a
    /// message out of sequence.
    Malformed(&'static str),
    /// This side refused the peer because of its key, certificate, network or
    /// version.
    Refused(&'static str),
    /// The peer reported that it refused this side.
    RefusedByPeer(&'static str),
    /// The stream ended without the close notification that the protocol
    /// requires, so data may be missing. Queued messages are dropped. The
    /// option `allow_missing_close_notify` of the modules `tls` and `noise`
    /// accepts such an end.
    Truncated,
    /// This side failed. The peer is not the cause.
    Failed(&'static str),
    /// A method of the session panicked; see
    /// [`OnPanic`](crate::config::OnPanic).
    Panicked,
}

impl SessionError {
    /// Returns whether the peer is at fault. Use it for ban scores.
    ///
    /// True for [`SessionError::Malformed`] and [`SessionError::Refused`].
    /// False for [`SessionError::RefusedByPeer`] and for failures of this side.
    /// False also for [`SessionError::Truncated`], because anyone on the
    /// network path can cause it.
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
