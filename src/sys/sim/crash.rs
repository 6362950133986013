//! Crashes of processes and machines.

use std::net::IpAddr;

use super::event::{PollerId, SocketId};
use super::internet::Internet;
use super::socket::{Owner, Socket, SocketState};

/// The way in which a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crash {
    /// The process is killed, and its kernel closes its sockets.
    Killed,
    /// The kernel resets the connections of the process.
    Reset,
    /// The machine loses its power and sends nothing.
    PowerLost,
}

impl Internet {
    /// Draws how a node on this host crashes. A machine with several nodes does
    /// not lose its power.
    pub(crate) fn draw_crash(&mut self, is_alone: bool) -> Crash {
        match self.random.below(if is_alone { 3 } else { 2 }) {
            0 => Crash::Killed,
            1 => Crash::Reset,
            _ => Crash::PowerLost,
        }
    }

    /// Applies a crash to the sockets of a node, before the node is dropped.
    pub(crate) fn crash(&mut self, poller: PollerId, host: IpAddr, how: Crash) {
        self.counts.crashes += 1;
        self.close_udp_of(poller);
        for id in self.sockets_where(|socket| socket.owner == Owner::Node(poller)) {
            match how {
                Crash::Killed => {}
                Crash::Reset => self.close(id, true),
                Crash::PowerLost => self.power_off_socket(id),
            }
        }
        if how == Crash::PowerLost {
            for id in self.listeners_of(poller) {
                self.close_listener(id, true);
            }
            self.hosts.power_off(host);
        }
    }

    /// Starts a machine that has lost its power. It has kept no connection.
    pub(crate) fn boot(&mut self, ip: IpAddr) {
        if !self.hosts.power_on(ip) {
            return;
        }
        let is_lost = |socket: &Socket| socket.host == ip && socket.owner == Owner::PoweredOff;
        for id in self.sockets_where(is_lost) {
            self.forget(id);
        }
        self.resend_held();
    }

    /// Applies the power loss of the host to a socket. The peer gets no answer
    /// from then on.
    pub(super) fn power_off_socket(&mut self, id: SocketId) {
        self.unregister(id);
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.owner = Owner::PoweredOff;
            socket.registration = None;
            socket.state = match socket.state {
                SocketState::SynSent => SocketState::Closed,
                state => state,
            };
            socket.unsent.clear();
            socket.received.clear();
        }
        self.forget_if_over(id);
    }

    fn sockets_where(&self, is_meant: impl Fn(&Socket) -> bool) -> Vec<SocketId> {
        let sockets = self.sockets.iter();
        let meant = sockets.filter(|(_, socket)| is_meant(socket));
        meant.map(|(id, _)| *id).collect()
    }
}
