//! Errors of sessions.

use std::error::Error;
use std::fmt;

use super::HelloRefusal;

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
    /// This side refused the hello of the peer; see [`hello`](crate::hello).
    Hello(HelloRefusal),
    /// The peer reported that it refused the hello of this side; see
    /// [`hello`](crate::hello).
    HelloRefusedByPeer(HelloRefusal),
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
    /// True for [`SessionError::Malformed`] and [`SessionError::Refused`], and
    /// for [`SessionError::Hello`] if [`HelloRefusal::is_peers_fault`] is true
    /// for its reason. False for refusals by the peer and for failures of this
    /// side. False also for [`SessionError::Truncated`], because anyone on the
    /// network path can cause it.
    pub fn is_peers_fault(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::Refused(_) => true,
            Self::Hello(refusal) => refusal.is_peers_fault(),
            _ => false,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Refused(why) => write!(f, "the peer was refused: {why}"),
            Self::RefusedByPeer(why) => write!(f, "refused by the peer: {why}"),
            Self::Hello(refusal) => write!(f, "the hello of the peer was refused: {refusal}"),
            Self::HelloRefusedByPeer(refusal) => {
                write!(f, "the peer refused the hello: {refusal}")
            }
            Self::Truncated => f.write_str("the stream ended without a close notification"),
            Self::Failed(what) => write!(f, "failed: {what}"),
            Self::Panicked => f.write_str("the session panicked"),
        }
    }
}

impl Error for SessionError {}
