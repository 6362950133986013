//! libp2p over TCP on peerloop; see README.md.

pub mod host;
pub mod identify;
pub mod identity;
pub mod multistream;
pub mod prefixed;
pub mod streams;
pub mod yamux;

/// A result, or the reason for which a peer is refused.
pub type Checked<T = ()> = Result<T, &'static str>;

/// Returns the reason as an error, unless the condition holds.
pub fn check(condition: bool, reason: &'static str) -> Checked {
    condition.then_some(()).ok_or(reason)
}
