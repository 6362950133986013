//! Outbound connects and adopted streams.

use std::io;

use super::{EventLoop, InboundHalf};
use crate::connection::ConnEntry;
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::net::{PendingConnect, PendingSocket};
use crate::sys::Stream;

/// The event of a connecting socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConnectEvent {
    /// There is room for writing, and neither an error nor the end of the
    /// stream.
    OnlyRoom,
    Other,
}

impl<H: Handler> EventLoop<'_, H> {
    /// Starts the requested connects.
    pub(super) fn start_connects(&mut self) {
        for _ in 0..self.net.work.connects.len() {
            let Some(pending) = self.net.work.connects.pop_front() else {
                return;
            };
            // The handler may have closed the connection since.
            if !self
                .net
                .conns
                .get(pending.conn)
                .is_some_and(ConnEntry::is_live)
            {
                continue;
            }
            let conn = pending.conn;
            // The connect timeout does not include the time in which the node
            // did not run.
            self.net.restart_deadline(conn);
            if let Err(error) = self.start_connect(pending) {
                self.net
                    .fail_connection(conn, ConnectError::Io((&error).into()));
            }
        }
    }

    fn start_connect(&mut self, pending: PendingConnect) -> io::Result<()> {
        let conn = pending.conn;
        let (addr, bound_socket, source) = match pending.socket {
            PendingSocket::Connect {
                addr,
                bound_socket,
                source,
            } => (addr, bound_socket, source),
            PendingSocket::Adopt(stream) => {
                return self.start_adopted(conn, stream, pending.decoder);
            }
        };
        let net = &*self.net;
        let connect = || {
            let sockets = &net.sockets;
            net.registrar.connect(addr, bound_socket, source, sockets)
        };
        let stream = match &net.router {
            None => connect()?,
            Some(router) => router.connect(conn, addr, connect)?,
        };
        let half = self.register(conn, stream, pending.decoder)?;
        self.state.put_inbound(half);
        Ok(())
    }

    /// Starts a connection whose stream is already connected.
    fn start_adopted(&mut self, conn: ConnId, stream: Stream, decoder: Codec) -> io::Result<()> {
        let local_addr = stream.local_addr()?;
        let mut half = self.register(conn, stream, decoder)?;
        self.start_transport(&mut half, local_addr);
        self.keep(half);
        Ok(())
    }

    /// Handles an event of a connecting socket: it is connected, has failed, or
    /// is still connecting.
    pub(super) fn complete_connect(&mut self, half: &mut InboundHalf, event: ConnectEvent) {
        let conn = half.id;
        let Some(stream) = self.net.stream(conn) else {
            return;
        };
        let is_shown = event == ConnectEvent::OnlyRoom && stream.writable_means_connected();
        let connected = if is_shown {
            stream.local_addr().map(Some)
        } else {
            stream.connected()
        };
        let outcome = connected.and_then(|local_addr| {
            let set_up = |addr| stream.set_options(&self.net.sockets).map(|()| addr);
            local_addr.map(set_up).transpose()
        });
        match outcome {
            // TCP connects a socket to itself when the destination is its own
            // port (RFC 9293, section 3.5).
            Ok(Some(local_addr)) if self.net.is_self_connect(conn, local_addr) => {
                self.net.end_self_connection(conn)
            }
            Ok(Some(local_addr)) => self.start_transport(half, local_addr),
            Ok(None) => {}
            Err(error) => self
                .net
                .fail_connection(conn, ConnectError::Io((&error).into())),
        }
    }
}
