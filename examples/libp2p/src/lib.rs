//! libp2p over TCP on peerloop; see README.md.

pub mod host;
pub mod identify;
pub mod identity;
pub mod multistream;
pub mod prefixed;
pub mod stream;
pub mod streams;
pub mod yamux;

/// Why a peer is refused.
pub type Reason = &'static str;
