//! Letting connections in, and going out for them.

use std::io;
use std::net::SocketAddr;

use super::{Driver, Inbound};
use crate::buffer::Stash;
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::handler::{Admission, Handler};
use crate::id::ConnId;
use crate::net::Dial;
use crate::network::Stream;

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

    /// Accepts up to the budget. The listener stays ready until the kernel says that nobody waits.
    fn accept_from(&mut self, index: usize) {
        for _ in 0..self.net.config.accept_budget {
            let Some(listening) = self.net.listeners.get_mut(index) else {
                return;
            };
            if !listening.ready || listening.pause.is_some() {
                return;
            }
            match listening.socket.accept() {
                Ok((stream, addr)) => {
                    listening.next_pause = self.net.config.accept_pause;
                    self.accepted(index, stream, addr);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listening.ready = false;
                    return;
                }
                Err(error) if is_about_one_connection(&error) => {
                    log::debug!(target: "peerloop", "{}: accept: {error}", self.net.config.name);
                }
                Err(error) => {
                    self.net.metrics.accept_errors += 1;
                    log::warn!(target: "peerloop", "{}: accept: {error}; pausing", self.net.config.name);
                    return self.net.pause_listener(index);
                }
            }
        }
        self.net.revisit_listener(index);
    }

    fn accepted(&mut self, index: usize, stream: Stream, addr: SocketAddr) {
        // Taken now: the handler may close this listener, and open another in its place.
        let profile = self.net.listeners[index].profile.clone();
        if self.handler.on_accept(self.net, addr) == Admission::Refuse {
            self.net.metrics.refused_by_handler += 1;
            return;
        }
        if self.net.connections_in_use() >= self.net.config.max_connections {
            self.net.metrics.refused_by_limit += 1;
            return;
        }
        let set_up = stream
            .set_up(&self.net.sockets)
            .and_then(|()| stream.local_addr());
        let local_addr = match set_up {
            Ok(local_addr) => local_addr,
            Err(error) => return self.lost_before_connected(addr, &error),
        };
        let conn = self.net.insert_accepted(addr, &profile);
        match self.adopt(conn, stream) {
            Ok(()) => {
                self.net.metrics.accepted += 1;
                self.opened(conn, local_addr);
            }
            Err(error) => {
                self.lost_before_connected(addr, &error);
                self.net.discard(conn);
                self.core.gone.push(conn);
            }
        }
    }

    /// A connection that was accepted and was gone, or could not be kept, before anything began.
    fn lost_before_connected(&mut self, addr: SocketAddr, error: &io::Error) {
        self.net.metrics.accept_errors += 1;
        log::debug!(target: "peerloop", "{}: {addr}: {error}", self.net.config.name);
    }

    /// Registers a socket and gives it an inbound half.
    fn adopt(&mut self, conn: ConnId, mut stream: Stream) -> io::Result<()> {
        let Some(peer) = self.net.peers.get(conn) else {
            return Ok(());
        };
        let codec = Codec::new(&peer.profile.framing);
        self.net.registrar.add_stream(&mut stream, conn.token())?;
        self.core.insert(Inbound {
            id: conn,
            stream,
            codec,
            stash: Stash::default(),
            readable: false,
            writable: false,
            finished: false,
            queued: false,
        });
        Ok(())
    }

    fn opened(&mut self, conn: ConnId, local_addr: SocketAddr) {
        self.net.open(conn, local_addr);
        self.handler.on_connect(self.net, conn);
        self.flush_urgent();
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
            if let Err(error) = self.begin_dial(dial) {
                self.net.fail(conn, ConnectError::Io(error.kind()));
            }
        }
    }

    fn begin_dial(&mut self, dial: Dial) -> io::Result<()> {
        let stream = Stream::connect(dial.addr, dial.socket, dial.source, &self.net.sockets)?;
        self.adopt(dial.conn, stream)
    }

    /// A dial was reported ready: it is connected, or has failed, or neither yet.
    pub(super) fn finish_dial(&mut self, conn: ConnId) {
        let Some(inbound) = self.core.inbound(conn) else {
            return;
        };
        let outcome = inbound.stream.connected().and_then(|local_addr| {
            local_addr
                .map(|addr| inbound.stream.set_up(&self.net.sockets).map(|()| addr))
                .transpose()
        });
        match outcome {
            Ok(Some(local_addr)) => self.opened(conn, local_addr),
            Ok(None) => {}
            Err(error) => self.net.fail(conn, ConnectError::Io(error.kind())),
        }
    }
}

/// Whether an error of `accept(2)` says something about the connection that was to be accepted and nothing about
/// this process: Linux hands out network errors of the new socket here, and the next call is worth making.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::TimedOut
            | io::ErrorKind::PermissionDenied
    )
}
