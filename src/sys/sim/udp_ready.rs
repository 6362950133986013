//! Readiness of UDP sockets, and access to them for the checks.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use super::event::{Event, PollerId, SocketId, UdpEvent};
use super::internet::Internet;
use super::poller_state::ReadyKey;
use super::ready::report;
use super::selector::{Interest, Selector};
use super::trace::digest;
use super::udp_socket::UdpRegistration;
use crate::sys::Readiness;

/// The state of a UDP socket in its kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UdpInspection {
    /// Number of datagrams that can be received.
    pub(crate) readable: usize,
    pub(crate) has_room: bool,
    /// A report is due, after which the node will check the socket.
    pub(crate) is_awaited: bool,
    /// Number of datagrams that were received and not delivered.
    pub(crate) undelivered: usize,
}

impl Internet {
    pub(super) fn register_udp(&mut self, id: SocketId, token: usize) -> io::Result<()> {
        if self.random.chance(self.faults.failed_registration) {
            self.counts.failed_registrations += 1;
            return Err(ErrorKind::StorageFull.into());
        }
        let Some(socket) = self.udp.get_mut(&id) else {
            return Err(ErrorKind::NotFound.into());
        };
        let interest = match self.hosts.selector(socket.host) {
            Selector::Epoll => None,
            Selector::Poll => Some(Interest::ALL),
        };
        socket.registration = Some(UdpRegistration {
            token,
            for_room: false,
            queued: false,
            late: 0,
            was_late: false,
            interest,
        });
        self.edge_udp_if_ready(id);
        Ok(())
    }

    /// Changes whether room is reported. Present readiness is an edge.
    pub(super) fn watch_udp(&mut self, id: SocketId, for_room: bool) {
        let socket = self.udp.get_mut(&id);
        if let Some(registration) = socket.and_then(|it| it.registration.as_mut()) {
            registration.for_room = for_room;
            registration.interest = registration.interest.map(|_| Interest::ALL);
            self.edge_udp_if_ready(id);
        }
    }

    pub(super) fn unregister_udp(&mut self, id: SocketId) {
        let Some(socket) = self.udp.get_mut(&id) else {
            return;
        };
        let poller = socket.poller;
        if let Some(registration) = socket.registration.take() {
            self.pollers[poller].forget(ReadyKey::Udp(id));
            self.report_stale(poller, registration.token);
        }
    }

    fn edge_udp_if_ready(&mut self, id: SocketId) {
        let socket = self.udp.get(&id);
        if socket.is_some_and(|socket| !socket.poll_reported().is_empty()) {
            self.edge_udp(id);
        }
    }

    /// Records a change of a socket. Several changes before a report are one
    /// edge.
    pub(super) fn edge_udp(&mut self, id: SocketId) {
        let Some(socket) = self.udp.get_mut(&id) else {
            return;
        };
        let (poller, mask) = (socket.poller, socket.poll_reported());
        let Some(registration) = &mut socket.registration else {
            return;
        };
        if mask.is_empty() || std::mem::replace(&mut registration.queued, true) {
            return;
        }
        self.report(poller, ReadyKey::Udp(id));
    }

    /// Returns the error of a call that would block.
    pub(super) fn udp_would_block(&mut self, id: SocketId) -> io::Error {
        let socket = self.udp.get_mut(&id);
        let registration = socket.and_then(|it| it.registration.as_mut());
        if let Some(interest) = registration.and_then(|it| it.interest.as_mut()) {
            *interest = Interest::ALL;
            self.edge_udp_if_ready(id);
        }
        ErrorKind::WouldBlock.into()
    }

    /// Hides the received datagrams for a moment.
    pub(super) fn hide_datagrams(&mut self, id: SocketId) {
        if let Some(socket) = self.udp.get_mut(&id) {
            if !std::mem::replace(&mut socket.read_held, true) {
                self.schedule_soon(Event::Udp(UdpEvent::ShowReceived { socket: id }));
            }
        }
    }

    pub(super) fn show_datagrams(&mut self, id: SocketId) {
        if let Some(socket) = self.udp.get_mut(&id) {
            socket.read_held = false;
            self.edge_udp(id);
        }
    }

    /// Hides the room of the send buffer for a moment.
    pub(super) fn hide_udp_room(&mut self, id: SocketId) {
        if let Some(socket) = self.udp.get_mut(&id) {
            if !std::mem::replace(&mut socket.write_held, true) {
                self.schedule_soon(Event::Udp(UdpEvent::ShowRoom { socket: id }));
            }
        }
    }

    pub(super) fn show_udp_room(&mut self, id: SocketId) {
        if let Some(socket) = self.udp.get_mut(&id) {
            socket.write_held = false;
            self.edge_udp(id);
        }
    }

    /// Handles a delayed report that is due.
    pub(super) fn report_udp_late(&mut self, id: SocketId) {
        let socket = self.udp.get_mut(&id);
        if let Some(registration) = socket.and_then(|it| it.registration.as_mut()) {
            registration.late -= 1;
            registration.was_late = true;
            self.edge_udp(id);
        }
    }

    /// Adds the report of a socket on the list.
    pub(super) fn take_udp(&mut self, id: SocketId, reports: &mut Vec<Readiness>) {
        let delayed = self.random.chance(self.faults.delayed_readiness);
        let Some(socket) = self.udp.get_mut(&id) else {
            return;
        };
        let mask = socket.poll_reported();
        let Some(registration) = &mut socket.registration else {
            return;
        };
        registration.queued = false;
        let was_late = std::mem::take(&mut registration.was_late);
        if mask.is_empty() {
            return;
        }
        if delayed && !was_late {
            registration.late += 1;
            self.counts.delayed_readiness += 1;
            return self.schedule_soon(Event::Udp(UdpEvent::ReportLate { socket: id }));
        }
        if let Some(interest) = &mut registration.interest {
            interest.remove(mask);
        }
        reports.push(report(registration.token, mask));
    }

    /// Returns the token of a socket of this node, for a spurious report.
    pub(super) fn draw_udp_token(&mut self, poller: PollerId) -> Option<usize> {
        let of_poller = self.udp.values().filter(|it| it.poller == poller);
        let tokens = of_poller.filter_map(|it| Some(it.registration?.token));
        let tokens: Vec<usize> = tokens.collect();
        // A world without UDP sockets draws no number.
        if tokens.is_empty() || self.random.chance(0.5) {
            return None;
        }
        let chosen = self.random.below(tokens.len() as u64) as usize;
        tokens.get(chosen).copied()
    }

    /// Reports a delivered datagram. Returns an error if it is not the next
    /// one.
    pub(crate) fn delivered_datagram(
        &mut self,
        id: SocketId,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), &'static str> {
        let Some(socket) = self.udp.get_mut(&id) else {
            return Err("whose socket is closed");
        };
        match socket.undelivered.pop_front() {
            Some(next) if next == (from, digest(datagram)) => Ok(()),
            Some(_) => Err("which is not the one that was received"),
            None => Err("which was not received"),
        }
    }

    pub(crate) fn inspect_udp(&self, id: SocketId) -> Option<UdpInspection> {
        let socket = self.udp.get(&id)?;
        let registration = socket.registration;
        let is_queued = registration.is_some_and(|it| it.queued || it.late > 0);
        Some(UdpInspection {
            readable: socket.visible(),
            has_room: socket.has_room() && 2 * socket.unsent <= socket.send_capacity,
            is_awaited: is_queued || socket.read_held || socket.write_held,
            undelivered: socket.undelivered.len(),
        })
    }
}
