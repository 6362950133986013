//! The ends of connections, and the state that remains.

use std::io::ErrorKind;
use std::time::Duration;

use super::event::{Event, SocketId};
use super::internet::Internet;
use super::socket::SocketState;
use super::trace::Actor;

/// Time for which data may stay unacknowledged before the kernel ends the
/// connection (tcp(7), `tcp_retries2`).
const RETRANSMIT_TIMEOUT: Duration = Duration::from_secs(924);

impl Internet {
    /// Starts the timeout of data that could not be sent.
    pub(super) fn start_retransmit_timeout(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            if !std::mem::replace(&mut socket.is_retransmitting, true) {
                let event = Event::RetransmitTimeout { socket: id };
                self.schedule_after(RETRANSMIT_TIMEOUT, event);
            }
        }
    }

    pub(super) fn retransmit_timeout(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.is_retransmitting = false;
        }
        if self.links.holds_data_of(id) {
            self.break_socket(id, ErrorKind::TimedOut);
        }
    }

    /// Handles a reset of the connection, or a refused connect.
    pub(super) fn reset_arrived(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        match socket.state {
            SocketState::SynReceived => return self.drop_handshake(id),
            SocketState::Closed => return,
            _ => {}
        }
        if !socket.received.is_empty() && self.random.chance(self.faults.reset_discards) {
            self.counts.resets_discarding += 1;
            socket.received.clear();
            // A stream with a gap has no end, so the program gets the reset
            // instead.
            socket.peer_fin = false;
        }
        // As in `tcp_reset` of Linux.
        let kind = match socket.state {
            SocketState::SynSent => ErrorKind::ConnectionRefused,
            _ if socket.peer_fin && !socket.fin_asked => ErrorKind::BrokenPipe,
            _ => ErrorKind::ConnectionReset,
        };
        self.break_socket(id, kind);
    }

    /// Ends a connection at this end, with an error for the program.
    pub(super) fn break_socket(&mut self, id: SocketId, kind: ErrorKind) {
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
        self.note(Actor::Network, "broken", id, 0);
        self.edge(id, true, true);
        self.forget_if_over(id);
    }

    /// Removes a socket that both ends have closed.
    pub(super) fn forget_if_over(&mut self, id: SocketId) {
        if self.sockets.get(&id).is_some_and(|socket| socket.is_over()) {
            self.forget(id);
        }
    }

    pub(super) fn forget(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(&id) else {
            return;
        };
        let addresses = socket.addresses();
        self.hosts.remove_socket(addresses, id);
        let is_orderly = socket.state == SocketState::Established && socket.peer_fin;
        if is_orderly && socket.ended_first && socket.fin_acked {
            let now = self.now();
            self.hosts.add_time_wait(now, addresses, socket.accepted);
        }
    }
}
