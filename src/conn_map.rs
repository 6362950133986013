//! Floor 6: per-connection state of the user's.

use crate::id::ConnId;

/// A map from connections to values: the state a handler keeps for each of its peers.
///
/// Access is an index and a comparison, without hashing. A stale id misses, even when its slot serves another
/// connection by now; inserting for that other connection replaces what was left behind. Memory is one entry for the
/// highest number of connections there ever were at once.
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
///     fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
///         self.messages.insert(conn, 0);
///     }
///
///     fn on_message(&mut self, _: &mut Net, conn: ConnId, _: &[u8]) {
///         self.messages[conn] += 1;
///     }
///
///     fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, _: DisconnectReason) {
///         self.messages.remove(conn);
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ConnMap<T> {
    slots: Vec<Option<(ConnId, T)>>,
    len: usize,
}

impl<T> Default for ConnMap<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            len: 0,
        }
    }
}

impl<T> ConnMap<T> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps a value for a connection; the one it had before, if it had one. A value for an id that is stale, because
    /// a later connection has one in its place, is not kept: it is what is given back.
    pub fn insert(&mut self, conn: ConnId, value: T) -> Option<T> {
        let slot = conn.slot();
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if matches!(&self.slots[slot], Some((owner, _)) if owner.is_later_than(conn)) {
            return Some(value);
        }
        let before = self.slots[slot].replace((conn, value));
        self.len += usize::from(before.is_none());
        before
            .filter(|(owner, _)| *owner == conn)
            .map(|(_, value)| value)
    }

    /// The value of a connection.
    #[inline]
    pub fn get(&self, conn: ConnId) -> Option<&T> {
        match self.slots.get(conn.slot()) {
            Some(Some((owner, value))) if *owner == conn => Some(value),
            _ => None,
        }
    }

    /// The value of a connection, to be changed.
    #[inline]
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        match self.slots.get_mut(conn.slot()) {
            Some(Some((owner, value))) if *owner == conn => Some(value),
            _ => None,
        }
    }

    /// Whether the connection has a value.
    pub fn contains(&self, conn: ConnId) -> bool {
        self.get(conn).is_some()
    }

    /// Takes the value of a connection out.
    pub fn remove(&mut self, conn: ConnId) -> Option<T> {
        self.get(conn)?;
        self.len -= 1;
        self.slots[conn.slot()].take().map(|(_, value)| value)
    }

    /// Removes everything.
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

    /// Connections and values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots
            .iter()
            .flatten()
            .map(|(conn, value)| (*conn, value))
    }

    /// Connections and values, the latter to be changed, in no particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.slots
            .iter_mut()
            .flatten()
            .map(|(conn, value)| (*conn, value))
    }
}

/// The value of a connection that is known to have one.
///
/// # Panics
///
/// When it has none; [`ConnMap::get`] asks first.
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
/// When it has none; [`ConnMap::get_mut`] asks first.
impl<T> std::ops::IndexMut<ConnId> for ConnMap<T> {
    fn index_mut(&mut self, conn: ConnId) -> &mut T {
        self.get_mut(conn)
            .expect("the connection has a value in this map")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_misses_and_its_successor_replaces() {
        let (old, new) = (ConnId::new(3, 1), ConnId::new(3, 2));
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
}
