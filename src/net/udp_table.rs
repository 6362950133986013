//! The UDP sockets of a loop, and their work.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use slab::Slab;

use crate::addr::to_canonical;
use crate::buffers::DatagramRing;
use crate::config::UdpOptions;
use crate::id::{ShardId, UdpId};
use crate::mutants::mutant;
use crate::sys::{Udp, UdpError};
use crate::traffic::UdpTraffic;

/// Number of errors of unknown cause in a row after which a socket is not read
/// again before its next event, so that a lasting error does not keep the loop
/// busy.
const ERRORS_MAX: u32 = 8;

/// The UDP sockets of a loop. A socket is on a list at most once. Ids on the
/// lists may be stale.
#[derive(Debug, Default)]
pub(crate) struct UdpTable {
    entries: Slab<UdpEntry>,
    /// The number of ids that were given out.
    given_out: u32,
    /// Sockets to receive from, in the order in which they are visited.
    pub(crate) ready: VecDeque<UdpId>,
    /// Sockets that have datagrams to send.
    pub(crate) dirty: Vec<UdpId>,
    /// Sockets that used up their budget for sending.
    pub(crate) over_budget: Vec<UdpId>,
    /// Sockets whose `on_udp_drain` is due.
    pub(crate) drained: Vec<UdpId>,
    /// The traffic of closed sockets.
    ended: UdpTraffic,
}

impl UdpTable {
    /// Returns whether there is work that needs no event.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.dirty.is_empty()
            || !self.over_budget.is_empty()
            || !self.drained.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = UdpId> + '_ {
        self.entries.iter().map(|(_, entry)| entry.id)
    }

    pub(crate) fn get(&self, udp: UdpId) -> Option<&UdpEntry> {
        let entry = self.entries.get(udp.slot());
        entry.filter(|entry| entry.id == udp)
    }

    pub(crate) fn get_mut(&mut self, udp: UdpId) -> Option<&mut UdpEntry> {
        let entry = self.entries.get_mut(udp.slot());
        entry.filter(|entry| entry.id == udp)
    }

    /// Returns the socket that a token of the poller belongs to.
    pub(crate) fn of_token(&mut self, slot: usize, token: usize) -> Option<&mut UdpEntry> {
        let entry = self.entries.get_mut(slot);
        entry.filter(|entry| entry.id.token() == token)
    }

    /// Returns the id of the next socket, or `None` if all were given out.
    pub(crate) fn next_id(&self, shard: ShardId) -> Option<UdpId> {
        let serial = NonZeroU32::MIN.checked_add(self.given_out)?;
        let slot = u32::try_from(self.entries.vacant_key()).ok()?;
        Some(UdpId::new(shard, slot, serial))
    }

    /// Adds a socket. Its id is that of [`UdpTable::next_id`].
    pub(crate) fn insert(&mut self, entry: UdpEntry) {
        debug_assert_eq!(entry.id.slot(), self.entries.vacant_key());
        self.entries.insert(entry);
        self.given_out += 1;
    }

    /// Removes a socket.
    pub(crate) fn remove(&mut self, udp: UdpId) -> Option<UdpEntry> {
        self.get(udp)?;
        let entry = self.entries.try_remove(udp.slot())?;
        self.ended += entry.traffic;
        Some(entry)
    }

    /// Returns the traffic of all sockets, including closed ones.
    pub(crate) fn traffic(&self) -> UdpTraffic {
        let mut traffic = self.ended;
        for (_, entry) in &self.entries {
            traffic += entry.traffic;
        }
        traffic
    }

    /// Puts a socket at the end of the list of sockets to receive from.
    pub(crate) fn schedule_receive(&mut self, udp: UdpId) {
        if let Some(entry) = self.get_mut(udp) {
            if !std::mem::replace(&mut entry.is_scheduled, true) {
                self.ready.push_back(udp);
            }
        }
    }

    /// Puts a socket on the list of sockets with datagrams to send, unless it
    /// waits for room in the kernel.
    pub(crate) fn schedule_send(&mut self, udp: UdpId) {
        if let Some(entry) = self.get_mut(udp) {
            if !entry.is_blocked && !std::mem::replace(&mut entry.is_dirty, true) {
                self.dirty.push(udp);
            }
        }
    }
}

/// A UDP socket and its state in the loop.
#[derive(Debug)]
pub(crate) struct UdpEntry {
    pub(crate) id: UdpId,
    pub(crate) socket: Udp,
    pub(crate) addr: SocketAddr,
    pub(crate) v6_only: bool,
    pub(crate) max_datagram_len: usize,
    pub(crate) ring: DatagramRing,
    /// There may be datagrams to receive. Set by an edge, and cleared by
    /// `WouldBlock`.
    pub(crate) is_readable: bool,
    pub(crate) is_scheduled: bool,
    pub(crate) is_dirty: bool,
    /// The kernel had no room. An event is to come.
    pub(crate) is_blocked: bool,
    /// The length of the longest datagram that was refused. `on_udp_drain` is
    /// owed for it.
    pub(crate) refused: Option<usize>,
    pub(crate) traffic: UdpTraffic,
    /// The turn of `budget`.
    pub(crate) budget_turn: u64,
    pub(crate) budget: SendBudget,
    /// Number of errors of unknown cause in a row.
    errors: u32,
}

/// Remaining budget of a socket for sending in this turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendBudget {
    pub(crate) datagrams: usize,
    pub(crate) bytes: usize,
}

/// The cause for which a socket has stopped sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SendEnd {
    Empty,
    OverBudget,
    WouldBlock,
}

impl UdpEntry {
    pub(crate) fn new(id: UdpId, socket: Udp, addr: SocketAddr, options: &UdpOptions) -> Self {
        Self {
            id,
            socket,
            addr,
            v6_only: options.v6_only,
            max_datagram_len: options.max_datagram_len,
            ring: DatagramRing::new(options.send_ring_bytes),
            is_readable: false,
            is_scheduled: false,
            is_dirty: false,
            is_blocked: false,
            refused: None,
            traffic: UdpTraffic::default(),
            budget_turn: 0,
            budget: SendBudget {
                datagrams: 0,
                bytes: 0,
            },
            errors: 0,
        }
    }

    /// Receives one datagram. Returns its length and the address of its source.
    /// Returns `None` if nothing is to be delivered. `is_readable` says whether
    /// there may be more.
    pub(crate) fn receive(&mut self, room: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let error = match self.socket.recv_from(room) {
            Ok((len, from)) if len <= self.max_datagram_len => {
                self.errors = 0;
                self.traffic.datagrams_received += 1;
                self.traffic.bytes_received += len as u64;
                return Some((len, to_canonical(from)));
            }
            Ok(_) => {
                self.traffic.too_long += 1;
                return None;
            }
            Err(error) => error,
        };
        match Udp::classify(&error) {
            UdpError::WouldBlock => self.is_readable = false,
            UdpError::Interrupted => {}
            UdpError::TooLong => self.traffic.too_long += 1,
            UdpError::OneDatagram => self.traffic.receive_errors += 1,
            UdpError::Other => {
                self.traffic.receive_errors += 1;
                self.errors += 1;
                if self.errors >= ERRORS_MAX {
                    (self.is_readable, self.errors) = (false, 0);
                }
            }
        }
        None
    }

    /// Sends queued datagrams within the budget. A datagram that the system
    /// refuses is dropped.
    pub(crate) fn send_queued(&mut self, budget: &mut SendBudget) -> SendEnd {
        while let Some((addr, datagram)) = self.ring.first() {
            if budget.datagrams == 0 || budget.bytes == 0 {
                return SendEnd::OverBudget;
            }
            budget.datagrams -= 1;
            let len = datagram.len();
            match self.socket.send_to(datagram, addr) {
                Ok(_) => {
                    budget.bytes = budget.bytes.saturating_sub(len);
                    self.traffic.datagrams_sent += 1;
                    self.traffic.bytes_sent += len as u64;
                }
                Err(error) => match Udp::classify(&error) {
                    UdpError::WouldBlock => return SendEnd::WouldBlock,
                    UdpError::Interrupted => continue,
                    _ => {
                        log::trace!(target: "peerloop", "datagram to {addr}: {error}");
                        self.traffic.send_errors += 1;
                    }
                },
            }
            self.ring.pop();
        }
        SendEnd::Empty
    }

    /// Returns whether `on_udp_drain` is due, which is called once then.
    pub(crate) fn take_drain(&mut self) -> bool {
        mutant!(ForgetUdpDrain => return false);
        let Some(len) = self.refused else {
            return false;
        };
        let is_due = self.ring.is_half_empty() && self.ring.has_room(len);
        if is_due {
            self.refused = None;
        }
        is_due
    }
}
