//! One message for several connections.

use super::Net;
use super::body::{Body, BodyKind};
use crate::buffers::CHAIN_MIN;
use crate::cross_shard::FramedBody;
use crate::error::SendError;
use crate::framing::{Codec, FrameHeader};
use crate::id::ConnId;

/// The outcome of a message for several connections; see [`Net::broadcast`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "connections that were full or closed did not get the message"]
#[non_exhaustive]
pub struct BroadcastOutcome {
    /// Connections on which it was queued.
    pub queued: usize,
    /// Connections whose queue, or the loop's, was full.
    pub full: usize,
    /// Stale ids, and connections that are not open for sending.
    pub closed: usize,
    /// Connections whose framing cannot carry it, or for which it is too large.
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
    /// Queues one message for several connections, each as [`Net::send`] does.
    ///
    /// It is framed once for consecutive connections whose framing is the same.
    /// From 16 KiB on its bytes are shared and not copied: they count once for
    /// [`loop_send_bytes`](crate::config::Limits::loop_send_bytes), until the
    /// last of the queues has sent them, and for each queue's
    /// [`max_bytes`](crate::config::SendQueueConfig::max_bytes).
    ///
    /// Connections of other [shards](crate::shards) get it in one command per
    /// shard. They count as [`BroadcastOutcome::queued`] when the command queue
    /// of that shard took the command.
    ///
    /// # Examples
    ///
    /// To the members of a room:
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

    /// Queues one message for all established connections of this loop, as
    /// [`Net::broadcast`] does, except for one.
    ///
    /// [`ShardsHandle::broadcast_all`](crate::shards::ShardsHandle::broadcast_all)
    /// reaches the connections of all shards.
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

    /// Sends to one of several connections, and reuses the last frame if it
    /// fits.
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
    /// Encodes the complete frame for a body. `None` if each connection needs
    /// its own frame, or if the framing cannot carry the body.
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
