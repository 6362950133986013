//! Sending: everything up to the queue. Writing is the loop's.

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::Net;
use super::body::{Body, BodyKind};
use crate::config::{Overflow, Panics};
use crate::connection::Ending;
use crate::cross_shard::ConnCommand;
use crate::error::{DisconnectReason, FramingError, SendError};
use crate::framing::Codec;
use crate::id::ConnId;

impl Net {
    /// Queues one message for `conn`; it leaves at the end of this turn, together with what else is queued.
    ///
    /// The body is copied. `Ok` means queued, in order, and nothing more: TCP tells nobody what arrived. A queue takes
    /// up to [`Config::queue_max`](crate::Config::queue_max) bytes, overhead counted, and an empty one takes any legal
    /// message. To stay below the high watermark instead, ask [`Net::is_writable`] first.
    ///
    /// # Errors
    ///
    /// Nothing is queued, and the connection stays as it was, when this returns
    /// - [`SendError::Closed`]: `conn` is unknown, not connected yet, closing or closed;
    /// - [`SendError::Full`]: the queue is at its cap, or all queues of the loop together are at
    ///   [`Config::loop_queue_max`](crate::Config::loop_queue_max);
    ///   [`Handler::on_drain`](crate::Handler::on_drain) will be called when there is room again;
    /// - [`SendError::TooLarge`]: the body is longer than `max_frame` or than the length prefix can say;
    /// - [`SendError::Unframable`]: the framing cannot carry this body.
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
    ///             Err(SendError::Full) => net.close(conn), // it sends, and does not read
    ///             Err(error) => eprintln!("{conn}: {error}"),
    ///         }
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn send(&mut self, conn: ConnId, body: &[u8]) -> Result<(), SendError> {
        match self.send_quickly(conn, body) {
            Some(()) => Ok(()),
            None => self.send_slice(conn, body),
        }
    }

    /// The short way for the common case: default framing, a queue that has something in it, far from any limit. It
    /// takes about a third of the instructions of the long way, which leads to the same result.
    #[inline]
    pub(super) fn send_quickly(&mut self, conn: ConnId, body: &[u8]) -> Option<()> {
        let entry = self.conns.get_mut(conn)?;
        if body.len() >= entry.quick() {
            return None;
        }
        // A connection that has a queue is on the dirty list or blocked already.
        let queue = entry.queue.as_mut()?;
        let need = 4 + body.len();
        if queue.cost() + need >= entry.profile.queue_high
            || self.metrics.queued + need > self.config.loop_queue_max
        {
            return None;
        }
        queue.push_quickly(body)?;
        entry.traffic.messages_sent += 1;
        entry.traffic.bytes_sent += need as u64;
        self.metrics.queued += need;
        Some(())
    }

    fn send_slice(&mut self, conn: ConnId, body: &[u8]) -> Result<(), SendError> {
        self.enqueue(conn, body.into(), None)
    }

    /// Queues one message whose body is shared, as [`Net::send`] does. From 16 KiB on it is not copied; a reference
    /// is held until it has left.
    ///
    /// # Errors
    ///
    /// Those of [`Net::send`].
    pub fn send_bytes(&mut self, conn: ConnId, body: Bytes) -> Result<(), SendError> {
        self.enqueue(conn, body.into(), None)
    }

    /// Queues one message whose body is in several parts, such as a header and a payload, as [`Net::send`] does.
    ///
    /// # Errors
    ///
    /// Those of [`Net::send`].
    pub fn send_parts(&mut self, conn: ConnId, parts: &[IoSlice<'_>]) -> Result<(), SendError> {
        self.enqueue(conn, Body(BodyKind::Parts(parts)), None)
    }

    /// Queues one message as [`Net::send`] does, and has [`Handler::on_sent`](crate::Handler::on_sent) called with
    /// `token`, exactly once: when the kernel has taken all of it, or when that will never happen. The token may be
    /// any number; it is not looked at.
    ///
    /// # Errors
    ///
    /// Those of [`Net::send`]. No callback follows then.
    pub fn send_tracked<'a>(
        &mut self,
        conn: ConnId,
        body: impl Into<Body<'a>>,
        token: u64,
    ) -> Result<(), SendError> {
        self.enqueue(conn, body.into(), Some(token))
    }

    /// Has what is queued for `conn` written as soon as the present callback returns, instead of at the end of the
    /// turn: lower latency for this message, at the price of a system call of its own.
    pub fn flush(&mut self, conn: ConnId) {
        match self.conns.get(conn) {
            Some(entry) if entry.dirty => {
                self.work.urgent.push(conn);
                self.work.interrupt = true;
            }
            Some(_) => {}
            None => self.forward(conn, ConnCommand::Flush),
        }
    }

    /// Always inlined, so that each verb pays for its own kind of body alone.
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
        let header = body.header(&entry.codec, entry.profile.max_frame)?;
        let end = entry.codec.tail();
        let need = header.len() + body.len() + end.as_slice().len();
        // What a user's framer has made is queued: its state says that it was.
        if !matches!(body.0, BodyKind::Encoded(_)) {
            if !entry.has_room(need) {
                return self.refuse(conn);
            }
            if !self.metrics.has_room(need, self.config.loop_queue_max) {
                return self.refuse_for_quota(conn, need);
            }
            if let Codec::Custom(_) = entry.codec {
                return self.enqueue_custom(conn, &body, token);
            }
        }
        let queue = entry.queue.get_or_insert_with(|| self.pool.take_queue());
        let cost = queue.cost();
        body.push(queue, &header, end, &mut self.pool);
        if let Some(token) = token {
            queue.track(token);
            self.metrics.sends_tracked += 1;
        }
        entry.traffic.messages_sent += 1;
        entry.traffic.bytes_sent += need as u64;
        self.metrics.queued += queue.cost() - cost;
        if queue.cost() >= entry.profile.queue_high {
            entry.request_drain();
        }
        if !entry.dirty && !entry.blocked {
            entry.dirty = true;
            self.work.dirty.push(conn);
        }
        Ok(())
    }

    /// A user's framer makes the whole frame, in memory that is used again.
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
        let panics = self.config.panics;
        let entry = self.conns.get_mut(conn).ok_or(SendError::Closed)?;
        let Codec::Custom(framer) = &mut entry.codec else {
            return Err(SendError::Unframable);
        };
        let mut encode = || framer.encode(body, frame);
        let encoded = match panics {
            Panics::Unwind => Ok(encode()),
            // Here and not with the callback: whoever sends may serve another connection, or be another thread. The framer is not
            // called again.
            Panics::Contain => catch_unwind(AssertUnwindSafe(encode)),
        };
        let Ok(encoded) = encoded else {
            self.end_panicked("a framer's encode", conn);
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

    /// Counts a refusal because the connection's queue is full.
    #[cold]
    fn refuse(&mut self, conn: ConnId) -> Result<(), SendError> {
        self.metrics.sends_refused += 1;
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.request_drain();
            if entry.profile.overflow == Overflow::Close {
                self.end(conn, Ending::Disconnected(DisconnectReason::SendQueueFull));
            }
        }
        Err(SendError::Full)
    }

    /// Counts a refusal because all queues together are full. This connection's own may be empty; then it is the
    /// others' that have to fall.
    #[cold]
    fn refuse_for_quota(&mut self, conn: ConnId, need: usize) -> Result<(), SendError> {
        self.metrics.sends_refused += 1;
        self.wait_for_quota(conn, need);
        Err(SendError::Full)
    }

    /// Owes a drain to a connection for when the loop has room for `need` bytes.
    pub(super) fn wait_for_quota(&mut self, conn: ConnId, need: usize) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.request_drain();
            if !std::mem::replace(&mut entry.waiting_for_quota, true) {
                self.work.waiting_for_quota.push((conn, need));
            }
        }
    }
}

/// The scratch memory for a user's framer is kept up to this size.
const SCRATCH_KEPT: usize = 64 * 1024;
