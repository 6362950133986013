//! Delivering messages, from plain and from decrypted bytes.

use super::{EventLoop, InboundHalf, LoopState, call_handler};
use crate::config::OnFramingError;
use crate::connection::{Ending, Lifecycle};
use crate::error::{DisconnectReason, FramingError};
use crate::framing::{Flow, Outcome};
use crate::handler::Handler;
use crate::id::ConnId;
use crate::mutants::mutant;
use crate::net::Net;

/// Reason why a delivery ended.
enum Delivered {
    /// The rest is not a complete frame.
    Incomplete {
        need: usize,
    },
    /// The connection was paused, or the tokens or the time of the visit are
    /// used up. The rest may contain complete frames.
    Interrupted,
    /// The connection is no longer open. The rest is discarded.
    Discarded,
    Malformed(FramingError),
}

/// Bytes to deliver.
#[derive(Clone, Copy)]
struct ReceivedBytes<'a> {
    bytes: &'a [u8],
    /// Number of bytes from which decoding can continue. Zero if unknown.
    need: usize,
}

impl<H: Handler> EventLoop<'_, H> {
    /// Returns whether messages of this connection may be delivered now.
    pub(super) fn wants_messages(&self, conn: ConnId) -> bool {
        wants_messages(self.net, conn)
    }

    /// Delivers messages that an interrupted batch left. Returns the number of
    /// bytes that were delivered, or `None` if the connection has ended.
    pub(super) fn deliver_kept(&mut self, half: &mut InboundHalf) -> Option<usize> {
        if half.partial.is_undecoded() && self.wants_messages(half.id) {
            let result = deliver_partial(self.state, self.net, self.handler, half);
            if let Ok(0) = result {
                // The maximum or the framing has changed, and no byte arrived.
                return Some(0);
            }
            return self.note_delivery(half, result);
        }
        Some(0)
    }

    /// Passes the bytes of a read to the framing.
    pub(super) fn deliver_received(&mut self, half: &mut InboundHalf, count: usize) {
        let bytes = self.buffer.filled(count);
        let result = feed(self.state, self.net, self.handler, half, bytes);
        self.note_delivery(half, result);
    }

    /// Passes decrypted bytes to the framing.
    pub(super) fn deliver_plaintext(&mut self, half: &mut InboundHalf, plaintext: &[u8]) {
        let result = feed(self.state, self.net, self.handler, half, plaintext);
        self.note_delivery(half, result);
    }

    /// Records the number of delivered bytes for the timeouts, and returns it.
    /// Ends the connection if a frame was malformed.
    fn note_delivery(
        &mut self,
        half: &InboundHalf,
        delivered: Result<usize, FramingError>,
    ) -> Option<usize> {
        match delivered {
            Ok(delivered) => self.note_read(half, delivered),
            Err(error) => self.end_malformed(half.id, error.into()),
        }
        delivered.ok()
    }

    /// Records a read for the timeouts.
    pub(super) fn note_read(&mut self, half: &InboundHalf, delivered: usize) {
        let now = self.net.timestamp();
        let Some(entry) = self.net.conns.get_mut(half.id) else {
            return;
        };
        entry.note_read(delivered as u64, half.partial_len(), now);
        if entry.is_armed_too_late(now) {
            self.net.arm_deadline(half.id);
        }
    }

    /// Ends a connection whose peer sent a malformed frame, or closes it after
    /// its queue is written.
    fn end_malformed(&mut self, conn: ConnId, reason: DisconnectReason) {
        log::debug!(target: "peerloop", "{}: {conn}: {reason}", self.net.config.name);
        // After a write failure nothing can be written.
        let closes = self.net.conns.get(conn).is_some_and(|entry| {
            let policy = entry.config.on_framing_error;
            policy == OnFramingError::Close && entry.write_failure().is_none()
        });
        if closes {
            self.net.start_closing(conn, reason);
        } else {
            self.net.end_connection(conn, Ending::Disconnected(reason));
        }
    }
}

fn wants_messages(net: &Net, conn: ConnId) -> bool {
    net.conns
        .get(conn)
        .is_some_and(|entry| entry.lifecycle() == Lifecycle::Open && !entry.is_delivery_stopped)
}

/// Delivers the messages in new bytes, and keeps the rest. Returns the number
/// of bytes that were delivered.
///
/// An incomplete frame is completed first. Only its missing part is copied:
///
/// ```text
///   partial   ├── kept ──┼─ missing ─┤
///   bytes                 ├─ missing ─┼── delivered in place ──┼─ kept ─┤
/// ```
fn feed<H: Handler>(
    state: &mut LoopState,
    net: &mut Net,
    handler: &mut H,
    half: &mut InboundHalf,
    bytes: &[u8],
) -> Result<usize, FramingError> {
    let entry = net.conns.get(half.id);
    let Some(entry) = entry.filter(|entry| entry.lifecycle() == Lifecycle::Open) else {
        return Ok(0);
    };
    if entry.is_delivery_stopped {
        half.partial.append(bytes);
        return Ok(0);
    }
    let mut max = entry.config.max_message_len;
    if half.partial.is_undecoded() {
        half.partial.append(bytes);
        return deliver_partial(state, net, handler, half);
    }
    let (mut rest, mut total) = (bytes, 0);
    while !half.partial.is_empty() && !rest.is_empty() {
        let before = half.partial.len();
        let taken = half.partial.wanted().min(rest.len());
        half.partial.append(&rest[..taken]);
        if !half.partial.is_undecoded() {
            return Ok(total);
        }
        let partial = std::mem::take(&mut half.partial);
        let source = ReceivedBytes {
            bytes: partial.as_slice(),
            need: partial.need(),
        };
        let (consumed, outcome) = deliver(state, net, handler, half, source, &mut max);
        match outcome {
            Delivered::Incomplete { need } if consumed == 0 => {
                half.partial = partial;
                half.partial.set_need(need);
                rest = &rest[taken..];
                continue;
            }
            Delivered::Malformed(error) => return Err(error),
            _ => {}
        }
        // The first frame contained all kept bytes. `rest` still begins with
        // the copied part.
        let is_decoded = taken == rest.len();
        total += consumed;
        let Some(delivered) = consumed.checked_sub(before) else {
            return Err(FramingError::Malformed(
                "a frame in bytes that were incomplete",
            ));
        };
        rest = &rest[delivered..];
        if is_decoded || !matches!(outcome, Delivered::Incomplete { .. }) {
            return keep_rest(half, rest, outcome).map(|()| total);
        }
    }
    if rest.is_empty() {
        return Ok(total);
    }
    let source = ReceivedBytes {
        bytes: rest,
        need: 0,
    };
    let (consumed, outcome) = deliver(state, net, handler, half, source, &mut max);
    keep_rest(half, &rest[consumed..], outcome)?;
    Ok(total + consumed)
}

/// Delivers the messages in the kept bytes, in place.
fn deliver_partial<H: Handler>(
    state: &mut LoopState,
    net: &mut Net,
    handler: &mut H,
    half: &mut InboundHalf,
) -> Result<usize, FramingError> {
    let entry = net.conns.get(half.id);
    let mut max = entry.map_or(0, |entry| entry.config.max_message_len);
    let mut partial = std::mem::take(&mut half.partial);
    let source = ReceivedBytes {
        bytes: partial.as_slice(),
        need: partial.need(),
    };
    let (consumed, outcome) = deliver(state, net, handler, half, source, &mut max);
    match outcome {
        Delivered::Incomplete { need } => partial.consume(consumed, need),
        Delivered::Interrupted => {
            half.reads_little = true;
            mutant!(DeliverTwice => half.partial = partial; return Ok(consumed));
            partial.skip(consumed);
        }
        Delivered::Discarded => return Ok(consumed),
        Delivered::Malformed(error) => return Err(error),
    }
    half.partial = partial;
    Ok(consumed)
}

/// Keeps the bytes that a batch left.
fn keep_rest(half: &mut InboundHalf, rest: &[u8], outcome: Delivered) -> Result<(), FramingError> {
    half.reads_little = false;
    match outcome {
        Delivered::Incomplete { need } => half.partial.replace(rest, need),
        Delivered::Interrupted => {
            half.reads_little = true;
            half.partial.replace(rest, 0);
        }
        Delivered::Discarded => {}
        Delivered::Malformed(error) => return Err(error),
    }
    Ok(())
}

/// Delivers the messages at the start of `source` until the handler or the time
/// of the visit interrupts. Returns the number of bytes that were delivered.
/// `max` is the maximum length of a message, which the handler may change.
fn deliver<H: Handler>(
    state: &mut LoopState,
    net: &mut Net,
    handler: &mut H,
    half: &mut InboundHalf,
    source: ReceivedBytes<'_>,
    max: &mut usize,
) -> (usize, Delivered) {
    let conn = half.id;
    let ReceivedBytes { bytes, mut need } = source;
    let mut consumed = 0;
    loop {
        net.begin_batch(conn);
        let codec = &mut half.codec;
        // One guarded call covers the whole batch, because a panic guard for
        // each message would cost more.
        let batch = call_handler(net, handler, "on_message", Some(conn), |handler, net| {
            codec.decode(&bytes[consumed..], need, *max, |message, end| {
                net.work.batch.messages += 1;
                net.work.batch.bytes = end;
                handler.on_message(net, conn, message);
                mutant!(DeliverAfterClose => net.work.batch.ask_at = u64::MAX);
                if net.work.batch.messages >= net.work.batch.ask_at && net.is_batch_over() {
                    Flow::Stop
                } else {
                    Flow::Continue
                }
            })
        });
        net.end_batch();
        // The panic has ended the connection.
        let Some(batch) = batch else {
            state.flush_urgent(net, Some(half));
            return (bytes.len(), Delivered::Discarded);
        };
        consumed += batch.consumed;
        match batch.outcome {
            Outcome::Incomplete { need } => return (consumed, Delivered::Incomplete { need }),
            Outcome::Bad(error) => return (consumed, Delivered::Malformed(error)),
            Outcome::Stopped => {}
        }
        state.flush_urgent(net, Some(half));
        match net.conns.get(conn) {
            Some(entry) if entry.lifecycle() == Lifecycle::Open => {
                if entry.is_delivery_stopped || net.visit.is_over {
                    return (consumed, Delivered::Interrupted);
                }
                // The batch was interrupted only for a flush or a change.
                need = 0;
                *max = entry.config.max_message_len;
            }
            // The handler closed the connection.
            _ => return (bytes.len(), Delivered::Discarded),
        }
    }
}
