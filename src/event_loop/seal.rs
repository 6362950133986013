//! Writing connections with a session.

use std::io::IoSlice;

use super::InboundHalf;
use super::write_once::{Flushed, write_once};
use crate::buffers::BlockPool;
use crate::connection::ConnEntry;
use crate::error::SessionError;
use crate::metrics::Metrics;
use crate::session::SessionChannel;

/// Seals and writes until the queue and the session's output are empty, the
/// socket is full, or the budget is used up.
pub(super) fn write_sealed(
    entry: &mut ConnEntry,
    inbound: &mut InboundHalf,
    budget: usize,
    metrics: &mut Metrics,
    pool: &mut BlockPool,
) -> Flushed {
    let Some(channel) = &mut inbound.channel else {
        return Flushed::All;
    };
    let mut budget = budget;
    let flushed = loop {
        match write_sealed_bytes(entry, channel, &mut budget, metrics) {
            Flushed::All => channel.settle(entry.queue.as_deref_mut(), pool),
            other => break other,
        }
        match seal_next(entry, channel, pool) {
            Ok(true) => {}
            Ok(false) => break Flushed::All,
            Err(error) => break Flushed::SealFailed(error),
        }
    };
    if matches!(flushed, Flushed::Blocked) {
        channel.shrink_output();
    }
    entry.session_has_output = !channel.unwritten().is_empty();
    flushed
}

/// Writes the session's output.
fn write_sealed_bytes(
    entry: &mut ConnEntry,
    channel: &mut SessionChannel,
    budget: &mut usize,
    metrics: &mut Metrics,
) -> Flushed {
    let Some(stream) = &mut entry.stream else {
        return Flushed::Blocked;
    };
    while !channel.unwritten().is_empty() {
        if *budget == 0 {
            return Flushed::OverBudget;
        }
        let bytes = channel.unwritten();
        let offered = bytes.len().min(*budget);
        let slices = [IoSlice::new(&bytes[..offered])];
        match write_once(stream, &slices, offered, metrics) {
            Ok(write) => {
                entry.written += write.written as u32;
                *budget -= write.written;
                channel.advance(write.written);
                if write.is_socket_full {
                    return Flushed::Blocked;
                }
            }
            Err(stopped) => return stopped,
        }
    }
    Flushed::All
}

/// Lets the session seal the next batch or append its close notification.
/// Returns whether there is anything to write.
fn seal_next(
    entry: &mut ConnEntry,
    channel: &mut SessionChannel,
    pool: &mut BlockPool,
) -> Result<bool, SessionError> {
    if channel.has_failed() || entry.is_unopened() {
        return Ok(false);
    }
    let sealable = entry.sealable();
    match &entry.queue {
        Some(queue) if !queue.is_empty() => {
            if sealable == 0 {
                return Ok(false);
            }
            channel.seal(queue, sealable, pool)?;
            entry.note_sealed(channel.batch());
        }
        _ if entry.is_last_flush() => channel.close_notify(),
        _ => {}
    }
    Ok(!channel.unwritten().is_empty())
}
