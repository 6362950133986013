//! Sending messages up to the send queue. The event loop writes the queues.

use super::body::{Body, BodyKind};
use super::{Net, PendingSend, SendQuota, UrgentWork};
use crate::buffers::{BlockPool, EMPTY_QUEUE, TRACKED_OVERHEAD};
use crate::config::{OnFull, OnPanic};
use crate::connection::{ConnEntry, Ending};
use crate::cross_shard::ConnCommand;
use crate::error::{DisconnectReason, FramingError, SendError};
use crate::framing::{Codec, FrameHeader};
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
        match self.conns.get_mut(conn).and_then(|it| it.send_fast(slice)) {
            Some(()) => Ok(()),
            None => self.send_slice(conn, slice),
        }
    }

    pub(super) fn send_slice(&mut self, conn: ConnId, body: &[u8]) -> Result<(), SendError> {
        let Some(entry) = self.conns.get_mut(conn) else {
            return self.send_general(conn, body);
        };
        if !entry.takes_default_frame(body.len()) {
            return self.send_general(conn, body);
        }
        queue_copy(
            entry,
            body,
            &mut self.pool,
            &self.send_quota,
            &mut self.work.dirty,
        )
        .or_else(|refused| self.refuse(conn, refused))
    }

    #[inline(never)]
    fn send_general(&mut self, conn: ConnId, body: &[u8]) -> Result<(), SendError> {
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
        let is_encoded = matches!(body.0, BodyKind::Encoded(_));
        if !is_encoded && matches!(entry.codec, Codec::Custom(_)) {
            return self.enqueue_custom(conn, &body, token);
        }
        let header = body.header(&entry.codec, entry.config.max_message_len)?;
        let end = entry.codec.tail();
        let queued = queue_message(
            entry,
            (header, body, end),
            token,
            &mut self.pool,
            &self.send_quota,
            &mut self.work.dirty,
        );
        if let Err(refused) = queued {
            return self.refuse(conn, refused);
        }
        self.metrics.sends_tracked += u64::from(token.is_some());
        Ok(())
    }

    /// Queues the frame that a custom framer encodes in reused memory.
    fn enqueue_custom(
        &mut self,
        conn: ConnId,
        body: &Body<'_>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        let entry = self.conns.get(conn).ok_or(SendError::Closed)?;
        // Only the length of the body is known before it is encoded.
        body.header(&entry.codec, entry.config.max_message_len)?;
        let (len, is_tracked) = (body.len(), token.is_some());
        let checked = check_limits(entry, body, len, is_tracked, &self.pool, &self.send_quota);
        if let Err(refused) = checked {
            return self.refuse(conn, refused);
        }
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        let result = self
            .encode(conn, body.join(&mut Vec::new()), &mut frame)
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

    /// Counts a send that a connection has refused.
    #[cold]
    pub(super) fn refuse(&mut self, conn: ConnId, refused: Refused) -> Result<(), SendError> {
        let entry = self.conns.get_mut(conn);
        match (refused, entry) {
            (Refused::QueueFull, Some(entry)) => {
                entry.request_drain();
                if entry.config.send_queue.on_full == OnFull::Disconnect {
                    let reason = DisconnectReason::SendQueueFull;
                    self.end_connection(conn, Ending::Disconnected(reason));
                }
            }
            // The connection waits in a line for a drain.
            (Refused::Quota { frame }, Some(entry)) => {
                if entry.wait_for_quota(frame) {
                    self.send_quota.join_line(conn);
                }
            }
            (Refused::QueueFull | Refused::Quota { .. }, None) => {}
        }
        self.metrics.sends_refused += 1;
        Err(SendError::Full)
    }
}

/// The reason why a connection that is open for sending refuses a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refused {
    /// The limit of the connection has no room.
    QueueFull,
    /// The limit of the loop has no room for a frame of this length.
    Quota { frame: usize },
}

/// Checks the limits for a message with a frame of this length.
#[inline(always)]
fn check_limits(
    entry: &ConnEntry,
    body: &Body<'_>,
    frame: usize,
    is_tracked: bool,
    pool: &BlockPool,
    quota: &SendQuota,
) -> Result<(), Refused> {
    if !entry.has_room(frame) {
        return Err(Refused::QueueFull);
    }
    let send = pending_send(entry, body, frame, is_tracked, pool);
    if !quota.admits(&send, &pool.account) {
        return Err(Refused::Quota { frame });
    }
    Ok(())
}

/// Queues one message on a connection that is open for sending: its header, its
/// body, and the delimiter if the framing has one. Always inlined, as
/// [`Net::enqueue`] is.
#[inline(always)]
pub(super) fn queue_message(
    entry: &mut ConnEntry,
    (header, body, end): (FrameHeader, Body<'_>, Option<u8>),
    token: Option<u64>,
    pool: &mut BlockPool,
    quota: &SendQuota,
    dirty: &mut Vec<ConnId>,
) -> Result<(), Refused> {
    let frame = header.len() + body.len() + end.as_slice().len();
    // A frame of a custom framer is always queued, because the state of the
    // framer includes it.
    if !matches!(body.0, BodyKind::Encoded(_)) {
        check_limits(entry, &body, frame, token.is_some(), pool, quota)?;
    }
    let queue = entry.queue.get_or_insert_with(|| pool.take_queue());
    body.push(queue, &header, end, pool);
    if let Some(token) = token {
        queue.track(token, pool);
    }
    entry.traffic.messages_sent += 1;
    entry.traffic.bytes_sent += frame as u64;
    if queue.cost() >= entry.config.send_queue.high_bytes {
        entry.request_drain();
    }
    if entry.accounts_sends {
        entry.charge_session(entry.session_growth(0), &mut pool.account);
        entry.note_queued_frame(frame);
    }
    if !entry.dirty && !entry.blocked {
        entry.dirty = true;
        dirty.push(entry.id());
    }
    Ok(())
}

/// Copies a message to the queue of a connection for which
/// [`ConnEntry::takes_default_frame`] is true. The header is not chosen by the
/// framing, which saves 60 instructions.
#[inline(never)]
pub(super) fn queue_copy(
    entry: &mut ConnEntry,
    body: &[u8],
    pool: &mut BlockPool,
    quota: &SendQuota,
    dirty: &mut Vec<ConnId>,
) -> Result<(), Refused> {
    let header = Codec::default_header(body.len() as u32);
    let message = (header, Body(BodyKind::Slice(body)), None);
    queue_message(entry, message, None, pool, quota, dirty)
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
