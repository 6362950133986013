//! The timers of a loop in the order of their times.
//!
//! The entries of the heap store their positions, so a timer can be cancelled
//! or moved at once and leaves nothing behind. Timers with equal times are
//! separate entries and fire in the order in which they were set.

use std::time::Instant;

use slab::Slab;

use crate::time::Timestamp;

/// A binary heap of timers, each with a key that identifies its owner.
///
/// ```text
///   entries (by slot, stable)          heap (by time)
///   ┌──────┬──────────┐               ┌────────────────────┐
///   │ slot │ key      │ ◄──── slot ── │ at                 │   heap[place].slot == slot
///   └──────┴──────────┘ ── place ───► └────────────────────┘   entries[slot].place == place
/// ```
#[derive(Debug)]
pub(crate) struct Timers<K> {
    epoch: Instant,
    heap: Vec<HeapNode>,
    entries: Slab<TimerEntry<K>>,
    next_serial: u64,
}

#[derive(Clone, Copy, Debug)]
struct HeapNode {
    at: Timestamp,
    slot: u32,
}

#[derive(Debug)]
struct TimerEntry<K> {
    key: K,
    place: u32,
    /// The number of timers that were set before this one. Timers with equal
    /// times are ordered by it. It also distinguishes successive users of a
    /// slot, as long as the timer is not moved.
    serial: u64,
}

impl<K> Timers<K> {
    /// Creates a heap for timers that are not before `epoch`.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            heap: Vec::new(),
            entries: Slab::new(),
            next_serial: 0,
        }
    }

    /// Returns the keys, in no particular order.
    #[cfg(feature = "sim")]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(_, entry)| &entry.key)
    }

    /// Returns the time of the earliest timer.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|node| node.at.instant(self.epoch))
    }

    /// Returns the lowest serial that a timer set from now on can have; see
    /// [`Timers::pop_due`].
    pub(crate) fn mark(&self) -> u64 {
        self.next_serial
    }

    /// Adds a timer and returns its slot and its serial.
    pub(crate) fn insert(&mut self, at: Instant, key: K) -> (u32, u64) {
        self.insert_with(at, |_| key)
    }

    /// Adds a timer whose key contains its serial, and returns its slot and its
    /// serial.
    pub(crate) fn insert_with(&mut self, at: Instant, key: impl FnOnce(u64) -> K) -> (u32, u64) {
        let serial = self.take_serial();
        let key = key(serial);
        let place = self.heap.len();
        let slot = self.entries.insert(TimerEntry {
            key,
            place: place as u32,
            serial,
        }) as u32;
        let at = Timestamp::new(at, self.epoch);
        self.heap.push(HeapNode { at, slot });
        self.sift_up(place);
        (slot, serial)
    }

    /// Moves a timer that is set, and returns its new serial.
    pub(crate) fn set(&mut self, slot: u32, at: Instant) -> Option<u64> {
        let serial = self.take_serial();
        let entry = self.entries.get_mut(slot as usize)?;
        entry.serial = serial;
        self.move_to(slot, at);
        Some(serial)
    }

    /// Moves a timer if it still has this serial. It keeps its position among
    /// timers with equal times.
    pub(crate) fn postpone(&mut self, slot: u32, serial: u64, at: Instant) {
        if self.is_serial(slot, serial) {
            self.move_to(slot, at);
        }
    }

    fn move_to(&mut self, slot: u32, at: Instant) {
        let place = self.entries[slot as usize].place as usize;
        self.heap[place].at = Timestamp::new(at, self.epoch);
        let place = self.sift_up(place);
        self.sift_down(place);
    }

    /// Removes a timer that is set.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<K> {
        let place = self.entries.get(slot as usize)?.place as usize;
        Some(self.remove_at(place))
    }

    /// Returns the key of a timer that is set.
    pub(crate) fn get(&self, slot: u32) -> Option<&K> {
        self.entries.get(slot as usize).map(|entry| &entry.key)
    }

    /// Returns whether the slot still has the timer with this serial, and the
    /// timer was not moved.
    pub(crate) fn is_serial(&self, slot: u32, serial: u64) -> bool {
        let entry = self.entries.get(slot as usize);
        entry.is_some_and(|entry| entry.serial == serial)
    }

    /// Removes and returns the earliest timer that is due, unless it was set at
    /// or after `mark`. Without the mark, a callback that sets a timer for now
    /// could prevent the turn from ending.
    ///
    /// If `next_due` returns a time, the timer is moved to it instead of
    /// removed.
    pub(crate) fn pop_due(
        &mut self,
        now: Instant,
        mark: u64,
        next_due: impl FnOnce(&K, Instant) -> Option<Instant>,
    ) -> Option<(u32, u64, K)>
    where
        K: Copy,
    {
        let first = *self.heap.first()?;
        let serial = self.serial(first);
        if first.at > Timestamp::new(now, self.epoch) || serial >= mark {
            return None;
        }
        let key = self.entries[first.slot as usize].key;
        match next_due(&key, first.at.instant(self.epoch)) {
            Some(at) => {
                self.set(first.slot, at);
            }
            None => {
                self.remove_at(0);
            }
        }
        Some((first.slot, serial, key))
    }

    fn serial(&self, node: HeapNode) -> u64 {
        self.entries[node.slot as usize].serial
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a], self.heap[b]);
        a.at < b.at || (a.at == b.at && self.serial(a) < self.serial(b))
    }

    fn take_serial(&mut self) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        serial
    }

    fn remove_at(&mut self, place: usize) -> K {
        let node = self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.update_place(place);
            let place = self.sift_up(place);
            self.sift_down(place);
        }
        self.entries.remove(node.slot as usize).key
    }

    /// Stores `place` in the entry of the node at that place.
    fn update_place(&mut self, place: usize) {
        let slot = self.heap[place].slot as usize;
        self.entries[slot].place = place as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.update_place(a);
        self.update_place(b);
    }

    fn sift_up(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if !self.is_before(place, parent) {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
        place
    }

    fn sift_down(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let is_right = right < self.heap.len() && self.is_before(right, left);
            let child = if is_right { right } else { left };
            if !self.is_before(child, place) {
                return;
            }
            self.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn drain<K: Copy>(timers: &mut Timers<K>, now: Instant) -> Vec<K> {
        let mark = timers.mark();
        std::iter::from_fn(|| {
            timers
                .pop_due(now, mark, |_, _| None)
                .map(|(_, _, key)| key)
        })
        .collect()
    }

    #[test]
    fn equal_times_fire_in_order_of_setting() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        for key in 0..100 {
            timers.insert(now, key);
        }
        assert_eq!(drain(&mut timers, now), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn timer_set_after_mark_is_not_due() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        timers.insert(now, "before");
        let mark = timers.mark();
        timers.insert(now, "after");
        assert_eq!(
            timers.pop_due(now, mark, |_, _| None).map(|due| due.2),
            Some("before")
        );
        assert!(timers.pop_due(now, mark, |_, _| None).is_none());
        assert_eq!(drain(&mut timers, now), ["after"]);
    }

    #[test]
    fn stale_serial_matches_no_timer() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        let (slot, serial) = timers.insert(now, 1);
        assert!(timers.is_serial(slot, serial));
        assert_eq!(timers.remove(slot), Some(1));
        let (again, _) = timers.insert(now, 2);
        assert_eq!(slot, again, "the slot is used again");
        assert!(!timers.is_serial(slot, serial));
        assert_eq!(timers.heap.len(), 1);
    }

    #[test]
    fn cancelled_timers_use_no_memory() {
        let now = Instant::now();
        let mut timers = Timers::new(now);
        for _ in 0..1_000_000 {
            let (slot, _) = timers.insert(now + Duration::from_secs(60), ());
            timers.remove(slot);
        }
        assert_eq!(timers.heap.len(), 0);
        assert!(timers.heap.capacity() < 16);
    }

    #[test]
    fn periodic_timer_keeps_its_slot() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut timers = Timers::new(now);
        let (slot, _) = timers.insert(now, "tick");
        let due = timers.pop_due(now, timers.mark(), |_, at| {
            Some(at + Duration::from_secs(1))
        });
        assert_eq!(due.map(|(slot, _, key)| (slot, key)), Some((slot, "tick")));
        assert_eq!(
            (timers.next(), timers.get(slot)),
            (Some(later), Some(&"tick"))
        );
        assert_eq!(timers.remove(slot), Some("tick"));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Move(usize, u64),
        Remove(usize),
        Pop(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..50).prop_map(Step::Insert),
            (0usize..64, 0u64..50).prop_map(|(which, at)| Step::Move(which, at)),
            (0usize..64).prop_map(Step::Remove),
            (0u64..50).prop_map(Step::Pop),
        ]
    }

    proptest! {
        /// Compares the heap with a sorted map.
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut timers = Timers::new(start);
            let mut model: BTreeMap<(Instant, u64), u32> = BTreeMap::new();
            let mut serial = 0;
            for step in steps {
                let nth = |model: &BTreeMap<_, u32>, which: usize| {
                    model.iter().nth(which % model.len().max(1)).map(|(k, v)| (*k, *v))
                };
                match step {
                    Step::Insert(ms) => {
                        let (slot, _) = timers.insert(at(ms), serial);
                        model.insert((at(ms), serial), slot);
                        serial += 1;
                    }
                    Step::Move(which, ms) => {
                        if let Some((key, slot)) = nth(&model, which) {
                            timers.set(slot, at(ms));
                            model.remove(&key);
                            model.insert((at(ms), serial), slot);
                            serial += 1;
                        }
                    }
                    Step::Remove(which) => {
                        if let Some((key, slot)) = nth(&model, which) {
                            prop_assert!(timers.remove(slot).is_some());
                            model.remove(&key);
                        }
                    }
                    Step::Pop(ms) => {
                        let due = timers.pop_due(at(ms), u64::MAX, |_, _| None).map(|due| due.0);
                        let first = model.first_key_value().map(|(k, v)| (*k, *v));
                        let expected = first.filter(|((when, _), _)| *when <= at(ms));
                        prop_assert_eq!(due, expected.map(|(_, slot)| slot));
                        if let Some((key, _)) = expected {
                            model.remove(&key);
                        }
                    }
                }
                prop_assert_eq!(timers.heap.len(), model.len());
                let first = model.first_key_value().map(|((when, _), _)| *when);
                prop_assert_eq!(timers.next(), first);
            }
        }
    }
}
