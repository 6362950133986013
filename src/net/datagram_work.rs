//! The work of the loop on UDP sockets, except for receiving.

use super::Net;
use super::udp_table::{SendBudget, SendEnd};
use crate::id::UdpId;
use crate::sys::Readiness;

impl Net {
    /// Closes all UDP sockets.
    pub(crate) fn close_all_udp(&mut self) {
        let all: Vec<UdpId> = self.udp.ids().collect();
        all.into_iter().for_each(|udp| self.close_udp(udp));
    }

    /// Records an event of a UDP socket.
    pub(crate) fn note_udp_event(&mut self, slot: usize, ready: Readiness) {
        let Some(entry) = self.udp.of_token(slot, ready.token) else {
            self.metrics.stale_events += 1;
            return;
        };
        let udp = entry.id;
        if ready.readable || ready.finished {
            entry.is_readable = true;
            self.udp.schedule_receive(udp);
        }
        if ready.writable {
            self.stop_waiting_for_room(udp);
        }
    }

    fn stop_waiting_for_room(&mut self, udp: UdpId) {
        let Some(entry) = self.udp.get_mut(udp) else {
            return;
        };
        if std::mem::take(&mut entry.is_blocked) {
            // If it fails, there are more events than needed.
            let _ = self
                .registrar
                .watch_udp(&mut entry.socket, udp.token(), false);
            self.udp.schedule_send(udp);
        }
    }

    /// Sends the queued datagrams of a socket, within what its budget of this
    /// turn has left.
    pub(crate) fn send_datagrams(&mut self, udp: UdpId) {
        let (turn, budget) = (self.metrics.turns, self.config.budget);
        let Some(entry) = self.udp.get_mut(udp) else {
            return;
        };
        entry.is_dirty = false;
        if std::mem::replace(&mut entry.budget_turn, turn) != turn {
            entry.budget = SendBudget {
                datagrams: budget.datagrams,
                bytes: budget.write_bytes,
            };
        }
        let mut left = entry.budget;
        let mut end = entry.send_queued(&mut left);
        entry.budget = left;
        if end == SendEnd::WouldBlock {
            let watched = self
                .registrar
                .watch_udp(&mut entry.socket, udp.token(), true);
            entry.is_blocked = watched.is_ok();
            if watched.is_err() {
                // No event comes, so the next turn tries again.
                end = SendEnd::OverBudget;
            }
        }
        let is_drained = entry.take_drain();
        if end == SendEnd::OverBudget {
            self.defer_datagrams(udp);
        }
        if is_drained {
            self.udp.drained.push(udp);
        }
    }

    /// Leaves the queued datagrams of a socket for the next turn.
    pub(crate) fn defer_datagrams(&mut self, udp: UdpId) {
        if let Some(entry) = self.udp.get_mut(udp) {
            entry.is_dirty = true;
            self.udp.over_budget.push(udp);
        }
    }
}
