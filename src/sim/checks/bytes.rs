//! Bytes in order, none twice and none lost.

use crate::connection::{ConnEntry, Lifecycle};
use crate::event_loop::InboundInspection;
use crate::id::ConnId;
use crate::sys::sim::Passed;

/// What was accepted for sending is queued, or on the wire, or sealed; nothing else is, but what a session said.
pub(super) fn check_sent(
    conn: ConnId,
    entry: &ConnEntry,
    inbound: &InboundInspection<'_>,
    written: u64,
    passed: Passed,
) -> Result<(), String> {
    if !entry.is_live() || entry.sealing_failed {
        return Ok(());
    }
    let (accepted, queued) = (entry.traffic.bytes_sent, entry.queued() as u64);
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
    entry: &ConnEntry,
    inbound: &InboundInspection<'_>,
    undelivered: &[u8],
    passed: Passed,
) -> Result<(), String> {
    if entry.lifecycle() != Lifecycle::Open {
        return Ok(());
    }
    let (counted, kept) = (entry.traffic.bytes_received, inbound.partial.len());
    if counted != passed.delivered || kept != undelivered.len() {
        let (delivered, left) = (passed.delivered, undelivered.len());
        return Err(format!(
            "{conn}: {delivered} bytes delivered and {left} not, but {counted} counted and {kept} kept"
        ));
    }
    if inbound.partial != undelivered {
        return Err(format!("{conn}: what is kept is not what has arrived"));
    }
    Ok(())
}
