//! The receive limit of a loop.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Net;
use crate::connection::ConnEntry;
use crate::id::ConnId;

impl Net {
    /// Charges what a connection holds of what it received. Returns whether the
    /// connections of the loop hold more than the limit.
    #[inline]
    pub(crate) fn charge_received(&mut self, conn: ConnId, held: usize) -> bool {
        let Some(entry) = self.conns.get_mut(conn) else {
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

    /// Reverts [`Net::charge_received`] for a connection that ends.
    pub(crate) fn discharge_received(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            self.received_bytes -= std::mem::take(&mut entry.received_bytes);
        }
    }

    /// Returns the connection that holds most, among those of the address that
    /// holds most.
    ///
    /// It looks at every connection, at most once for every `max / n` bytes that
    /// arrive, because that much is free afterwards: n is the number of
    /// connections of that address, and max is the limit divided by the number
    /// of addresses.
    #[cold]
    pub(crate) fn largest_receiver(&self) -> Option<ConnId> {
        let held = |entry: &ConnEntry| entry.is_live() && entry.received_bytes > 0;
        let holders = || self.conns.entries().filter(|entry| held(entry));
        let mut by_address: HashMap<IpAddr, usize> = HashMap::new();
        for entry in holders() {
            *by_address.entry(entry.addr().ip()).or_default() += entry.received_bytes;
        }
        let most = by_address.into_iter().max_by_key(|(_, bytes)| *bytes);
        let (address, _) = most?;
        let largest = holders()
            .filter(|entry| entry.addr().ip() == address)
            .max_by_key(|entry| entry.received_bytes);
        largest.map(ConnEntry::id)
    }
}
