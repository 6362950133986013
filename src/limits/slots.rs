//! The slots of all connections, some of which are reserved.

use std::collections::BTreeMap;

use crate::addr::ConnInfo;
use crate::config::{Limits, ListenerLimits};
use crate::id::{Direction, ListenerId};
use crate::mutants::mutant;

/// The slots of [`Limits::max_connections`].
///
/// ```text
/// │ taken │ free, unreserved  │ free, reserved (outbound, listeners) │
/// └────────────────────── max ───────────────────────────────────────┘
/// ```
///
/// A new connection can use a free slot that is reserved for it or not
/// reserved.
#[derive(Debug)]
pub(crate) struct Slots {
    pub(crate) max: usize,
    pub(crate) taken: usize,
    pub(crate) outbound: Share,
    pub(crate) listeners: BTreeMap<ListenerId, ListenerShare>,
    /// The number of reserved slots that are free.
    free_reserved: usize,
}

/// The slots of outbound connections or of one listener.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) taken: usize,
    pub(crate) max: usize,
    pub(crate) reserved: usize,
}

/// The slots of a listener. The entry outlives the listener while one of its
/// connections has a slot.
#[derive(Debug)]
pub(crate) struct ListenerShare {
    pub(crate) share: Share,
    /// The number of its sockets, at least one for each shard that listens.
    sockets: usize,
}

impl Share {
    fn new(max: usize, reserved: usize) -> Self {
        Self {
            taken: 0,
            max,
            reserved,
        }
    }

    fn free_reserved(&self) -> usize {
        self.reserved.saturating_sub(self.taken)
    }
}

impl Slots {
    pub(super) fn new(limits: &Limits) -> Self {
        let outbound = Share::new(limits.max_connections, limits.slots_for_outbound());
        Self {
            max: limits.max_connections,
            taken: 0,
            free_reserved: outbound.free_reserved(),
            outbound,
            listeners: BTreeMap::new(),
        }
    }

    /// Returns whether there is a slot for a connection.
    pub(super) fn has_room(&mut self, info: &ConnInfo) -> bool {
        let mut own = 0;
        if let Some(share) = self.share(info) {
            if share.taken >= share.max {
                return false;
            }
            own = share.free_reserved();
        }
        self.taken + (self.free_reserved - own) < self.max
    }

    pub(super) fn take(&mut self, info: &ConnInfo) {
        self.taken += 1;
        mutant!(ChargeTwice => self.taken += 1);
        self.change(info, |share| share.taken += 1);
    }

    pub(super) fn give_back(&mut self, info: &ConnInfo) {
        debug_assert!(self.taken > 0);
        self.taken = self.taken.saturating_sub(1);
        self.change(info, |share| share.taken = share.taken.saturating_sub(1));
        if let Some(listener) = info.listener {
            self.forget_if_unused(listener);
        }
    }

    /// Adds a socket of a listener. Returns false if there are fewer slots than
    /// would be reserved.
    pub(super) fn add_socket(&mut self, id: ListenerId, limits: &ListenerLimits) -> bool {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.sockets += 1;
            return true;
        }
        let shares = self.listeners.values().map(|listener| &listener.share);
        let reserved: usize = shares.map(|share| share.reserved).sum();
        let others = reserved + self.outbound.reserved;
        if others.saturating_add(limits.reserved_connections) > self.max {
            return false;
        }
        let max = limits.max_connections.unwrap_or(self.max);
        let share = Share::new(max, limits.reserved_connections);
        self.free_reserved += share.free_reserved();
        self.listeners
            .insert(id, ListenerShare { share, sockets: 1 });
        true
    }

    /// Removes a socket of a listener. Removing the last socket ends the
    /// reservation. Returns whether it was the last one.
    pub(super) fn remove_socket(&mut self, id: ListenerId) -> bool {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return false;
        };
        listener.sockets = listener.sockets.saturating_sub(1);
        let is_last = listener.sockets == 0;
        if is_last {
            self.free_reserved -= listener.share.free_reserved();
            listener.share.reserved = 0;
            self.forget_if_unused(id);
        }
        is_last
    }

    fn forget_if_unused(&mut self, id: ListenerId) {
        let is_used = |it: &ListenerShare| it.sockets > 0 || it.share.taken > 0;
        if self.listeners.get(&id).is_some_and(|it| !is_used(it)) {
            self.listeners.remove(&id);
        }
    }

    /// Returns the share of a connection. An adopted inbound connection has
    /// none.
    fn share(&mut self, info: &ConnInfo) -> Option<&mut Share> {
        match (info.direction, info.listener) {
            (Direction::Outbound, _) => Some(&mut self.outbound),
            (Direction::Inbound, Some(id)) => self.listeners.get_mut(&id).map(|it| &mut it.share),
            (Direction::Inbound, None) => None,
        }
    }

    fn change(&mut self, info: &ConnInfo, change: impl FnOnce(&mut Share)) {
        let Some(share) = self.share(info) else {
            return;
        };
        let before = share.free_reserved();
        change(share);
        let after = share.free_reserved();
        self.free_reserved = self.free_reserved - before + after;
    }
}
