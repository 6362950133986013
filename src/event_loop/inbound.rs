//! The inbound half of a connection: received bytes and how they are decoded.

use std::io;

use super::{EventLoop, LoopState};
use crate::buffers::PartialFrame;
use crate::framing::Codec;
use crate::id::ConnId;
use crate::session::SessionChannel;
use crate::sys::Stream;

/// The inbound half of a connection.
pub(crate) struct InboundHalf {
    pub(super) id: ConnId,
    pub(super) codec: Codec,
    pub(super) partial: PartialFrame,
    /// The session between the socket and the framing; `None` for plain TCP.
    pub(super) channel: Option<Box<SessionChannel>>,
    /// A read may succeed. Set by an edge, cleared by a read that shows that
    /// the socket is empty.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer closed its sending side. The socket is read to the end, because
    /// no further edge follows.
    pub(super) read_closed_seen: bool,
    /// The connection is on the run list.
    pub(super) scheduled: bool,
}

impl InboundHalf {
    /// Returns whether an incomplete message or record is kept.
    pub(super) fn has_partial(&self) -> bool {
        let untaken = self
            .channel
            .as_ref()
            .map_or(0, |channel| channel.wire.len());
        self.partial.len() + untaken > 0
    }

    /// Returns whether reading waits until the answers of the session have been
    /// written.
    pub(super) fn defers_reads(&self) -> bool {
        self.channel
            .as_ref()
            .is_some_and(|channel| channel.is_behind())
    }

    /// Drops the answers of the session, because nothing can be written any
    /// more.
    pub(super) fn discard_answers(&mut self) {
        if let Some(channel) = &mut self.channel {
            channel.discard_answers();
        }
    }
}

impl std::fmt::Debug for InboundHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InboundHalf")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl LoopState {
    pub(super) fn inbound(&mut self, conn: ConnId) -> Option<&mut InboundHalf> {
        self.inbound
            .get_mut(conn.slot())?
            .as_mut()
            .filter(|inbound| inbound.id == conn)
    }

    /// Returns whether a connection of this shard waits for its peer, as far as is known.
    pub(super) fn is_silent(&self, conn: ConnId) -> bool {
        let inbound = self.inbound.get(conn.slot()).and_then(Option::as_ref);
        inbound.is_some_and(|inbound| inbound.id == conn && !inbound.readable)
    }

    fn insert_inbound(&mut self, inbound: InboundHalf) {
        let slot = inbound.id.slot();
        if slot >= self.inbound.len() {
            self.inbound.resize_with(slot + 1, || None);
        }
        self.inbound[slot] = Some(inbound);
    }
}

impl<H> EventLoop<'_, H> {
    /// Registers a socket with the poller and adds its inbound half.
    pub(super) fn register(
        &mut self,
        conn: ConnId,
        mut stream: Stream,
        codec: Codec,
    ) -> io::Result<()> {
        self.net.registrar.add_stream(&mut stream, conn.token())?;
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.stream = Some(stream);
        }
        self.state.insert_inbound(InboundHalf {
            id: conn,
            codec,
            partial: PartialFrame::default(),
            channel: None,
            readable: false,
            writable: false,
            read_closed_seen: false,
            scheduled: false,
        });
        Ok(())
    }
}
