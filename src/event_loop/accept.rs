//! Accepting inbound connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::EventLoop;
use crate::addr::{ConnInfo, to_canonical, to_canonical_target};
use crate::config::ConnectionConfig;
use crate::cross_shard::AcceptedSocket;
use crate::framing::{Codec, Framing};
use crate::handler::{Admission, Handler};
use crate::id::{ConnId, Direction};
use crate::limits::AcceptCheck;
use crate::mutants::mutant;
use crate::sys::{AcceptError, Listener, Stream};

/// Minimum number of connections that each listener accepts in a turn, even if
/// the handler takes longer than the time for accepting.
pub(super) const ACCEPTS_MIN: usize = 2;

impl<H: Handler> EventLoop<'_, H> {
    pub(super) fn run_listeners(&mut self) {
        for _ in 0..self.net.work.listeners.len() {
            let Some(index) = self.net.work.listeners.front().copied() else {
                return;
            };
            if let Some(listener) = self.net.listeners.get_mut(index) {
                listener.scheduled = false;
                self.accept_from(index);
            }
            // After a panic of the handler the listener is still on the list,
            // because no edge follows for the connections that wait.
            self.net.work.listeners.pop_front();
        }
    }

    /// Accepts up to the budget. The listener stays ready until the kernel
    /// reports that no connection waits. Full limits do not stop it, because
    /// the backlog would then fill with connections of the peers that filled
    /// the limits.
    fn accept_from(&mut self, index: usize) {
        let budget = self.net.config.budget.accepts;
        let mut failed_in_a_row = 0;
        for accepted in 0..budget {
            if accepted >= ACCEPTS_MIN && self.net.is_accept_time_over() {
                return self.net.schedule_listener(index);
            }
            let Some(listener) = self.net.listeners.get(index) else {
                return;
            };
            if !listener.ready || listener.pause.is_some() {
                return;
            }
            let error = match self.net.accept(index) {
                Ok(accepted) => {
                    failed_in_a_row = 0;
                    self.assign_to_shard(accepted);
                    continue;
                }
                Err(error) => error,
            };
            match Listener::classify(&error) {
                AcceptError::Empty => {
                    self.net.listeners[index].ready = false;
                    return;
                }
                AcceptError::OneConnection => {
                    let name = &self.net.config.name;
                    log::debug!(target: "peerloop", "{name}: accept: {error}");
                    failed_in_a_row += 1;
                    // A whole budget of such errors is not caused by single
                    // connections. A packet filter may cause it, for instance.
                    if failed_in_a_row == budget {
                        return self.pause_after_error(index, AcceptError::Other, &error);
                    }
                }
                kind => return self.pause_after_error(index, kind, &error),
            }
        }
        mutant!(ForgetListener => return);
        self.net.schedule_listener(index);
    }

    /// Pauses a listener after an error. After a short file-descriptor
    /// exhaustion, the waiting connections are accepted as soon as a connection
    /// ends. After a lasting one they are closed, with the help of the reserved
    /// descriptor.
    fn pause_after_error(&mut self, index: usize, kind: AcceptError, error: &io::Error) {
        let net = &mut *self.net;
        net.metrics.accept_errors += 1;
        log::debug!(target: "peerloop", "{}: accept: {error}; pausing", net.config.name);
        let listener = &net.listeners[index];
        let lasting = listener.next_pause >= net.config.max_accept_backoff();
        if lasting && kind == AcceptError::NoDescriptor {
            let shed = net
                .reserve
                .close_waiting(&listener.socket, net.config.budget.accepts);
            net.metrics.shed_connections += shed as u64;
        }
        net.pause_listener(index);
    }

    /// Passes an accepted connection to the shard that it is assigned to.
    fn assign_to_shard(&mut self, accepted: AcceptedSocket) {
        match &mut self.net.router {
            None => self.admit(accepted),
            Some(router) => {
                if let Some(accepted) = router.assign(accepted) {
                    self.admit(accepted);
                }
            }
        }
    }

    /// Admits a connection that another shard has accepted.
    pub(super) fn receive_accepted(&mut self, accepted: AcceptedSocket) {
        if let Some(router) = &self.net.router {
            router.note_arrival();
        }
        if self.net.stopping.is_some_and(|stopping| stopping.begun) {
            // The shutdown has already closed the other connections.
            return self.net.reject_accepted();
        }
        self.admit(accepted);
    }

    /// Gives an accepted connection an id, or closes it. If a PROXY header comes
    /// first, that follows when the header is complete.
    fn admit(&mut self, accepted: AcceptedSocket) {
        if let Some(proxies) = &accepted.proxies {
            let is_trusted = proxies.contains(accepted.addr.ip());
            return self.expect_header(accepted, is_trusted);
        }
        if !self.try_admit(accepted) {
            self.net.reject_accepted();
        }
    }

    /// Sets an accepted connection up. Returns whether it got an id.
    pub(super) fn try_admit(&mut self, accepted: AcceptedSocket) -> bool {
        let AcceptedSocket {
            stream,
            has_options,
            addr,
            local_addr,
            listener,
            config,
            proxies: _,
        } = accepted;
        let set_up = if has_options {
            Ok(())
        } else {
            stream.set_options(&self.net.sockets)
        };
        let local_addr = || local_addr.map_or_else(|| stream.local_addr(), Ok);
        let local_addr = match set_up.and_then(|()| local_addr()) {
            Ok(local_addr) => local_addr,
            Err(error) => {
                self.count_accept_error(addr, &error);
                return false;
            }
        };
        let info = ConnInfo {
            direction: Direction::Inbound,
            addr: to_canonical(addr),
            local_addr: Some(to_canonical(local_addr)),
            listener: Some(listener),
        };
        let mut check = self.check_accept(info.addr, local_addr);
        if check == AcceptCheck::MaybeOwn {
            if let Some(conn) = self.find_own_connect(addr, local_addr) {
                self.net.end_own_connect(conn, stream);
                return false;
            }
            let mut limits = self.net.limits.lock();
            check = limits.check_accept(info.addr, None, self.net.now);
        }
        if check == AcceptCheck::TooManyAccepts {
            let (name, addr) = (&self.net.config.name, info.addr);
            log::debug!(target: "peerloop", "{name}: {addr} refused: too many accepts");
            self.net.metrics.refused_by_accept_rate += 1;
            return false;
        }
        let Some(codecs) = self.check_admission(&info, &config) else {
            return false;
        };
        self.start_accepted(&info, local_addr, stream, config, codecs);
        true
    }

    /// Checks the rate of an accepted connection's address, and whether the
    /// connection may be one of this node with itself.
    fn check_accept(&self, addr: SocketAddr, local_addr: SocketAddr) -> AcceptCheck {
        let config = &self.net.config;
        let searched = (!config.allow_self_connections).then_some(local_addr);
        if searched.is_none() && config.limits.accepts_per_address.is_none() {
            return AcceptCheck::Admitted;
        }
        let mut limits = self.net.limits.lock();
        limits.check_accept(addr, searched, self.net.now)
    }

    /// Asks the handler and checks the limits. Returns the codecs of the
    /// connection if both admit it.
    fn check_admission(
        &mut self,
        info: &ConnInfo,
        config: &ConnectionConfig,
    ) -> Option<(Codec, Codec)> {
        let admission = self.call("on_accept", None, |handler, net| {
            handler.on_accept(net, info)
        });
        if admission != Some(Admission::Admit) {
            self.net.metrics.refused_by_handler += 1;
            return None;
        }
        let codecs = || (Codec::new(&config.framing), Codec::new(&config.framing));
        // A custom framer may panic in its constructor, so it is called before
        // anything is charged.
        let codecs = match config.framing {
            Framing::Custom(_) => self.call("a framer's constructor", None, |_, _| codecs())?,
            _ => codecs(),
        };
        let charged = self.net.limits.lock().charge(info);
        if let Err(limit) = charged {
            let (name, addr) = (&self.net.config.name, info.addr);
            log::debug!(target: "peerloop", "{name}: {addr} refused: {limit}");
            self.net.metrics.count_refusal(limit);
            return None;
        }
        Some(codecs)
    }

    fn start_accepted(
        &mut self,
        info: &ConnInfo,
        local_addr: SocketAddr,
        stream: Stream,
        config: Arc<ConnectionConfig>,
        (decoder, encoder): (Codec, Codec),
    ) {
        let conn = self.net.insert_accepted(info, config, encoder);
        match self.register(conn, stream, decoder) {
            Ok(mut half) => {
                self.net.metrics.accepted += 1;
                self.start_transport(&mut half, local_addr);
                self.keep(half);
            }
            Err(error) => {
                self.count_accept_error(info.addr, &error);
                self.net.discard(conn);
                self.state.slots_to_free.push(conn);
            }
        }
    }

    /// Returns the outbound connection of this node whose other end was
    /// accepted, if any. The addresses of both ends identify it on each
    /// interface.
    fn find_own_connect(&self, addr: SocketAddr, local_addr: SocketAddr) -> Option<ConnId> {
        let same = |a, b| to_canonical_target(a) == to_canonical_target(b);
        let mut connects = self.net.conns.iter().filter(|(_, entry)| {
            let is_outbound = entry.direction() == Direction::Outbound;
            is_outbound && entry.is_live() && same(entry.addr(), local_addr)
        });
        let ends_here = |conn: &ConnId| {
            let end = self.net.stream(*conn);
            let end = end.and_then(|stream| stream.local_addr().ok());
            end.is_some_and(|end| same(end, addr))
        };
        connects
            .find_map(|(conn, _)| Some(conn).filter(ends_here))
            .or_else(|| self.net.find_remote_connect(addr, local_addr))
    }

    /// Counts a connection that was accepted and failed before it got an id.
    pub(super) fn count_accept_error(&mut self, addr: SocketAddr, error: &io::Error) {
        self.net.metrics.accept_errors += 1;
        log::debug!(target: "peerloop", "{}: {addr}: {error}", self.net.config.name);
    }

    /// Ends the pause of a listener.
    pub(super) fn resume_listener(&mut self, index: usize) {
        if let Some(listener) = self.net.listeners.get_mut(index) {
            listener.pause = None;
            self.net.schedule_listener(index);
        }
    }
}
