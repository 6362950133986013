//! Check of the counts of connections against the connections that exist.

use std::collections::HashMap;
use std::hash::Hash;

use crate::addr::CompactAddr;
use crate::addr::to_canonical_target;
use crate::connection::{ConnEntry, Lifecycle};
use crate::id::Direction;
use crate::limits::LimitCounts;

/// Compares the counts in `limits` with the connections of its node, of which
/// `headers` have an incomplete PROXY header, and both with the limits.
pub(super) fn check_limits<'a>(
    limits: &LimitCounts,
    conns: impl Iterator<Item = &'a ConnEntry>,
    headers: usize,
) -> Result<(), String> {
    let (mut handshakes, mut outbound) = (0, 0);
    let (mut total, mut inbound) = (0, 0);
    let (mut ips, mut prefixes, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for entry in conns.filter(|entry| entry.is_live()) {
        total += 1;
        let (ip, prefix) = limits.counted(entry.addr());
        ips.extend(ip);
        prefixes.extend(prefix);
        let state = entry.lifecycle();
        let is_connecting = matches!(state, Lifecycle::Connecting | Lifecycle::Handshaking);
        match entry.direction() {
            Direction::Outbound => outbound += usize::from(is_connecting),
            Direction::Inbound => {
                inbound += 1;
                handshakes += usize::from(state == Lifecycle::Handshaking);
            }
        }
        if !matches!(state, Lifecycle::Closing(_)) {
            addresses.push(CompactAddr::from(to_canonical_target(entry.addr())));
        }
    }
    let places = limits.places.by_conn.len();
    let counted = (limits.slots.taken, places, limits.outbound);
    let found = (total, handshakes + headers, outbound);
    if counted != found {
        return Err(format!(
            "{counted:?} are counted in the limits, but there are {found:?}"
        ));
    }
    if limits.slots.outbound.taken != total - inbound {
        return Err("the count of outbound connections is wrong".to_owned());
    }
    let is_equal = are_counts_of(&limits.by_prefix, prefixes)
        && are_counts_of(&limits.by_ip_address, ips)
        && are_counts_of(&limits.by_address, addresses);
    if !is_equal {
        return Err("the counts by address differ from the connections".to_owned());
    }
    if is_exceeded(limits) || inbound > limits.slots.max - limits.slots.outbound.reserved {
        return Err("there are more connections than a limit allows".to_owned());
    }
    Ok(())
}

fn is_exceeded(limits: &LimitCounts) -> bool {
    let prefix_max = limits.per_prefix.as_ref().map_or(0, |limit| limit.max);
    let is_any_above = |mut counts: std::collections::hash_map::Values<'_, _, u32>, max| {
        counts.any(|count| *count as usize > max)
    };
    let mut listeners = limits.slots.listeners.values();
    limits.slots.taken > limits.slots.max
        || listeners.any(|listener| listener.share.taken > listener.share.max)
        || limits.places.is_exceeded()
        || limits.outbound > limits.max_outbound
        || is_any_above(limits.by_ip_address.values(), limits.max_per_address)
        || is_any_above(limits.by_prefix.values(), prefix_max)
}

/// Returns whether `counts` has the number of times that each key is in `all`.
///
/// Sorts the keys, because that is faster than a second map, and the check runs
/// after each turn.
fn are_counts_of<K: Ord + Hash>(counts: &HashMap<K, u32>, mut all: Vec<K>) -> bool {
    all.sort_unstable();
    let mut distinct = 0;
    for same in all.chunk_by(|a, b| a == b) {
        if counts.get(&same[0]).map(|count| *count as usize) != Some(same.len()) {
            return false;
        }
        distinct += 1;
    }
    distinct == counts.len()
}
