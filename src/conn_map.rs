//! A map from connections to values of the program.

use std::fmt;
use std::iter::Flatten;
use std::slice;

use crate::id::ConnId;

/// A map from connections to values, for state that a handler keeps per
/// connection.
///
/// Access takes two array lookups and one comparison. Nothing is hashed.
///
/// A lookup with a stale id finds nothing, even if another connection uses its
/// slot. The value of a connection that has ended stays until it is removed, or
/// until a value is inserted for a later connection with the same slot.
///
/// The memory is proportional to the highest slot of each shard with a value.
/// It does not shrink before [`ConnMap::clear`].
///
/// ```
/// use peerloop::{ConnId, ConnMap, DisconnectReason, Handler, Net};
///
/// #[derive(Default)]
/// struct Counter {
///     messages: ConnMap<u64>,
/// }
///
/// impl Handler for Counter {
///     fn on_message(&mut self, _: &mut Net, conn: ConnId, _: &[u8]) {
///         *self.messages.entry(conn).or_default() += 1;
///     }
///
///     fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
///         self.messages.remove(conn);
///     }
/// }
/// ```
#[derive(Clone)]
pub struct ConnMap<T> {
    /// Indexed by shard, then by slot.
    shards: Vec<Vec<Slot<T>>>,
    len: usize,
    /// The last value that was inserted through the entry of a stale id.
    discarded: Option<Box<T>>,
}

type Slot<T> = Option<(ConnId, T)>;

impl<T> Default for ConnMap<T> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            len: 0,
            discarded: None,
        }
    }
}

impl<T> ConnMap<T> {
    /// Creates an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the map has no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Inserts a value for a connection. Returns the previous value of that
    /// connection.
    ///
    /// If the id is stale and a later connection with the same slot has a
    /// value, that value is kept and `value` is returned.
    pub fn insert(&mut self, conn: ConnId, value: T) -> Option<T> {
        let slot = self.grow_to(conn);
        if matches!(slot, Some((owner, _)) if owner.is_later_than(conn)) {
            return Some(value);
        }
        let before = slot.replace((conn, value));
        self.len += usize::from(before.is_none());
        before
            .filter(|(owner, _)| *owner == conn)
            .map(|(_, value)| value)
    }

    /// Returns the entry of a connection, for inserting a missing value.
    ///
    /// If the id is stale and a later connection with the same slot has a
    /// value, that value is kept and the entry is vacant. A value inserted
    /// through such an entry is not a part of the map. It is dropped by the
    /// next call of `entry` or [`ConnMap::clear`].
    ///
    /// ```
    /// # use peerloop::{ConnId, ConnMap};
    /// # let conn = ConnId::from_bits(1 << 32).expect("a generation");
    /// let mut names: ConnMap<String> = ConnMap::new();
    /// names.entry(conn).or_insert_with(|| "a peer".to_owned()).push('!');
    /// names.entry(conn).and_modify(|name| name.push('?')).or_default();
    /// assert_eq!(names[conn], "a peer!?");
    /// ```
    pub fn entry(&mut self, conn: ConnId) -> ConnMapEntry<'_, T> {
        self.discarded = None;
        self.grow_to(conn);
        let slot = &mut self.shards[conn.shard().index()][conn.slot()];
        let is_stale = matches!(slot, Some((owner, _)) if owner.is_later_than(conn));
        let place = if is_stale {
            Place::Discarded(&mut self.discarded)
        } else {
            Place::Slot(slot, &mut self.len)
        };
        ConnMapEntry { conn, place }
    }

    /// Returns the value of a connection.
    #[inline]
    pub fn get(&self, conn: ConnId) -> Option<&T> {
        match self.shards.get(conn.shard().index())?.get(conn.slot()) {
            Some(Some((owner, value))) if *owner == conn => Some(value),
            _ => None,
        }
    }

    /// Returns the value of a connection, mutably.
    #[inline]
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        match self.slot_mut(conn) {
            Some(Some((owner, value))) if *owner == conn => Some(value),
            _ => None,
        }
    }

    /// Returns whether the connection has a value.
    pub fn contains(&self, conn: ConnId) -> bool {
        self.get(conn).is_some()
    }

    /// Removes and returns the value of a connection.
    pub fn remove(&mut self, conn: ConnId) -> Option<T> {
        self.get(conn)?;
        self.len -= 1;
        self.slot_mut(conn)?.take().map(|(_, value)| value)
    }

    /// Removes the values for which the function returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(ConnId, &mut T) -> bool) {
        for slot in self.shards.iter_mut().flatten() {
            if slot.take_if(|(conn, value)| !keep(*conn, value)).is_some() {
                self.len -= 1;
            }
        }
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the connections that have a value, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.iter().map(|(conn, _)| conn)
    }

    /// Returns the values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// Returns the values, mutably, in no particular order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// Returns the connections and their values, in no particular order.
    pub fn iter(&self) -> ConnMapIter<'_, T> {
        ConnMapIter(self.shards.iter().flatten().flatten())
    }

    /// Returns the connections and their values, the values mutably, in no
    /// particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.shards
            .iter_mut()
            .flatten()
            .flatten()
            .map(|(conn, value)| (*conn, value))
    }

    /// Returns the slot of a connection, and extends the map to it.
    fn grow_to(&mut self, conn: ConnId) -> &mut Slot<T> {
        let (shard, slot) = (conn.shard().index(), conn.slot());
        if shard >= self.shards.len() {
            self.shards.resize_with(shard + 1, Vec::new);
        }
        let slots = &mut self.shards[shard];
        if slot >= slots.len() {
            slots.resize_with(slot + 1, || None);
        }
        &mut slots[slot]
    }

    #[inline]
    fn slot_mut(&mut self, conn: ConnId) -> Option<&mut Slot<T>> {
        self.shards
            .get_mut(conn.shard().index())?
            .get_mut(conn.slot())
    }
}

impl<T: fmt::Debug> fmt::Debug for ConnMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// The entry of a connection in a [`ConnMap`], returned by [`ConnMap::entry`].
#[must_use = "an entry does nothing by itself"]
pub struct ConnMapEntry<'a, T> {
    conn: ConnId,
    place: Place<'a, T>,
}

enum Place<'a, T> {
    /// The slot of the connection, and the number of values in the map.
    Slot(&'a mut Slot<T>, &'a mut usize),
    Discarded(&'a mut Option<Box<T>>),
}

impl<'a, T> ConnMapEntry<'a, T> {
    /// Returns the connection of the entry.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Calls `modify` with the value, if there is one.
    pub fn and_modify(mut self, modify: impl FnOnce(&mut T)) -> Self {
        if let Place::Slot(Some((owner, value)), _) = &mut self.place {
            if *owner == self.conn {
                modify(value);
            }
        }
        self
    }

    /// Inserts a value if the entry is vacant, and returns the value of the
    /// entry.
    pub fn or_insert(self, value: T) -> &'a mut T {
        self.or_insert_with(|| value)
    }

    /// Inserts the default value if the entry is vacant, and returns the value
    /// of the entry.
    pub fn or_default(self) -> &'a mut T
    where
        T: Default,
    {
        self.or_insert_with(T::default)
    }

    /// Inserts the result of `make` if the entry is vacant, and returns the
    /// value of the entry.
    pub fn or_insert_with(self, make: impl FnOnce() -> T) -> &'a mut T {
        let conn = self.conn;
        let (slot, len) = match self.place {
            Place::Slot(slot, len) => (slot, len),
            Place::Discarded(discarded) => return discarded.insert(Box::new(make())),
        };
        if matches!(slot, Some((owner, _)) if *owner != conn) {
            // The slot has the value of an earlier connection.
            return &mut slot.insert((conn, make())).1;
        }
        let insert = || {
            let value = make();
            *len += 1;
            (conn, value)
        };
        &mut slot.get_or_insert_with(insert).1
    }
}

impl<T: fmt::Debug> fmt::Debug for ConnMapEntry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnMapEntry")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}

/// An iterator over the connections and values of a [`ConnMap`], returned by
/// [`ConnMap::iter`].
#[derive(Clone)]
pub struct ConnMapIter<'a, T>(Flatten<Flatten<slice::Iter<'a, Vec<Slot<T>>>>>);

impl<'a, T> Iterator for ConnMapIter<'a, T> {
    type Item = (ConnId, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(conn, value)| (*conn, value))
    }
}

impl<T> fmt::Debug for ConnMapIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnMapIter").finish_non_exhaustive()
    }
}

impl<'a, T> IntoIterator for &'a ConnMap<T> {
    type Item = (ConnId, &'a T);
    type IntoIter = ConnMapIter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Returns the value of a connection that has one.
///
/// # Panics
///
/// Panics if the connection has no value; see [`ConnMap::get`].
impl<T> std::ops::Index<ConnId> for ConnMap<T> {
    type Output = T;

    fn index(&self, conn: ConnId) -> &T {
        self.get(conn)
            .expect("the connection has a value in this map")
    }
}

/// Returns the value of a connection that has one, mutably.
///
/// # Panics
///
/// Panics if the connection has no value; see [`ConnMap::get_mut`].
impl<T> std::ops::IndexMut<ConnId> for ConnMap<T> {
    fn index_mut(&mut self, conn: ConnId) -> &mut T {
        self.get_mut(conn)
            .expect("the connection has a value in this map")
    }
}

#[cfg(test)]
mod tests;
