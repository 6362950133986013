//! Access for the checks of the simulator.

use super::LoopState;
use crate::id::ConnId;
use crate::net::Net;
use crate::session::REPLIES_MAX;

/// The inbound half of a simulated connection, for the checks.
pub(crate) struct InboundInspection<'a> {
    pub(crate) socket: crate::sys::sim::SocketId,
    /// Received bytes that were not delivered.
    pub(crate) partial: &'a [u8],
    /// `partial` may contain a complete message that was not decoded.
    pub(crate) is_unseen: bool,
    /// Number of queued bytes that the session has sealed. `None` without a
    /// session.
    pub(crate) batch: Option<usize>,
    /// Reading waits until the answers of the session have been written.
    pub(crate) is_held: bool,
}

impl LoopState {
    pub(crate) fn view(&self, net: &Net, conn: ConnId) -> Option<InboundInspection<'_>> {
        let inbound = self.inbound.get(conn.slot())?.as_ref()?;
        let socket = net.stream(conn)?.sim_id().filter(|_| inbound.id == conn)?;
        let channel = inbound.channel.as_ref();
        Some(InboundInspection {
            socket,
            partial: inbound.partial.as_slice(),
            is_unseen: inbound.partial.is_undecoded(),
            batch: channel.map(|channel| channel.batch()),
            is_held: channel.is_some_and(|channel| channel.answers() > REPLIES_MAX),
        })
    }

    /// Returns the tracked sends that were written and not reported, in their
    /// order.
    pub(crate) fn answers_owed(&self) -> impl Iterator<Item = (ConnId, u64)> + '_ {
        self.lists.sent.iter().copied()
    }
}
