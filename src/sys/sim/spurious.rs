//! Reports without a cause.

use super::event::{PollerId, SocketId};
use super::internet::Internet;
use super::ready::only_readable;
use super::socket::{Socket, SocketState};
use crate::sys::Readiness;

impl Internet {
    pub(super) fn add_spurious(&mut self, poller: PollerId, reports: &mut Vec<Readiness>) {
        if let Some(token) = self.draw_udp_token(poller) {
            self.counts.spurious_readiness += 1;
            return reports.push(only_readable(token));
        }
        // A few sockets after a random one are enough.
        let start = self.draw_id();
        let readable = self.random.chance(0.5);
        let of_poller = |(_, socket): (&SocketId, &Socket)| {
            let registration = socket.registration.filter(|it| it.poller == poller)?;
            // epoll never reports room of a socket that is connecting.
            let is_exact = registration.interest.is_none();
            let may_write = !is_exact || socket.state == SocketState::Established;
            Some((registration.token, may_write))
        };
        let socket = self.sockets.range(start..).take(64).find_map(of_poller);
        if socket.is_none() || self.random.chance(0.1) {
            let listener = self.listeners_of(poller).first().copied();
            let registration = listener.and_then(|id| self.listeners[&id].registration);
            if let Some((_, token)) = registration {
                self.counts.spurious_readiness += 1;
                return reports.push(only_readable(token));
            }
        }
        if let Some((token, may_write)) = socket {
            self.counts.spurious_readiness += 1;
            let writable = !readable && may_write;
            reports.push(Readiness {
                token,
                readable: !writable,
                writable,
                ..Readiness::default()
            });
        }
    }
}
