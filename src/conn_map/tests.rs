//! Tests of the map from connections to values.

use super::*;
use crate::id::ShardId;

fn id(shard: usize, slot: u32, generation: u32) -> ConnId {
    ConnId::new(ShardId::new(shard).unwrap(), slot, generation)
}

#[test]
fn same_slot_of_two_shards_keeps_two_values() {
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
fn stale_id_misses_and_later_id_replaces() {
    let (old, new) = (id(0, 3, 1), id(0, 3, 2));
    let mut map = ConnMap::new();
    assert_eq!(map.insert(old, "old"), None);
    assert_eq!(map.get(new), None);
    assert_eq!(map.remove(new), None);
    assert_eq!(
        map.insert(new, "new"),
        None,
        "the value of another connection is not returned"
    );
    assert_eq!(map.get(old), None);
    assert_eq!(map.len(), 1);
    assert_eq!(map.iter().collect::<Vec<_>>(), [(new, &"new")]);
    assert_eq!(map.insert(old, "late"), Some("late"), "it is not inserted");
    assert_eq!(map.insert(new, "newer"), Some("new"));
    assert_eq!(map.remove(new), Some("newer"));
    assert!(map.is_empty());
}

#[test]
fn entry_modifies_or_inserts() {
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
fn entry_of_later_id_replaces_of_stale_does_not() {
    let (old, new) = (id(0, 3, 1), id(0, 3, 2));
    let mut map = ConnMap::new();
    map.insert(old, "old");
    let entry = map
        .entry(new)
        .and_modify(|_| unreachable!("another connection has it"));
    assert_eq!(*entry.or_insert("new"), "new");
    assert_eq!(
        (map.get(old), map.get(new), map.len()),
        (None, Some(&"new"), 1)
    );
    let value = map
        .entry(old)
        .and_modify(|_| unreachable!("another connection has it"))
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
fn panic_in_or_insert_with_leaves_map_unchanged() {
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
