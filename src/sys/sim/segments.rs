//! What travels between sockets, and what its arrival does.

use std::net::IpAddr;
use std::time::Duration;

use super::event::Event;
use super::internet::Internet;
use super::socket::{Owner, SocketId, SocketState};
use super::trace::Who;

/// The longest segment, as a network card that gathers them hands it up.
const SEGMENT_MAX: usize = 16 * 1024;

/// How often a call is repeated before the kernel gives up: after 1, 3, 7, 15, 31 and 63 seconds (tcp(7)).
const SYN_RETRIES: u32 = 6;

/// How long after a partition has healed what was held by it is sent again, at most.
const RESEND_MAX: Duration = Duration::from_millis(400);

impl Internet {
    /// When a segment from one socket arrives, if it leaves now.
    fn arrival(&mut self, from: SocketId, bytes: usize, at_once: bool) -> Duration {
        let Some(socket) = self.sockets.get(&from) else {
            return self.now;
        };
        let (here, there) = (socket.host, self.host_of(socket.host, socket.remote.ip()));
        let earliest = socket.next_arrival;
        let mut at = self.now + self.travel(here, there, bytes);
        if at_once && earliest >= self.now {
            // Together with what was sent last.
            at = earliest;
        }
        let at = at.max(earliest);
        if let Some(socket) = self.sockets.get_mut(&from) {
            socket.next_arrival = at;
        }
        at
    }

    /// How long this many bytes take from one host to another.
    fn travel(&mut self, here: IpAddr, there: IpAddr, bytes: usize) -> Duration {
        let link = self.link_between(here, there);
        let occupied = link.occupied(bytes);
        let mut delay = link.latency.max(Duration::from_micros(1));
        if !occupied.is_zero() {
            let busy = self.busy_until.entry((here, there)).or_default();
            *busy = (*busy).max(self.now) + occupied;
            delay += *busy - self.now;
        }
        if !link.jitter.is_zero() {
            delay += Duration::from_nanos(self.random.below(link.jitter.as_nanos() as u64));
        }
        if self.random.chance(self.faults.latency_spike) {
            self.happened.latency_spikes += 1;
            let most = self.faults.latency_spike_max.min(Duration::from_secs(60));
            delay += Duration::from_nanos(self.random.below(most.as_nanos() as u64));
        }
        delay
    }

    pub(super) fn host_of(&self, from: IpAddr, ip: IpAddr) -> IpAddr {
        if ip.is_loopback() || ip.is_unspecified() {
            from
        } else {
            ip
        }
    }

    pub(super) fn send_syn(&mut self, from: SocketId, attempt: u32) {
        let at = self.arrival(from, 0, false);
        self.schedule(at, Event::Syn { from, attempt });
    }

    pub(super) fn send_reset(&mut self, from: SocketId, to: SocketId) {
        let at = self.arrival(from, 0, false);
        self.schedule(at, Event::Reset { to });
    }

    /// Answers a segment that nobody wanted.
    fn refuse_segment(&mut self, to: SocketId) {
        let Some(socket) = self.sockets.get(&to) else {
            return;
        };
        let (here, there) = (socket.host, self.host_of(socket.host, socket.remote.ip()));
        let at = self.now + self.travel(there, here, 0);
        self.schedule(at, Event::Reset { to });
    }

    /// Sends what the other end has room for, and the end of the stream after all of it.
    pub(super) fn transmit(&mut self, from: SocketId) {
        loop {
            let Some(socket) = self.sockets.get(&from) else {
                return;
            };
            let Some(to) = socket.peer else { return };
            if socket.state != SocketState::Established || socket.fin_sent {
                return;
            }
            let room = self
                .sockets
                .get(&to)
                .map_or(SEGMENT_MAX, |peer| peer.window());
            let room = room.saturating_sub(socket.in_flight);
            let mut count = socket.unsent.len().min(room).min(SEGMENT_MAX);
            let fin_alone = socket.unsent.is_empty() && socket.fin_asked;
            if count == 0 && !fin_alone {
                return;
            }
            if count > 1 && self.random.chance(self.faults.small_segments) {
                count = 1 + self.random.below(count.min(16) as u64) as usize;
            }
            self.send_data(from, to, count, fin_alone);
        }
    }

    fn send_data(&mut self, from: SocketId, to: SocketId, count: usize, fin_alone: bool) {
        let at_once = fin_alone && self.random.chance(self.faults.fin_with_data);
        let at = self.arrival(from, count, at_once);
        let Some(socket) = self.sockets.get_mut(&from) else {
            return;
        };
        let bytes: Vec<u8> = socket.unsent.drain(..count).collect();
        if socket.unsent.is_empty() {
            // A connection that waits holds no memory here either.
            socket.unsent.shrink_to(0);
        }
        socket.unacked += count;
        socket.in_flight += count;
        let fin = socket.unsent.is_empty() && socket.fin_asked;
        socket.fin_sent = fin;
        socket.ended_first = fin && !socket.peer_fin;
        self.schedule(
            at,
            Event::Data {
                from,
                to,
                bytes,
                fin,
            },
        );
    }

    /// A segment has travelled. A partition and a machine that is down keep it back.
    pub(super) fn arrive(&mut self, segment: Event) {
        if let Event::Data { from, .. } = segment {
            let resent_at = self.sockets.get(&from).map(|socket| socket.resent_at);
            if let Some(at) = resent_at.filter(|at| *at > self.now) {
                return self.schedule(at, segment);
            }
        }
        let Some(segment) = self.pass(segment) else {
            return;
        };
        match segment {
            Event::Syn { from, attempt } => self.call_arrived(from, attempt),
            Event::SynAck { to, from } => self.answered(to, from),
            Event::Established { to, attempt } => self.call_completed(to, attempt),
            Event::Data {
                from,
                to,
                bytes,
                fin,
            } => self.data_arrived(from, to, bytes, fin),
            Event::Ack { to, bytes, fin } => self.acknowledged(to, bytes, fin),
            Event::Window { to } => {
                if let Some(socket) = self.sockets.get_mut(&to) {
                    socket.window_update = false;
                }
                self.transmit(to);
            }
            Event::Reset { to } => self.reset_arrived(to),
            _ => {}
        }
    }

    /// The segment, if nothing keeps it from arriving.
    fn pass(&mut self, segment: Event) -> Option<Event> {
        // The socket whose addresses tell the way, and whether it is the one that the segment comes from.
        let (socket, is_sender) = match segment {
            Event::Syn { from, .. } | Event::Data { from, .. } => (from, true),
            Event::SynAck { to, .. }
            | Event::Established { to, .. }
            | Event::Ack { to, .. }
            | Event::Window { to }
            | Event::Reset { to } => (to, false),
            _ => return Some(segment),
        };
        let Some(end) = self.sockets.get(&socket) else {
            // A dial that was given up: whoever answers it is told.
            return Some(segment).filter(|segment| matches!(segment, Event::SynAck { .. }));
        };
        let (near, far) = (end.host, self.host_of(end.host, end.remote.ip()));
        let target = if is_sender { far } else { near };
        let is_up = self.hosts.get(&target).is_some_and(|host| !host.down);
        if is_up && !self.is_partitioned(near, far) {
            return Some(segment);
        }
        self.happened.held += 1;
        match segment {
            Event::Syn { from, attempt } => self.retry_call(from, attempt),
            // Nobody sends a reset twice.
            Event::Reset { .. } => {}
            Event::Data { from, .. } => {
                self.begin_to_give_up(from);
                self.held.push(segment);
            }
            Event::SynAck { from: called, .. } | Event::Established { to: called, .. } => {
                self.begin_to_drop_call(called);
                self.held.push(segment);
            }
            _ => self.held.push(segment),
        }
        None
    }

    /// Sends again what was held, in its order. What its sender no longer knows of is lost.
    pub(super) fn release_held(&mut self) {
        let delay = Duration::from_nanos(self.random.below(RESEND_MAX.as_nanos() as u64));
        let at = self.now + delay;
        for segment in std::mem::take(&mut self.held) {
            if let Event::Data { from, .. } = segment {
                let Some(socket) = self.sockets.get_mut(&from) else {
                    continue;
                };
                if socket.owner == Owner::Vanished || socket.state == SocketState::Closed {
                    continue;
                }
                // What is under way already waits for it, and what is sent from now on comes after both.
                let after = at + Duration::from_nanos(1);
                socket.next_arrival = socket.next_arrival.max(after);
                socket.resent_at = at;
            }
            self.schedule(at, segment);
        }
    }

    /// A call was not answered: the kernel tries again, up to a point.
    pub(super) fn retry_call(&mut self, from: SocketId, attempt: u32) {
        if attempt > SYN_RETRIES {
            return self.break_off(from, std::io::ErrorKind::TimedOut);
        }
        let wait = Duration::from_secs(1 << attempt);
        self.schedule(
            self.now + wait,
            Event::Syn {
                from,
                attempt: attempt + 1,
            },
        );
    }

    fn data_arrived(&mut self, from: SocketId, to: SocketId, mut bytes: Vec<u8>, fin: bool) {
        if let Some(sender) = self.sockets.get_mut(&from) {
            sender.in_flight = sender.in_flight.saturating_sub(bytes.len());
        }
        let owner = self.sockets.get(&to).map(|socket| socket.owner);
        let closed = self
            .sockets
            .get(&to)
            .is_none_or(|socket| socket.state == SocketState::Closed);
        if closed || owner == Some(Owner::Vanished) {
            return self.refuse_segment(from);
        }
        if owner == Some(Owner::Nobody) && !bytes.is_empty() {
            self.happened.data_after_close += 1;
            self.refuse_segment(from);
            return self.break_off(to, std::io::ErrorKind::ConnectionReset);
        }
        self.happened.segments += 1;
        let reset = !bytes.is_empty() && self.random.chance(self.faults.reset);
        if reset {
            bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize);
        }
        let fin = fin && !reset;
        self.note(Who::Network, "data", to, bytes.len() as u64);
        let Some(socket) = self.sockets.get_mut(&to) else {
            return;
        };
        let (here, there) = (socket.host, socket.remote.ip());
        socket.received.extend(&bytes);
        socket.peer_fin |= fin;
        let ack = Event::Ack {
            to: from,
            bytes: bytes.len(),
            fin,
        };
        let there = self.host_of(here, there);
        let back = self.link_between(here, there).latency;
        if from == to {
            self.acknowledged(from, bytes.len(), fin);
        } else {
            self.schedule(self.now + back, ack);
        }
        self.edge(to, true, false);
        if reset {
            self.happened.resets += 1;
            self.note(Who::Network, "reset by the network", to, 0);
            self.reset_arrived(from);
            self.reset_arrived(to);
        }
        self.clean_up(to);
    }

    fn acknowledged(&mut self, id: SocketId, bytes: usize, fin: bool) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        socket.unacked = socket.unacked.saturating_sub(bytes);
        socket.fin_acked |= fin;
        if socket.no_space && socket.is_spacious() && !socket.write_held {
            socket.no_space = false;
            self.edge(id, false, true);
        }
        self.transmit(id);
        self.clean_up(id);
    }
}
