//! The keys, their values, and the times at which they expire.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use peerloop::Bytes;

/// Maximum memory of all keys in bytes.
const MEMORY_MAX: usize = 256 * 1024 * 1024;

/// Memory in bytes that a key needs beside two copies of it and its value: its
/// places in a hash table that was just doubled and in a tree, and the overhead of
/// the allocations.
const KEY_OVERHEAD: usize = 352;

/// Maximum number of expired keys that are removed at once.
const PURGE_MAX: usize = 1000;

/// A result whose error is the text of the answer.
pub(crate) type Reply<T> = Result<T, &'static str>;

#[derive(Default)]
pub(crate) struct Keys {
    /// The values, and the times at which they expire.
    entries: HashMap<Box<[u8]>, (Bytes, Option<Instant>)>,
    /// The keys that expire, in the order in which they do.
    expiring: BTreeSet<(Instant, Box<[u8]>)>,
    /// Memory of all keys in bytes.
    pub(crate) memory: usize,
}

impl Keys {
    /// Returns the entry of a key, unless it has expired.
    pub(crate) fn get(&self, key: &[u8], now: Instant) -> Option<&(Bytes, Option<Instant>)> {
        let entry = self.entries.get(key)?;
        entry.1.is_none_or(|at| at > now).then_some(entry)
    }

    /// Sets a key. The error says that there is no memory for it.
    pub(crate) fn set(&mut self, key: &[u8], value: Bytes, expires: Option<Instant>) -> Reply<()> {
        let needed = KEY_OVERHEAD + 2 * key.len() + value.len();
        if self.memory + needed > MEMORY_MAX {
            return Err("OOM command not allowed when used memory > 'maxmemory'.");
        }
        self.remove(key);
        self.memory += needed;
        self.expiring.extend(expires.map(|at| (at, key.into())));
        self.entries.insert(key.into(), (value, expires));
        Ok(())
    }

    /// Removes a key, expired or not, if it is there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<()> {
        let (value, expires) = self.entries.remove(key)?;
        self.memory -= KEY_OVERHEAD + 2 * key.len() + value.len();
        expires.map(|at| self.expiring.remove(&(at, key.into())));
        // The table gives memory back when most of it is empty.
        self.entries.shrink_to(64 + 8 * self.entries.len());
        Some(())
    }

    /// Removes expired keys. Returns when the next one expires, or has expired.
    pub(crate) fn purge(&mut self, now: Instant) -> Option<Instant> {
        for _ in 0..PURGE_MAX {
            let due = self.expiring.first().filter(|it| it.0 <= now).cloned();
            let Some((_, key)) = due else { break };
            self.remove(&key);
        }
        self.expiring.first().map(|it| it.0)
    }
}
