//! The two roles of a handshake.

use std::ops::Not;

use crate::id::Direction;

/// The role that a session plays in its handshake.
///
/// Usually the end that opened the TCP connection is the initiator, and
/// [`Role::from`] a [`Direction`] says so. In a TCP simultaneous open (RFC 9293,
/// 3.5) both ends are [`Direction::Outbound`]: the programs have to agree on the
/// roles in another way, by comparing node ids for instance.
///
/// ```
/// use peerloop::Direction;
/// use peerloop::session::Role;
///
/// assert_eq!(Role::from(Direction::Outbound), Role::Initiator);
/// assert_eq!(!Role::Initiator, Role::Responder);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Sends the first message of the handshake.
    Initiator,
    /// Answers the first message of the handshake.
    Responder,
}

impl From<Direction> for Role {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Inbound => Self::Responder,
            Direction::Outbound => Self::Initiator,
        }
    }
}

impl Not for Role {
    type Output = Self;

    /// Returns the role of the other end.
    fn not(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}
