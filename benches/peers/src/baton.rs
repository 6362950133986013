//! The message that travels back and forth in a line of nodes.

use std::io;

use crate::support::failed;

/// Number of traversals that are left, and of hops that were made.
#[derive(Clone, Copy)]
pub struct Baton {
    left: u64,
    hops: u64,
}

impl Baton {
    pub const LEN: usize = 16;

    pub fn begin(traversals: u64) -> Self {
        Self {
            left: traversals,
            hops: 0,
        }
    }

    pub fn encode(self) -> [u8; Self::LEN] {
        let mut message = [0; Self::LEN];
        message[..8].copy_from_slice(&self.left.to_be_bytes());
        message[8..].copy_from_slice(&self.hops.to_be_bytes());
        message
    }

    /// Decodes a message and counts its hop.
    pub fn receive(message: &[u8]) -> io::Result<Self> {
        let decode = || {
            let (left, hops) = message.split_first_chunk()?;
            Some(Self {
                left: u64::from_be_bytes(*left),
                hops: u64::from_be_bytes(hops.try_into().ok()?) + 1,
            })
        };
        decode().ok_or_else(|| failed("a message is not a baton"))
    }

    /// Returns where a node sends the baton: to the other neighbour, or back at
    /// an end of the line. Returns `None` after the last traversal.
    pub fn pass<T>(self, from: T, other: Option<T>) -> Option<(T, Self)> {
        match other {
            Some(other) => Some((other, self)),
            None => Some((from, self.turn_back()?)),
        }
    }

    /// Begins the next traversal, if there is one.
    pub fn turn_back(self) -> Option<Self> {
        let left = self.left - 1;
        (left > 0).then_some(Self { left, ..self })
    }

    /// Fails unless every node had the baton in every traversal.
    pub fn check(self, nodes: usize, traversals: u64) -> io::Result<()> {
        let (hops, expected) = (self.hops, (nodes as u64 - 1) * traversals);
        if hops == expected {
            return Ok(());
        }
        Err(failed(format!("{hops} hops instead of {expected}")))
    }
}
