//! Check that bytes arrive in order, each of them once.

use crate::connection::{ConnEntry, Lifecycle};
use crate::event_loop::InboundInspection;
use crate::id::ConnId;
use crate::sys::sim::PassedBytes;

/// Checks that the bytes that were accepted for sending are queued, written or
/// sealed, and that no other bytes except the session's own were written.
pub(super) fn check_sent(
    conn: ConnId,
    entry: &ConnEntry,
    inbound: &InboundInspection<'_>,
    written: u64,
    passed: PassedBytes,
) -> Result<(), String> {
    if !entry.is_live() || entry.sealing_failed {
        return Ok(());
    }
    let (accepted, queued) = (entry.traffic.bytes_sent, entry.queued_bytes() as u64);
    let is_exact = match inbound.batch {
        None => accepted + passed.wire == written + queued,
        Some(batch) => accepted + batch as u64 == passed.sealed + queued && written <= passed.wire,
    };
    if is_exact {
        return Ok(());
    }
    Err(format!(
        "{conn}: {accepted} bytes accepted for sending, but {written} written, {queued} queued, {passed:?}"
    ))
}

/// Checks that the bytes from the socket or the session were delivered, each
/// message once and in order, and that the rest is kept.
pub(super) fn check_received(
    conn: ConnId,
    entry: &ConnEntry,
    inbound: &InboundInspection<'_>,
    undelivered: &[u8],
    passed: PassedBytes,
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
        return Err(format!(
            "{conn}: the bytes kept differ from the bytes received"
        ));
    }
    Ok(())
}
