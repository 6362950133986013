//! Sending one message to several connections.

use super::Net;
use super::body::{Body, BodyKind};
use crate::buffers::CHAIN_MIN;
use crate::cross_shard::FramedBody;
use crate::error::SendError;
use crate::framing::{Codec, FrameHeader};
use crate::id::ConnId;

/// The outcome of a broadcast; see [`Net::broadcast`]. The four numbers add up
/// to the number of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "the message was not queued on connections that were full or closed"]
#[non_exhaustive]
pub struct BroadcastOutcome {
    /// Number of connections on which the message was queued.
    pub queued: usize,
    /// Number of connections that refused the message with [`SendError::Full`].
    pub full: usize,
    /// Number of stale ids and of connections that are not open for sending.
    pub closed: usize,
    /// Number of connections whose framing cannot represent the message, or for
    /// which it is too large.
    pub unsendable: usize,
}

impl BroadcastOutcome {
    /// Counts the outcome on some connections.
    pub(crate) fn count(&mut self, result: Result<(), SendError>, conns: usize) {
        let count = match result {
            Ok(()) => &mut self.queued,
            Err(SendError::Full) => &mut self.full,
            Err(SendError::Closed) => &mut self.closed,
            Err(SendError::TooLarge | SendError::Unframable) => &mut self.unsendable,
        };
        *count += conns;
    }
}

impl Net {
    /// Queues one message on several connections, as [`Net::send`] does for
    /// one.
    ///
    /// If connections that follow each other in `conns` have the same framing,
    /// the message is framed once for them. The queues share one copy of a
    /// message of 16 KiB or more, or the body itself if it is owned:
    ///
    /// - It is counted once for
    ///   [`loop_send_bytes`](crate::config::Limits::loop_send_bytes), until the
    ///   last queue has sent it.
    /// - It is counted for
    ///   [`max_bytes`](crate::config::SendQueueConfig::max_bytes) of each
    ///   queue.
    ///
    /// Connections of other [shards](crate::shards) get the message with one
    /// command per shard. They count as [`BroadcastOutcome::queued`] if the
    /// command queue of their shard accepted the command.
    ///
    /// # Examples
    ///
    /// Sends a message to the other members of a room:
    ///
    /// ```
    /// use peerloop::{ConnId, ConnMap, Handler, Net};
    ///
    /// #[derive(Default)]
    /// struct Chat {
    ///     members: ConnMap<String>,
    /// }
    ///
    /// impl Handler for Chat {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         let others = self.members.keys().filter(|other| *other != conn);
    ///         let outcome = net.broadcast(others, message);
    ///         println!("sent to {} members", outcome.queued);
    ///     }
    /// }
    /// ```
    pub fn broadcast<'a>(
        &mut self,
        conns: impl IntoIterator<Item = ConnId>,
        body: impl Into<Body<'a>>,
    ) -> BroadcastOutcome {
        let body = body.into();
        let body = body.to_bytes();
        let mut outcome = BroadcastOutcome::default();
        let mut framed = None;
        let (own, mut remote) = (self.shard(), Vec::new());
        for conn in conns {
            if conn.shard() == own {
                self.send_framed(conn, &body, &mut framed, &mut outcome);
            } else {
                remote.push(conn);
            }
        }
        if !remote.is_empty() {
            self.broadcast_remote(remote, &body, framed, &mut outcome);
        }
        outcome
    }

    /// Queues one message on all established connections of this loop except
    /// `except`, as [`Net::broadcast`] does.
    ///
    /// [`ShardsHandle::broadcast_all`](crate::shards::ShardsHandle::broadcast_all)
    /// sends to the connections of all shards.
    ///
    /// # Examples
    ///
    /// ```
    /// # use peerloop::{ConnId, Handler, Net};
    /// # struct Relay;
    /// impl Handler for Relay {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         let outcome = net.broadcast_all(message, Some(conn));
    ///         println!("relayed to {} peers", outcome.queued);
    ///     }
    /// }
    /// ```
    pub fn broadcast_all<'a>(
        &mut self,
        body: impl Into<Body<'a>>,
        except: Option<ConnId>,
    ) -> BroadcastOutcome {
        let ids = self.connections().map(|connection| connection.id());
        let ids: Vec<ConnId> = ids.filter(|conn| Some(*conn) != except).collect();
        self.broadcast(ids, body)
    }

    /// Sends to one of several connections. Reuses the last frame if its
    /// framing is the same.
    pub(super) fn send_framed(
        &mut self,
        conn: ConnId,
        body: &[u8],
        framed: &mut Option<FramedBody>,
        outcome: &mut BroadcastOutcome,
    ) {
        // Writing a new header costs less than comparing the framings.
        if body.len() < CHAIN_MIN && self.try_send_fast(conn, body).is_some() {
            outcome.queued += 1;
            return;
        }
        let entry = self.conns.get(conn);
        let fits =
            |framed: &FramedBody| entry.is_some_and(|entry| framed.codec.frames_like(&entry.codec));
        if !framed.as_ref().is_some_and(fits) {
            *framed = entry.and_then(|entry| FramedBody::new(&entry.codec, body));
        }
        let body = match framed {
            Some(FramedBody { frame, key, .. }) => {
                Body(BodyKind::FramedBody(frame, body.len(), key))
            }
            None => Body(BodyKind::Slice(body)),
        };
        let result = self.enqueue(conn, body, None);
        outcome.count(result, 1);
    }
}

impl FramedBody {
    /// Encodes the complete frame of a body. Returns `None` if each connection
    /// needs its own frame, or if the framing cannot represent the body.
    pub(super) fn new(codec: &Codec, body: &[u8]) -> Option<Self> {
        let codec = codec.stateless()?;
        let header = codec.header(body.len(), usize::MAX).ok()?;
        codec.check_body(body).ok()?;
        let mut block = [0; FrameHeader::BLOCK];
        let end = codec.tail();
        let parts = [header.as_slice(&mut block), body, end.as_slice()];
        let frame = parts.concat().into();
        Some(Self {
            codec,
            frame,
            key: None,
        })
    }
}
