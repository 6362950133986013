//! Sessions: handshakes and ciphers between the wire and the framing of one
//! connection.

mod boxed;
mod channel;
mod identity;
mod peer_hello;
mod role;
mod sequence;
mod traits;
mod transport;

pub use identity::Identity;
pub use peer_hello::PeerHello;
pub use role::Role;
pub use sequence::Sequence;
pub use traits::{Output, Session, Stage};
pub use transport::Transport;

pub(crate) use peer_hello::ConnectionOrder;

#[cfg(feature = "sim")]
pub(crate) use channel::REPLIES_MAX;
pub(crate) use channel::{SessionChannel, output_max};
