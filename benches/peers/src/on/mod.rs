//! The contestants, each set up as its own documentation advises. TCP_NODELAY
//! is set where the library allows it.

pub mod blocking;
pub mod message_io;
pub mod pea2pea;
pub mod peerloop;
pub mod tokio;

use std::io;
use std::net::SocketAddr;

use ::tokio::runtime::{Builder, Runtime};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Contestant {
    Peerloop,
    Pea2pea,
    MessageIo,
    Tokio,
    /// Blocking threads, which no library exceeds by much.
    Limit,
}

impl Contestant {
    pub const ALL: [Self; 5] = [
        Self::Peerloop,
        Self::Pea2pea,
        Self::MessageIo,
        Self::Tokio,
        Self::Limit,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Peerloop => "peerloop",
            Self::Pea2pea => "pea2pea",
            Self::MessageIo => "message-io",
            Self::Tokio => "tokio `Framed`",
            Self::Limit => "limit",
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// Returns a runtime in the thread of its caller.
fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Returns a runtime with two worker threads, as many as the other contestants
/// have.
pub fn two_threads() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}
