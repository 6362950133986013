//! The layer between the wire and the messages of simulated nodes: none, one of
//! the sessions of these tests, TLS or Noise.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of it"
)]

#[cfg(feature = "noise")]
mod noise;
#[cfg(feature = "tls")]
mod tls;

use peerloop::session::Session;
use peerloop::sim::Random;
use peerloop::{Direction, Transport};

use super::sessions::{Greeting, Manner, Xor};

/// TLS and Noise draw keys from the system, so the bytes on the wire differ in
/// each run. Their lengths, the times, the faults and the messages are the
/// same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secured {
    No,
    /// A handshake, and plain TCP after it.
    Greeting,
    /// Records from end to end.
    Xor,
    #[cfg(feature = "tls")]
    Tls,
    #[cfg(feature = "noise")]
    Noise,
}

impl Secured {
    pub const ALL: &[Self] = &[
        Self::No,
        Self::Greeting,
        Self::Xor,
        #[cfg(feature = "tls")]
        Self::Tls,
        #[cfg(feature = "noise")]
        Self::Noise,
    ];

    /// One after the other, by seed, so that a few seeds have all of them.
    pub fn of_seed(seed: u64) -> Self {
        match seed % 8 {
            1 | 5 => Self::Greeting,
            2 | 6 => Self::Xor,
            #[cfg(feature = "tls")]
            3 => Self::Tls,
            #[cfg(feature = "noise")]
            7 => Self::Noise,
            _ => Self::No,
        }
    }

    pub fn drawn(random: &mut Random) -> Self {
        match random.below(8) {
            0 | 1 => Self::Greeting,
            2 | 3 => Self::Xor,
            #[cfg(feature = "tls")]
            4 => Self::Tls,
            #[cfg(feature = "noise")]
            5 => Self::Noise,
            _ => Self::No,
        }
    }

    /// For [`Handler::transport`](peerloop::Handler::transport). The manner is that of a
    /// greeting; the others are always the same.
    pub fn transport(self, direction: Direction, manner: Manner) -> Transport {
        self.session(direction, manner)
            .map_or(Transport::Plain, Transport::Session)
    }

    fn session(self, side: Direction, manner: Manner) -> Option<Box<dyn Session>> {
        match self {
            Self::No => None,
            Self::Greeting => Some(Box::new(Greeting::new(manner))),
            Self::Xor => Some(Box::new(Xor::new(side))),
            #[cfg(feature = "tls")]
            Self::Tls => Some(Box::new(tls::session(side))),
            #[cfg(feature = "noise")]
            Self::Noise => Some(Box::new(noise::session(side))),
        }
    }
}
