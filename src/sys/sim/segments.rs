//! Segments between sockets, and the effects of their arrival.

use std::net::IpAddr;
use std::time::Duration;

use super::event::{Event, SocketId};
use super::host_table::host_of;
use super::internet::Internet;
use super::socket::{Owner, SocketState};
use super::trace::Actor;

/// Maximum length of a segment, in bytes, because network cards with receive
/// offload pass segments of this size.
const SEGMENT_MAX: usize = 16 * 1024;

/// Number of times that a SYN is repeated: after 1, 3, 7, 15, 31 and 63 seconds
/// (tcp(7)).
const SYN_RETRIES: u32 = 6;

impl Internet {
    /// Returns the time at which a segment of a socket arrives if it leaves
    /// now.
    fn arrival(&mut self, from: SocketId, bytes: usize, at_once: bool) -> Duration {
        let now = self.now();
        let Some(socket) = self.sockets.get(&from) else {
            return now;
        };
        let now = now.max(socket.written_at);
        let (here, there) = (socket.host, host_of(socket.host, socket.remote.ip()));
        let earliest = socket.next_arrival;
        let mut at = now + self.travel((here, there), bytes, now);
        if at_once && earliest >= now {
            // The segment arrives together with the one before it.
            at = earliest;
        }
        let at = at.max(earliest);
        if let Some(socket) = self.sockets.get_mut(&from) {
            socket.next_arrival = at;
        }
        at
    }

    /// Draws the time that this many bytes, sent at `now`, take from one host
    /// to another.
    pub(super) fn travel(
        &mut self,
        (here, there): (IpAddr, IpAddr),
        bytes: usize,
        now: Duration,
    ) -> Duration {
        let link = self.links.between(here, there);
        let mut delay = link.latency.max(Duration::from_micros(1));
        delay += self.links.occupy((here, there), bytes, now);
        if !link.jitter.is_zero() {
            delay += Duration::from_nanos(self.random.below(link.jitter.as_nanos() as u64));
        }
        if self.random.chance(self.faults.latency_spike) {
            self.counts.latency_spikes += 1;
            let most = self.faults.latency_spike_max.min(Duration::from_secs(60));
            delay += Duration::from_nanos(self.random.below(most.as_nanos() as u64));
        }
        delay
    }

    pub(super) fn send_syn(&mut self, from: SocketId, attempt: u32) {
        let at = self.arrival(from, 0, false);
        self.schedule(at, Event::Syn { from, attempt });
    }

    pub(super) fn send_reset(&mut self, from: SocketId, to: SocketId) {
        let at = self.arrival(from, 0, false);
        self.schedule(at, Event::Reset { to });
    }

    /// Answers a segment that reached no open socket.
    fn refuse_segment(&mut self, to: SocketId) {
        let Some(socket) = self.sockets.get(&to) else {
            return;
        };
        let (here, there) = (socket.host, host_of(socket.host, socket.remote.ip()));
        let delay = self.travel((there, here), 0, self.now());
        self.schedule_after(delay, Event::Reset { to });
    }

    /// Sends the bytes for which the other end has room, and FIN after the last
    /// one.
    pub(super) fn transmit(&mut self, from: SocketId) {
        loop {
            let Some(socket) = self.sockets.get(&from) else {
                return;
            };
            let Some(to) = socket.peer else { return };
            if socket.state != SocketState::Established || socket.fin_sent {
                return;
            }
            let peer = self.sockets.get(&to);
            let room = peer.map_or(SEGMENT_MAX, |peer| peer.window());
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
            // An idle connection holds no memory here.
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

    /// Handles a segment at the end of its way. A partition, or a machine that
    /// is down, holds it back.
    pub(super) fn arrive(&mut self, segment: Event) {
        if let Event::Data { from, .. } = segment {
            let resent_at = self.sockets.get(&from).map(|socket| socket.resent_at);
            if let Some(at) = resent_at.filter(|at| *at > self.now()) {
                return self.schedule(at, segment);
            }
        }
        if self.is_unreachable(&segment) {
            return self.hold(segment);
        }
        match segment {
            Event::Syn { from, attempt } => self.syn_arrived(from, attempt),
            Event::SynAck { to, from } => self.syn_ack_arrived(to, from),
            Event::HandshakeAck { to, attempt } => self.handshake_ack_arrived(to, attempt),
            Event::Data {
                from,
                to,
                bytes,
                fin,
            } => self.data_arrived(from, to, bytes, fin),
            Event::Ack { to, bytes, fin } => self.ack_arrived(to, bytes, fin),
            Event::WindowUpdate { to } => {
                if let Some(socket) = self.sockets.get_mut(&to) {
                    socket.window_update = false;
                }
                self.transmit(to);
            }
            Event::Reset { to } => self.reset_arrived(to),
            _ => {}
        }
    }

    /// Returns whether a partition, or a machine that is down, prevents the
    /// arrival of a segment.
    fn is_unreachable(&self, segment: &Event) -> bool {
        // The socket whose addresses determine the way, and whether it is the
        // sender.
        let (socket, is_sender) = match segment {
            Event::Syn { from, .. } | Event::Data { from, .. } => (from, true),
            Event::SynAck { to, .. }
            | Event::HandshakeAck { to, .. }
            | Event::Ack { to, .. }
            | Event::WindowUpdate { to }
            | Event::Reset { to } => (to, false),
            _ => return false,
        };
        let Some(end) = self.sockets.get(socket) else {
            return false;
        };
        let (near, far) = (end.host, host_of(end.host, end.remote.ip()));
        let (source, target) = if is_sender { (near, far) } else { (far, near) };
        !self.hosts.is_up(target) || self.links.is_cut(source, target)
    }

    /// Keeps a segment until its sender can send it again.
    fn hold(&mut self, segment: Event) {
        self.counts.held += 1;
        match segment {
            Event::Syn { from, attempt } => return self.retry_syn(from, attempt),
            // A reset is not repeated.
            Event::Reset { .. } => return,
            Event::Data { from, .. } => self.start_retransmit_timeout(from),
            // Without its acknowledgement, data counts as lost.
            Event::Ack { to, .. } => self.start_retransmit_timeout(to),
            Event::SynAck { to, from } => {
                self.start_connect_timeout(to);
                self.start_handshake_timeout(from);
            }
            Event::HandshakeAck { to, .. } => self.start_handshake_timeout(to),
            _ => {}
        }
        self.links.hold(segment);
    }

    /// Repeats a SYN that was not answered, up to a number of times.
    pub(super) fn retry_syn(&mut self, from: SocketId, attempt: u32) {
        if attempt > SYN_RETRIES {
            return self.break_socket(from, std::io::ErrorKind::TimedOut);
        }
        let delay = Duration::from_secs(1 << attempt);
        let attempt = attempt + 1;
        self.schedule_after(delay, Event::Syn { from, attempt });
    }

    /// Starts the timeout of a connect whose answer was lost. The kernel gives
    /// up when the SYN was repeated and no further answer came.
    fn start_connect_timeout(&mut self, socket: SocketId) {
        let delay = Duration::from_secs((1 << (SYN_RETRIES + 1)) - 1);
        self.schedule_after(delay, Event::ConnectTimeout { socket });
    }

    pub(super) fn connect_timeout(&mut self, id: SocketId) {
        let socket = self.sockets.get(&id);
        if socket.is_some_and(|socket| socket.state == SocketState::SynSent) {
            self.break_socket(id, std::io::ErrorKind::TimedOut);
        }
    }

    fn data_arrived(&mut self, from: SocketId, to: SocketId, mut bytes: Vec<u8>, fin: bool) {
        let Some(sender) = self.sockets.get_mut(&from) else {
            // The sender was reset after it had sent this segment.
            return;
        };
        sender.in_flight = sender.in_flight.saturating_sub(bytes.len());
        let receiver = self.sockets.get(&to);
        let owner = receiver.map(|socket| socket.owner);
        let is_closed = receiver.is_none_or(|socket| socket.state == SocketState::Closed);
        if is_closed || owner == Some(Owner::PoweredOff) {
            return self.refuse_segment(from);
        }
        if owner == Some(Owner::Kernel) && !bytes.is_empty() {
            self.counts.data_after_close += 1;
            self.refuse_segment(from);
            return self.break_socket(to, std::io::ErrorKind::ConnectionReset);
        }
        self.counts.segments += 1;
        let is_reset = !bytes.is_empty() && self.random.chance(self.faults.reset);
        if is_reset {
            bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize);
        }
        let fin = fin && !is_reset;
        self.note(Actor::Network, "data", to, bytes.len() as u64);
        let Some(socket) = self.sockets.get_mut(&to) else {
            return;
        };
        socket.received.extend(&bytes);
        socket.peer_fin |= fin;
        self.acknowledge(from, to, bytes.len(), fin);
        self.edge(to, true, false);
        if is_reset {
            self.counts.resets += 1;
            self.note(Actor::Network, "reset by the network", to, 0);
            self.reset_arrived(from);
            self.reset_arrived(to);
        }
        self.forget_if_over(to);
    }

    /// Sends the acknowledgement of a segment from `from` to `to`.
    fn acknowledge(&mut self, from: SocketId, to: SocketId, bytes: usize, fin: bool) {
        let Some(socket) = self.sockets.get(&to) else {
            return;
        };
        let (here, there) = (socket.host, host_of(socket.host, socket.remote.ip()));
        if from == to {
            return self.ack_arrived(from, bytes, fin);
        }
        let latency = self.links.between(here, there).latency;
        let to = from;
        self.schedule_after(latency, Event::Ack { to, bytes, fin });
    }

    fn ack_arrived(&mut self, id: SocketId, bytes: usize, fin: bool) {
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
        self.forget_if_over(id);
    }
}
