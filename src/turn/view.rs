//! What the checks of a simulated world look at.

use super::Core;
use crate::id::ConnId;

/// The inbound half of a simulated connection, as far as its world's checks need it.
pub(crate) struct InboundView {
    pub(crate) socket: crate::network::sim::SocketId,
    /// Bytes of messages that are not delivered yet.
    pub(crate) stashed: usize,
    /// No session had its hands on the bytes of the wire.
    pub(crate) is_plain: bool,
    /// None has any more.
    pub(crate) is_transparent: bool,
}

impl Core {
    pub(crate) fn view(&self, conn: ConnId) -> Option<InboundView> {
        let inbound = self.inbound.get(conn.slot())?.as_ref()?;
        let socket = inbound.stream.sim_id().filter(|_| inbound.id == conn)?;
        let stashed = inbound.stash.len();
        Some(InboundView {
            socket,
            stashed,
            is_plain: !inbound.had_session,
            is_transparent: inbound.secure.is_none(),
        })
    }

    /// Tracked sends that were written and not answered yet.
    pub(crate) fn answers_owed(&self) -> usize {
        self.sent.len()
    }
}
