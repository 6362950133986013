//! Sending one message to several connections.

mod send;
mod targets;

use super::Net;
use super::body::Body;
use crate::error::SendError;
use crate::id::ConnId;
pub(super) use send::Sent;
use targets::{AllExcept, Ids};

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
    /// On ten or more connections it costs at most as much as a send on each of
    /// them. On fewer it may cost a few hundred instructions more. The queues
    /// share one copy of a message of 16 KiB or more, or the body itself if it
    /// is owned:
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
    #[inline]
    pub fn broadcast<'a>(
        &mut self,
        conns: impl IntoIterator<Item = ConnId>,
        body: impl Into<Body<'a>>,
    ) -> BroadcastOutcome {
        self.broadcast_to(body.into(), Ids(conns.into_iter()))
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
    #[inline]
    pub fn broadcast_all<'a>(
        &mut self,
        body: impl Into<Body<'a>>,
        except: Option<ConnId>,
    ) -> BroadcastOutcome {
        self.broadcast_to(body.into(), AllExcept::new(except))
    }
}
