//! The two roles of a handshake.

use std::cmp::Ordering;
use std::ops::Not;

use crate::id::Direction;

/// The role of one end in a handshake.
///
/// Usually the end that opened the TCP connection is the initiator.
/// [`Role::from`] a [`Direction`] returns that role:
///
/// ```
/// use peerloop::Direction;
/// use peerloop::session::Role;
///
/// assert_eq!(Role::from(Direction::Outbound), Role::Initiator);
/// assert_eq!(!Role::Initiator, Role::Responder);
/// ```
///
/// # Simultaneous open
///
/// Two programs that connect to each other at the same time, for instance for
/// TCP hole punching, get one TCP connection for which both are
/// [`Direction::Outbound`] (RFC 9293, section 3.5). A handshake with two
/// initiators fails as [`Malformed`](crate::error::SessionError::Malformed) at
/// both ends. Neither end can detect it before, because each end's connect
/// succeeded. Programs that may do this therefore take the role of **every**
/// connection with such a peer from [`Role::by_comparing`], whatever its
/// direction.
///
/// The constructor of a TLS session follows from the role, too: `tls::client`
/// for the initiator, `tls::server` for the responder.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Sends the first message of the handshake.
    Initiator,
    /// Answers the first message of the handshake.
    Responder,
}

impl Role {
    /// Returns the role of this end from a comparison that both ends make: the
    /// end with the lower value is the initiator. Returns `None` if both values
    /// are equal, because then neither end can decide.
    ///
    /// Both ends must compare the same two values. Suitable values are:
    ///
    /// - public keys or node ids, if each end has that of the other end before
    ///   the connection, for instance from a rendezvous server;
    /// - the addresses of both ends,
    ///   [`ConnInfo::local_addr`](crate::ConnInfo::local_addr) and
    ///   [`ConnInfo::addr`](crate::ConnInfo::addr), if no NAT or proxy is
    ///   between them. Behind a NAT the two ends have different addresses
    ///   for the same end.
    ///
    /// ```
    /// use peerloop::session::Role;
    ///
    /// let (own_id, id_of_peer) = ([7; 32], [9; 32]);
    /// assert_eq!(Role::by_comparing(&own_id, &id_of_peer), Some(Role::Initiator));
    /// assert_eq!(Role::by_comparing(&id_of_peer, &own_id), Some(Role::Responder));
    /// assert_eq!(Role::by_comparing(&own_id, &own_id), None);
    /// ```
    pub fn by_comparing<T: Ord + ?Sized>(local: &T, remote: &T) -> Option<Self> {
        match local.cmp(remote) {
            Ordering::Less => Some(Self::Initiator),
            Ordering::Equal => None,
            Ordering::Greater => Some(Self::Responder),
        }
    }
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
