//! What is let happen and what is not.

use super::check;
use crate::error::ConfigError;

/// How many connections one network may have; see [`Config::max_connections_per_prefix`](crate::Config::max_connections_per_prefix).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrefixLimit {
    /// Connections with one network at most. Default: 512.
    pub max: usize,
    /// How many bits of an IPv4 address name the network. Default: 24.
    pub v4_bits: u8,
    /// How many bits of an IPv6 address name the network. Default: 64, what one subscriber has at the least
    /// (RFC 6177).
    pub v6_bits: u8,
}

impl Default for PrefixLimit {
    fn default() -> Self {
        Self {
            max: 512,
            v4_bits: 24,
            v6_bits: 64,
        }
    }
}

impl PrefixLimit {
    pub(super) fn validate(self) -> Result<(), ConfigError> {
        let field = "max_connections_per_prefix";
        check(
            self.max > 0,
            field,
            "must not be zero; `None` switches it off",
        )?;
        let fits = self.v4_bits <= 32 && self.v6_bits <= 128;
        check(fits, field, "has more bits than an address")
    }
}

/// Whether something is let happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Permission {
    /// It is.
    Allowed,
    /// It is not.
    Refused,
}

/// What happens when a send would pass [`Config::queue_max`](crate::Config::queue_max).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Overflow {
    /// It is refused with [`SendError::Full`](crate::SendError::Full).
    Refuse,
    /// It is refused, and the connection ended with
    /// [`DisconnectReason::SendQueueFull`](crate::DisconnectReason::SendQueueFull): for protocols in which who cannot
    /// keep up is of no use.
    Close,
}

/// Whether a connection lives on when the peer ends its side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HalfOpen {
    /// What is queued leaves, and the connection ends.
    Refused,
    /// [`Handler::on_finished`](crate::Handler::on_finished) is called, and sending goes on until this node closes.
    Allowed,
}

/// What becomes of a panic in a callback.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Panics {
    /// It ends the connection that the callback was made for, with
    /// [`DisconnectReason::HandlerPanicked`](crate::DisconnectReason::HandlerPanicked), is logged and counted, and the
    /// node goes on. A panic in a [`Session`](crate::session::Session) ends its connection with
    /// [`SessionError::Panicked`](crate::SessionError::Panicked), and one in a [`Framer`](crate::Framer) its own with `HandlerPanicked`,
    /// whoever sends. A callback for no connection (`on_start`, `on_timer`, `on_turn`, a posted call) is cut short; in
    /// `on_accept` the newcomer is refused. A handler whose own state may be torn by then should not be run on: choose the other.
    ///
    /// Only panics that unwind can be contained; under `panic = "abort"` this is as the other.
    Contain,
    /// It unwinds out of [`Node::turn`](crate::Node::turn). The node is not to be run again; dropping it closes
    /// everything.
    Unwind,
}
