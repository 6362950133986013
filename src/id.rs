//! Ids of connections, shards and timers, and the direction of a connection.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};

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

/// The id of a source of the program, returned by
/// [`Net::register`](crate::Net::register).
///
/// No node of the process gives out an id twice. Therefore an id is unknown to
/// other nodes, and to other [shards](crate::shards) of its node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SourceId {
    slot: u32,
    serial: u64,
}

/// The serial of the next source of any node.
static NEXT_SOURCE: AtomicU64 = AtomicU64::new(0);

impl SourceId {
    /// Returns a new id for the source in this slot, or `None` if the slot is
    /// beyond the range of tokens.
    pub(crate) fn next(slot: usize) -> Option<Self> {
        let slot = u32::try_from(slot).ok().filter(|slot| *slot < SLOTS_MAX)?;
        let serial = NEXT_SOURCE.fetch_add(1, Ordering::Relaxed);
        Some(Self { slot, serial })
    }

    /// Returns the slot, an index into the table of the loop.
    pub(crate) fn slot(self) -> usize {
        self.slot as usize
    }

    /// Returns the token under which the poller reports readiness. It contains
    /// the lower bits of the serial; see [`ConnId::token`].
    ///
    /// ```text
    ///  63      48 47          32 31  24 23            0
    /// ┌──────────┬──────────────┬──────┬───────────────┐
    /// │  member  │    serial    │  3   │     slot      │
    /// └──────────┴──────────────┴──────┴───────────────┘
    /// ```
    pub(crate) fn token(self) -> usize {
        // On 32-bit targets nothing is left of the serial.
        let serial = (self.serial << 32) as usize & TOKEN_MASK;
        serial | SOURCE_TOKENS | self.slot()
    }

    /// Returns the slot that a token belongs to, or `None` if it is not the
    /// token of a source. It is stale unless it equals [`SourceId::token`] of
    /// the source in that slot.
    pub(crate) fn slot_of_token(token: usize) -> Option<usize> {
        let place = token & u32::MAX as usize;
        let slot = place.checked_sub(SOURCE_TOKENS)?;
        (slot < SLOTS_MAX as usize).then_some(slot)
    }
}

/// The direction in which a TCP connection was opened, as seen from this node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// The peer connected to a listener of this node.
    Inbound,
    /// This node connected to the peer.
    Outbound,
}

/// The position of the lowest bit of a token that encodes the member of a
/// group. Groups exist on 64-bit targets only.
#[cfg(target_pointer_width = "64")]
pub(crate) const MEMBER_SHIFT: u32 = 48;

/// The bits of a token below [`MEMBER_SHIFT`].
#[cfg(target_pointer_width = "64")]
pub(crate) const TOKEN_MASK: usize = (1 << MEMBER_SHIFT) - 1;
#[cfg(not(target_pointer_width = "64"))]
const TOKEN_MASK: usize = usize::MAX;

/// Number of bits of an id that encode the slot.
const SLOT_BITS: u32 = 24;

/// Maximum number of slots. All tokens of connections are below it, and the
/// tokens of listeners and of the waker are not.
pub(crate) const SLOTS_MAX: u32 = 1 << SLOT_BITS;

/// The first poller token of UDP sockets. The tokens of listeners are below it.
const UDP_TOKENS: usize = 2 << SLOT_BITS;

/// The factor that moves a number into the upper half of an id.
const HIGH_WORD: NonZeroU64 = NonZeroU64::new(1 << 32).unwrap();

/// The first poller token of the sources of the program.
const SOURCE_TOKENS: usize = 3 << SLOT_BITS;

/// Returns the poller token of the `index`-th listener.
pub(crate) fn listener_token(index: usize) -> usize {
    SLOTS_MAX as usize + index
}

/// The poller token of the waker.
pub(crate) const WAKER_TOKEN: usize = u32::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_parts_are_independent() {
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
    fn listener_token_differs_from_connection() {
        for index in [0, 1, 1000] {
            let slot = ConnId::slot_of_token(listener_token(index));
            assert_eq!(slot - SLOTS_MAX as usize, index);
        }
    }

    #[test]
    fn udp_token_differs_from_others() {
        for slot in [0, 1, SLOTS_MAX - 1] {
            for serial in [NonZeroU32::MIN, NonZeroU32::MAX] {
                let id = UdpId::new(ShardId(255), slot, serial);
                assert_eq!(id.slot(), slot as usize);
                assert_eq!(UdpId::slot_of_token(id.token()), Some(slot as usize));
            }
        }
        let first = UdpId::new(ShardId(1), 7, NonZeroU32::MIN);
        let second = UdpId::new(ShardId(1), 7, NonZeroU32::MIN.saturating_add(1));
        #[cfg(target_pointer_width = "64")]
        assert_ne!(first.token(), second.token());
        assert_eq!(
            (first.to_string(), second.to_string()),
            ("1/0".into(), "1/1".into())
        );
        let others = [
            ConnId::new(ShardId(0), 5, 1).token(),
            listener_token(5),
            WAKER_TOKEN,
        ];
        assert!(
            others
                .into_iter()
                .all(|it| UdpId::slot_of_token(it).is_none())
        );
    }

    #[test]
    fn source_token_differs_from_others() {
        for slot in [0, 1, SLOTS_MAX as usize - 1] {
            let id = SourceId::next(slot).expect("in range");
            assert_eq!(SourceId::slot_of_token(id.token()), Some(slot));
            #[cfg(target_pointer_width = "64")]
            assert_ne!(id.token(), SourceId::next(slot).expect("in range").token());
            let others = [
                ConnId::new(ShardId(0), 5, 1).token(),
                listener_token(slot),
                WAKER_TOKEN,
            ];
            for token in others {
                assert_eq!(SourceId::slot_of_token(token), None);
            }
        }
        assert_eq!(SourceId::next(SLOTS_MAX as usize), None);
    }

    #[test]
    fn optional_id_takes_eight_bytes() {
        assert_eq!(size_of::<Option<ConnId>>(), 8);
    }
}
