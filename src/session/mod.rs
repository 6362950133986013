//! Sessions: handshakes and ciphers between the wire and the framing of one
//! connection.

mod channel;
mod role;
mod sequence;
mod traits;

pub use role::Role;
pub use sequence::Sequence;
pub use traits::{Identity, Output, Session, Stage};

#[cfg(feature = "sim")]
pub(crate) use channel::REPLIES_MAX;
pub(crate) use channel::SessionChannel;
