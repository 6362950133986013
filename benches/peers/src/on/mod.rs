//! The contestants, each set up as its own documentation advises. TCP_NODELAY is
//! set wherever it can be.

pub mod blocking;
pub mod message_io;
pub mod pea2pea;
pub mod peerloop;
pub mod runtime;
pub mod spinning;
pub mod tokio;

/// The contestants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Contestant {
    Peerloop,
    Pea2pea,
    MessageIo,
    Tokio,
    /// The limit that no library can exceed by much: blocking threads, or for
    /// spinning a bare poll.
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

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peerloop => "peerloop",
            Self::Pea2pea => "pea2pea",
            Self::MessageIo => "message-io",
            Self::Tokio => "tokio Framed",
            Self::Limit => "limit",
        }
    }
}

/// How many threads the two sides of a job share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    One,
    Two,
}

/// A port of this machine.
pub fn loopback(port: u16) -> std::net::SocketAddr {
    ([127, 0, 0, 1], port).into()
}
