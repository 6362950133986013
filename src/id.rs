//! Ids of connections, shards and timers, and the direction of a connection.

mod source;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

pub use source::SourceId;

#[cfg(not(target_pointer_width = "64"))]
use token::TOKEN_MASK;
use token::{HIGH_WORD, SLOT_BITS, UDP_TOKENS};

#[cfg(target_pointer_width = "64")]
pub(crate) use token::{MEMBER_SHIFT, TOKEN_MASK};
pub(crate) use token::{SLOTS_MAX, WAKER_TOKEN, listener_token};

/// The id of a connection.
///
/// An id is valid from the call that returns it to the last callback of the
/// connection. It is `Copy` and can be a key; see [`ConnMap`](crate::ConnMap).
/// A node never gives out an id twice. After the end of the connection the id
/// is *stale*, and an operation on a stale id reaches no connection.
///
/// An id has no meaning in another node. It contains the number of the
/// [shard](crate::shards) that has the connection, so all shards of a node can
/// use it.
///
/// ```text
///  63           32 31    24 23            0
/// ┌───────────────┬────────┬───────────────┐
/// │  generation   │ shard  │     slot      │
/// └───────────────┴────────┴───────────────┘
/// ```
///
/// Generation 0 is never used. A node without shards has shard 0 only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(NonZeroU64);

impl ConnId {
    /// Returns the id of the `generation`-th occupant of a slot. A generation
    /// of zero becomes one.
    pub(crate) fn new(shard: ShardId, slot: u32, generation: u32) -> Self {
        debug_assert!(generation != 0 && slot < SLOTS_MAX);
        let place = u64::from(shard.0) << SLOT_BITS | u64::from(slot);
        let bits = u64::from(generation.max(1)) << 32 | place;
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }

    /// Returns the id as a number, for example for use as the key of a timer.
    pub fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// Returns the id that [`ConnId::to_bits`] turned into this number. Returns
    /// `None` for a number that is not an id, such as zero.
    ///
    /// A number from another source is usually a stale id, but it can be the id
    /// of another connection of the node.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let generation = bits >> 32;
        NonZeroU64::new(bits).filter(|_| generation != 0).map(Self)
    }

    /// Returns the [shard](crate::shards) that has the connection. In a node
    /// without shards this is [`ShardId::FIRST`].
    #[inline]
    pub fn shard(self) -> ShardId {
        ShardId((self.0.get() >> SLOT_BITS) as u8)
    }

    /// Returns whether this id was given out after the other, for the same
    /// slot.
    pub(crate) fn is_later_than(self, other: Self) -> bool {
        // The generation is in the upper bits.
        self.slot() == other.slot() && self > other
    }

    /// Returns the slot, an index into the table of the shard.
    #[inline]
    pub(crate) fn slot(self) -> usize {
        (self.0.get() & u64::from(SLOTS_MAX - 1)) as usize
    }

    /// Returns the token under which the poller reports readiness.
    ///
    /// The generation is truncated to the bits below [`MEMBER_SHIFT`], because
    /// the bits above hold the member of a group. On 32-bit targets it is
    /// dropped. Therefore a token is compared with the token of the slot's
    /// occupant and never converted back into an id. The bits of the shard are
    /// zero in a token of a connection. Tokens of listeners and of the waker
    /// have other bits set there.
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

    /// Returns the slot that a token belongs to. The token is stale unless it
    /// equals [`ConnId::token`] of the connection in that slot.
    pub(crate) fn slot_of_token(token: usize) -> usize {
        token & u32::MAX as usize
    }
}

/// A type that contains the id of its connection, so that a table does not
/// store it again.
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

/// The number of a [shard](crate::shards) of a node, counted from zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(u8);

impl ShardId {
    /// The first shard, and the only shard of a node without shards.
    pub const FIRST: Self = Self(0);

    /// Returns the `index`-th shard, or `None` if `index` is above 255.
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().map(Self)
    }

    /// Returns the number of the shard, for example as an index into the
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

/// The id of a listener, returned by [`Net::listen`](crate::Net::listen).
///
/// A node never gives out an id twice. With [shards](crate::shards), all
/// sockets of one call have the same id, and any shard can close them with it.
/// Closing a stale id is a no-op.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(NonZeroU32);

impl ListenerId {
    /// Returns the id of the `index`-th listener, counted from zero.
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

/// The id of a UDP socket, returned by [`Net::bind_udp`](crate::Net::bind_udp).
///
/// A node never gives out an id twice. The socket belongs to the
/// [shard](crate::shards) that bound it. On other shards, and after
/// [`Net::close_udp`](crate::Net::close_udp), the id is stale.
///
/// ```text
///  63           32 31    24 23            0
/// ┌───────────────┬────────┬───────────────┐
/// │    serial     │ shard  │     slot      │
/// └───────────────┴────────┴───────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UdpId(NonZeroU64);

impl UdpId {
    /// Returns the id of the socket that the shard bound as the `serial`-th,
    /// counted from one.
    pub(crate) fn new(shard: ShardId, slot: u32, serial: NonZeroU32) -> Self {
        debug_assert!(slot < SLOTS_MAX);
        let place = u64::from(shard.0) << SLOT_BITS | u64::from(slot);
        Self(NonZeroU64::from(serial).saturating_mul(HIGH_WORD) | place)
    }

    /// Returns the slot, an index into the table of the shard.
    pub(crate) fn slot(self) -> usize {
        (self.0.get() & u64::from(SLOTS_MAX - 1)) as usize
    }

    /// Returns the token under which the poller reports readiness. As in
    /// [`ConnId::token`], the serial is truncated, and dropped on 32-bit
    /// targets.
    pub(crate) fn token(self) -> usize {
        let serial = (self.0.get() >> 32 << 32) as usize & TOKEN_MASK;
        serial | UDP_TOKENS | self.slot()
    }

    /// Returns the slot that a token belongs to, or `None` if it is the token
    /// of another kind of socket.
    pub(crate) fn slot_of_token(token: usize) -> Option<usize> {
        let place = token & u32::MAX as usize;
        let slots = UDP_TOKENS..UDP_TOKENS + SLOTS_MAX as usize;
        slots.contains(&place).then(|| place - UDP_TOKENS)
    }
}

impl fmt::Display for UdpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shard = ShardId((self.0.get() >> SLOT_BITS) as u8);
        if shard != ShardId::FIRST {
            write!(f, "{shard}/")?;
        }
        ((self.0.get() >> 32) - 1).fmt(f)
    }
}

impl fmt::Debug for UdpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpId({self})")
    }
}

/// The id of a timer, returned by [`Net::set_timer`](crate::Net::set_timer). A
/// node never gives out an id twice.
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
