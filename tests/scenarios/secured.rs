//! What stands between the wire and the messages of a scenario: nothing, or one of the sessions of these tests.

use peerloop::Side;
use peerloop::session::Session;

use super::sessions::{Greeting, Manner, Xor};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secured {
    No,
    /// A handshake, and plain TCP after it.
    Greeting,
    /// Records from end to end.
    Xor,
}

impl Secured {
    /// One after the other, by seed, so that a few seeds have all of them.
    pub fn of_seed(seed: u64) -> Self {
        match seed % 4 {
            1 => Self::Greeting,
            2 => Self::Xor,
            _ => Self::No,
        }
    }

    /// For [`Handler::session`](peerloop::Handler::session).
    pub fn session(self, side: Side) -> Option<Box<dyn Session>> {
        match self {
            Self::No => None,
            Self::Greeting => Some(Box::new(Greeting::new(Manner::Agrees))),
            Self::Xor => Some(Box::new(Xor::new(side))),
        }
    }
}
