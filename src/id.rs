//! Ids of connections, shards and timers, and the direction of a connection.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// The id of a connection, from the call that gave it out to its last callback.
///
/// Copy it, store it, use it as a key (see [`ConnMap`](crate::ConnMap)). An id
/// is never given out twice by a node. Once the connection has ended the id is
/// *stale*, and an operation on a stale id reaches no connection. An id means
/// nothing to another node. The [shards](crate::shards) of one node know each
/// other's ids, because an id says which shard has the connection.
///
/// ```text
///  63           32 31    24 23            0
/// ┌───────────────┬────────┬───────────────┐
/// │  generation   │ shard  │     slot      │
/// └───────────────┴────────┴───────────────┘
/// ```
///
/// Generation 0 is never used. A node without shards is shard 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(NonZeroU64);

impl ConnId {
    /// The id of a slot's `generation`-th occupant. A generation of zero is
    /// taken as one.
    pub(crate) fn new(shard: ShardId, slot: u32, generation: u32) -> Self {
        debug_assert!(generation != 0 && slot < SLOTS_MAX);
        let place = u64::from(shard.0) << SLOT_BITS | u64::from(slot);
        let bits = u64::from(generation.max(1)) << 32 | place;
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// Returns the id as a number, for instance as the key of a timer.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// Returns the id that [`ConnId::to_bits`] made this number of. `None` for
    /// a number that it never makes, such as zero. Any other number is most
    /// likely a stale id, and at worst that of another connection of the node.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let generation = bits >> 32;
        NonZeroU64::new(bits).filter(|_| generation != 0).map(Self)
    }

    /// Returns the [shard](crate::shards) that has the connection; the first
    /// one in a node without shards.
    #[inline]
    pub fn shard(self) -> ShardId {
        ShardId((self.0.get() >> SLOT_BITS) as u8)
    }

    /// Whether it was given out after the other, for the same slot.
    pub(crate) fn is_later_than(self, other: Self) -> bool {
        // The generation is in the upper bits.
        self.slot() == other.slot() && self > other
    }

    /// The slot, an index into the table of its shard.
    #[inline]
    pub(crate) fn slot(self) -> usize {
        (self.0.get() & u64::from(SLOTS_MAX - 1)) as usize
    }

    /// The token under which the poller reports readiness. The generation is
    /// cut off at [`MEMBER_SHIFT`] bits, where the member of a group is
    /// encoded, and on 32-bit targets altogether. That is why a token is
    /// compared with that of the slot's occupant and never turned back into an
    /// id. Where an id has its shard, a token has zero; those of listeners and
    /// of the waker have something else there.
    ///
    /// ```text
    ///  63      48 47          32 31  24 23            0
    /// ┌──────────┬──────────────┬──────┬───────────────┐
    /// │  member  │  generation  │  0   │     slot      │
    /// └──────────┴──────────────┴──────┴───────────────┘
    /// ```
    #[inline]
    pub(crate) fn token(self) -> usize {
        const SHARD: usize = 0xff << SLOT_BITS;
        self.0.get() as usize & TOKEN_MASK & !SHARD
    }

    /// The slot that a token belongs to. The token is stale unless it equals
    /// [`ConnId::token`] of the connection in the slot.
    pub(crate) fn slot_of_token(token: usize) -> usize {
        token & u32::MAX as usize
    }
}

/// A type that has the id of its connection, so that a table need not keep it
/// again.
pub(crate) trait HasId {
    fn id(&self) -> ConnId;
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shard() != ShardId::FIRST {
            write!(f, "{}/", self.shard())?;
        }
        write!(f, "{}.{}", self.slot(), self.0.get() >> 32)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// The number of one of a node's [shards](crate::shards), counted from zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(u8);

impl ShardId {
    /// The first shard; the only one of a node without shards.
    pub const FIRST: Self = Self(0);

    /// Returns the `index`-th shard. `None` above 255.
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().map(Self)
    }

    /// Returns the number of the shard, for instance as an index into the
    /// handlers that [`Shards::join`](crate::shards::Shards::join) returns.
    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardId({self})")
    }
}

/// The id of a listener, given by [`Net::listen`](crate::Net::listen). An id is
/// never given out twice by a node.
///
/// The node gives the id, not the shard: all sockets of one call have the same
/// id, and it closes them from every shard. Closing a stale id is a no-op.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(NonZeroU32);

impl ListenerId {
    /// The id of the `index`-th listener, counted from zero.
    pub(crate) fn new(index: u32) -> Option<Self> {
        NonZeroU32::MIN.checked_add(index).map(Self)
    }
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0.get() - 1).fmt(f)
    }
}

impl fmt::Debug for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListenerId({self})")
    }
}

/// The id of a timer; see [`Net::set_timer`](crate::Net::set_timer). An id is
/// never given out twice by a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    pub(crate) slot: u32,
    pub(crate) serial: u64,
}

/// The direction in which a TCP connection was opened, as seen from this node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// The peer connected to a listener of this node.
    Inbound,
    /// This node connected to the peer.
    Outbound,
}

/// The bit of a token above which the member of a group is encoded. Groups are
/// for 64-bit targets.
#[cfg(target_pointer_width = "64")]
pub(crate) const MEMBER_SHIFT: u32 = 48;

/// The bits of a token below that.
#[cfg(target_pointer_width = "64")]
pub(crate) const TOKEN_MASK: usize = (1 << MEMBER_SHIFT) - 1;
#[cfg(not(target_pointer_width = "64"))]
const TOKEN_MASK: usize = usize::MAX;

/// How many bits of an id are the slot.
const SLOT_BITS: u32 = 24;

/// Slots are below this, so that the tokens of listeners and of the waker
/// differ from those of connections.
pub(crate) const SLOTS_MAX: u32 = 1 << SLOT_BITS;

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
    fn slot_shard_and_generation_do_not_mix() {
        for slot in [0, 1, 77, SLOTS_MAX - 1] {
            for generation in [1, 2, u32::MAX] {
                for (shard, name) in [(0, ""), (1, "1/"), (255, "255/")] {
                    let shard = ShardId(shard);
                    let id = ConnId::new(shard, slot, generation);
                    assert_eq!((id.slot(), id.shard()), (slot as usize, shard));
                    assert_eq!(ConnId::from_bits(id.to_bits()), Some(id));
                    assert_eq!(ConnId::slot_of_token(id.token()), slot as usize);
                    assert_ne!(id.token(), WAKER_TOKEN);
                    assert_eq!(id.to_string(), format!("{name}{slot}.{generation}"));
                }
            }
        }
    }

    #[test]
    fn a_listeners_token_is_not_a_connections() {
        for index in [0, 1, 1000] {
            let slot = ConnId::slot_of_token(listener_token(index));
            assert_eq!(slot - SLOTS_MAX as usize, index);
        }
    }

    #[test]
    fn an_optional_id_is_as_small_as_an_id() {
        assert_eq!(size_of::<Option<ConnId>>(), 8);
    }
}
