//! Operations on connections of other shards.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::body::{Body, BodyKind};
use super::broadcast::Sent;
use super::{Due, Net};
use crate::cross_shard::{ConnCommand, RemoteBroadcast, ShardCommand, SharedMessage};
use crate::error::SendError;
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

    /// Passes one message to the shards of several connections.
    #[cold]
    pub(super) fn broadcast_remote(&mut self, message: &SharedMessage, sent: &mut Sent) {
        let mut conns = std::mem::take(&mut sent.remote);
        // The sort is stable, so the order within a shard is kept.
        conns.sort_by_key(|conn| conn.shard());
        for conns in conns.chunk_by(|a, b| a.shard() == b.shard()) {
            let broadcast = RemoteBroadcast {
                conns: conns.to_vec(),
                message: message.share(),
            };
            let command = ShardCommand::Broadcast(Box::new(broadcast));
            let passed = match &mut self.router {
                Some(router) => router.pass(conns[0].shard(), command),
                None => Err(SendError::Closed),
            };
            if let Err(error) = passed {
                self.metrics.count_refused_sends(error, conns.len());
            }
            sent.outcome.count(passed, conns.len());
        }
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

    pub(super) fn is_remote(&self, conn: ConnId) -> bool {
        conn.shard() != self.shard()
    }
}

impl Body<'_> {
    fn into_bytes(self) -> Bytes {
        match self.0 {
            BodyKind::Shared(bytes) => bytes,
            _ => {
                let mut bytes = Vec::with_capacity(self.len());
                self.append_to(&mut bytes);
                bytes.into()
            }
        }
    }
}
