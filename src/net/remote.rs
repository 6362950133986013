//! Connections that another shard has.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::body::{Body, BodyKind};
use super::{BroadcastOutcome, Due, Net};
use crate::cross_shard::{ConnCommand, FramedBody, RemoteBroadcast, ShardCommand};
use crate::error::SendError;
use crate::framing::Codec;
use crate::id::{ConnId, ShardId};
use crate::sys::Stream;

/// When verbs that a full queue has refused are passed on again.
const RETRY: Duration = Duration::from_millis(1);

impl Net {
    /// Which of the node's [`Shards`](crate::Shards) this is; the first one in a node without.
    pub fn shard(&self) -> ShardId {
        self.conns.shard()
    }

    /// All [`Shards`](crate::Shards) of the node, this one included; only this one in a node without.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let router = self.router.as_ref();
        let all = router.map(|router| router.shards());
        let own = router.is_none().then(|| self.shard());
        all.into_iter().flatten().chain(own)
    }

    /// Has the shard of a connection that is not of this one send a message. In a node without shards there is no such
    /// connection.
    #[cold]
    #[inline(never)]
    pub(super) fn send_remote(
        &mut self,
        conn: ConnId,
        body: Body<'_>,
        token: Option<u64>,
    ) -> Result<(), SendError> {
        let is_remote = self.is_remote(conn);
        let Some(router) = self.router.as_mut().filter(|_| is_remote) else {
            return Err(SendError::Closed);
        };
        if token.is_some() {
            // The answer would go to another handler than the one that asked.
            return Err(SendError::Closed);
        }
        let order = ShardCommand::Send(conn, body.into_bytes());
        router
            .pass(conn.shard(), order)
            .inspect_err(|error| self.metrics.count_refused(*error, 1))
    }

    /// Has the shards of other connections send one message. It is framed as a connection of this node does by default, unless
    /// it has been framed already.
    #[cold]
    pub(super) fn broadcast_remote(
        &mut self,
        mut conns: Vec<ConnId>,
        body: &[u8],
        framed: Option<FramedBody>,
        outcome: &mut BroadcastOutcome,
    ) {
        let framed = framed.or_else(|| FramedBody::new(&Codec::new(&self.profile.framing), body));
        let shared = match &framed {
            Some(framed) => framed.body(body.len()),
            None => Bytes::copy_from_slice(body),
        };
        // The order of those of one shard stays.
        conns.sort_by_key(|conn| conn.shard());
        for conns in conns.chunk_by(|a, b| a.shard() == b.shard()) {
            let broadcast = RemoteBroadcast {
                conns: conns.to_vec(),
                body: shared.clone(),
                framed: framed.as_ref().and_then(FramedBody::share),
            };
            let order = ShardCommand::BroadcastOutcome(Box::new(broadcast));
            let passed = match &mut self.router {
                Some(router) => router.pass(conns[0].shard(), order),
                None => Err(SendError::Closed),
            };
            if let Err(error) = passed {
                self.metrics.count_refused(error, conns.len());
            }
            outcome.count(passed, conns.len());
        }
    }

    /// Sends what another shard wants sent to several connections; on how many it was not queued.
    pub(crate) fn announce(&mut self, broadcast: RemoteBroadcast) -> usize {
        let RemoteBroadcast {
            conns,
            body,
            mut framed,
        } = broadcast;
        let mut outcome = BroadcastOutcome::default();
        for conn in &conns {
            self.send_framed(*conn, &body, &mut framed, &mut outcome);
        }
        conns.len() - outcome.sent
    }

    /// Has the shard of a connection that is not of this one do something about it.
    #[cold]
    #[inline(never)]
    pub(super) fn forward(&mut self, conn: ConnId, verb: ConnCommand) {
        if self.is_remote(conn) {
            self.give_order(conn, ShardCommand::ConnCommand(conn, verb));
        }
    }

    /// A connection just accepted is the other end of a dial of this node: ends the dial, and then this one.
    pub(crate) fn end_own_connect(&mut self, conn: ConnId, stream: Stream) {
        if self.is_remote(conn) {
            self.give_order(conn, ShardCommand::EndSelfConnection(conn, stream));
        } else {
            self.end_self_connection(conn);
        }
    }

    /// Passes an order on to a connection's shard. If its queue is full the order waits here, as do those that come after it.
    fn give_order(&mut self, conn: ConnId, order: ShardCommand) {
        let Some(router) = &mut self.router else {
            return;
        };
        let passed = router.insist(conn.shard(), order, self.config.command_queue);
        if passed == Err(SendError::Full) {
            self.metrics.commands_lost += 1;
            let name = &self.config.name;
            log::warn!(target: "peerloop", "{name}: {conn}: its shard takes no commands; one is lost");
        }
        if !router.flush_waiting(conn.shard()) {
            self.retry_later();
        }
    }

    fn retry_later(&mut self) {
        let at = self.later(RETRY);
        if let Some(router) = &mut self.router {
            if !std::mem::replace(&mut router.retry_is_armed, true) {
                self.deadlines.insert(at, Due::Retry);
            }
        }
    }

    /// The deadline for that has come.
    pub(crate) fn retry(&mut self) {
        let Some(router) = &mut self.router else {
            return;
        };
        router.retry_is_armed = false;
        if !router.flush_all_waiting() {
            self.retry_later();
        }
    }

    /// Does what another shard, or another thread, wants done about a connection.
    pub(crate) fn apply_command(&mut self, conn: ConnId, verb: ConnCommand) {
        match verb {
            ConnCommand::Close => self.close(conn),
            ConnCommand::ShutdownWrite => self.shutdown_write(conn),
            ConnCommand::Abort => self.abort(conn),
            ConnCommand::Pause => self.pause(conn),
            ConnCommand::Resume => self.resume(conn),
            ConnCommand::Flush => self.flush(conn),
        }
    }

    /// A connection that was accepted and given to this shard did not become one of its own.
    pub(crate) fn reject_accepted(&mut self) {
        self.give_place_back();
        if let Some(router) = &self.router {
            router.accepted_rejected();
        }
    }

    /// Another shard's dial between these two addresses.
    pub(crate) fn find_remote_connect(&self, from: SocketAddr, to: SocketAddr) -> Option<ConnId> {
        self.router.as_ref()?.find_connect(from, to)
    }

    fn is_remote(&self, conn: ConnId) -> bool {
        conn.shard() != self.shard()
    }
}

impl Body<'_> {
    fn into_bytes(self) -> Bytes {
        match self.0 {
            BodyKind::Shared(bytes) => bytes,
            _ => self.to_bytes().into_owned().into(),
        }
    }
}

impl FramedBody {
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
