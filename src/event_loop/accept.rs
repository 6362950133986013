//! Accepting inbound connections.

use std::io;
use std::net::SocketAddr;

use super::EventLoop;
use crate::config::Permission;
use crate::cross_shard::AcceptedSocket;
use crate::framing::Codec;
use crate::handler::{Admission, Handler};
use crate::id::{ConnId, Direction};
use crate::limits::canonical;
use crate::mutants::mutant;
use crate::sys::{AcceptError, Listener};

impl<H: Handler> EventLoop<'_, H> {
    pub(super) fn run_listeners(&mut self) {
        let listeners = std::mem::take(&mut self.net.work.listeners);
        for index in listeners {
            if let Some(listener) = self.net.listeners.get_mut(index) {
                listener.queued = false;
                self.accept_from(index);
            }
        }
    }

    /// Accepts up to the budget. The listener stays ready until the kernel says that nobody waits. While too many
    /// handshakes are under way, the limits remember this shard.
    fn accept_from(&mut self, index: usize) {
        let budget = self.net.config.accept_budget;
        let mut lost_in_a_row = 0;
        for _ in 0..budget {
            let Some(listener) = self.net.listeners.get(index) else {
                return;
            };
            if !listener.ready || listener.pause.is_some() || !self.net.take_place() {
                return;
            }
            let error = match self.net.accept(index) {
                Ok(accepted) => {
                    lost_in_a_row = 0;
                    self.place(accepted);
                    continue;
                }
                Err(error) => error,
            };
            self.net.give_place_back();
            match Listener::classify(&error) {
                AcceptError::Empty => {
                    self.net.listeners[index].ready = false;
                    return;
                }
                AcceptError::OneConnection => {
                    let name = &self.net.config.name;
                    log::debug!(target: "peerloop", "{name}: accept: {error}");
                    lost_in_a_row += 1;
                    // Nothing else all the time is no accident: a filter of the system's may forbid it.
                    if lost_in_a_row == budget {
                        return self.accept_failed(index, AcceptError::Other, &error);
                    }
                }
                kind => return self.accept_failed(index, kind, &error),
            }
        }
        if !mutant!(ForgetListener) {
            self.net.revisit_listener(index);
        }
    }

    /// The process is at its end, and the listener rests. A short want of descriptors costs nobody anything: those who
    /// wait are let in as soon as a connection ends. When it lasts, they are told no, with the descriptor in reserve.
    fn accept_failed(&mut self, index: usize, kind: AcceptError, error: &io::Error) {
        let net = &mut *self.net;
        net.metrics.accept_errors += 1;
        log::debug!(target: "peerloop", "{}: accept: {error}; pausing", net.config.name);
        let listener = &net.listeners[index];
        let lasting = listener.next_pause >= net.config.max_accept_backoff();
        if lasting && kind == AcceptError::NoDescriptor {
            let shed = net.reserve.shed(&listener.socket, net.config.accept_budget);
            net.metrics.shed += shed as u64;
        }
        net.pause_listener(index);
    }

    /// Gives an accepted connection to the shard that it belongs on.
    fn place(&mut self, accepted: AcceptedSocket) {
        match &mut self.net.router {
            None => self.admit(accepted),
            Some(router) => {
                if let Some(accepted) = router.assign(accepted) {
                    self.admit(accepted);
                }
            }
        }
    }

    /// Gives an accepted connection an id, or what it holds back.
    pub(super) fn admit(&mut self, accepted: AcceptedSocket) {
        if !self.accepted(accepted) {
            self.net.reject_accepted();
        }
    }

    /// Whether an accepted connection got an id.
    fn accepted(&mut self, accepted: AcceptedSocket) -> bool {
        let AcceptedSocket {
            stream,
            addr,
            profile,
        } = accepted;
        let local_addr = match stream
            .set_up_inbound(&self.net.sockets)
            .and_then(|()| stream.local_addr())
        {
            Ok(local_addr) => local_addr,
            Err(error) => {
                self.lost_before_connected(addr, &error);
                return false;
            }
        };
        if let Some(conn) = self.find_own_connect(addr, local_addr) {
            self.net.end_own_connect(conn, stream);
            return false;
        }
        let admission = self.call("on_accept", None, |handler, net| {
            handler.on_accept(net, addr)
        });
        if admission != Some(Admission::Admit) {
            self.net.metrics.refused_by_handler += 1;
            return false;
        }
        // A user's framer may panic here: nothing is charged yet.
        let codecs = self.call("a framer's fresh", None, |_, _| {
            (Codec::new(&profile.framing), Codec::new(&profile.framing))
        });
        let Some((decoder, encoder)) = codecs else {
            return false;
        };
        let charged = self.net.limits.lock().charge(addr);
        if let Err(limit) = charged {
            log::debug!(target: "peerloop", "{}: {addr} refused: {limit}", self.net.config.name);
            self.net.metrics.count_refusal(limit);
            return false;
        }
        let conn = self.net.insert_inbound(addr, profile, encoder);
        match self.adopt(conn, stream, decoder) {
            Ok(()) => {
                self.net.metrics.accepted += 1;
                self.connected(conn, local_addr);
            }
            Err(error) => {
                self.lost_before_connected(addr, &error);
                self.net.discard(conn);
                self.state.slots_to_free.push(conn);
            }
        }
        true
    }

    /// The dial of ours whose other end is a connection just accepted, if there is one: both ends' addresses tell, on
    /// whatever interface.
    fn find_own_connect(&self, addr: SocketAddr, local_addr: SocketAddr) -> Option<ConnId> {
        // Whoever reached itself has dialled the address that the connection came in by.
        if self.net.config.self_connections == Permission::Allowed
            || !self.net.limits.lock().knows(local_addr)
        {
            return None;
        }
        let same = |a, b| canonical(a) == canonical(b);
        let mut connects = self.net.conns.iter().filter(|(_, entry)| {
            entry.direction() == Direction::Outbound
                && entry.is_live()
                && same(entry.addr(), local_addr)
        });
        let ends_here = |conn: &ConnId| {
            let inbound = self.state.inbound.get(conn.slot()).and_then(Option::as_ref);
            let end = inbound.and_then(|inbound| inbound.stream.local_addr().ok());
            end.is_some_and(|end| same(end, addr))
        };
        connects
            .find_map(|(conn, _)| Some(conn).filter(ends_here))
            .or_else(|| self.net.find_remote_connect(addr, local_addr))
    }

    /// A connection that was accepted and was gone, or could not be kept, before anything began.
    fn lost_before_connected(&mut self, addr: SocketAddr, error: &io::Error) {
        self.net.metrics.accept_errors += 1;
        log::debug!(target: "peerloop", "{}: {addr}: {error}", self.net.config.name);
    }

    /// Ends the rest of a listener.
    pub(super) fn end_pause(&mut self, index: usize) {
        if let Some(listener) = self.net.listeners.get_mut(index) {
            listener.pause = None;
            self.net.revisit_listener(index);
        }
    }
}
