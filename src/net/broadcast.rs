//! One message for several connections.

use super::Net;
use super::body::{Body, BodyKind};
use crate::buffers::CHAIN_MIN;
use crate::cross_shard::FramedBody;
use crate::error::SendError;
use crate::framing::{Codec, FrameHeader};
use crate::id::ConnId;

/// What became of a message for several peers; see [`Net::broadcast`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "peers that were full or closed did not get the message"]
pub struct BroadcastOutcome {
    /// Connections on which it was queued.
    pub sent: usize,
    /// Connections whose queue, or the loop's, was full.
    pub full: usize,
    /// Ids that are stale, and connections not open for sending.
    pub closed: usize,
    /// Connections whose framing cannot carry it, or for which it is too large.
    pub unfit: usize,
}

impl BroadcastOutcome {
    /// Counts what became of the message on some connections.
    pub(crate) fn count(&mut self, result: Result<(), SendError>, conns: usize) {
        let count = match result {
            Ok(()) => &mut self.sent,
            Err(SendError::Full) => &mut self.full,
            Err(SendError::Closed) => &mut self.closed,
            Err(SendError::TooLarge | SendError::Unframable) => &mut self.unfit,
        };
        *count += conns;
    }
}

impl Net {
    /// Queues one message for several connections, each as [`Net::send`] does. It is framed once for all those in a
    /// row that frame alike; from 16 KiB on its bytes are shared and not copied. To everybody: collect
    /// [`Net::connections`] into a `Vec` first.
    ///
    /// Connections of other [`Shards`](crate::Shards) get it in one command for each of these, with the frame that was made
    /// here; they count as [`BroadcastOutcome::sent`] when that shard's command queue took it.
    ///
    /// # Examples
    ///
    /// To everybody but the one who said it:
    ///
    /// ```
    /// use peerloop::{ConnId, ConnMap, Handler, Net};
    ///
    /// #[derive(Default)]
    /// struct Chat {
    ///     people: ConnMap<String>,
    /// }
    ///
    /// impl Handler for Chat {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         let others = self.people.keys().filter(|other| *other != conn);
    ///         let outcome = net.broadcast(others, message);
    ///         println!("{} heard it", outcome.sent);
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
        let (own, mut away) = (self.shard(), Vec::new());
        for conn in conns {
            if conn.shard() == own {
                self.send_framed(conn, &body, &mut framed, &mut outcome);
            } else {
                away.push(conn);
            }
        }
        if !away.is_empty() {
            self.broadcast_remote(away, &body, framed, &mut outcome);
        }
        outcome
    }

    /// Sends one of several messages, framed as the last one if that will do.
    pub(super) fn send_framed(
        &mut self,
        conn: ConnId,
        body: &[u8],
        framed: &mut Option<FramedBody>,
        outcome: &mut BroadcastOutcome,
    ) {
        // To write a header anew costs less than to find out whether the one that is made fits.
        if body.len() < CHAIN_MIN && self.send_quickly(conn, body).is_some() {
            outcome.sent += 1;
            return;
        }
        let entry = self.conns.get(conn);
        let fits =
            |framed: &FramedBody| entry.is_some_and(|entry| framed.codec.frames_like(&entry.codec));
        if !framed.as_ref().is_some_and(fits) {
            *framed = entry.and_then(|entry| FramedBody::new(&entry.codec, body));
        }
        let body = match framed {
            Some(framed) => Body(BodyKind::FramedBody(&framed.frame, body.len())),
            None => Body(BodyKind::Slice(body)),
        };
        let result = self.enqueue(conn, body, None);
        outcome.count(result, 1);
    }
}

impl FramedBody {
    /// The whole frame for a body; `None` where it has to be made for each connection, or cannot.
    pub(super) fn new(codec: &Codec, body: &[u8]) -> Option<Self> {
        let codec = codec.stateless()?;
        let header = codec.header(body.len(), usize::MAX).ok()?;
        codec.check_body(body).ok()?;
        let mut block = [0; FrameHeader::BLOCK];
        let end = codec.tail();
        let parts = [header.as_slice(&mut block), body, end.as_slice()];
        let frame = parts.concat().into();
        Some(Self { codec, frame })
    }
}
