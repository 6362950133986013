//! Floor 0: names for connections, timers and roles.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Not;

/// The name of one connection of one node, from the moment it was asked for until its last callback.
///
/// Copy it, store it, use it as a key (see [`ConnMap`](crate::ConnMap)). An id is never given out twice by the same
/// node: once the connection has ended the id is *stale*, and every operation on it is an ordinary miss that reaches
/// nobody. An id means nothing to a node other than the one that gave it.
///
/// ```text
///  63           32 31            0
/// ┌───────────────┬───────────────┐
/// │  generation   │     slot      │   generation 0 is never used
/// └───────────────┴───────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(NonZeroU64);

impl ConnId {
    /// The id of a slot's `generation`-th occupant. A generation of zero is taken as one.
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        debug_assert!(generation != 0 && slot < SLOTS_MAX);
        let bits = u64::from(generation.max(1)) << 32 | u64::from(slot);
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// The id as a number: as the key of a timer, for instance.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// The id of which [`ConnId::to_bits`] gave this number; `None` for a number that it never gives, such as zero. A number that was not made
    /// so is most likely a stale id, and at worst that of another connection of the node.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let (slot, generation) = (bits as u32, bits >> 32);
        let is_one = generation != 0 && slot < SLOTS_MAX;
        NonZeroU64::new(bits).filter(|_| is_one).map(Self)
    }

    /// Whether it was given out after the other, for the same slot.
    pub(crate) fn is_later_than(self, other: Self) -> bool {
        // The generation is in the upper bits.
        self.slot() == other.slot() && self > other
    }

    /// The slot, an index into the node's table.
    pub(crate) fn slot(self) -> usize {
        (self.0.get() & u64::from(u32::MAX)) as usize
    }

    /// The key under which the poller reports readiness. The generation is cut off at [`LANE_SHIFT`] bits, where the
    /// member of a group is told, and on 32-bit targets altogether; that is why a token is always compared with that of
    /// the slot's present occupant and never turned back into an id.
    ///
    /// ```text
    ///  63      48 47          32 31            0
    /// ┌──────────┬──────────────┬───────────────┐
    /// │  member  │  generation  │     slot      │
    /// └──────────┴──────────────┴───────────────┘
    /// ```
    pub(crate) fn token(self) -> usize {
        self.0.get() as usize & TOKEN_MASK
    }

    /// The slot a poller key belongs to; [`ConnId::token`] of its occupant tells whether the key is stale.
    pub(crate) fn slot_of_token(token: usize) -> usize {
        token & u32::MAX as usize
    }
}

/// What knows the id of its connection, so that a table need not keep it a second time.
pub(crate) trait Named {
    fn id(&self) -> ConnId;
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.0.get() >> 32)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// The name of a timer set with [`Net::set_timer`](crate::Net::set_timer); never given out twice by the same node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    pub(crate) slot: u32,
    pub(crate) serial: u64,
}

/// Which role **this** node plays on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// This node dialled.
    Initiator,
    /// This node accepted.
    Responder,
}

impl Not for Side {
    type Output = Self;

    /// The role of the other end.
    fn not(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Where in a poller key the member of a group is told, above the token. Groups are for 64-bit targets.
#[cfg(target_pointer_width = "64")]
pub(crate) const LANE_SHIFT: u32 = 48;

/// The part of a poller key that is the token.
#[cfg(target_pointer_width = "64")]
pub(crate) const TOKEN_MASK: usize = (1 << LANE_SHIFT) - 1;
#[cfg(not(target_pointer_width = "64"))]
const TOKEN_MASK: usize = usize::MAX;

/// Slots are below this, so that the poller keys of listeners and of the waker are never those of a connection.
pub(crate) const SLOTS_MAX: u32 = 1 << 31;

/// The poller key of the `index`-th listener.
pub(crate) fn listener_token(index: usize) -> usize {
    SLOTS_MAX as usize + index
}

/// The poller key of the waker.
pub(crate) const WAKER_TOKEN: usize = u32::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slot_and_generation_do_not_mix() {
        for slot in [0, 1, 77, SLOTS_MAX - 1] {
            for generation in [1, 2, u32::MAX] {
                let id = ConnId::new(slot, generation);
                assert_eq!(id.slot(), slot as usize);
                assert_eq!(ConnId::slot_of_token(id.token()), slot as usize);
                assert_eq!(id.to_string(), format!("{slot}.{generation}"));
            }
        }
    }

    #[test]
    fn an_optional_id_is_as_small_as_an_id() {
        assert_eq!(size_of::<Option<ConnId>>(), 8);
    }

    #[test]
    fn the_other_side_of_the_other_side_is_this_one() {
        assert_eq!(!Side::Initiator, Side::Responder);
        assert_eq!(!!Side::Initiator, Side::Initiator);
    }
}
