//! What the checks of a simulated world look at.

use super::LoopState;
use crate::id::ConnId;
use crate::session::REPLIES_MAX;

/// The inbound half of a simulated connection, as far as its world's checks need it.
pub(crate) struct InboundInspection<'a> {
    pub(crate) socket: crate::sys::sim::SocketId,
    /// Bytes of messages that are not delivered yet.
    pub(crate) partial: &'a [u8],
    /// A whole message may be among them, that nobody has looked at.
    pub(crate) is_unseen: bool,
    /// Bytes that its session has sealed and that are still in the queue; `None` where none stands between any more.
    pub(crate) batch: Option<usize>,
    /// Its session has answered more than may wait, and has to be heard before more is received.
    pub(crate) is_held: bool,
}

impl LoopState {
    pub(crate) fn view(&self, conn: ConnId) -> Option<InboundInspection<'_>> {
        let inbound = self.inbound.get(conn.slot())?.as_ref()?;
        let socket = inbound.stream.sim_id().filter(|_| inbound.id == conn)?;
        let secure = inbound.secure.as_ref();
        Some(InboundInspection {
            socket,
            partial: inbound.partial.as_slice(),
            is_unseen: inbound.partial.len() >= inbound.partial.need().max(1),
            batch: secure.map(|secure| secure.batch()),
            is_held: secure.is_some_and(|secure| secure.answers() > REPLIES_MAX),
        })
    }

    /// Tracked sends that were written and not answered yet, in their order.
    pub(crate) fn answers_owed(&self) -> &[(ConnId, u64)] {
        &self.sent
    }
}
