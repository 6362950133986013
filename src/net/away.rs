//! Connections that another shard has.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::body::{Body, Kind};
use super::{Broadcast, Due, Net};
use crate::error::SendError;
use crate::framing::Codec;
use crate::id::{ConnId, ShardId};
use crate::network::Stream;
use crate::siblings::{Announcement, Framed, Order, Verb};

/// When verbs that a full queue has refused are passed on again.
const RETRY: Duration = Duration::from_millis(1);

impl Net {
    /// Which of the node's [`Shards`](crate::Shards) this is; the first one in a node without.
    pub fn shard(&self) -> ShardId {
        self.peers.shard()
    }

    /// All [`Shards`](crate::Shards) of the node, this one included; only this one in a node without.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let siblings = self.siblings.as_ref();
        let all = siblings.map(|siblings| siblings.shards());
        let own = siblings.is_none().then(|| self.shard());
        all.into_iter().flatten().chain(own)
    }

    /// Has the shard of a connection that is not of this one send a message. In a node without shards there is no such
    /// connection.
    #[cold]
    #[inline(never)]
    pub(super) fn send_away(
        &mut self,
        conn: ConnId,
        body: Body<'_>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        let is_away = self.is_away(conn);
        let Some(siblings) = self.siblings.as_mut().filter(|_| is_away) else {
            return Err(SendError::Closed);
        };
        if token.is_some() {
            // The answer would go to another handler than the one that asked.
            return Err(SendError::Closed);
        }
        let order = Order::Send(conn, body.into_bytes());
        siblings
            .pass(conn.shard(), order)
            .inspect_err(|error| self.metrics.count_refused(*error, 1))
    }

    /// Has the shards of other connections send one message. It is framed as a connection of this node does by default, unless
    /// it has been framed already.
    #[cold]
    pub(super) fn broadcast_away(
        &mut self,
        mut conns: Vec<ConnId>,
        body: &[u8],
        framed: Option<Framed>,
        outcome: &mut Broadcast,
    ) {
        let framed = framed.or_else(|| Framed::new(&Codec::new(&self.profile.framing), body));
        let shared = match &framed {
            Some(framed) => framed.body(body.len()),
            None => Bytes::copy_from_slice(body),
        };
        // The order of those of one shard stays.
        conns.sort_by_key(|conn| conn.shard());
        for conns in conns.chunk_by(|a, b| a.shard() == b.shard()) {
            let announcement = Announcement {
                conns: conns.to_vec(),
                body: shared.clone(),
                framed: framed.as_ref().and_then(Framed::share),
            };
            let order = Order::Broadcast(Box::new(announcement));
            let passed = match &mut self.siblings {
                Some(siblings) => siblings.pass(conns[0].shard(), order),
                None => Err(SendError::Closed),
            };
            if let Err(error) = passed {
                self.metrics.count_refused(error, conns.len());
            }
            outcome.count(passed, conns.len());
        }
    }

    /// Sends what another shard wants sent to several connections; on how many it was not queued.
    pub(crate) fn announce(&mut self, announcement: Announcement) -> usize {
        let Announcement {
            conns,
            body,
            mut framed,
        } = announcement;
        let mut outcome = Broadcast::default();
        for conn in &conns {
            self.send_framed(*conn, &body, &mut framed, &mut outcome);
        }
        conns.len() - outcome.sent
    }

    /// Has the shard of a connection that is not of this one do something about it.
    #[cold]
    #[inline(never)]
    pub(super) fn pass_on(&mut self, conn: ConnId, verb: Verb) {
        if self.is_away(conn) {
            self.give_order(conn, Order::Verb(conn, verb));
        }
    }

    /// A connection just accepted is the other end of a dial of this node: ends the dial, and then this one.
    pub(crate) fn meet_own_dial(&mut self, conn: ConnId, stream: Stream) {
        if self.is_away(conn) {
            self.give_order(conn, Order::EndSelfConnection(conn, stream));
        } else {
            self.end_self_connection(conn);
        }
    }

    /// Passes an order on to a connection's shard. If its queue is full the order waits here, as do those that come after it.
    fn give_order(&mut self, conn: ConnId, order: Order) {
        let Some(siblings) = &mut self.siblings else {
            return;
        };
        let passed = siblings.insist(conn.shard(), order, self.config.command_queue);
        if passed == Err(SendError::Full) {
            self.metrics.commands_lost += 1;
            let name = &self.config.name;
            log::warn!(target: "peerloop", "{name}: {conn}: its shard takes no commands; one is lost");
        }
        if !siblings.catch_up(conn.shard()) {
            self.retry_later();
        }
    }

    fn retry_later(&mut self) {
        let at = self.later(RETRY);
        if let Some(siblings) = &mut self.siblings {
            if !std::mem::replace(&mut siblings.retry_is_due, true) {
                self.deadlines.insert(at, Due::Retry);
            }
        }
    }

    /// The deadline for that has come.
    pub(crate) fn retry(&mut self) {
        let Some(siblings) = &mut self.siblings else {
            return;
        };
        siblings.retry_is_due = false;
        if !siblings.catch_up_with_all() {
            self.retry_later();
        }
    }

    /// Does what another shard, or another thread, wants done about a connection.
    pub(crate) fn carry_out(&mut self, conn: ConnId, verb: Verb) {
        match verb {
            Verb::Close => self.close(conn),
            Verb::ShutdownWrite => self.shutdown_write(conn),
            Verb::Abort => self.abort(conn),
            Verb::Pause => self.pause(conn),
            Verb::Resume => self.resume(conn),
            Verb::Flush => self.flush(conn),
        }
    }

    /// A connection that was accepted and given to this shard did not become one of its own.
    pub(crate) fn turn_away(&mut self) {
        self.give_place_back();
        if let Some(siblings) = &self.siblings {
            siblings.turned_away();
        }
    }

    /// Another shard's dial between these two addresses.
    pub(crate) fn find_dial_away(&self, from: SocketAddr, to: SocketAddr) -> Option<ConnId> {
        self.siblings.as_ref()?.find_dial(from, to)
    }

    fn is_away(&self, conn: ConnId) -> bool {
        conn.shard() != self.shard()
    }
}

impl Body<'_> {
    fn into_bytes(self) -> Bytes {
        match self.0 {
            Kind::Shared(bytes) => bytes,
            _ => self.to_bytes().into_owned().into(),
        }
    }
}

impl Framed {
    /// The body inside the frame.
    fn body(&self, len: usize) -> Bytes {
        let end = self.frame.len() - self.codec.tail().as_slice().len();
        self.frame.slice(end - len..end)
    }

    /// The same frame, for another thread.
    fn share(&self) -> Option<Self> {
        Some(Self {
            codec: self.codec.stateless()?,
            frame: self.frame.clone(),
        })
    }
}
