//! A map of bounded size.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map that drops its least recently used entry when it is full.
#[derive(Debug)]
pub(super) struct LruMap<K, V> {
    max: usize,
    /// Values, each with the number of its last use.
    by_key: HashMap<K, (V, u64)>,
    /// The keys, ordered by the number of their last use.
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Copy + Eq + Hash, V> LruMap<K, V> {
    /// Makes a map of at most `max` entries.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            by_key: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Returns the value of a key, and counts this as a use.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (value, last_use) = self.by_key.get_mut(key)?;
        self.by_use.remove(last_use);
        self.uses += 1;
        *last_use = self.uses;
        self.by_use.insert(self.uses, *key);
        Some(value)
    }

    /// Returns the value of a key, and counts this as a use. A new key gets the
    /// value that `make` returns.
    pub(super) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.by_key.contains_key(&key) && self.by_key.len() >= self.max {
            if let Some((_, oldest)) = self.by_use.pop_first() {
                self.by_key.remove(&oldest);
            }
        }
        self.uses += 1;
        let last_use = self.uses;
        self.by_use.insert(last_use, key);
        let by_use = &mut self.by_use;
        let (value, _) = self
            .by_key
            .entry(key)
            .and_modify(|(_, before)| {
                by_use.remove(before);
                *before = last_use;
            })
            .or_insert_with(|| (make(), last_use));
        value
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let (value, last_use) = self.by_key.remove(key)?;
        self.by_use.remove(&last_use);
        Some(value)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_key.len(), self.by_use.len());
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_entry_is_dropped() {
        let mut map = LruMap::new(2);
        map.get_or_insert_with("a", || 1);
        map.get_or_insert_with("b", || 2);
        assert_eq!(map.get_mut(&"a"), Some(&mut 1));
        map.get_or_insert_with("c", || 3);
        assert_eq!((map.len(), map.get_mut(&"b")), (2, None));
        assert_eq!(*map.get_or_insert_with("a", || 9), 1);
        map.get_or_insert_with("d", || 4);
        assert_eq!((map.remove(&"c"), map.remove(&"a")), (None, Some(1)));
        assert_eq!(map.len(), 1);
    }
}
