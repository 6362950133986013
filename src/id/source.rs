//! Ids of the program's sources.

use std::sync::atomic::{AtomicU64, Ordering};

use super::token::{SLOTS_MAX, SOURCE_TOKENS, TOKEN_MASK};

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
    /// the lower bits of the serial; see [`ConnId::token`](super::ConnId::token).
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ConnId, ShardId, WAKER_TOKEN, listener_token};

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
}
