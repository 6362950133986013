//! Outbound connects.

use std::io;

use super::{EventLoop, InboundHalf};
use crate::buffers::PartialFrame;
use crate::connection::ConnEntry;
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::net::PendingConnect;
use crate::sys::Stream;

impl<H: Handler> EventLoop<'_, H> {
    /// Begins the connects that were asked for.
    pub(super) fn start_connects(&mut self) {
        let connects = std::mem::take(&mut self.net.work.connects);
        for pending in connects {
            // It may have been given up since.
            if !self
                .net
                .conns
                .get(pending.conn)
                .is_some_and(ConnEntry::is_live)
            {
                continue;
            }
            let conn = pending.conn;
            self.net.connect_started(conn);
            if let Err(error) = self.start_connect(pending) {
                self.net.fail(conn, ConnectError::Io(error.kind()));
            }
        }
    }

    fn start_connect(&mut self, pending: PendingConnect) -> io::Result<()> {
        let (conn, addr) = (pending.conn, pending.addr);
        let net = &*self.net;
        let connect = || {
            net.registrar
                .connect(addr, pending.socket, pending.source, &net.sockets)
        };
        let stream = match &net.router {
            None => connect()?,
            Some(router) => router.connecting(conn, addr, connect)?,
        };
        self.adopt(conn, stream, pending.decoder)
    }

    /// An outbound socket was reported ready: it is connected, or has failed, or
    /// neither yet.
    pub(super) fn finish_connect(&mut self, conn: ConnId) {
        let Some(inbound) = self.state.inbound(conn) else {
            return;
        };
        let outcome = inbound.stream.connected().and_then(|local_addr| {
            local_addr
                .map(|addr| {
                    inbound
                        .stream
                        .set_up_outbound(&self.net.sockets)
                        .map(|()| addr)
                })
                .transpose()
        });
        match outcome {
            // TCP lets a socket meet itself when it dials the port that it was given (RFC 9293, 3.5).
            Ok(Some(local_addr)) if self.net.is_own_address(conn, local_addr) => {
                self.net.end_self_connection(conn)
            }
            Ok(Some(local_addr)) => self.connected(conn, local_addr),
            Ok(None) => {}
            Err(error) => self.net.fail(conn, ConnectError::Io(error.kind())),
        }
    }

    /// Registers a socket and gives it an inbound half.
    pub(super) fn adopt(
        &mut self,
        conn: ConnId,
        mut stream: Stream,
        codec: Codec,
    ) -> io::Result<()> {
        self.net.registrar.add_stream(&mut stream, conn.token())?;
        self.state.insert(InboundHalf {
            id: conn,
            stream,
            codec,
            partial: PartialFrame::default(),
            secure: None,
            readable: false,
            writable: false,
            finished: false,
            queued: false,
        });
        Ok(())
    }
}
