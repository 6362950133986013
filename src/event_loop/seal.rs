//! From a queue through the session to the socket.

use std::io::{self, IoSlice};

use super::InboundHalf;
use super::write::Flushed;
use crate::buffers::BlockPool;
use crate::connection::ConnEntry;
use crate::error::{DisconnectReason, SessionError};
use crate::metrics::Metrics;
use crate::session::SessionChannel;
use crate::sys::Stream;

/// Writes until nothing is left to seal and to say, the socket is full, or the budget is used up.
pub(super) fn write_sealed(
    entry: &mut ConnEntry,
    inbound: &mut InboundHalf,
    budget: usize,
    metrics: &mut Metrics,
    pool: &mut BlockPool,
) -> Flushed {
    let InboundHalf { secure, stream, .. } = inbound;
    let Some(secure) = secure else {
        return Flushed::All;
    };
    let mut budget = budget;
    let flushed = loop {
        match write_out(entry, secure, stream, &mut budget, metrics) {
            Flushed::All => secure.settle(entry.queue.as_deref_mut(), pool),
            other => break other,
        }
        match prepare(entry, secure, pool) {
            Ok(true) => {}
            Ok(false) => break Flushed::All,
            Err(error) => break Flushed::Unsealed(error),
        }
    };
    entry.session_has_output = !secure.unwritten().is_empty();
    flushed
}

/// Writes what has been sealed already.
fn write_out(
    entry: &mut ConnEntry,
    secure: &mut SessionChannel,
    stream: &mut Stream,
    budget: &mut usize,
    metrics: &mut Metrics,
) -> Flushed {
    while !secure.unwritten().is_empty() {
        if *budget == 0 {
            return Flushed::Budget;
        }
        let bytes = secure.unwritten();
        let offered = bytes.len().min(*budget);
        match stream.write(&[IoSlice::new(&bytes[..offered])]) {
            Ok(0) => return Flushed::Failed(DisconnectReason::Io(io::ErrorKind::WriteZero)),
            Ok(written) => {
                metrics.partial_writes += u64::from(written < offered);
                entry.written += written as u32;
                *budget -= written;
                secure.advance(written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Flushed::Failed(DisconnectReason::from_io(&error)),
        }
    }
    Flushed::All
}

/// Has the session prepare what comes next; whether there is anything.
fn prepare(
    entry: &ConnEntry,
    secure: &mut SessionChannel,
    pool: &mut BlockPool,
) -> Result<bool, SessionError> {
    if secure.has_failed() || entry.is_unopened() {
        return Ok(false);
    }
    match &entry.queue {
        Some(queue) if !queue.is_empty() => secure.seal(queue, pool)?,
        _ if entry.is_last_flush() => secure.say_goodbye(),
        _ => {}
    }
    Ok(!secure.unwritten().is_empty())
}
