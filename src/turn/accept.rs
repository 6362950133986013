//! Letting connections in, and going out for them.

use std::io;
use std::net::SocketAddr;

use super::{Driver, Inbound};
use crate::buffer::Stash;
use crate::config::Permission;
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::handler::{Admission, Handler};
use crate::id::{ConnId, Side};
use crate::limits::canonical;
use crate::net::Dial;
use crate::network::{AcceptError, Listener, Stream};
use crate::planted::planted;
use crate::siblings::Newcomer;

impl<H: Handler> Driver<'_, H> {
    pub(super) fn run_listeners(&mut self) {
        let listeners = std::mem::take(&mut self.net.work.listeners);
        for index in listeners {
            if let Some(listening) = self.net.listeners.get_mut(index) {
                listening.queued = false;
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
            let Some(listening) = self.net.listeners.get(index) else {
                return;
            };
            if !listening.ready || listening.pause.is_some() || !self.net.take_place() {
                return;
            }
            let error = match self.net.accept(index) {
                Ok(newcomer) => {
                    lost_in_a_row = 0;
                    self.place(newcomer);
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
        if !planted!(ForgetListener) {
            self.net.revisit_listener(index);
        }
    }

    /// The process is at its end, and the listener rests. A short want of descriptors costs nobody anything: those who
    /// wait are let in as soon as a connection ends. When it lasts, they are told no, with the descriptor in reserve.
    fn accept_failed(&mut self, index: usize, kind: AcceptError, error: &io::Error) {
        let net = &mut *self.net;
        net.metrics.accept_errors += 1;
        log::debug!(target: "peerloop", "{}: accept: {error}; pausing", net.config.name);
        let listening = &net.listeners[index];
        let lasting = listening.next_pause >= net.config.longest_accept_pause();
        if lasting && kind == AcceptError::NoDescriptor {
            let shed = net
                .reserve
                .shed(&listening.socket, net.config.accept_budget);
            net.metrics.shed += shed as u64;
        }
        net.pause_listener(index);
    }

    /// Gives an accepted connection to the shard that it belongs on.
    fn place(&mut self, newcomer: Newcomer) {
        match &mut self.net.siblings {
            None => self.admit(newcomer),
            Some(siblings) => {
                if let Some(newcomer) = siblings.hand_over(newcomer) {
                    self.admit(newcomer);
                }
            }
        }
    }

    /// Gives an accepted connection an id, or what it holds back.
    pub(super) fn admit(&mut self, newcomer: Newcomer) {
        if !self.accepted(newcomer) {
            self.net.turn_away();
        }
    }

    /// Whether an accepted connection got an id.
    fn accepted(&mut self, newcomer: Newcomer) -> bool {
        let Newcomer {
            stream,
            addr,
            profile,
        } = newcomer;
        let local_addr = match stream
            .set_up_accepted(&self.net.sockets)
            .and_then(|()| stream.local_addr())
        {
            Ok(local_addr) => local_addr,
            Err(error) => {
                self.lost_before_connected(addr, &error);
                return false;
            }
        };
        if let Some(conn) = self.find_own_dial(addr, local_addr) {
            self.net.meet_own_dial(conn, stream);
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
        let conn = self.net.insert_accepted(addr, profile, encoder);
        match self.adopt(conn, stream, decoder) {
            Ok(()) => {
                self.net.metrics.accepted += 1;
                self.connected(conn, local_addr);
            }
            Err(error) => {
                self.lost_before_connected(addr, &error);
                self.net.discard(conn);
                self.core.gone.push(conn);
            }
        }
        true
    }

    /// The dial of ours whose other end is a connection just accepted, if there is one: both ends' addresses tell, on
    /// whatever interface.
    fn find_own_dial(&self, addr: SocketAddr, local_addr: SocketAddr) -> Option<ConnId> {
        // Whoever reached itself has dialled the address that the connection came in by.
        if self.net.config.self_connections == Permission::Allowed
            || !self.net.limits.lock().knows(local_addr)
        {
            return None;
        }
        let same = |a, b| canonical(a) == canonical(b);
        let mut dials = self.net.peers.iter().filter(|(_, peer)| {
            peer.side() == Side::Initiator && peer.is_live() && same(peer.addr(), local_addr)
        });
        let ends_here = |conn: &ConnId| {
            let inbound = self.core.inbound.get(conn.slot()).and_then(Option::as_ref);
            let end = inbound.and_then(|inbound| inbound.stream.local_addr().ok());
            end.is_some_and(|end| same(end, addr))
        };
        dials
            .find_map(|(conn, _)| Some(conn).filter(ends_here))
            .or_else(|| self.net.find_dial_away(addr, local_addr))
    }

    /// A connection that was accepted and was gone, or could not be kept, before anything began.
    fn lost_before_connected(&mut self, addr: SocketAddr, error: &io::Error) {
        self.net.metrics.accept_errors += 1;
        log::debug!(target: "peerloop", "{}: {addr}: {error}", self.net.config.name);
    }

    /// Registers a socket and gives it an inbound half.
    fn adopt(&mut self, conn: ConnId, mut stream: Stream, codec: Codec) -> io::Result<()> {
        self.net.registrar.add_stream(&mut stream, conn.token())?;
        self.core.insert(Inbound {
            id: conn,
            stream,
            codec,
            stash: Stash::default(),
            secure: None,
            readable: false,
            writable: false,
            finished: false,
            queued: false,
        });
        Ok(())
    }

    /// Ends the rest of a listener.
    pub(super) fn end_pause(&mut self, index: usize) {
        if let Some(listening) = self.net.listeners.get_mut(index) {
            listening.pause = None;
            self.net.revisit_listener(index);
        }
    }

    /// Begins the dials that were asked for.
    pub(super) fn begin_dials(&mut self) {
        let dials = std::mem::take(&mut self.net.work.dials);
        for dial in dials {
            // It may have been given up since.
            if !self
                .net
                .peers
                .get(dial.conn)
                .is_some_and(crate::peer::Peer::is_live)
            {
                continue;
            }
            let conn = dial.conn;
            self.net.note_begun(conn);
            if let Err(error) = self.begin_dial(dial) {
                self.net.fail(conn, ConnectError::Io(error.kind()));
            }
        }
    }

    fn begin_dial(&mut self, dial: Dial) -> io::Result<()> {
        let (conn, addr) = (dial.conn, dial.addr);
        let net = &*self.net;
        let connect = || {
            net.registrar
                .connect(addr, dial.socket, dial.source, &net.sockets)
        };
        let stream = match &net.siblings {
            None => connect()?,
            Some(siblings) => siblings.connecting(conn, addr, connect)?,
        };
        self.adopt(conn, stream, dial.decoder)
    }

    /// A dial was reported ready: it is connected, or has failed, or neither yet.
    pub(super) fn finish_dial(&mut self, conn: ConnId) {
        let Some(inbound) = self.core.inbound(conn) else {
            return;
        };
        let outcome = inbound.stream.connected().and_then(|local_addr| {
            local_addr
                .map(|addr| {
                    inbound
                        .stream
                        .set_up_dialled(&self.net.sockets)
                        .map(|()| addr)
                })
                .transpose()
        });
        match outcome {
            // TCP lets a socket meet itself when it dials the port that it was given (RFC 9293, 3.5).
            Ok(Some(local_addr)) if self.net.is_itself(conn, local_addr) => {
                self.net.end_self_connection(conn)
            }
            Ok(Some(local_addr)) => self.connected(conn, local_addr),
            Ok(None) => {}
            Err(error) => self.net.fail(conn, ConnectError::Io(error.kind())),
        }
    }
}
