//! Sending messages up to the send queue. The event loop writes the queues.

use super::body::{Body, BodyKind};
use super::{Net, PendingSend, UrgentWork};
use crate::buffers::{BlockPool, EMPTY_QUEUE, TRACKED_OVERHEAD};
use crate::config::{OnFull, OnPanic};
use crate::connection::{ConnEntry, Ending};
use crate::cross_shard::ConnCommand;
use crate::error::{DisconnectReason, FramingError, SendError};
use crate::framing::Codec;
use crate::id::ConnId;
use crate::panics::contain;

impl Net {
    /// Queues one message for `conn`.
    ///
    /// The queued messages of a connection are written together at the end of
    /// the turn, up to [`write_bytes`](crate::config::TurnBudget::write_bytes)
    /// per turn.
    ///
    /// `Ok` means that the message is queued, after all earlier messages. It
    /// does not mean that the peer has received it, because TCP does not report
    /// that.
    ///
    /// A message is accepted as long as these limits have room:
    ///
    /// - [`max_bytes`](crate::config::SendQueueConfig::max_bytes) of the
    ///   connection. An empty queue accepts a message that is longer, up to
    ///   [`max_message_len`](crate::config::ConnectionConfig::max_message_len).
    /// - [`loop_send_bytes`](crate::config::Limits::loop_send_bytes) of the
    ///   loop.
    ///
    /// Call [`Net::is_writable`] before sending to keep the queue below its
    /// high watermark. A body of 16 KiB or more that is owned ([`Bytes`], `Vec`
    /// or `String`) is not copied. A body that is sent several times is counted
    /// each time. [`Net::broadcast`] counts it once.
    ///
    /// For a connection of another [shard](crate::shards), `Ok` means that the
    /// message was passed to that shard, which will try to queue it.
    ///
    /// [`Bytes`]: crate::Bytes
    ///
    /// # Errors
    ///
    /// After an error the message is not queued.
    ///
    /// - [`SendError::Closed`] if `conn` is unknown, not open yet, closing or
    ///   closed;
    /// - [`SendError::Full`] if the queue is full, or
    ///   [`loop_send_bytes`](crate::config::Limits::loop_send_bytes) has no
    ///   room for the message. [`Handler::on_drain`](crate::Handler::on_drain)
    ///   is called when there is room again. With [`OnFull::Disconnect`], a
    ///   message that does not fit into `max_bytes` ends the connection;
    /// - [`SendError::TooLarge`] if the body is longer than `max_message_len`
    ///   or than the length prefix can represent;
    /// - [`SendError::Unframable`] if the framing cannot represent the body.
    ///
    /// # Examples
    ///
    /// ```
    /// use peerloop::{ConnId, Handler, Net, SendError};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         match net.send(conn, message) {
    ///             Ok(()) => {}
    ///             Err(SendError::Full) => net.close(conn), // the peer does not read
    ///             Err(error) => eprintln!("{conn}: {error}"),
    ///         }
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn send<'a>(&mut self, conn: ConnId, body: impl Into<Body<'a>>) -> Result<(), SendError> {
        let body = body.into();
        let BodyKind::Slice(slice) = body.0 else {
            return self.send_body(conn, body);
        };
        match self.try_send_fast(conn, slice) {
            Some(()) => Ok(()),
            None => self.send_slice(conn, slice),
        }
    }

    /// Sends on the fast path: default framing, a queue that is not empty, and
    /// no limit nearby. Returns `None` if the general path is needed. The
    /// result is the same, with fewer instructions.
    #[inline]
    pub(super) fn try_send_fast(&mut self, conn: ConnId, body: &[u8]) -> Option<()> {
        let entry = self.conns.get_mut(conn)?;
        if body.len() >= entry.fast_path_end() {
            return None;
        }
        // A connection with a queue is already dirty or blocked.
        let queue = entry.queue.as_mut()?;
        let need = 4 + body.len();
        if queue.cost() + need >= entry.config.send_queue.high_bytes {
            return None;
        }
        // The message is copied into memory that the queue already has, so
        // nothing is charged.
        queue.push_fast(body)?;
        entry.traffic.messages_sent += 1;
        entry.traffic.bytes_sent += need as u64;
        Some(())
    }

    fn send_slice(&mut self, conn: ConnId, body: &[u8]) -> Result<(), SendError> {
        self.enqueue(conn, Body(BodyKind::Slice(body)), None)
    }

    #[inline(never)]
    fn send_body(&mut self, conn: ConnId, body: Body<'_>) -> Result<(), SendError> {
        self.enqueue(conn, body, None)
    }

    /// Queues one message as [`Net::send`] does, and then closes the connection
    /// as [`Net::close`] does. The message is sent before the end of the
    /// stream.
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::send`]. The connection is not closed then.
    pub fn send_and_close<'a>(
        &mut self,
        conn: ConnId,
        body: impl Into<Body<'a>>,
    ) -> Result<(), SendError> {
        self.send(conn, body)?;
        self.close(conn);
        Ok(())
    }

    /// Queues one message as [`Net::send`] does, and reports its outcome.
    ///
    /// [`Handler::on_sent`](crate::Handler::on_sent) is called with `token`
    /// exactly once: when the kernel has taken the whole message, or when the
    /// message is lost. `token` can be any number.
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::send`]. No callback follows then;
    /// - [`SendError::Closed`] for a connection of another
    ///   [shard](crate::shards).
    pub fn send_tracked<'a>(
        &mut self,
        conn: ConnId,
        body: impl Into<Body<'a>>,
        token: u64,
    ) -> Result<(), SendError> {
        self.enqueue(conn, body.into(), Some(token))
    }

    /// Writes the queue of `conn` when the current callback returns, instead of
    /// at the end of the turn. This lowers the latency of the message and costs
    /// one more system call. A no-op if nothing is queued or the id is stale.
    pub fn flush(&mut self, conn: ConnId) {
        match self.conns.get(conn) {
            Some(entry) if entry.dirty => {
                self.work.urgent.push(UrgentWork::Flush(conn));
                self.interrupt();
            }
            Some(_) => {}
            None => self.forward_command(conn, ConnCommand::Flush),
        }
    }

    /// This is always inlined, so that each caller contains only the code for
    /// its kind of body.
    #[inline(always)]
    pub(super) fn enqueue(
        &mut self,
        conn: ConnId,
        body: Body<'_>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        let Some(entry) = self.conns.get_mut(conn).filter(|entry| entry.can_send()) else {
            return self.send_remote(conn, body, token);
        };
        let header = body.header(&entry.codec, entry.config.max_message_len)?;
        let end = entry.codec.tail();
        let need = header.len() + body.len() + end.as_slice().len();
        // A frame of a custom framer is always queued, because the state of the
        // framer includes it.
        if !matches!(body.0, BodyKind::Encoded(_)) {
            if !entry.has_room(need) {
                return self.refuse_full(conn);
            }
            let send = pending_send(entry, &body, need, token.is_some(), &self.pool);
            if !self.send_quota.admits(&send, &self.pool.account) {
                return self.refuse_for_quota(conn, need);
            }
            if let Codec::Custom(_) = entry.codec {
                return self.enqueue_custom(conn, &body, token);
            }
        }
        let queue = entry.queue.get_or_insert_with(|| self.pool.take_queue());
        body.push(queue, &header, end, &mut self.pool);
        if let Some(token) = token {
            queue.track(token, &mut self.pool);
            self.metrics.sends_tracked += 1;
        }
        entry.traffic.messages_sent += 1;
        entry.traffic.bytes_sent += need as u64;
        if queue.cost() >= entry.config.send_queue.high_bytes {
            entry.request_drain();
        }
        if entry.accounts_sends {
            entry.charge_session(entry.session_growth(0), &mut self.pool.account);
            entry.note_queued_frame(need);
        }
        if !entry.dirty && !entry.blocked {
            entry.dirty = true;
            self.work.dirty.push(conn);
        }
        Ok(())
    }

    /// Queues the frame that a custom framer encodes in reused memory.
    fn enqueue_custom(
        &mut self,
        conn: ConnId,
        body: &Body<'_>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        let result = self
            .encode(conn, &body.to_bytes(), &mut frame)
            .and_then(|()| self.enqueue(conn, Body(BodyKind::Encoded(&frame)), token));
        if frame.capacity() <= SCRATCH_KEPT {
            self.scratch = frame;
        }
        result
    }

    fn encode(&mut self, conn: ConnId, body: &[u8], frame: &mut Vec<u8>) -> Result<(), SendError> {
        let on_panic = self.config.on_panic;
        let entry = self.conns.get_mut(conn).ok_or(SendError::Closed)?;
        let Codec::Custom(framer) = &mut entry.codec else {
            return Err(SendError::Unframable);
        };
        let mut encode = || framer.encode(body, frame);
        let encoded = match on_panic {
            OnPanic::Unwind => Some(encode()),
            // The panic is contained here and not with the callback, because
            // the sender may be a callback for another connection, or another
            // thread. The framer is not called again.
            OnPanic::Contain => contain(encode),
        };
        let Some(encoded) = encoded else {
            self.end_after_panic("a framer's `encode`", conn);
            return Err(SendError::Closed);
        };
        encoded.map_err(|error| match error {
            FramingError::TooLarge { .. } => SendError::TooLarge,
            FramingError::Malformed(_) => SendError::Unframable,
        })?;
        if frame.is_empty() {
            Err(SendError::Unframable)
        } else {
            Ok(())
        }
    }

    /// Counts a send that was refused because the connection's queue is full.
    #[cold]
    fn refuse_full(&mut self, conn: ConnId) -> Result<(), SendError> {
        self.metrics.sends_refused += 1;
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.request_drain();
            if entry.config.send_queue.on_full == OnFull::Disconnect {
                self.end_connection(conn, Ending::Disconnected(DisconnectReason::SendQueueFull));
            }
        }
        Err(SendError::Full)
    }

    /// Counts a send that was refused because of the loop's limit. The
    /// connection waits in a line for a drain.
    #[cold]
    fn refuse_for_quota(&mut self, conn: ConnId, frame: usize) -> Result<(), SendError> {
        self.metrics.sends_refused += 1;
        if let Some(entry) = self.conns.get_mut(conn) {
            if entry.wait_for_quota(frame) {
                self.send_quota.join_line(conn);
            }
        }
        Err(SendError::Full)
    }
}

/// Returns the description of a message for the loop's limit.
#[inline(always)]
pub(super) fn pending_send(
    entry: &ConnEntry,
    body: &Body<'_>,
    frame: usize,
    is_tracked: bool,
    pool: &BlockPool,
) -> PendingSend {
    let queue = entry.queue.as_deref().unwrap_or(&EMPTY_QUEUE);
    let mut growth = body.growth(queue, frame, pool);
    growth.add_charged(if is_tracked { TRACKED_OVERHEAD } else { 0 });
    growth.add_charged(entry.session_growth(growth.memory));
    PendingSend {
        frame,
        growth,
        memory: entry.send_memory(),
        is_empty: queue.is_empty(),
        has_turn: entry.has_turn,
    }
}

/// Maximum capacity in bytes of the memory for custom framers that is kept for
/// reuse.
const SCRATCH_KEPT: usize = 64 * 1024;
