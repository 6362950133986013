//! The limit on the memory that a loop holds for received data.

use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;

use super::Net;
use crate::id::ConnId;
use crate::limits::address_of;

impl Net {
    /// Charges the memory that a connection holds for received data. Returns
    /// whether the connections of the loop exceed the limit.
    #[inline]
    pub(crate) fn charge_received(&mut self, conn: ConnId, held: usize) -> bool {
        let entry = self.conns.get_mut(conn);
        let Some(entry) = entry.filter(|entry| entry.is_live()) else {
            return false;
        };
        let held = held + entry.identity_bytes();
        let before = std::mem::replace(&mut entry.received_bytes, held);
        if held == before {
            return false;
        }
        self.received_bytes = self.received_bytes - before + held;
        let max = &mut self.metrics.max_received_bytes;
        *max = (*max).max(self.received_bytes);
        self.received_bytes > self.config.limits.loop_receive_bytes
    }

    /// Returns the connections to end so that a 64th of the limit is free. Each
    /// is the connection that holds most, of the address that holds most.
    ///
    /// It looks at every connection. This happens at most once for every 64th
    /// of the limit that arrives.
    #[cold]
    pub(crate) fn receivers_to_end(&self) -> Vec<ConnId> {
        let limit = self.config.limits.loop_receive_bytes;
        let mut excess = self.received_bytes.saturating_sub(limit - limit / 64);
        let mut by_address: HashMap<IpAddr, Vec<(usize, ConnId)>> = HashMap::new();
        let holders = self
            .conns
            .entries()
            .filter(|entry| entry.received_bytes > 0);
        for entry in holders {
            let held = by_address.entry(address_of(entry.addr().ip())).or_default();
            held.push((entry.received_bytes, entry.id()));
        }
        let mut addresses: BinaryHeap<(usize, Vec<(usize, ConnId)>)> = by_address
            .into_values()
            .map(|mut held| {
                held.sort_unstable();
                (held.iter().map(|(bytes, _)| bytes).sum(), held)
            })
            .collect();
        let mut to_end = Vec::new();
        while let Some((sum, mut held)) = addresses.pop().filter(|_| excess > 0) {
            if let Some((bytes, conn)) = held.pop() {
                to_end.push(conn);
                excess = excess.saturating_sub(bytes);
                addresses.push((sum - bytes, held));
            }
        }
        to_end
    }
}
