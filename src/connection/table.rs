//! The slots of a node's connections.

use slab::Slab;

use crate::id::{ConnId, Named, ShardId};

/// What the node knows by connection id. A stale id misses, always: every slot counts its occupants, and a slot that
/// has counted to the end is never used again.
#[derive(Debug)]
pub(crate) struct Table<T> {
    shard: ShardId,
    slots: Slab<Option<T>>,
    /// By slot: how often it was given out.
    generations: Vec<u32>,
    len: usize,
}

impl<T: Named> Table<T> {
    /// A table whose ids are those of this shard.
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            slots: Slab::new(),
            generations: Vec::new(),
            len: 0,
        }
    }

    /// Occupied slots.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Which shard's ids these are.
    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    pub(crate) fn insert(&mut self, make: impl FnOnce(ConnId) -> T) -> ConnId {
        let entry = loop {
            let entry = self.slots.vacant_entry();
            match self.generations.get(entry.key()) {
                // A slot that ran out of generations is kept, empty, for ever.
                Some(&u32::MAX) => entry.insert(None),
                Some(_) => break entry,
                None => {
                    self.generations.push(0);
                    break entry;
                }
            };
        };
        let slot = entry.key();
        self.generations[slot] += 1;
        let id = ConnId::new(self.shard, slot as u32, self.generations[slot]);
        let value = make(id);
        debug_assert_eq!(value.id(), id);
        entry.insert(Some(value));
        self.len += 1;
        id
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnId) -> Option<&T> {
        match self.slots.get(id.slot()) {
            Some(Some(value)) if value.id() == id => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        match self.slots.get_mut(id.slot()) {
            Some(Some(value)) if value.id() == id => Some(value),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        self.len -= 1;
        self.slots.remove(id.slot())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots
            .iter()
            .filter_map(|(_, slot)| slot.as_ref().map(|value| (value.id(), value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Eq, Debug)]
    struct Guest(ConnId, &'static str);

    impl Named for Guest {
        fn id(&self) -> ConnId {
            self.0
        }
    }

    #[test]
    fn a_stale_id_misses_the_next_occupant() {
        let mut table = Table::new(ShardId::FIRST);
        let first = table.insert(|id| Guest(id, "first"));
        assert_eq!(table.remove(first), Some(Guest(first, "first")));
        let second = table.insert(|id| Guest(id, "second"));
        assert_eq!(first.slot(), second.slot(), "the slot is used again");
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&Guest(second, "second")));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_slot_out_of_generations_is_retired() {
        let mut table = Table::new(ShardId::FIRST);
        let id = table.insert(|id| Guest(id, ""));
        table.remove(id);
        table.generations[0] = u32::MAX - 1;
        let last = table.insert(|id| Guest(id, ""));
        assert_eq!(last, ConnId::new(ShardId::FIRST, 0, u32::MAX));
        table.remove(last);
        let next = table.insert(|id| Guest(id, ""));
        assert_eq!(next.slot(), 1);
        assert_eq!(table.get(last), None);
        assert_eq!(table.iter().count(), 1);
    }
}
