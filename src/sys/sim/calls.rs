//! What programs do to their sockets.

use std::io::{self, ErrorKind, IoSlice};

use super::event::Event;
use super::internet::Internet;
use super::socket::{Owner, Socket, SocketId, SocketState};
use super::trace::Who;

/// What a few bytes are: a header and a little.
const FEW: usize = 8;

impl Internet {
    fn socket(&mut self, id: SocketId) -> io::Result<&mut Socket> {
        self.sockets
            .get_mut(&id)
            .ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Whether a call of a node is interrupted. Scripted peers are spared.
    fn is_interrupted(&mut self, owner: Owner) -> bool {
        let interrupted =
            matches!(owner, Owner::SimPoller(_)) && self.random.chance(self.faults.interrupted);
        self.happened.interrupted += u64::from(interrupted);
        interrupted
    }

    fn note_call(&mut self, id: SocketId, owner: Owner, what: &'static str, detail: usize) {
        let who = match owner {
            Owner::SimPoller(poller) => Who::Node(poller),
            _ => Who::Wire(id),
        };
        self.note(who, what, id, detail as u64);
    }

    /// The local address if the connection is made; as take_error, getpeername and getsockname tell it.
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

    /// Whether a read would say that the stream has ended.
    pub(super) fn is_at_end(&mut self, id: SocketId) -> io::Result<bool> {
        let socket = self.socket(id)?;
        if socket.visible() > 0 || socket.read_held {
            return Ok(false);
        }
        if socket.is_at_end() {
            return Ok(true);
        }
        match socket.take_error() {
            Some(error) => Err(error),
            None => Ok(socket.state == SocketState::Closed),
        }
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
            return Err(ErrorKind::WouldBlock.into());
        }
        if visible == 0 {
            return match socket.take_error() {
                // As Linux has it: after the end of the stream a read does not tell of an error.
                Some(error) if !at_end => Err(error),
                error => {
                    socket.error = error.map(|error| error.kind());
                    let over = at_end || socket.state == SocketState::Closed;
                    self.note_call(id, owner, "read", 0);
                    if over {
                        Ok(0)
                    } else {
                        Err(ErrorKind::WouldBlock.into())
                    }
                }
            };
        }
        let faulty = matches!(owner, Owner::SimPoller(_));
        if faulty && self.random.chance(self.faults.would_block) {
            self.happened.would_blocks += 1;
            self.note_call(id, owner, "read denied", 0);
            self.hold_back(id);
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut count = visible.min(buffer.len());
        if faulty && count > 1 && self.random.chance(self.faults.short_read) {
            self.happened.short_reads += 1;
            count = self.part_of(count);
            self.hold_back(id);
        }
        let socket = self.socket(id)?;
        take(&mut socket.received, &mut buffer[..count]);
        socket.read += count as u64;
        if let Some(witness) = socket.witness.as_mut().filter(|it| it.is_of_wire()) {
            witness.append(&buffer[..count]);
        }
        let peer = socket.peer;
        self.note_call(id, owner, "read", count);
        self.announce_room(peer);
        Ok(count)
    }

    /// What is there counts as arriving a moment later.
    fn hold_back(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            if !std::mem::replace(&mut socket.read_held, true) {
                self.schedule_soon(Event::Reveal { socket: id });
            }
        }
    }

    /// Tells the other end, if it waits, that there is room.
    fn announce_room(&mut self, peer: Option<SocketId>) {
        let Some(to) = peer else { return };
        let Some(sender) = self.sockets.get_mut(&to) else {
            return;
        };
        if sender.unsent.is_empty() || std::mem::replace(&mut sender.window_update, true) {
            return;
        }
        let (here, there) = (sender.host, sender.remote.ip());
        let there = self.host_of(here, there);
        let latency = self.link_between(here, there).latency;
        self.schedule(self.now + latency, Event::Window { to });
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
            SocketState::SynSent | SocketState::Arriving => {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let space = socket.space();
        if space == 0 || socket.write_held {
            socket.no_space = true;
            self.happened.full_buffers += 1;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut count = offered.min(space);
        if matches!(owner, Owner::SimPoller(_)) {
            count = self.shorten(id, count)?;
        }
        let socket = self.socket(id)?;
        // The rest is owed an edge, if it is the room that it lacks.
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

    /// How much of a write is taken, as the faults have it.
    fn shorten(&mut self, id: SocketId, count: usize) -> io::Result<usize> {
        if self.random.chance(self.faults.would_block) {
            self.happened.would_blocks += 1;
            self.note(Who::Network, "write denied", id, 0);
            self.hold_writes(id);
            return Err(ErrorKind::WouldBlock.into());
        }
        if count < 2 || !self.random.chance(self.faults.short_write) {
            return Ok(count);
        }
        self.happened.short_writes += 1;
        if self.random.chance(0.5) {
            self.hold_writes(id);
        }
        Ok(self.part_of(count))
    }

    /// At least one and less than `count`, which is two or more: often a few bytes, for the sake of what is cut there.
    fn part_of(&mut self, count: usize) -> usize {
        let most = if self.random.chance(0.5) {
            (count - 1).min(FEW)
        } else {
            count - 1
        };
        1 + self.random.below(most as u64) as usize
    }

    fn hold_writes(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.no_space = true;
            if !std::mem::replace(&mut socket.write_held, true) {
                self.schedule_soon(Event::Room { socket: id });
            }
        }
    }

    /// shutdown(SHUT_WR)
    pub(super) fn finish(&mut self, id: SocketId) -> io::Result<()> {
        let socket = self.socket(id)?;
        if socket.state != SocketState::Established {
            return Err(ErrorKind::NotConnected.into());
        }
        let owner = socket.owner;
        if !std::mem::replace(&mut socket.fin_asked, true) {
            self.note_call(id, owner, "finish", 0);
            self.transmit(id);
        }
        Ok(())
    }

    pub(super) fn reset_on_close(&mut self, id: SocketId) -> io::Result<()> {
        self.socket(id).map(|socket| socket.linger_zero = true)
    }

    /// The program lets go of a socket. The kernel sends what is left and FIN; or RST, if that was asked for or
    /// something was not read.
    pub(super) fn close(&mut self, id: SocketId, reset: bool) {
        self.unregister(id);
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        if matches!(socket.owner, Owner::Nobody | Owner::Vanished) {
            return;
        }
        let owner = std::mem::replace(&mut socket.owner, Owner::Nobody);
        let unread = !socket.received.is_empty();
        let (state, peer) = (socket.state, socket.peer);
        let reset = reset || socket.linger_zero || unread;
        socket.fin_asked = true;
        self.happened.closed_unread += u64::from(unread);
        self.note_call(id, owner, "close", usize::from(reset));
        match (state, peer) {
            (SocketState::Established | SocketState::Arriving, Some(peer)) if reset => {
                self.send_reset(id, peer);
                self.forget(id);
            }
            (SocketState::Established, _) => self.transmit(id),
            (SocketState::SynSent | SocketState::Arriving | SocketState::Closed, _) => {
                self.forget(id)
            }
        }
        self.clean_up(id);
    }

    /// Its machine is gone, and tells nobody.
    pub(super) fn vanish(&mut self, id: SocketId) {
        self.unregister(id);
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.owner = Owner::Vanished;
            socket.registration = None;
            socket.state = match socket.state {
                SocketState::SynSent => SocketState::Closed,
                state => state,
            };
            socket.unsent.clear();
            socket.received.clear();
        }
        self.clean_up(id);
    }
}

/// Moves the first bytes of a queue.
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
