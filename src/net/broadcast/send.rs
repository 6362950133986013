//! The sends of a broadcast.
//!
//! `cargo run --release -p instructions -- --broadcast` compares instructions
//! and cache misses for each connection with single sends.

use std::mem::take;

use bytes::Bytes;

use super::BroadcastOutcome;
use super::targets::{Ids, Targets};
use crate::buffers::{BlockPool, CHAIN_MIN};
use crate::connection::ConnEntry;
use crate::cross_shard::{Form, RemoteBroadcast, SharedMessage};
use crate::error::SendError;
use crate::framing::{Codec, FrameHeader};
use crate::id::ConnId;
use crate::net::body::{Body, BodyKind};
use crate::net::send::{Refused, queue_copy, queue_message};
use crate::net::{Net, SendQuota};

/// The progress of a broadcast.
#[derive(Default)]
pub(in crate::net) struct Sent {
    pub(in crate::net) outcome: BroadcastOutcome,
    /// Connections of other shards.
    pub(in crate::net) remote: Vec<ConnId>,
}

impl Net {
    /// The slice arm is inlined, as that of [`Net::send`] is.
    #[inline(always)]
    pub(super) fn broadcast_to(
        &mut self,
        body: Body<'_>,
        mut targets: impl Targets,
    ) -> BroadcastOutcome {
        let mut sent = Sent::default();
        match body.0 {
            BodyKind::Slice(bytes) if bytes.len() < CHAIN_MIN => {
                self.send_copies(bytes, &mut targets, &mut sent);
                self.copy_to_remote(bytes, &mut sent);
            }
            _ => self.broadcast_body(body, &mut targets, &mut sent),
        }
        sent.outcome
    }

    #[inline(never)]
    fn broadcast_body(&mut self, body: Body<'_>, targets: &mut impl Targets, sent: &mut Sent) {
        let Some(first) = targets.next_id(&mut self.conns) else {
            return;
        };
        let Some(second) = targets.next_id(&mut self.conns) else {
            // One queue shares with no other, and takes parts as they are.
            let result = self.send(first, body);
            return sent.outcome.count(result, 1);
        };
        let mut first_two = Ids([first, second].into_iter());
        if body.len() >= CHAIN_MIN {
            let mut message = None;
            self.send_shared(&body, &mut message, &mut first_two, sent);
            self.send_shared(&body, &mut message, targets, sent);
            self.share_with_remote(&body, message, sent);
        } else {
            // Parts are joined once, because a queue takes one slice with a
            // quarter of the instructions of two.
            let mut joined = take(&mut self.scratch);
            let bytes = body.join(&mut joined);
            self.send_copies(bytes, &mut first_two, sent);
            self.send_copies(bytes, targets, sent);
            self.copy_to_remote(bytes, sent);
            self.scratch = joined;
        }
    }

    /// Sends a message that each queue copies.
    #[inline(always)]
    fn send_copies(&mut self, body: &[u8], targets: &mut impl Targets, sent: &mut Sent) {
        while let Some(target) = targets.next(&mut self.conns) {
            let entry = match target {
                Ok(entry) => entry,
                Err(conn) => {
                    self.note_unknown(conn, sent);
                    continue;
                }
            };
            if entry.send_fast(body).is_some() {
                sent.outcome.queued += 1;
                continue;
            }
            let conn = entry.id();
            if entry.takes_default_frame(body.len()) {
                let (pool, dirty) = (&mut self.pool, &mut self.work.dirty);
                let queued = queue_copy(entry, body, pool, &self.send_quota, dirty);
                self.note_queued(conn, queued, sent);
            } else {
                let result = self.send_slice(conn, body);
                sent.outcome.count(result, 1);
            }
        }
    }

    /// Sends a message that the queues share. It is made for the first of them.
    #[inline(always)]
    fn send_shared(
        &mut self,
        body: &Body<'_>,
        message: &mut Option<SharedMessage>,
        targets: &mut impl Targets,
        sent: &mut Sent,
    ) {
        while let Some(target) = targets.next(&mut self.conns) {
            let entry = match target {
                Ok(entry) => entry,
                Err(conn) => {
                    self.note_unknown(conn, sent);
                    continue;
                }
            };
            let conn = entry.id();
            let message = message.get_or_insert_with(|| body.to_message(&entry.codec));
            let (pool, dirty) = (&mut self.pool, &mut self.work.dirty);
            match queue_shared(entry, message, pool, &self.send_quota, dirty) {
                Some(queued) => self.note_queued(conn, queued, sent),
                None => {
                    let result = self.send_slice(conn, message.body());
                    sent.outcome.count(result, 1);
                }
            }
        }
    }

    /// Sends a broadcast of another shard to connections of this shard. Returns
    /// the number of connections on which it was not queued.
    pub(crate) fn send_broadcast(&mut self, broadcast: RemoteBroadcast) -> usize {
        let RemoteBroadcast { conns, message } = broadcast;
        let mut sent = Sent::default();
        let mut targets = Ids(conns.iter().copied());
        if message.body_len() < CHAIN_MIN {
            self.send_copies(message.body(), &mut targets, &mut sent);
        } else {
            let (body, mut message) = (Body::from(b""), Some(message));
            self.send_shared(&body, &mut message, &mut targets, &mut sent);
        }
        conns.len() - sent.outcome.queued
    }

    #[inline]
    fn copy_to_remote(&mut self, body: &[u8], sent: &mut Sent) {
        if !sent.remote.is_empty() {
            let message = SharedMessage::of_body(Bytes::copy_from_slice(body));
            self.broadcast_remote(&message, sent);
        }
    }

    fn share_with_remote(
        &mut self,
        body: &Body<'_>,
        message: Option<SharedMessage>,
        sent: &mut Sent,
    ) {
        if !sent.remote.is_empty() {
            // Most connections have the default framing of the node.
            let default = Codec::new(&self.connection_config.framing);
            let message = message.unwrap_or_else(|| body.to_message(&default));
            self.broadcast_remote(&message, sent);
        }
    }

    /// Notes a connection that is not in the table.
    #[cold]
    fn note_unknown(&self, conn: ConnId, sent: &mut Sent) {
        if self.is_remote(conn) {
            sent.remote.push(conn);
        } else {
            sent.outcome.count(Err(SendError::Closed), 1);
        }
    }

    #[inline]
    fn note_queued(&mut self, conn: ConnId, queued: Result<(), Refused>, sent: &mut Sent) {
        match queued {
            Ok(()) => sent.outcome.queued += 1,
            Err(refused) => {
                let result = self.refuse(conn, refused);
                sent.outcome.count(result, 1);
            }
        }
    }
}

/// Adds the message to the queue of a connection. Returns `None` if the general
/// way of sending is needed.
#[inline(never)]
fn queue_shared(
    entry: &mut ConnEntry,
    message: &mut SharedMessage,
    pool: &mut BlockPool,
    quota: &SendQuota,
    dirty: &mut Vec<ConnId>,
) -> Option<Result<(), Refused>> {
    let is_custom = matches!(entry.codec, Codec::Custom(_));
    if is_custom || !entry.can_send() || message.body_len() > entry.config.max_message_len {
        return None;
    }
    let form = message.form_for(&entry.codec);
    let (mut header, mut end) = (FrameHeader::EMPTY, None);
    if form == Form::Body {
        header = entry.codec.header(message.body_len(), usize::MAX).ok()?;
        entry.codec.check_body(message.body()).ok()?;
        end = entry.codec.tail();
    }
    let message = (header, Body(BodyKind::Broadcast(message, form)), end);
    Some(queue_message(entry, message, None, pool, quota, dirty))
}

impl Body<'_> {
    /// Returns the message for several connections, the first of which has this
    /// framing.
    fn to_message(&self, codec: &Codec) -> SharedMessage {
        match &self.0 {
            BodyKind::Shared(bytes) => SharedMessage::of_body(bytes.clone()),
            _ => SharedMessage::copy(codec, self.len(), |bytes| self.append_to(bytes)),
        }
    }
}
