//! Bytes in order, none twice and none lost.

use crate::id::ConnId;
use crate::network::sim::Passed;
use crate::peer::{Peer, State};
use crate::turn::InboundView;

/// What was accepted for sending is queued, or on the wire, or sealed; nothing else is, but what a session said.
pub(super) fn check_sent(
    conn: ConnId,
    peer: &Peer,
    inbound: &InboundView<'_>,
    written: u64,
    passed: Passed,
) -> Result<(), String> {
    if !peer.is_live() || peer.sealed_off {
        return Ok(());
    }
    let (accepted, queued) = (peer.traffic.bytes_sent, peer.queued() as u64);
    let is_exact = match inbound.batch {
        None => accepted + passed.said == written + queued,
        Some(batch) => accepted + batch as u64 == passed.sealed + queued && written <= passed.said,
    };
    if is_exact {
        return Ok(());
    }
    Err(format!(
        "{conn}: {accepted} bytes accepted for sending, but {written} written, {queued} queued, {passed:?}"
    ))
}

/// What came out of the wire or the session was delivered, each message once and in order, and the rest of it is kept.
pub(super) fn check_received(
    conn: ConnId,
    peer: &Peer,
    inbound: &InboundView<'_>,
    undelivered: &[u8],
    passed: Passed,
) -> Result<(), String> {
    if peer.inner_state() != State::Open {
        return Ok(());
    }
    let (counted, kept) = (peer.traffic.bytes_received, inbound.stash.len());
    if counted != passed.delivered || kept != undelivered.len() {
        let (delivered, left) = (passed.delivered, undelivered.len());
        return Err(format!(
            "{conn}: {delivered} bytes delivered and {left} not, but {counted} counted and {kept} kept"
        ));
    }
    if inbound.stash != undelivered {
        return Err(format!("{conn}: what is kept is not what has arrived"));
    }
    Ok(())
}
