//! How connections come to their end, and what remains of them.

use std::time::Duration;

use super::event::Event;
use super::internet::Internet;
use super::socket::{SocketId, SocketState};
use super::trace::Who;

/// How long data stays unacknowledged before the kernel gives up (tcp(7), `tcp_retries2`).
const GIVE_UP: Duration = Duration::from_secs(924);

impl Internet {
    pub(super) fn begin_to_give_up(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            if !std::mem::replace(&mut socket.giving_up, true) {
                self.schedule(self.now + GIVE_UP, Event::GiveUp { socket: id });
            }
        }
    }

    /// The kernel has sent the same data again and again.
    pub(super) fn give_up(&mut self, id: SocketId) {
        let still = self
            .held
            .iter()
            .any(|held| matches!(held, Event::Data { from, .. } if *from == id));
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.giving_up = false;
        }
        if still {
            self.break_off(id, std::io::ErrorKind::TimedOut);
        }
    }

    /// The other end has reset the connection, or never wanted it.
    pub(super) fn reset_arrived(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        match socket.state {
            SocketState::Arriving => return self.drop_call(id),
            SocketState::Closed => return,
            _ => {}
        }
        if !socket.received.is_empty() && self.random.chance(self.faults.reset_discards) {
            self.happened.resets_discarding += 1;
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.received.clear();
                // A stream with a gap has no end: the program hears of the reset instead.
                socket.peer_fin = false;
            }
        }
        let Some(socket) = self.sockets.get(&id) else {
            return;
        };
        // As Linux' `tcp_reset` has it.
        let kind = match socket.state {
            SocketState::SynSent => std::io::ErrorKind::ConnectionRefused,
            _ if socket.peer_fin && !socket.fin_asked => std::io::ErrorKind::BrokenPipe,
            _ => std::io::ErrorKind::ConnectionReset,
        };
        self.break_off(id, kind);
    }

    /// Ends a connection here, with an error for the program.
    pub(super) fn break_off(&mut self, id: SocketId, kind: std::io::ErrorKind) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        if socket.state == SocketState::Closed {
            return;
        }
        socket.state = SocketState::Closed;
        socket.error = Some(kind);
        socket.unsent.clear();
        socket.read_held = false;
        self.note(Who::Network, "broken", id, 0);
        self.edge(id, true, true);
        self.clean_up(id);
    }

    /// Forgets a socket that nobody has to do with any more.
    pub(super) fn clean_up(&mut self, id: SocketId) {
        if self.sockets.get(&id).is_some_and(|socket| socket.is_over()) {
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.remove(&id) {
            let key = (socket.host, socket.local, socket.remote);
            if self.by_addresses.get(&key) == Some(&id) {
                self.by_addresses.remove(&key);
            }
            let is_orderly = socket.state == SocketState::Established && socket.peer_fin;
            if is_orderly && socket.ended_first && socket.fin_acked {
                self.time_waits.add(self.now, key, socket.accepted);
            }
        }
    }
}
