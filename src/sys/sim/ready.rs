//! Readiness of edge-triggered pollers, with all variations that they may have.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::event::{Event, PollerId, SocketId};
use super::internet::Internet;
use super::poller_state::{PollerState, ReadyKey};
use super::selector::{Interest, Mask, Selector};
use super::socket::Registration;
use super::trace::Actor;
use crate::sys::Readiness;

impl Internet {
    pub(crate) fn add_poller(&mut self, host: IpAddr, name: usize) -> PollerId {
        self.pollers.push(PollerState::new(host, name));
        self.pollers.len() - 1
    }

    pub(crate) fn remove_poller(&mut self, poller: PollerId) {
        self.pollers[poller].remove();
    }

    pub(super) fn set_waker(&mut self, poller: PollerId, token: usize) {
        self.pollers[poller].waker = Some(token);
    }

    /// Requests a wake of a node by another thread or node.
    pub(super) fn request_wake(&mut self, poller: PollerId) {
        if self.random.chance(self.faults.delayed_wake) {
            self.counts.delayed_wakes += 1;
            let delay = Duration::from_micros(self.random.between(1, 10_000));
            self.schedule_after(delay, Event::Wake { poller });
        } else {
            self.wake(poller);
        }
    }

    pub(super) fn wake(&mut self, poller: PollerId) {
        if !self.pollers[poller].is_reported(ReadyKey::Waker) {
            self.report(poller, ReadyKey::Waker);
        }
    }

    pub(super) fn report(&mut self, poller: PollerId, key: ReadyKey) {
        if self.pollers[poller].report(key) {
            self.want_turn(poller, self.now());
        }
    }

    pub(super) fn has_reports(&self, poller: PollerId) -> bool {
        self.pollers[poller].has_reports()
    }

    /// Records a change of a socket. Several changes before a report are one
    /// edge.
    pub(super) fn edge(&mut self, id: SocketId, readable: bool, writable: bool) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let is_polled = socket.registration.is_some_and(|it| it.interest.is_some());
        if is_polled && socket.poll_reported().is_empty() {
            return;
        }
        let watches_room = socket.registration.is_some_and(|it| it.watches_room);
        if !readable && !watches_room {
            return;
        }
        let Some(registration) = &mut socket.registration else {
            return;
        };
        registration.readable |= readable;
        registration.writable |= writable;
        let poller = registration.poller;
        if !std::mem::replace(&mut registration.queued, true) {
            self.report(poller, ReadyKey::Socket(id));
        }
    }

    /// Handles a call on a socket that returned `WouldBlock`.
    pub(super) fn rearm(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let registration = socket.registration.as_mut();
        if let Some(interest) = registration.and_then(|it| it.interest.as_mut()) {
            *interest = Interest::ALL;
            self.edge(id, true, true);
        }
    }

    /// Handles an accept that returned `WouldBlock`.
    pub(super) fn rearm_listener(&mut self, id: SocketId) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.is_armed = true;
        }
    }

    pub(super) fn edge_listener(&mut self, id: SocketId) {
        let Some(listening) = self.listeners.get_mut(&id) else {
            return;
        };
        let Some((poller, _)) = listening.registration.filter(|_| listening.is_armed) else {
            return;
        };
        if !std::mem::replace(&mut listening.queued, true) {
            self.report(poller, ReadyKey::Listener(id));
        }
    }

    pub(super) fn show_received(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            if std::mem::take(&mut socket.read_held) {
                self.edge(id, true, false);
            }
        }
    }

    /// Handles a delayed report that is due.
    pub(super) fn report_late(&mut self, id: SocketId) {
        let registration = self
            .sockets
            .get_mut(&id)
            .and_then(|socket| socket.registration.as_mut());
        // The report may be one of an earlier registration of the socket.
        if let Some(registration) = registration.filter(|it| it.late > 0) {
            registration.late -= 1;
            registration.was_late = true;
            self.edge(id, true, true);
        }
    }

    pub(super) fn show_room(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.write_held = false;
            // If there is no room, the edge comes with the acknowledgement.
            if socket.is_spacious() {
                socket.no_space = false;
                self.edge(id, false, true);
            }
        }
    }

    pub(super) fn register(
        &mut self,
        id: SocketId,
        poller: PollerId,
        token: usize,
    ) -> io::Result<()> {
        if self.random.chance(self.faults.failed_registration) {
            self.counts.failed_registrations += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let Some(socket) = self.sockets.get_mut(&id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let interest = match self.hosts.selector(socket.host) {
            Selector::Epoll => None,
            Selector::Poll => Some(Interest::ALL),
        };
        socket.registration = Some(Registration {
            poller,
            token,
            readable: false,
            writable: false,
            queued: false,
            late: 0,
            was_late: false,
            watches_room: !socket.accepted,
            interest,
        });
        // Existing readiness is an edge for a new registration.
        if !socket.poll_reported().is_empty() {
            self.edge(id, true, true);
        }
        Ok(())
    }

    /// Reports room for writing from now on. Present readiness is reported
    /// again.
    pub(super) fn watch_room(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let Some(registration) = socket.registration.as_mut() else {
            return;
        };
        if std::mem::replace(&mut registration.watches_room, true) {
            return;
        }
        registration.interest = registration.interest.map(|_| Interest::ALL);
        if !socket.poll_reported().is_empty() {
            self.edge(id, true, true);
        }
    }

    pub(super) fn register_listener(&mut self, id: SocketId, poller: PollerId, token: usize) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.registration = Some((poller, token));
            listening.is_armed = true;
            if listening.waiting() > 0 {
                self.edge_listener(id);
            }
        }
    }

    /// Removes the registration of a closed or deregistered socket. No further
    /// report follows, except a stale report by a fault.
    pub(super) fn unregister(&mut self, id: SocketId) {
        let registration = self
            .sockets
            .get_mut(&id)
            .and_then(|socket| socket.registration.take());
        let Some(registration) = registration else {
            return;
        };
        self.pollers[registration.poller].forget(ReadyKey::Socket(id));
        self.report_stale(registration.poller, registration.token);
    }

    pub(super) fn report_stale(&mut self, poller: PollerId, token: usize) {
        if self.random.chance(self.faults.stale_readiness) {
            self.report(poller, ReadyKey::Stale(token));
        }
    }

    pub(super) fn unregister_listener(&mut self, id: SocketId) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            if let Some((poller, token)) = listening.registration.take() {
                self.pollers[poller].forget(ReadyKey::Listener(id));
                self.report_stale(poller, token);
            }
        }
    }

    /// Takes the reports that a wait returns. Does not wait.
    pub(super) fn take_ready(&mut self, poller: PollerId, reports: &mut Vec<Readiness>) {
        reports.clear();
        let mut ready = self.pollers[poller].take_ready();
        if !ready.is_empty() && self.random.chance(self.faults.interrupted) {
            self.counts.interrupted += 1;
            self.pollers[poller].put_back(ready);
            return;
        }
        if ready.len() > 1 && self.random.chance(self.faults.shuffled) {
            self.counts.shuffled += 1;
            self.random.shuffle(&mut ready);
        }
        if ready.len() > 1 && self.random.chance(self.faults.small_batches) {
            self.counts.small_batches += 1;
            let some = 1 + self.random.below(ready.len() as u64 - 1) as usize;
            let rest = ready.split_off(some.min(4));
            self.pollers[poller].put_back(rest);
        }
        for key in ready {
            self.take_one(poller, key, reports);
        }
        if self.random.chance(self.faults.spurious_readiness) {
            self.add_spurious(poller, reports);
        }
        for report in reports.iter() {
            let bits = u64::from(report.readable)
                | u64::from(report.writable) << 1
                | u64::from(report.finished) << 2;
            self.note(Actor::Node(poller), "ready", report.token as u64, bits);
        }
    }

    fn take_one(&mut self, poller: PollerId, key: ReadyKey, reports: &mut Vec<Readiness>) {
        match key {
            ReadyKey::Socket(id) => self.take_socket(id, reports),
            ReadyKey::Udp(id) => self.take_udp(id, reports),
            ReadyKey::Listener(id) => {
                if let Some(listening) = self.listeners.get_mut(&id) {
                    listening.queued = false;
                    let selector = self.hosts.selector(listening.host);
                    listening.is_armed = selector == Selector::Epoll;
                    if let Some((_, token)) = listening.registration {
                        reports.push(only_readable(token));
                    }
                }
            }
            ReadyKey::Stale(token) => {
                self.counts.stale_readiness += 1;
                reports.push(Readiness {
                    token,
                    readable: true,
                    writable: true,
                    finished: self.random.chance(0.5),
                    ..Readiness::default()
                });
            }
            ReadyKey::Waker => {
                let token = self.pollers[poller].waker;
                reports.extend(token.map(only_readable));
            }
        }
    }

    fn take_socket(&mut self, id: SocketId, reports: &mut Vec<Readiness>) {
        let delayed = self.random.chance(self.faults.delayed_readiness);
        let split = self.random.chance(self.faults.split_readiness);
        let first = self.random.chance(0.5);
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let mask = socket.poll_reported();
        let Some(registration) = &mut socket.registration else {
            return;
        };
        registration.queued = false;
        let was_late = std::mem::take(&mut registration.was_late);
        let delayed = delayed && !was_late;
        let (token, writable_edge) = (registration.token, registration.writable);
        (registration.readable, registration.writable) = (false, false);
        if mask.is_empty() {
            // The readiness has passed, so epoll drops it in the wait.
            return;
        }
        let unread = !socket.received.is_empty();
        if delayed {
            registration.late += 1;
            self.counts.delayed_readiness += 1;
            return self.schedule_soon(Event::ReportLate { socket: id });
        }
        if mask.finished && unread {
            self.counts.fin_with_data += 1;
        }
        let both = mask.readable && mask.writable && !mask.error;
        if !(split && both) {
            registration.disarm(mask);
            return reports.push(report(token, mask));
        }
        // kqueue reports so, with a filter for each direction. Without an edge
        // no report says that writing is impossible.
        self.counts.split_readiness += 1;
        let reading = Mask {
            writable: false,
            ..mask
        };
        let writing = Mask {
            writable: true,
            ..Mask::default()
        };
        match (first, writable_edge) {
            (true, _) => {
                registration.disarm(mask);
                reports.extend([report(token, reading), report(token, writing)]);
            }
            (false, true) => {
                registration.disarm(writing);
                reports.push(report(token, writing));
                self.edge(id, true, false);
            }
            (false, false) => {
                registration.disarm(reading);
                reports.push(report(token, reading));
                self.edge(id, false, true);
            }
        }
    }
}

pub(super) fn only_readable(token: usize) -> Readiness {
    Readiness {
        token,
        readable: true,
        ..Readiness::default()
    }
}

/// Returns the report of a readiness. An error sets all flags, as in `os`.
pub(super) fn report(token: usize, mask: Mask) -> Readiness {
    Readiness {
        token,
        readable: mask.readable || mask.error,
        writable: mask.writable || mask.error,
        finished: mask.finished || mask.error,
        error: mask.error,
        ..Readiness::default()
    }
}
