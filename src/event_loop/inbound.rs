//! The inbound half of a connection: received bytes and their decoding.

use std::io;

use super::{EventLoop, LoopState};
use crate::buffers::PartialFrame;
use crate::connection::PendingChange;
use crate::framing::Codec;
use crate::id::ConnId;
use crate::session::{SessionChannel, Stage};
use crate::sys::Stream;

/// The inbound half of a connection.
///
/// A visit takes it out of its slot and puts it back at the end. Meanwhile the
/// handler may change the other half of the connection, which is in `Net`.
pub(crate) struct InboundHalf {
    pub(super) id: ConnId,
    pub(super) codec: Codec,
    pub(super) partial: PartialFrame,
    /// The session between the socket and the framing. `None` for plain TCP.
    pub(super) channel: Option<Box<SessionChannel>>,
    /// A read may succeed. Set by an edge, cleared by a read that finds the
    /// socket empty.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer closed its sending side. The socket is then read to the end,
    /// because no further edge follows.
    pub(super) read_closed_seen: bool,
    /// The connection is on one of the lists of visits.
    pub(super) scheduled: bool,
    /// The last batch was interrupted. The next read is small, because the
    /// bytes that a batch leaves are copied.
    pub(super) reads_little: bool,
    /// Bytes were received in this visit.
    pub(super) has_received: bool,
    /// Memory is charged for received bytes.
    pub(super) is_charged: bool,
    /// The handshake was overdue before and was left on its list once.
    pub(super) was_overdue: bool,
}

impl InboundHalf {
    /// Returns whether the handshake of the session is in progress.
    pub(super) fn is_handshaking(&self) -> bool {
        let channel = self.channel.as_ref();
        channel
            .is_some_and(|channel| channel.stage() == Stage::Handshaking && !channel.has_failed())
    }

    /// Applies a change. The bytes that were received and not delivered are
    /// decoded again.
    pub(super) fn apply(&mut self, change: PendingChange) {
        if let Some(decoder) = change.decoder {
            self.codec = decoder;
        }
        self.partial.set_need(0);
    }

    /// Returns the number of kept bytes of an incomplete message or record.
    pub(super) fn partial_len(&self) -> usize {
        let untaken = self
            .channel
            .as_ref()
            .map_or(0, |channel| channel.wire.len());
        self.partial.len() + untaken
    }

    /// Returns the memory that is held for received bytes, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let channel = self.channel.as_ref();
        self.partial.capacity() + channel.map_or(0, |channel| channel.received_bytes())
    }

    /// Returns whether a read or a delivery may succeed.
    pub(super) fn may_have_input(&self) -> bool {
        self.readable || self.partial.is_undecoded()
    }

    /// Returns whether a visit without an event may read, deliver or release
    /// something.
    pub(super) fn has_kept_input(&self) -> bool {
        self.readable || !self.partial.is_empty()
    }

    /// Drops the received bytes that were not delivered.
    pub(super) fn discard_received(&mut self) {
        self.partial = PartialFrame::default();
        self.channel = None;
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
        half_of(&mut self.inbound, conn)
    }

    /// Returns whether no unread input of a connection is known. `false` for a
    /// connection of another shard.
    pub(super) fn is_silent(&self, conn: ConnId) -> bool {
        let inbound = self.inbound.get(conn.slot()).and_then(Option::as_ref);
        inbound.is_some_and(|inbound| inbound.id == conn && !inbound.readable)
    }

    /// Takes an inbound half out of its slot. The caller puts it back.
    pub(super) fn take_inbound(&mut self, conn: ConnId) -> Option<InboundHalf> {
        self.inbound
            .get_mut(conn.slot())?
            .take_if(|inbound| inbound.id == conn)
    }

    pub(super) fn put_inbound(&mut self, half: InboundHalf) {
        let slot = half.id.slot();
        if slot >= self.inbound.len() {
            self.inbound.resize_with(slot + 1, || None);
        }
        self.inbound[slot] = Some(half);
    }
}

/// Returns the inbound half of a connection, unless a visit holds it.
pub(super) fn half_of(slots: &mut [Option<InboundHalf>], conn: ConnId) -> Option<&mut InboundHalf> {
    slots
        .get_mut(conn.slot())?
        .as_mut()
        .filter(|half| half.id == conn)
}

impl<H> EventLoop<'_, H> {
    /// Registers a socket with the poller. Returns its inbound half, which the
    /// caller puts into its slot.
    pub(super) fn register(
        &mut self,
        conn: ConnId,
        mut stream: Stream,
        codec: Codec,
    ) -> io::Result<InboundHalf> {
        self.net.registrar.add_stream(&mut stream, conn.token())?;
        let mut change = None;
        if let Some(entry) = self.net.conns.get_mut(conn) {
            entry.stream = Some(stream);
            // The framing may have changed before there was an inbound half.
            change = entry.take_pending_change();
        }
        let mut half = InboundHalf {
            id: conn,
            codec,
            partial: PartialFrame::default(),
            channel: None,
            readable: false,
            writable: false,
            read_closed_seen: false,
            scheduled: false,
            reads_little: false,
            has_received: false,
            is_charged: false,
            was_overdue: false,
        };
        half.apply(change.unwrap_or_default());
        Ok(half)
    }
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::InboundHalf;

    #[test]
    fn each_connection_has_80_bytes_of_it() {
        assert_eq!(size_of::<Option<InboundHalf>>(), 80);
    }
}
