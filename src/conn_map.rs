//! Per-connection state of the user's.

use crate::id::ConnId;

/// A map from connections to values: the state a handler keeps for each of its peers.
///
/// Access is two indices and a comparison, without hashing. A stale id misses, even when its slot serves another
/// connection by now; inserting for that other connection replaces what was left behind. Memory is one entry for the
/// highest number of connections there ever were at once, of each shard whose connections have a value.
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
    /// By shard, then by slot.
    shards: Vec<Vec<Slot<T>>>,
    len: usize,
}

type Slot<T> = Option<(ConnId, T)>;

impl<T> Default for ConnMap<T> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
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
        let (shard, slot) = (conn.shard().index(), conn.slot());
        if shard >= self.shards.len() {
            self.shards.resize_with(shard + 1, Vec::new);
        }
        let slots = &mut self.shards[shard];
        if slot >= slots.len() {
            slots.resize_with(slot + 1, || None);
        }
        if matches!(&slots[slot], Some((owner, _)) if owner.is_later_than(conn)) {
            return Some(value);
        }
        let before = slots[slot].replace((conn, value));
        self.len += usize::from(before.is_none());
        before
            .filter(|(owner, _)| *owner == conn)
            .map(|(_, value)| value)
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
        match self.entry(conn) {
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
        self.entry(conn)?.take().map(|(_, value)| value)
    }

    #[inline]
    fn entry(&mut self, conn: ConnId) -> Option<&mut Slot<T>> {
        self.shards
            .get_mut(conn.shard().index())?
            .get_mut(conn.slot())
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
        self.shards
            .iter()
            .flatten()
            .flatten()
            .map(|(conn, value)| (*conn, value))
    }

    /// Connections and values, the latter to be changed, in no particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.shards
            .iter_mut()
            .flatten()
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
}
