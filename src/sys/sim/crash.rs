//! Processes and machines that come to their end.

use std::net::IpAddr;

use super::internet::Internet;
use super::socket::{Owner, SocketId};

/// How a process ends without a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crash {
    /// It is killed: its kernel closes what it had.
    Killed,
    /// Its kernel resets what it had.
    Reset,
    /// The machine loses its power: nobody hears anything.
    PowerLost,
}

impl Internet {
    /// Draws how a node on this host crashes. A machine with several nodes keeps its power.
    pub(crate) fn draw_crash(&mut self, is_alone: bool) -> Crash {
        match self.random.below(if is_alone { 3 } else { 2 }) {
            0 => Crash::Killed,
            1 => Crash::Reset,
            _ => Crash::PowerLost,
        }
    }

    /// Does to a node's sockets what a crash does, before the node itself is dropped.
    pub(crate) fn crash(&mut self, poller: usize, host: IpAddr, how: Crash) {
        let of_node = |(id, socket): (&SocketId, &super::socket::Socket)| {
            (socket.owner == Owner::SimPoller(poller)).then_some(*id)
        };
        let sockets: Vec<SocketId> = self.sockets.iter().filter_map(of_node).collect();
        let is_silent = how == Crash::PowerLost;
        for id in sockets {
            match how {
                Crash::Killed => {}
                Crash::Reset => self.close(id, true),
                Crash::PowerLost => self.vanish(id),
            }
        }
        if is_silent {
            for id in self.listeners_of(poller) {
                self.unlisten(id, true);
            }
            if let Some(host) = self.hosts.get_mut(&host) {
                host.down = true;
            }
        }
    }

    /// A machine has power again, and knows nothing of what it was before.
    pub(crate) fn boot(&mut self, ip: IpAddr) {
        let Some(host) = self.hosts.get_mut(&ip) else {
            return;
        };
        if !std::mem::take(&mut host.down) {
            return;
        }
        let vanished = |(id, socket): (&SocketId, &super::socket::Socket)| {
            (socket.host == ip && socket.owner == Owner::Vanished).then_some(*id)
        };
        let gone: Vec<SocketId> = self.sockets.iter().filter_map(vanished).collect();
        gone.into_iter().for_each(|id| self.forget(id));
        self.release_held();
    }
}
