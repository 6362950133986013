//! Readiness as edge-triggered pollers report it, with all that they may do to a program.

use std::io;
use std::time::Duration;

use super::event::Event;
use super::internet::Internet;
use super::socket::{Mask, Registration, SocketId};
use super::trace::Who;
use crate::sys::Readiness;

/// What is on a poller's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Key {
    Socket(SocketId),
    SimListener(u64),
    /// The key of a socket that is closed.
    Stale(usize),
    Waker,
}

/// What a node's poller knows.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// Those with an edge since they were reported last, each once.
    ready: Vec<Key>,
    pub(super) name: usize,
    waker: Option<usize>,
    /// When the node's next turn is, if one is wanted.
    pub(super) wanted: Option<Duration>,
    /// The node is in a turn until then.
    pub(super) free_at: Duration,
    /// Its next turn was put off once, which is enough.
    pub(super) put_off: bool,
    /// The node is no more.
    pub(super) gone: bool,
    /// Until when the process has no descriptor or memory, and how it says so.
    pub(super) exhausted: Option<(Duration, super::exhaustion::Want)>,
}

impl Internet {
    pub(crate) fn add_poller(&mut self, name: usize) -> usize {
        self.pollers.push(Polling {
            name,
            ..Polling::default()
        });
        self.pollers.len() - 1
    }

    pub(crate) fn remove_poller(&mut self, poller: usize) {
        self.pollers[poller].gone = true;
        self.pollers[poller].ready.clear();
    }

    pub(super) fn set_waker(&mut self, poller: usize, token: usize) {
        self.pollers[poller].waker = Some(token);
    }

    /// Another thread, or another node, has a command for this one.
    pub(super) fn ask_wake(&mut self, poller: usize) {
        if self.random.chance(self.faults.delayed_wake) {
            self.happened.delayed_wakes += 1;
            let after = Duration::from_micros(self.random.between(1, 10_000));
            self.schedule(self.now + after, Event::SimWake { poller });
        } else {
            self.wake(poller);
        }
    }

    pub(super) fn wake(&mut self, poller: usize) {
        if !self.pollers[poller].ready.contains(&Key::Waker) {
            self.report(poller, Key::Waker);
        }
    }

    fn report(&mut self, poller: usize, key: Key) {
        if !self.pollers[poller].gone {
            self.pollers[poller].ready.push(key);
            self.want_turn(poller, self.now);
        }
    }

    pub(super) fn has_reports(&self, poller: usize) -> bool {
        !self.pollers[poller].ready.is_empty()
    }

    /// Something has changed at a socket. Several changes before a report are one edge.
    pub(super) fn edge(&mut self, id: SocketId, readable: bool, writable: bool) {
        let Some(registration) = self
            .sockets
            .get_mut(&id)
            .and_then(|socket| socket.registration.as_mut())
        else {
            return;
        };
        registration.readable |= readable;
        registration.writable |= writable;
        let poller = registration.poller;
        if !std::mem::replace(&mut registration.queued, true) {
            self.report(poller, Key::Socket(id));
        }
    }

    pub(super) fn edge_listener(&mut self, id: u64) {
        let Some(listening) = self.listeners.get_mut(&id) else {
            return;
        };
        let Some((poller, _)) = listening.registration else {
            return;
        };
        if !std::mem::replace(&mut listening.queued, true) {
            self.report(poller, Key::SimListener(id));
        }
    }

    pub(super) fn reveal(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            if std::mem::take(&mut socket.read_held) {
                self.edge(id, true, false);
            }
        }
    }

    /// A report that was put off is due.
    pub(super) fn late(&mut self, id: SocketId) {
        let registration = self
            .sockets
            .get_mut(&id)
            .and_then(|socket| socket.registration.as_mut());
        if let Some(registration) = registration {
            registration.late -= 1;
            registration.was_late = true;
            self.edge(id, true, true);
        }
    }

    pub(super) fn make_room(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.write_held = false;
            // If there is none after all, the edge comes with the acknowledgement.
            if socket.is_spacious() {
                socket.no_space = false;
                self.edge(id, false, true);
            }
        }
    }

    pub(super) fn register(&mut self, id: SocketId, poller: usize, token: usize) -> io::Result<()> {
        if self.random.chance(self.faults.failed_registration) {
            self.happened.failed_registrations += 1;
            return Err(io::Error::from_raw_os_error(28));
        }
        let Some(socket) = self.sockets.get_mut(&id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        socket.registration = Some(Registration {
            poller,
            token,
            readable: false,
            writable: false,
            queued: false,
            late: 0,
            was_late: false,
        });
        // Whatever is there already is an edge to a poller that is new.
        if !socket.poll().is_empty() {
            self.edge(id, true, true);
        }
        Ok(())
    }

    pub(super) fn register_listener(&mut self, id: u64, poller: usize, token: usize) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            listening.registration = Some((poller, token));
            if !listening.waiting.is_empty() {
                self.edge_listener(id);
            }
        }
    }

    /// A socket is closed or deregistered: nothing more is reported, but for what the faults have in mind.
    pub(super) fn unregister(&mut self, id: SocketId) {
        let registration = self
            .sockets
            .get_mut(&id)
            .and_then(|socket| socket.registration.take());
        let Some(registration) = registration else {
            return;
        };
        self.pollers[registration.poller]
            .ready
            .retain(|key| *key != Key::Socket(id));
        self.report_stale(registration.poller, registration.token);
    }

    fn report_stale(&mut self, poller: usize, token: usize) {
        if self.random.chance(self.faults.stale_readiness) {
            self.report(poller, Key::Stale(token));
        }
    }

    pub(super) fn unregister_listener(&mut self, id: u64) {
        if let Some(listening) = self.listeners.get_mut(&id) {
            if let Some((poller, token)) = listening.registration.take() {
                let ready = &mut self.pollers[poller].ready;
                ready.retain(|key| *key != Key::SimListener(id));
                self.report_stale(poller, token);
            }
        }
    }

    /// Takes what a wait returns. Never waits.
    pub(super) fn take_ready(&mut self, poller: usize, reports: &mut Vec<Readiness>) {
        reports.clear();
        let mut ready = std::mem::take(&mut self.pollers[poller].ready);
        if !ready.is_empty() && self.random.chance(self.faults.interrupted) {
            self.happened.interrupted += 1;
            self.pollers[poller].ready = ready;
            return;
        }
        if ready.len() > 1 && self.random.chance(self.faults.shuffled) {
            self.happened.shuffled += 1;
            self.random.shuffle(&mut ready);
        }
        if ready.len() > 1 && self.random.chance(self.faults.small_batches) {
            self.happened.small_batches += 1;
            let some = 1 + self.random.below(ready.len() as u64 - 1) as usize;
            let rest = ready.split_off(some.min(4));
            self.pollers[poller].ready = rest;
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
            self.note(Who::Node(poller), "ready", report.token as u64, bits);
        }
    }

    fn take_one(&mut self, poller: usize, key: Key, reports: &mut Vec<Readiness>) {
        match key {
            Key::Socket(id) => self.take_socket(id, reports),
            Key::SimListener(id) => {
                if let Some(listening) = self.listeners.get_mut(&id) {
                    listening.queued = false;
                    if let Some((_, token)) = listening.registration {
                        reports.push(only_readable(token));
                    }
                }
            }
            Key::Stale(token) => {
                self.happened.stale_readiness += 1;
                reports.push(Readiness {
                    token,
                    readable: true,
                    writable: true,
                    finished: self.random.chance(0.5),
                });
            }
            Key::Waker => {
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
        let mask = socket.poll();
        let Some(registration) = &mut socket.registration else {
            return;
        };
        registration.queued = false;
        let was_late = std::mem::take(&mut registration.was_late);
        let delayed = delayed && !was_late;
        let (token, writable_edge) = (registration.token, registration.writable);
        (registration.readable, registration.writable) = (false, false);
        if mask.is_empty() {
            // Whatever it was is over again: epoll drops it at the wait.
            return;
        }
        let unread = !socket.received.is_empty();
        if delayed {
            registration.late += 1;
            self.happened.delayed_readiness += 1;
            return self.schedule_soon(Event::Late { socket: id });
        }
        if mask.finished && unread {
            self.happened.fin_with_data += 1;
        }
        let both = mask.readable && mask.writable && !mask.error;
        if !(split && both) {
            return reports.push(report(token, mask));
        }
        // As kqueue does it, with a filter for each direction. That nothing can be written is no news without an edge.
        self.happened.split_readiness += 1;
        let reading = Mask {
            writable: false,
            ..mask
        };
        let writing = Mask {
            writable: true,
            ..Mask::default()
        };
        match (first, writable_edge) {
            (true, _) => reports.extend([report(token, reading), report(token, writing)]),
            (false, true) => {
                reports.push(report(token, writing));
                self.edge(id, true, false);
            }
            (false, false) => {
                reports.push(report(token, reading));
                self.edge(id, false, true);
            }
        }
    }

    fn add_spurious(&mut self, poller: usize, reports: &mut Vec<Readiness>) {
        // Any registration may be meant; looking at a few from a random place on is enough.
        let start = self.random.below(self.next_id);
        let readable = self.random.chance(0.5);
        let of_poller = |(_, socket): (&u64, &super::socket::Socket)| {
            let registration = socket.registration?;
            (registration.poller == poller).then_some(registration.token)
        };
        let socket = self.sockets.range(start..).take(64).find_map(of_poller);
        if socket.is_none() || self.random.chance(0.1) {
            let listener = self.listeners_of(poller).first().copied();
            let registration = listener.and_then(|id| self.listeners[&id].registration);
            if let Some((_, token)) = registration {
                self.happened.spurious_readiness += 1;
                return reports.push(only_readable(token));
            }
        }
        if let Some(token) = socket {
            self.happened.spurious_readiness += 1;
            reports.push(Readiness {
                token,
                readable,
                writable: !readable,
                finished: false,
            });
        }
    }
}

fn only_readable(token: usize) -> Readiness {
    Readiness {
        token,
        readable: true,
        writable: false,
        finished: false,
    }
}

/// An error shows in every direction, as `tcp` has it.
fn report(token: usize, mask: Mask) -> Readiness {
    Readiness {
        token,
        readable: mask.readable || mask.error,
        writable: mask.writable || mask.error,
        finished: mask.finished || mask.error,
    }
}
