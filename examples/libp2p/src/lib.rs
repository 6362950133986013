//! libp2p over TCP on peerloop; see README.md. The modules are in the order in
//! which a connection needs them.

pub mod multistream;

pub mod identity;

pub mod yamux;

pub mod streams;

pub mod talk;

pub mod identify;

pub mod host;

/// Why a peer is refused.
pub type Reason = &'static str;
