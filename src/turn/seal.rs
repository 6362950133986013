//! From a queue through the session to the socket.

use std::io::{self, IoSlice};

use super::Inbound;
use super::write::Flushed;
use crate::error::{DisconnectReason, SessionError};
use crate::network::Stream;
use crate::peer::Peer;
use crate::queue::Spares;
use crate::secure::Secure;
use crate::stats::Metrics;

/// Writes until nothing is left to seal and to say, the socket is full, or the budget is used up.
pub(super) fn write_sealed(
    peer: &mut Peer,
    inbound: &mut Inbound,
    budget: usize,
    metrics: &mut Metrics,
    spares: &mut Spares,
) -> Flushed {
    let Inbound { secure, stream, .. } = inbound;
    let Some(secure) = secure else {
        return Flushed::All;
    };
    let mut budget = budget;
    let flushed = loop {
        match write_out(peer, secure, stream, &mut budget, metrics) {
            Flushed::All => secure.settle(peer.queue.as_deref_mut(), spares),
            other => break other,
        }
        match prepare(peer, secure, spares) {
            Ok(true) => {}
            Ok(false) => break Flushed::All,
            Err(error) => break Flushed::Unsealed(error),
        }
    };
    peer.session_speaks = !secure.unwritten().is_empty();
    flushed
}

/// Writes what has been sealed already.
fn write_out(
    peer: &mut Peer,
    secure: &mut Secure,
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
                peer.written += written as u32;
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
fn prepare(peer: &Peer, secure: &mut Secure, spares: &mut Spares) -> Result<bool, SessionError> {
    if secure.has_failed() || peer.is_unheard() {
        return Ok(false);
    }
    match &peer.queue {
        Some(queue) if !queue.is_empty() => secure.seal(queue, spares)?,
        _ if peer.is_last_flush() => secure.say_goodbye(),
        _ => {}
    }
    Ok(!secure.unwritten().is_empty())
}
