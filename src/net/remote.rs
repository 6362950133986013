//! Operations on connections of other shards.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::body::{Body, BodyKind};
use super::{BroadcastOutcome, Due, Net};
use crate::cross_shard::{ConnCommand, FramedBody, RemoteBroadcast, ShardCommand};
use crate::error::SendError;
use crate::framing::Codec;
use crate::id::{ConnId, ListenerId, ShardId};
use crate::sys::Stream;

/// Interval at which commands refused by a full queue are passed again.
const COMMAND_RETRY: Duration = Duration::from_millis(1);

impl Net {
    /// Returns the [shard](crate::shards) of this loop. In a node without
    /// shards this is [`ShardId::FIRST`].
    pub fn shard(&self) -> ShardId {
        self.conns.shard()
    }

    /// Returns all [shards](crate::shards) of the node, including this one.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let router = self.router.as_ref();
        let all = router.map(|router| router.shards());
        let own = router.is_none().then(|| self.shard());
        all.into_iter().flatten().chain(own)
    }

    /// Passes a message to the shard of the connection. Returns `Closed` in a
    /// node without shards.
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
            // `on_sent` would be called on the handler of the other shard.
            return Err(SendError::Closed);
        }
        let command = ShardCommand::Send(conn, body.into_bytes());
        router
            .pass(conn.shard(), command)
            .inspect_err(|error| self.metrics.count_refused_sends(*error, 1))
    }

    /// Passes one message to the shards of several connections. It is framed
    /// with the default framing of the node, unless it is already framed.
    #[cold]
    pub(super) fn broadcast_remote(
        &mut self,
        mut conns: Vec<ConnId>,
        body: &[u8],
        framed: Option<FramedBody>,
        outcome: &mut BroadcastOutcome,
    ) {
        let framed =
            framed.or_else(|| FramedBody::new(&Codec::new(&self.connection_config.framing), body));
        let shared = match &framed {
            Some(framed) => framed.body(body.len()),
            None => Bytes::copy_from_slice(body),
        };
        // The sort is stable, so the order within a shard is kept.
        conns.sort_by_key(|conn| conn.shard());
        for conns in conns.chunk_by(|a, b| a.shard() == b.shard()) {
            let broadcast = RemoteBroadcast {
                conns: conns.to_vec(),
                body: shared.clone(),
                framed: framed.as_ref().and_then(FramedBody::share),
            };
            let command = ShardCommand::Broadcast(Box::new(broadcast));
            let passed = match &mut self.router {
                Some(router) => router.pass(conns[0].shard(), command),
                None => Err(SendError::Closed),
            };
            if let Err(error) = passed {
                self.metrics.count_refused_sends(error, conns.len());
            }
            outcome.count(passed, conns.len());
        }
    }

    /// Sends a broadcast of another shard to connections of this shard. Returns
    /// the number of connections on which it was not queued.
    pub(crate) fn send_broadcast(&mut self, broadcast: RemoteBroadcast) -> usize {
        let RemoteBroadcast {
            conns,
            body,
            mut framed,
        } = broadcast;
        let mut outcome = BroadcastOutcome::default();
        for conn in &conns {
            self.send_framed(*conn, &body, &mut framed, &mut outcome);
        }
        conns.len() - outcome.queued
    }

    /// Passes a command to the shard of the connection.
    #[cold]
    #[inline(never)]
    pub(super) fn forward_command(&mut self, conn: ConnId, command: ConnCommand) {
        if self.is_remote(conn) {
            self.send_command(conn, ShardCommand::ConnCommand(conn, command));
        }
    }

    /// Ends a connection of this node with itself. `conn` is its outbound end.
    /// `stream` is the accepted end, which is closed afterwards.
    pub(crate) fn end_own_connect(&mut self, conn: ConnId, stream: Stream) {
        if self.is_remote(conn) {
            self.send_command(conn, ShardCommand::EndSelfConnection(conn, stream));
        } else {
            self.end_self_connection(conn);
        }
    }

    /// Passes a command to the shard of a connection. If the queue of that
    /// shard is full, the command and all later commands for the shard wait
    /// here.
    fn send_command(&mut self, conn: ConnId, command: ShardCommand) {
        self.send_command_to(conn.shard(), command);
    }

    fn send_command_to(&mut self, shard: ShardId, command: ShardCommand) {
        let Some(router) = &mut self.router else {
            return;
        };
        let passed = router.pass_or_queue(shard, command, self.config.commands.max_commands);
        if passed == Err(SendError::Full) {
            self.metrics.commands_lost += 1;
            let name = &self.config.name;
            log::debug!(target: "peerloop", "{name}: the command queue of shard {shard} is full");
        }
        if !router.pass_waiting(shard) {
            self.arm_command_retry();
        }
    }

    fn arm_command_retry(&mut self) {
        if let Some(router) = &mut self.router {
            if !std::mem::replace(&mut router.retry_is_armed, true) {
                self.arm_after(COMMAND_RETRY, |_| Due::CommandRetry);
            }
        }
    }

    /// Passes waiting commands again. Called by the retry timer.
    pub(crate) fn retry_commands(&mut self) {
        let Some(router) = &mut self.router else {
            return;
        };
        router.retry_is_armed = false;
        if !router.pass_all_waiting() {
            self.arm_command_retry();
        }
    }

    /// Runs a command from another shard or thread.
    pub(crate) fn apply_command(&mut self, conn: ConnId, command: ConnCommand) {
        match command {
            ConnCommand::Close => self.close(conn),
            ConnCommand::CloseWrite => self.close_write(conn),
            ConnCommand::Abort(reason) => self.abort_as(conn, reason),
            ConnCommand::Pause => self.pause(conn),
            ConnCommand::Resume => self.resume(conn),
            ConnCommand::Flush => self.flush(conn),
            ConnCommand::WakeSession => self.wake_session(conn),
            ConnCommand::Set(setting) => {
                if let Err(error) = self.set(conn, *setting) {
                    let name = &self.config.name;
                    log::debug!(target: "peerloop", "{name}: {conn}: from another shard: {error}");
                }
            }
        }
    }

    /// Returns the resources of a connection that was accepted for this shard
    /// and did not get an id.
    pub(crate) fn reject_accepted(&mut self) {
        if let Some(router) = &self.router {
            router.remove_rejected();
        }
    }

    /// Makes all other shards close their sockets of a listener.
    pub(super) fn close_remote_listeners(&mut self, listener: ListenerId) {
        let own = self.shard();
        let others: Vec<ShardId> = self.shards().filter(|shard| *shard != own).collect();
        for shard in others {
            self.send_command_to(shard, ShardCommand::CloseListener(listener));
        }
    }

    /// Returns the outbound connection of another shard between these two
    /// addresses.
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
    /// Returns the body inside the frame.
    fn body(&self, len: usize) -> Bytes {
        let end = self.frame.len() - self.codec.tail().as_slice().len();
        self.frame.slice(end - len..end)
    }

    /// Returns the frame for use by another thread.
    fn share(&self) -> Option<Self> {
        Some(Self {
            codec: self.codec.stateless()?,
            frame: self.frame.clone(),
            // Each loop charges the body separately.
            key: None,
        })
    }
}
