//! Calls of programs on their sockets.

use std::io::{self, ErrorKind, IoSlice};

use super::event::{Event, SocketId};
use super::host_table::host_of;
use super::internet::Internet;
use super::socket::{Owner, Socket, SocketState};
use super::trace::Actor;

/// Length of a short part, in bytes: a header and a little more.
const FEW: usize = 8;

impl Internet {
    fn socket(&mut self, id: SocketId) -> io::Result<&mut Socket> {
        self.sockets
            .get_mut(&id)
            .ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Draws whether a call is interrupted. Calls of scripted peers are not.
    fn is_interrupted(&mut self, owner: Owner) -> bool {
        let interrupted =
            matches!(owner, Owner::Node(_)) && self.random.chance(self.faults.interrupted);
        self.counts.interrupted += u64::from(interrupted);
        interrupted
    }

    fn note_call(&mut self, id: SocketId, owner: Owner, what: &'static str, detail: usize) {
        let actor = match owner {
            Owner::Node(poller) => Actor::Node(poller),
            _ => Actor::Wire(id),
        };
        self.note(actor, what, id, detail as u64);
    }

    /// Returns the local address if the socket is connected, like SO_ERROR,
    /// getpeername(2) and getsockname(2).
    pub(super) fn connected(&mut self, id: SocketId) -> io::Result<Option<std::net::SocketAddr>> {
        let socket = self.socket(id)?;
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        Ok((socket.state == SocketState::Established).then_some(socket.local))
    }

    pub(super) fn local_addr(&mut self, id: SocketId) -> io::Result<std::net::SocketAddr> {
        self.socket(id).map(|socket| socket.local)
    }

    pub(super) fn take_error(&mut self, id: SocketId) -> Option<io::Error> {
        self.socket(id).map_or_else(Some, Socket::take_error)
    }

    /// Returns whether a read would report the end of the stream.
    pub(super) fn is_at_end(&mut self, id: SocketId) -> io::Result<bool> {
        let socket = self.socket(id)?;
        if socket.visible() > 0 {
            return Ok(false);
        }
        if !socket.read_held {
            if socket.is_at_end() {
                return Ok(true);
            }
            if let Some(error) = socket.take_error() {
                return Err(error);
            }
            if socket.state == SocketState::Closed {
                return Ok(true);
            }
        }
        // The peek behind this call returns `WouldBlock`.
        self.rearm(id);
        Ok(false)
    }

    /// Returns the error of a call that would block.
    fn would_block(&mut self, id: SocketId) -> io::Error {
        self.rearm(id);
        ErrorKind::WouldBlock.into()
    }

    /// Returns whether the socket is registered with epoll, so that a read that
    /// did not fill its buffer has emptied it, a write that was not taken whole
    /// has filled it, and room for writing means that it is connected.
    pub(super) fn is_on_epoll(&self, id: SocketId) -> bool {
        let socket = self.sockets.get(&id);
        let registration = socket.and_then(|socket| socket.registration);
        registration.is_none_or(|it| it.interest.is_none())
    }

    pub(super) fn read(&mut self, id: SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        let owner = self.socket(id)?.owner;
        if self.is_interrupted(owner) {
            return Err(ErrorKind::Interrupted.into());
        }
        let socket = self.socket(id)?;
        let (visible, at_end) = (socket.visible(), socket.is_at_end());
        if socket.read_held {
            self.note_call(id, owner, "read blocked", 0);
            return Err(self.would_block(id));
        }
        if visible == 0 {
            return match socket.take_error() {
                // As on Linux, a read after the end of the stream reports no
                // error.
                Some(error) if !at_end => Err(error),
                error => {
                    socket.error = error.map(|error| error.kind());
                    let over = at_end || socket.state == SocketState::Closed;
                    self.note_call(id, owner, "read", 0);
                    if over {
                        Ok(0)
                    } else {
                        Err(self.would_block(id))
                    }
                }
            };
        }
        let faulty = matches!(owner, Owner::Node(_));
        if faulty && self.random.chance(self.faults.would_block) {
            self.counts.would_blocks += 1;
            self.note_call(id, owner, "read denied", 0);
            self.hide_received(id);
            return Err(self.would_block(id));
        }
        let mut count = visible.min(buffer.len());
        if faulty && count > 1 && self.random.chance(self.faults.short_read) {
            self.counts.short_reads += 1;
            count = self.part_of(count);
            self.hide_received(id);
        }
        let socket = self.socket(id)?;
        take(&mut socket.received, &mut buffer[..count]);
        socket.read += count as u64;
        if let Some(delivery) = socket.delivery.as_mut().filter(|it| it.is_of_wire()) {
            delivery.append(&buffer[..count]);
        }
        let peer = socket.peer;
        self.note_call(id, owner, "read", count);
        self.send_window_update(peer);
        Ok(count)
    }

    /// Hides the received bytes for a moment.
    fn hide_received(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            if !std::mem::replace(&mut socket.read_held, true) {
                self.schedule_soon(Event::ShowReceived { socket: id });
            }
        }
    }

    /// Sends a window update to the other end if it has bytes to send.
    fn send_window_update(&mut self, peer: Option<SocketId>) {
        let Some(to) = peer else { return };
        let Some(sender) = self.sockets.get_mut(&to) else {
            return;
        };
        if sender.unsent.is_empty() || std::mem::replace(&mut sender.window_update, true) {
            return;
        }
        let (here, there) = (sender.host, sender.remote.ip());
        let latency = self.links.between(here, host_of(here, there)).latency;
        self.schedule_after(latency, Event::WindowUpdate { to });
    }

    pub(super) fn write(&mut self, id: SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let owner = self.socket(id)?.owner;
        if self.is_interrupted(owner) {
            return Err(ErrorKind::Interrupted.into());
        }
        let socket = self.socket(id)?;
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        match socket.state {
            SocketState::Closed => return Err(ErrorKind::BrokenPipe.into()),
            _ if socket.fin_asked => return Err(ErrorKind::BrokenPipe.into()),
            SocketState::Established => {}
            SocketState::SynSent | SocketState::SynReceived => {
                return Err(self.would_block(id));
            }
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let space = socket.space();
        if space == 0 || socket.write_held {
            socket.no_space = true;
            self.counts.full_buffers += 1;
            return Err(self.would_block(id));
        }
        let mut count = offered.min(space);
        if matches!(owner, Owner::Node(_)) {
            count = self.shorten(id, count)?;
        }
        let now = self.now();
        let socket = self.socket(id)?;
        socket.written_at = now;
        // If there was no room for the rest, an edge is reported later.
        socket.no_space |= count < offered && count == space;
        let mut left = count;
        for slice in slices {
            let taken = slice.len().min(left);
            socket.unsent.extend(&slice[..taken]);
            left -= taken;
        }
        socket.written += count as u64;
        self.note_call(id, owner, "write", count);
        self.transmit(id);
        Ok(count)
    }

    /// Draws how much of a write is accepted.
    fn shorten(&mut self, id: SocketId, count: usize) -> io::Result<usize> {
        if self.random.chance(self.faults.would_block) {
            self.counts.would_blocks += 1;
            self.note(Actor::Network, "write denied", id, 0);
            self.hide_room(id);
            return Err(self.would_block(id));
        }
        if count < 2 || !self.random.chance(self.faults.short_write) {
            return Ok(count);
        }
        self.counts.short_writes += 1;
        // epoll reports room after every short write.
        if self.random.chance(0.5) || self.is_on_epoll(id) {
            self.hide_room(id);
        }
        Ok(self.part_of(count))
    }

    /// Draws a number of bytes, at least one and less than `count`, which is
    /// two or more. Often it is small, because a small part cuts a header.
    fn part_of(&mut self, count: usize) -> usize {
        let most = if self.random.chance(0.5) {
            (count - 1).min(FEW)
        } else {
            count - 1
        };
        1 + self.random.below(most as u64) as usize
    }

    fn hide_room(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.no_space = true;
            if !std::mem::replace(&mut socket.write_held, true) {
                self.schedule_soon(Event::ShowRoom { socket: id });
            }
        }
    }

    /// Closes the sending side, like shutdown(2) with SHUT_WR.
    pub(super) fn shutdown_write(&mut self, id: SocketId) -> io::Result<()> {
        let now = self.now();
        let socket = self.socket(id)?;
        if socket.state != SocketState::Established {
            return Err(ErrorKind::NotConnected.into());
        }
        let owner = socket.owner;
        socket.written_at = now;
        if !std::mem::replace(&mut socket.fin_asked, true) {
            self.note_call(id, owner, "shutdown", 0);
            self.transmit(id);
        }
        Ok(())
    }

    pub(super) fn reset_on_close(&mut self, id: SocketId) -> io::Result<()> {
        self.socket(id).map(|socket| socket.linger_zero = true)
    }

    /// Closes a socket. The kernel sends the rest and FIN, or RST if the
    /// program requested that or did not read all bytes.
    pub(super) fn close(&mut self, id: SocketId, reset: bool) {
        self.unregister(id);
        let now = self.now();
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        if matches!(socket.owner, Owner::Kernel | Owner::PoweredOff) {
            return;
        }
        let owner = std::mem::replace(&mut socket.owner, Owner::Kernel);
        let unread = !socket.received.is_empty();
        let (state, peer) = (socket.state, socket.peer);
        let reset = reset || socket.linger_zero || unread;
        socket.fin_asked = true;
        socket.written_at = now;
        self.counts.closed_unread += u64::from(unread);
        self.note_call(id, owner, "close", usize::from(reset));
        match (state, peer) {
            (SocketState::Established | SocketState::SynReceived, Some(peer)) if reset => {
                self.send_reset(id, peer);
                self.forget(id);
            }
            (SocketState::Established, _) => self.transmit(id),
            (SocketState::SynSent | SocketState::SynReceived | SocketState::Closed, _) => {
                self.forget(id)
            }
        }
        self.forget_if_over(id);
    }
}

/// Moves the first bytes of a queue to a buffer.
fn take(queue: &mut std::collections::VecDeque<u8>, buffer: &mut [u8]) {
    let (front, back) = queue.as_slices();
    let first = front.len().min(buffer.len());
    buffer[..first].copy_from_slice(&front[..first]);
    let second = buffer.len() - first;
    buffer[first..].copy_from_slice(&back[..second]);
    queue.drain(..buffer.len());
    if queue.is_empty() {
        queue.shrink_to(0);
    }
}
