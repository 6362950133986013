//! The keys, their values, and the times at which they expire.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use peerloop::Bytes;

/// Maximum memory of all keys in bytes.
const MEMORY_MAX: usize = 256 * 1024 * 1024;

/// Memory in bytes that a key needs beside its bytes and those of its value: its
/// places in a hash table that was just doubled and in a tree, and the overhead of
/// the allocations.
const KEY_OVERHEAD: usize = 352;

/// Maximum number of keys that are removed in a turn because they have expired.
const PURGE_MAX: usize = 1000;

pub(crate) struct Entry {
    pub(crate) value: Bytes,
    pub(crate) expires: Option<Instant>,
}

impl Entry {
    fn memory(&self, key: &[u8]) -> usize {
        KEY_OVERHEAD + 2 * key.len() + self.value.len()
    }
}

pub(crate) struct Store {
    pub(crate) entries: HashMap<Box<[u8]>, Entry>,
    /// The keys that expire, in the order in which they do.
    pub(crate) expiring: BTreeSet<(Instant, Box<[u8]>)>,
    /// Memory of all keys in bytes.
    pub(crate) memory: usize,
    /// The time of the command that is run.
    pub(crate) now: Instant,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            entries: HashMap::new(),
            expiring: BTreeSet::new(),
            memory: 0,
            now: Instant::now(),
        }
    }

    /// Returns the entry of a key, unless it has expired.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Entry> {
        let entry = self.entries.get(key);
        entry.filter(|entry| entry.expires.is_none_or(|at| at > self.now))
    }

    /// Sets a key, or returns the error if there is no memory for it.
    pub(crate) fn set(&mut self, key: &[u8], entry: Entry) -> Result<(), &'static str> {
        let needed = entry.memory(key);
        if self.memory + needed > MEMORY_MAX {
            return Err("OOM command not allowed when used memory > 'maxmemory'.");
        }
        self.remove(key);
        self.memory += needed;
        self.expiring
            .extend(entry.expires.map(|at| (at, key.into())));
        self.entries.insert(key.into(), entry);
        Ok(())
    }

    /// Removes a key. Returns whether it was there and had not expired.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let existed = self.get(key).is_some();
        if let Some(entry) = self.entries.remove(key) {
            self.memory -= entry.memory(key);
            entry
                .expires
                .map(|at| self.expiring.remove(&(at, key.into())));
        }
        existed
    }

    /// Removes keys that have expired. Returns when to call it again.
    pub(crate) fn purge(&mut self) -> Option<Instant> {
        for _ in 0..PURGE_MAX {
            match self.expiring.first().cloned() {
                Some((at, key)) if at <= self.now => self.remove(&key),
                _ => break,
            };
        }
        // The table gives back its memory when most of it is empty.
        self.entries.shrink_to(2 * self.entries.len());
        self.next_expiry()
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiring.first().map(|(at, _)| *at)
    }
}
