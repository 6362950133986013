//! What is due when.
//!
//! A binary heap that knows where each of its entries is, so that cancelling and moving are exact: no stale entries
//! pile up behind timers that are set and cancelled a million times. Equal instants never merge; they come out in
//! the order in which they were set.

use std::time::Instant;

use slab::Slab;

use crate::time::Timestamp;

/// A heap of deadlines, each with a key that says whose it is.
///
/// ```text
///   entries (by slot, stable)          heap (by time)
///   ┌──────┬──────────┐               ┌────────────────────┐
///   │ slot │ key      │ ◄──── slot ── │ moment             │   heap[place].slot == slot
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
    /// How many were set before it. Equal moments go by it; where a slot is used again it tells who is meant, as long as the
    /// deadline was not moved.
    serial: u64,
}

impl<K> Timers<K> {
    /// Of the deadlines none is before `epoch`.
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            heap: Vec::new(),
            entries: Slab::new(),
            next_serial: 0,
        }
    }

    /// Whose they are, in no particular order.
    #[cfg(feature = "sim")]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(_, entry)| &entry.key)
    }

    /// When the earliest is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|node| node.at.instant(self.epoch))
    }

    /// Everything set from now on has at least this serial; see [`Timers::pop_due`].
    pub(crate) fn mark(&self) -> u64 {
        self.next_serial
    }

    /// Adds a deadline; its slot and its serial.
    pub(crate) fn insert(&mut self, at: Instant, key: K) -> (u32, u64) {
        let serial = self.take_serial();
        let place = self.heap.len();
        let slot = self.entries.insert(TimerEntry {
            key,
            place: place as u32,
            serial,
        }) as u32;
        let at = Timestamp::new(at, self.epoch);
        self.heap.push(HeapNode { at, slot });
        self.rise(place);
        (slot, serial)
    }

    /// Moves a deadline that is still set.
    pub(crate) fn set(&mut self, slot: u32, at: Instant) {
        let serial = self.take_serial();
        let Some(entry) = self.entries.get_mut(slot as usize) else {
            return;
        };
        entry.serial = serial;
        let place = entry.place as usize;
        self.heap[place].at = Timestamp::new(at, self.epoch);
        let place = self.rise(place);
        self.sink(place);
    }

    /// Removes a deadline that is still set.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<K> {
        let place = self.entries.get(slot as usize)?.place as usize;
        Some(self.remove_at(place))
    }

    /// Removes a deadline that was never moved, if its slot has not been given to another since.
    pub(crate) fn remove_exactly(&mut self, slot: u32, serial: u64) -> Option<K> {
        self.entries
            .get(slot as usize)
            .filter(|entry| entry.serial == serial)?;
        self.remove(slot)
    }

    /// Takes out the earliest deadline that is due, unless it was set at or after `mark`: a callback that sets a
    /// timer for now must not keep the turn from ending.
    pub(crate) fn pop_due(&mut self, now: Instant, mark: u64) -> Option<(u32, u64, K)> {
        let first = *self.heap.first()?;
        let serial = self.serial(first);
        if first.at > Timestamp::new(now, self.epoch) || serial >= mark {
            return None;
        }
        Some((first.slot, serial, self.remove_at(0)))
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
            self.settle(place);
            let place = self.rise(place);
            self.sink(place);
        }
        self.entries.remove(node.slot as usize).key
    }

    /// Tells the entry of the node at `place` where that is.
    fn settle(&mut self, place: usize) {
        let slot = self.heap[place].slot as usize;
        self.entries[slot].place = place as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.settle(a);
        self.settle(b);
    }

    fn rise(&mut self, mut place: usize) -> usize {
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

    fn sink(&mut self, mut place: usize) {
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

    fn drain<K>(deadlines: &mut Timers<K>, now: Instant) -> Vec<K> {
        let mark = deadlines.mark();
        std::iter::from_fn(|| deadlines.pop_due(now, mark).map(|(_, _, key)| key)).collect()
    }

    #[test]
    fn equal_instants_stay_apart_and_in_order() {
        let now = Instant::now();
        let mut deadlines = Timers::new(now);
        for key in 0..100 {
            deadlines.insert(now, key);
        }
        assert_eq!(drain(&mut deadlines, now), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_set_after_the_mark_waits_for_the_next_round() {
        let now = Instant::now();
        let mut deadlines = Timers::new(now);
        deadlines.insert(now, "before");
        let mark = deadlines.mark();
        deadlines.insert(now, "after");
        assert_eq!(
            deadlines.pop_due(now, mark).map(|due| due.2),
            Some("before")
        );
        assert!(deadlines.pop_due(now, mark).is_none());
        assert_eq!(drain(&mut deadlines, now), ["after"]);
    }

    #[test]
    fn a_cancelled_serial_does_not_cancel_its_successor() {
        let now = Instant::now();
        let mut deadlines = Timers::new(now);
        let (slot, serial) = deadlines.insert(now, 1);
        assert_eq!(deadlines.remove_exactly(slot, serial), Some(1));
        let (again, _) = deadlines.insert(now, 2);
        assert_eq!(slot, again, "the slot is used again");
        assert_eq!(deadlines.remove_exactly(slot, serial), None);
        assert_eq!(deadlines.heap.len(), 1);
    }

    #[test]
    fn a_million_cancelled_timers_leave_nothing_behind() {
        let now = Instant::now();
        let mut deadlines = Timers::new(now);
        for _ in 0..1_000_000 {
            let (slot, _) = deadlines.insert(now + Duration::from_secs(60), ());
            deadlines.remove(slot);
        }
        assert_eq!(deadlines.heap.len(), 0);
        assert!(deadlines.heap.capacity() < 16);
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
        /// Against a sorted map that is obviously right.
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let at = |ms| start + Duration::from_millis(ms);
            let mut deadlines = Timers::new(start);
            let mut model: BTreeMap<(Instant, u64), u32> = BTreeMap::new();
            let mut serial = 0;
            for step in steps {
                let nth = |model: &BTreeMap<_, u32>, which: usize| {
                    model.iter().nth(which % model.len().max(1)).map(|(k, v)| (*k, *v))
                };
                match step {
                    Step::Insert(ms) => {
                        let (slot, _) = deadlines.insert(at(ms), serial);
                        model.insert((at(ms), serial), slot);
                        serial += 1;
                    }
                    Step::Move(which, ms) => {
                        if let Some((key, slot)) = nth(&model, which) {
                            deadlines.set(slot, at(ms));
                            model.remove(&key);
                            model.insert((at(ms), serial), slot);
                            serial += 1;
                        }
                    }
                    Step::Remove(which) => {
                        if let Some((key, slot)) = nth(&model, which) {
                            prop_assert!(deadlines.remove(slot).is_some());
                            model.remove(&key);
                        }
                    }
                    Step::Pop(ms) => {
                        let due = deadlines.pop_due(at(ms), u64::MAX).map(|due| due.0);
                        let first = model.first_key_value().map(|(k, v)| (*k, *v));
                        let expected = first.filter(|((when, _), _)| *when <= at(ms));
                        prop_assert_eq!(due, expected.map(|(_, slot)| slot));
                        if let Some((key, _)) = expected {
                            model.remove(&key);
                        }
                    }
                }
                prop_assert_eq!(deadlines.heap.len(), model.len());
                let first = model.first_key_value().map(|((when, _), _)| *when);
                prop_assert_eq!(deadlines.next(), first);
            }
        }
    }
}
