//! State of the user for each connection.

use std::fmt;
use std::iter::Flatten;
use std::slice;

use crate::id::ConnId;

/// A map from connections to values: the state that a handler keeps for each
/// connection.
///
/// Access takes two indices and a comparison, without hashing. A stale id
/// misses, also when its slot serves another connection. The value of a
/// connection that has ended stays until it is removed or replaced: inserting
/// for a later connection with the same slot replaces it. The map has room for
/// the highest number of connections that there were at once, of each shard
/// with a value.
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
    /// By shard, then by slot.
    shards: Vec<Vec<Slot<T>>>,
    len: usize,
    /// The value that was last inserted through the entry of a stale id.
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
    /// Makes an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map has no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Inserts a value for a connection, and returns the value that the
    /// connection had.
    ///
    /// If the id is stale and a later connection with the same slot has a
    /// value, the later one is kept and `value` is returned.
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

    /// The entry of a connection, to insert a missing value.
    ///
    /// If the id is stale and a later connection with the same slot has a
    /// value, the later one is kept. Such an entry is always vacant. A value
    /// that is inserted through it is not part of the map, and is dropped by
    /// the next call of `entry` or [`ConnMap::clear`].
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

    /// The value of a connection.
    #[inline]
    pub fn get(&self, conn: ConnId) -> Option<&T> {
        match self.shards.get(conn.shard().index())?.get(conn.slot()) {
            Some(Some((owner, value))) if *owner == conn => Some(value),
            _ => None,
        }
    }

    /// The value of a connection, to be changed.
    #[inline]
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        match self.slot_mut(conn) {
            Some(Some((owner, value))) if *owner == conn => Some(value),
            _ => None,
        }
    }

    /// Whether the connection has a value.
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

    /// The connections that have a value, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.iter().map(|(conn, _)| conn)
    }

    /// The values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    /// The values, to be changed, in no particular order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// The connections and values, in no particular order.
    pub fn iter(&self) -> ConnMapIter<'_, T> {
        ConnMapIter(self.shards.iter().flatten().flatten())
    }

    /// The connections and values, the latter to be changed, in no particular
    /// order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.shards
            .iter_mut()
            .flatten()
            .flatten()
            .map(|(conn, value)| (*conn, value))
    }

    /// The slot of a connection. Makes room for it.
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

/// The entry of a connection in a [`ConnMap`]; made by [`ConnMap::entry`].
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
    /// The connection.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Changes the value, if there is one.
    pub fn and_modify(mut self, modify: impl FnOnce(&mut T)) -> Self {
        if let Place::Slot(Some((owner, value)), _) = &mut self.place {
            if *owner == self.conn {
                modify(value);
            }
        }
        self
    }

    /// Inserts a value unless there is one. Returns the value of the entry.
    pub fn or_insert(self, value: T) -> &'a mut T {
        self.or_insert_with(|| value)
    }

    /// Inserts the default value unless there is one. Returns the value of the
    /// entry.
    pub fn or_default(self) -> &'a mut T
    where
        T: Default,
    {
        self.or_insert_with(T::default)
    }

    /// Inserts what the function returns if there is no value. Returns the
    /// value of the entry.
    pub fn or_insert_with(self, make: impl FnOnce() -> T) -> &'a mut T {
        let conn = self.conn;
        let (slot, len) = match self.place {
            Place::Slot(slot, len) => (slot, len),
            Place::Discarded(discarded) => return discarded.insert(Box::new(make())),
        };
        if matches!(slot, Some((owner, _)) if *owner != conn) {
            // The value of an earlier connection.
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

/// The connections and values of a [`ConnMap`]; made by [`ConnMap::iter`].
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

/// The value of a connection that is known to have one.
///
/// # Panics
///
/// If the connection has no value; see [`ConnMap::get`].
impl<T> std::ops::Index<ConnId> for ConnMap<T> {
    type Output = T;

    fn index(&self, conn: ConnId) -> &T {
        self.get(conn)
            .expect("the connection has a value in this map")
    }
}

/// The value of a connection that is known to have one, to be changed.
///
/// # Panics
///
/// If the connection has no value; see [`ConnMap::get_mut`].
impl<T> std::ops::IndexMut<ConnId> for ConnMap<T> {
    fn index_mut(&mut self, conn: ConnId) -> &mut T {
        self.get_mut(conn)
            .expect("the connection has a value in this map")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ShardId;

    fn id(shard: usize, slot: u32, generation: u32) -> ConnId {
        ConnId::new(ShardId::new(shard).unwrap(), slot, generation)
    }

    #[test]
    fn the_same_slot_of_two_shards_is_two_connections() {
        let (here, there) = (id(0, 3, 1), id(2, 3, 7));
        let mut map = ConnMap::new();
        assert_eq!(map.insert(there, "there"), None);
        assert_eq!(map.insert(here, "here"), None);
        assert_eq!(map.get(id(1, 3, 1)), None);
        assert_eq!((map[here], map[there], map.len()), ("here", "there", 2));
        assert_eq!(map.keys().collect::<Vec<_>>(), [here, there]);
        assert_eq!(map.remove(here), Some("here"));
        assert_eq!(map.remove(there), Some("there"));
    }

    #[test]
    fn a_stale_id_misses_and_its_successor_replaces() {
        let (old, new) = (id(0, 3, 1), id(0, 3, 2));
        let mut map = ConnMap::new();
        assert_eq!(map.insert(old, "old"), None);
        assert_eq!(map.get(new), None);
        assert_eq!(map.remove(new), None);
        assert_eq!(
            map.insert(new, "new"),
            None,
            "another connection's value is not given away"
        );
        assert_eq!(map.get(old), None);
        assert_eq!(map.len(), 1);
        assert_eq!(map.iter().collect::<Vec<_>>(), [(new, &"new")]);
        assert_eq!(map.insert(new, "newer"), Some("new"));
        assert_eq!(map.remove(new), Some("newer"));
        assert!(map.is_empty());
    }
    #[test]
    fn an_entry_is_modified_or_inserted() {
        let (a, b) = (id(0, 3, 1), id(1, 0, 1));
        let mut map = ConnMap::new();
        *map.entry(a).or_insert(1) += 1;
        *map.entry(a).or_insert(10) += 1;
        assert_eq!(map.entry(b).and_modify(|value| *value = 9).conn(), b);
        assert_eq!((map.len(), map.get(b)), (1, None), "nothing was inserted");
        assert_eq!(*map.entry(b).or_default(), 0);
        map.entry(b).and_modify(|value| *value = 9).or_insert(1);
        assert_eq!((map[a], map[b], map.len()), (3, 9, 2));
    }

    #[test]
    fn the_entry_of_a_later_connection_replaces_and_that_of_a_stale_id_does_not() {
        let (old, new) = (id(0, 3, 1), id(0, 3, 2));
        let mut map = ConnMap::new();
        map.insert(old, "old");
        let entry = map
            .entry(new)
            .and_modify(|_| unreachable!("it is another's"));
        assert_eq!(*entry.or_insert("new"), "new");
        assert_eq!(
            (map.get(old), map.get(new), map.len()),
            (None, Some(&"new"), 1)
        );
        let value = map
            .entry(old)
            .and_modify(|_| unreachable!("it is another's"))
            .or_insert("late");
        assert_eq!(*value, "late");
        assert_eq!(
            (map.get(old), map.get(new), map.len()),
            (None, Some(&"new"), 1)
        );
        assert_eq!(*map.entry(old).or_insert("later"), "later");
        assert_eq!(map.iter().count(), 1);
    }

    #[test]
    fn a_panic_while_a_value_is_made_leaves_the_map_as_it_was() {
        let (old, new) = (id(0, 3, 1), id(0, 3, 2));
        let mut map = ConnMap::new();
        map.insert(old, 1);
        let make = || std::panic::resume_unwind(Box::new("on purpose"));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            map.entry(new).or_insert_with(make);
        }));
        assert!(result.is_err());
        assert_eq!((map.get(old), map.len()), (Some(&1), 1));
    }

    #[test]
    fn values_are_retained_and_changed() {
        let conns = [id(0, 0, 1), id(0, 1, 1), id(2, 0, 1)];
        let mut map = ConnMap::new();
        for (value, conn) in conns.into_iter().enumerate() {
            map.insert(conn, value);
        }
        map.values_mut().for_each(|value| *value *= 10);
        map.retain(|conn, value| {
            *value += 1;
            conn != conns[1]
        });
        let mut left = Vec::new();
        for (conn, value) in &map {
            left.push((conn, *value));
        }
        assert_eq!(left, [(conns[0], 1), (conns[2], 21)]);
        assert_eq!(map.len(), 2);
    }
}
