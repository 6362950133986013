//! The slots of connections.

use slab::Slab;

use crate::counts::Count;
use crate::id::{ConnId, HasId, SLOTS_MAX, ShardId};

/// A table of values by connection id. A lookup with a stale id returns `None`:
/// each slot counts its occupants, and a slot whose counter is at its maximum
/// is not reused.
#[derive(Debug)]
pub(crate) struct Table<T> {
    shard: ShardId,
    slots: Slab<Option<T>>,
    /// By slot: number of ids that were given out.
    generations: Vec<u32>,
    len: usize,
}

impl<T: HasId> Table<T> {
    /// Makes a table whose ids belong to this shard.
    pub(crate) fn new(shard: ShardId) -> Self {
        Self {
            shard,
            slots: Slab::new(),
            generations: Vec::new(),
            len: 0,
        }
    }

    /// Returns the number of occupied slots.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the shard that the ids belong to.
    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    pub(crate) fn insert(&mut self, make: impl FnOnce(ConnId) -> T) -> ConnId {
        let (id, entry) = vacant(self.shard, &mut self.slots, &mut self.generations);
        let value = make(id);
        debug_assert_eq!(value.id(), id);
        entry.insert(Some(value));
        self.len += 1;
        id
    }

    /// Reserves a slot for a socket that is no connection yet. Lookups with the
    /// id return `None`. Returns `None` if there are no more slots.
    pub(crate) fn reserve(&mut self) -> Option<ConnId> {
        if self.slots.len() >= SLOTS_MAX as usize {
            return None;
        }
        let (id, entry) = vacant(self.shard, &mut self.slots, &mut self.generations);
        entry.insert(None);
        Some(id)
    }

    /// Frees a slot that [`Table::reserve`] has reserved.
    pub(crate) fn release(&mut self, id: ConnId) {
        debug_assert!(matches!(self.slots.get(id.slot()), Some(None)));
        self.slots.try_remove(id.slot());
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnId) -> Option<&T> {
        Count::Lookups.add(1);
        match self.slots.get(id.slot()) {
            Some(Some(value)) if value.id() == id => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        Count::Lookups.add(1);
        match self.slots.get_mut(id.slot()) {
            Some(Some(value)) if value.id() == id => Some(value),
            _ => None,
        }
    }

    /// Returns the first value in the slots from `slot` on that is wanted, and
    /// moves `slot` behind it.
    pub(crate) fn next_mut(
        &mut self,
        slot: &mut usize,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Option<&mut T> {
        // Each slot that was ever occupied has a generation.
        let mut rest = *slot..self.generations.len();
        let found = rest.find(|slot| {
            let value = self.slots.get(*slot).and_then(Option::as_ref);
            value.is_some_and(&is_wanted)
        })?;
        *slot = rest.start;
        self.slots.get_mut(found)?.as_mut()
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.get(id)?;
        self.len -= 1;
        self.slots.remove(id.slot())
    }

    /// Returns the occupied slots, in no particular order.
    pub(crate) fn entries(&self) -> Entries<'_, T> {
        Entries(self.slots.iter())
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|(_, slot)| slot.as_mut())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.entries().map(|value| (value.id(), value))
    }
}

/// Returns a vacant slot and the id of its next occupant.
fn vacant<'a, T>(
    shard: ShardId,
    slots: &'a mut Slab<Option<T>>,
    generations: &mut Vec<u32>,
) -> (ConnId, slab::VacantEntry<'a, Option<T>>) {
    // A slot without further generations stays occupied and empty.
    while generations.get(slots.vacant_key()) == Some(&u32::MAX) {
        slots.insert(None);
    }
    let entry = slots.vacant_entry();
    let slot = entry.key();
    if slot == generations.len() {
        generations.push(0);
    }
    generations[slot] += 1;
    (ConnId::new(shard, slot as u32, generations[slot]), entry)
}

/// An iterator over the occupied slots of a [`Table`].
#[derive(Debug)]
pub(crate) struct Entries<'a, T>(slab::Iter<'a, Option<T>>);

impl<T> Clone for Entries<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, T> Iterator for Entries<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.0.by_ref().find_map(|(_, slot)| slot.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(PartialEq, Eq, Debug)]
    struct Row(ConnId, &'static str);

    impl HasId for Row {
        fn id(&self) -> ConnId {
            self.0
        }
    }

    #[test]
    fn a_stale_id_misses_the_next_occupant() {
        let mut table = Table::new(ShardId::FIRST);
        let first = table.insert(|id| Row(id, "first"));
        assert_eq!(table.remove(first), Some(Row(first, "first")));
        let second = table.insert(|id| Row(id, "second"));
        assert_eq!(first.slot(), second.slot(), "the slot is used again");
        assert_eq!(table.get(first), None);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get(second), Some(&Row(second, "second")));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_slot_out_of_generations_is_retired() {
        let mut table = Table::new(ShardId::FIRST);
        let id = table.insert(|id| Row(id, ""));
        table.remove(id);
        table.generations[0] = u32::MAX - 1;
        let last = table.insert(|id| Row(id, ""));
        assert_eq!(last, ConnId::new(ShardId::FIRST, 0, u32::MAX));
        table.remove(last);
        let next = table.insert(|id| Row(id, ""));
        assert_eq!(next.slot(), 1);
        assert_eq!(table.get(last), None);
        assert_eq!(table.iter().count(), 1);
    }
}
