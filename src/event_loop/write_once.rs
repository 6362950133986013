//! One write call, and the outcome of a flush.

use std::io::{self, IoSlice};

use crate::connection::{ConnEntry, TrafficFlow};
use crate::error::{DisconnectReason, SessionError};
use crate::metrics::Metrics;
use crate::sys::{Registrar, Stream};

/// Outcome of the flush of one connection.
pub(super) enum Flushed {
    /// The queue is empty.
    All,
    /// The socket is full. An edge is reported when it has room.
    Blocked,
    /// The budget is used up. The socket may have room.
    OverBudget,
    Failed(DisconnectReason),
    /// Sealing failed.
    SealFailed(SessionError),
}

/// One write call that the socket did not refuse.
pub(super) struct Write {
    /// Zero if the call was interrupted.
    pub(super) written: usize,
    /// The call shows that the socket is full, so that the next one would
    /// return `WouldBlock`.
    pub(super) is_socket_full: bool,
}

/// Makes one write call for `offered` bytes.
#[inline(always)]
pub(super) fn write_once(
    stream: &mut Stream,
    slices: &[IoSlice<'_>],
    offered: usize,
    metrics: &mut Metrics,
) -> Result<Write, Flushed> {
    let mut write = Write {
        written: 0,
        is_socket_full: false,
    };
    match stream.write(slices) {
        Ok(0) => {
            let error = io::ErrorKind::WriteZero.into();
            Err(Flushed::Failed(DisconnectReason::Io(error)))
        }
        Ok(written) => {
            write.written = written;
            if written < offered {
                metrics.partial_writes += 1;
                // Where a short write shows that the socket is full, it saves
                // the write that would return `WouldBlock`. On other platforms
                // only that write re-arms the event.
                write.is_socket_full = stream.short_write_is_full();
            }
            Ok(write)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Flushed::Blocked),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(write),
        Err(error) => Err(Flushed::Failed(DisconnectReason::from_io(&error))),
    }
}

/// Makes the room of a full socket an event. A connection that waits for tokens
/// is written when it has them.
pub(super) fn watch_room(entry: &mut ConnEntry, registrar: &Registrar) {
    if entry.awaits_tokens(TrafficFlow::Send) {
        return;
    }
    let token = entry.id().token();
    let watched = entry
        .stream
        .as_mut()
        .map(|stream| registrar.watch_room(stream, token));
    if let Some(Err(error)) = watched {
        entry.note_write_failure(DisconnectReason::from_io(&error));
    }
}
