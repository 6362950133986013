//! Connections that another shard has.

use std::time::Duration;

use bytes::Bytes;

use super::body::{Body, Kind};
use super::{Broadcast, Due, Net};
use crate::error::SendError;
use crate::framing::Codec;
use crate::id::{ConnId, ShardId};
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
        let Some(siblings) = self.siblings.as_ref().filter(|_| self.is_away(conn)) else {
            return Err(SendError::Closed);
        };
        if token.is_some() {
            // The answer would go to another handler than the one that asked.
            return Err(SendError::Closed);
        }
        let order = Order::Send(conn, body.into_bytes());
        siblings
            .pass(conn.shard(), order)
            .map_err(|refused| refused.error)
            .inspect_err(|_| self.metrics.sends_refused += 1)
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
            let passed = match &self.siblings {
                Some(siblings) => siblings
                    .pass(conns[0].shard(), order)
                    .map_err(|refused| refused.error),
                None => Err(SendError::Closed),
            };
            self.metrics.sends_refused += u64::from(passed.is_err()) * conns.len() as u64;
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

    /// Has the shard of a connection that is not of this one do something about it. If its queue is full that waits here, as
    /// do those that come after it.
    #[cold]
    #[inline(never)]
    pub(super) fn pass_on(&mut self, conn: ConnId, verb: Verb) {
        let is_away = self.is_away(conn);
        let Some(siblings) = self.siblings.as_mut().filter(|_| is_away) else {
            return;
        };
        if siblings.held_back.len() >= self.config.command_queue {
            self.metrics.commands_lost += 1;
            let name = &self.config.name;
            log::warn!(target: "peerloop", "{name}: {conn}: {verb:?} is lost: its shard takes no commands");
            return;
        }
        siblings.held_back.push_back((conn, verb));
        self.pass_held_back();
    }

    /// Passes on what full queues have refused, for as long as they take it.
    pub(crate) fn pass_held_back(&mut self) {
        let Some(siblings) = &mut self.siblings else {
            return;
        };
        while let Some((conn, verb)) = siblings.held_back.front().copied() {
            let passed = siblings.pass(conn.shard(), Order::Verb(conn, verb));
            if passed.is_err_and(|refused| refused.error == SendError::Full) {
                break;
            }
            siblings.held_back.pop_front();
        }
        if !siblings.held_back.is_empty() && !std::mem::replace(&mut siblings.retry_is_due, true) {
            self.deadlines.insert(self.later(RETRY), Due::Retry);
        }
    }

    /// The deadline for that has come.
    pub(crate) fn retry(&mut self) {
        if let Some(siblings) = &mut self.siblings {
            siblings.retry_is_due = false;
        }
        self.pass_held_back();
    }

    /// Does what another shard, or another thread, wants done about a connection.
    pub(crate) fn carry_out(&mut self, conn: ConnId, verb: Verb) {
        if self.peers.get(conn).is_none() {
            return;
        }
        match verb {
            Verb::Close => self.close(conn),
            Verb::ShutdownWrite => self.shutdown_write(conn),
            Verb::Abort => self.abort(conn),
            Verb::Pause => self.pause(conn),
            Verb::Resume => self.resume(conn),
            Verb::Flush => self.flush(conn),
            Verb::EndSelfConnection => self.end_self_connection(conn),
        }
    }

    /// A connection that was accepted and given to this shard did not become one of its own.
    pub(crate) fn turn_away(&mut self) {
        self.give_place_back();
        if let Some(siblings) = &self.siblings {
            siblings.turned_away();
        }
    }

    /// Whether a connection just accepted is the other end of a dial of another shard. Then that one is ended there.
    pub(crate) fn is_siblings_dial(
        &mut self,
        addr: std::net::SocketAddr,
        local_addr: std::net::SocketAddr,
    ) -> bool {
        let siblings = self.siblings.as_ref();
        let dial = siblings.and_then(|siblings| siblings.find_dial(addr, local_addr));
        if let Some(conn) = dial {
            self.pass_on(conn, Verb::EndSelfConnection);
        }
        dial.is_some()
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
