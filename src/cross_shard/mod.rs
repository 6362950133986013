//! Communication between the shards of a node.
//!
//! A shard reaches another one through its [`Mailbox`]. A mailbox takes
//! commands, refuses them when it is full, and never waits. No lock is held
//! meanwhile.

mod waiting;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::addr::to_canonical_target;
use crate::buffers::BodyKey;
use crate::config::{ConnectionConfig, Placement};
use crate::error::{DisconnectReason, SendError};
use crate::framing::Codec;
use crate::id::{ConnId, Direction, ListenerId, ShardId};
use crate::limits::SharedLimits;
use crate::sys::Stream;

/// The maximum number of accepted connections on their way to a shard. They are not
/// charged yet. Further ones stay at the shard that accepted them.
const ARRIVING_MAX: usize = 256;

/// A command from one shard, or from another thread, to a shard.
pub(crate) enum ShardCommand {
    Send(ConnId, Bytes),
    Broadcast(Box<RemoteBroadcast>),
    ConnCommand(ConnId, ConnCommand),
    Adopt(Box<AcceptedSocket>),
    CloseListener(ListenerId),
    /// Ends an outbound connection whose other end was accepted. The accepted
    /// stream is closed after it.
    EndSelfConnection(ConnId, Stream),
}

impl ShardCommand {
    /// Returns the bytes that the command takes in the command queue.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Send(_, body) => body.len(),
            Self::Broadcast(broadcast) => broadcast.cost(),
            Self::ConnCommand(..)
            | Self::Adopt(_)
            | Self::CloseListener(_)
            | Self::EndSelfConnection(..) => 0,
        }
    }
}

/// A command for a connection of another shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnCommand {
    Close,
    CloseWrite,
    Abort(DisconnectReason),
    Pause,
    Resume,
    Flush,
}

/// One message for several connections of one shard.
pub(crate) struct RemoteBroadcast {
    pub(crate) conns: Vec<ConnId>,
    pub(crate) body: Bytes,
    /// The message in the default framing of the node, which most connections
    /// have.
    pub(crate) framed: Option<FramedBody>,
}

impl RemoteBroadcast {
    fn cost(&self) -> usize {
        let message = match &self.framed {
            // The frame shares its memory with the body.
            Some(framed) => framed.frame.len(),
            None => self.body.len(),
        };
        message.saturating_add(size_of_val(self.conns.as_slice()))
    }
}

/// A message as a framing without state encodes it.
pub(crate) struct FramedBody {
    pub(crate) codec: Codec,
    pub(crate) frame: Bytes,
    /// Its charge, once a queue of this loop holds it.
    pub(crate) key: Option<BodyKey>,
}

/// An accepted connection that has no id yet.
pub(crate) struct AcceptedSocket {
    pub(crate) stream: Stream,
    /// The socket options are set.
    pub(crate) has_options: bool,
    pub(crate) addr: SocketAddr,
    pub(crate) listener: ListenerId,
    pub(crate) config: Arc<ConnectionConfig>,
}

/// A command that was not taken.
pub(crate) struct RefusedCommand<C> {
    pub(crate) error: SendError,
    /// `None` if the command was lost with the shard.
    pub(crate) command: Option<C>,
}

/// A fact that a shard is told by a flag. A full command queue cannot stop it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum ShardSignal {
    /// A handshake has lost its place.
    Eviction = 1,
    /// A file descriptor is free.
    Descriptor = 2,
    /// A thread does not wait any more for what it asked for.
    Abandoned = 4,
}

/// The way to a shard from other threads.
pub(crate) trait Mailbox: Send + Sync {
    /// Passes a command. `Ok` means that the shard will try to carry it out.
    fn pass(&self, command: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>>;

    fn signal(&self, signal: ShardSignal);

    fn shut_down(&self, grace: Duration);
}

/// State that the shards of a node share.
pub(crate) struct ShardSet {
    mailboxes: Vec<Box<dyn Mailbox>>,
    limits: SharedLimits,
    placement: Placement,
    /// By shard: its connections, and the connections on their way to it.
    loads: Vec<AtomicUsize>,
    /// By shard: the connections on their way to it.
    arriving: Vec<AtomicUsize>,
    /// By shard: a listener is paused because of file-descriptor exhaustion.
    has_paused_listener: Vec<AtomicBool>,
    /// The number of file descriptors that were closed.
    freed_descriptors: AtomicUsize,
    /// The addresses of outbound connections: that of the peer, then the local
    /// one.
    connects: Mutex<HashMap<ConnId, (SocketAddr, SocketAddr)>>,
}

impl ShardSet {
    pub(crate) fn new(
        mailboxes: Vec<Box<dyn Mailbox>>,
        limits: SharedLimits,
        placement: Placement,
    ) -> Self {
        Self {
            loads: mailboxes.iter().map(|_| AtomicUsize::new(0)).collect(),
            arriving: mailboxes.iter().map(|_| AtomicUsize::new(0)).collect(),
            has_paused_listener: mailboxes.iter().map(|_| AtomicBool::new(false)).collect(),
            freed_descriptors: AtomicUsize::new(0),
            mailboxes,
            limits,
            placement,
            connects: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn placement(&self) -> Placement {
        self.placement
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.mailboxes.len()).filter_map(ShardId::new)
    }

    /// Returns the first of the shards with the fewest connections.
    pub(crate) fn least_loaded(&self) -> ShardId {
        self.shards()
            .min_by_key(|shard| self.load(*shard).load(Ordering::Relaxed))
            .unwrap_or(ShardId::FIRST)
    }

    /// Passes a command to a shard.
    pub(crate) fn pass(
        &self,
        shard: ShardId,
        command: ShardCommand,
    ) -> Result<(), RefusedCommand<ShardCommand>> {
        match self.mailboxes.get(shard.index()) {
            Some(mailbox) => mailbox.pass(command),
            // The id was never given out.
            None => Err(RefusedCommand {
                error: SendError::Closed,
                command: None,
            }),
        }
    }

    fn load(&self, shard: ShardId) -> &AtomicUsize {
        &self.loads[shard.index()]
    }

    fn connects(&self) -> MutexGuard<'_, HashMap<ConnId, (SocketAddr, SocketAddr)>> {
        // No panic can leave the map inconsistent.
        self.connects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other shards, as one shard sees them.
pub(crate) struct ShardRouter {
    own: ShardId,
    shards: Arc<ShardSet>,
    /// The shard that is offered the next connection first.
    next_shard: usize,
    /// Memory for the shards in the order in which they are offered a
    /// connection.
    candidates: Vec<(usize, usize)>,
    /// [`ShardSet::freed_descriptors`] before the last accept.
    freed_descriptors: usize,
    /// By shard: commands that its full queue refused, in their order.
    waiting: Vec<VecDeque<ShardCommand>>,
    /// A timer is set at which the waiting commands are passed again.
    pub(crate) retry_is_armed: bool,
}

impl ShardRouter {
    pub(crate) fn new(own: ShardId, shards: Arc<ShardSet>) -> Self {
        Self {
            own,
            next_shard: 0,
            candidates: Vec::new(),
            freed_descriptors: 0,
            waiting: shards.mailboxes.iter().map(|_| VecDeque::new()).collect(),
            retry_is_armed: false,
            shards,
        }
    }

    pub(crate) fn own(&self) -> ShardId {
        self.own
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.shards.shards()
    }

    pub(crate) fn limits(&self) -> SharedLimits {
        self.shards.limits.clone()
    }

    pub(crate) fn signal(&self, shard: ShardId, signal: ShardSignal) {
        if let Some(mailbox) = self.shards.mailboxes.get(shard.index()) {
            mailbox.signal(signal);
        }
    }

    /// Shuts all other shards down.
    pub(crate) fn shut_down(&self, grace: Duration) {
        for (index, mailbox) in self.shards.mailboxes.iter().enumerate() {
            if index != self.own.index() {
                mailbox.shut_down(grace);
            }
        }
    }

    /// Offers an accepted connection to the shards in their order, and counts
    /// it there. Returns it if this shard takes it, which never refuses.
    pub(crate) fn assign(&mut self, accepted: AcceptedSocket) -> Option<AcceptedSocket> {
        self.sort_candidates();
        let mut command = ShardCommand::Adopt(Box::new(accepted));
        for &(_, index) in &self.candidates {
            let load = &self.shards.loads[index];
            load.fetch_add(1, Ordering::Relaxed);
            if index == self.own.index() {
                break;
            }
            let arriving = &self.shards.arriving[index];
            if arriving.fetch_add(1, Ordering::Relaxed) >= ARRIVING_MAX {
                arriving.fetch_sub(1, Ordering::Relaxed);
                load.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let Err(refused) = self.shards.mailboxes[index].pass(command) else {
                return None;
            };
            arriving.fetch_sub(1, Ordering::Relaxed);
            load.fetch_sub(1, Ordering::Relaxed);
            // The shard has stopped. The whole node stops with it.
            command = refused.command?;
        }
        match command {
            ShardCommand::Adopt(accepted) => Some(*accepted),
            _ => None,
        }
    }

    /// Notes that a connection from another shard has arrived at this one.
    pub(crate) fn note_arrival(&self) {
        self.shards.arriving[self.own.index()].fetch_sub(1, Ordering::Relaxed);
    }

    /// Sorts the shards into the order in which they are offered a connection.
    fn sort_candidates(&mut self) {
        let shards = self.shards.mailboxes.len();
        self.candidates.clear();
        if self.shards.placement == Placement::ReusePort {
            return self.candidates.push((0, self.own.index()));
        }
        let in_turn = (0..shards).map(|i| (self.next_shard + i) % shards);
        let load = |index: usize| match self.shards.placement {
            Placement::FewestConnections => self.shards.loads[index].load(Ordering::Relaxed),
            Placement::RoundRobin | Placement::ReusePort => 0,
        };
        self.candidates
            .extend(in_turn.map(|index| (load(index), index)));
        self.candidates.sort_by_key(|(load, _)| *load);
        self.next_shard = (self.next_shard + 1) % shards;
    }

    /// Counts a connection of this shard that got a slot.
    pub(crate) fn add_connection(&self) {
        self.shards.load(self.own).fetch_add(1, Ordering::Relaxed);
    }

    /// Uncounts a connection that this shard was given and did not admit. Its
    /// file descriptor is free.
    pub(crate) fn remove_rejected(&self) {
        self.shards.load(self.own).fetch_sub(1, Ordering::Relaxed);
        self.signal_free_descriptor();
    }

    /// Uncounts a connection of this shard that has ended.
    pub(crate) fn remove_connection(&self, conn: ConnId, direction: Direction) {
        self.shards.load(self.own).fetch_sub(1, Ordering::Relaxed);
        if direction == Direction::Outbound {
            self.shards.connects().remove(&conn);
        }
    }

    /// Connects, and records both addresses before another shard can accept the
    /// other end and look them up.
    pub(crate) fn connect(
        &self,
        conn: ConnId,
        addr: SocketAddr,
        open: impl FnOnce() -> io::Result<Stream>,
    ) -> io::Result<Stream> {
        let mut connects = self.shards.connects();
        let stream = open()?;
        if let Ok(local_addr) = stream.local_addr() {
            connects.insert(
                conn,
                (to_canonical_target(addr), to_canonical_target(local_addr)),
            );
        }
        Ok(stream)
    }

    /// Returns another shard's outbound connection between these two addresses.
    pub(crate) fn find_connect(&self, from: SocketAddr, to: SocketAddr) -> Option<ConnId> {
        let ends = (to_canonical_target(to), to_canonical_target(from));
        let connects = self.shards.connects();
        let mut others = connects.iter().filter(|(conn, _)| conn.shard() != self.own);
        others
            .find(|(_, connect)| **connect == ends)
            .map(|(conn, _)| *conn)
    }

    /// Records the number of free descriptors before an accept.
    pub(crate) fn note_accept_start(&mut self) {
        self.freed_descriptors = self.shards.freed_descriptors.load(Ordering::SeqCst);
    }

    /// Records that a listener of this shard is paused because of
    /// file-descriptor exhaustion. Returns whether a descriptor was freed since
    /// the accept, because the shard that freed it may not have seen the pause.
    pub(crate) fn note_listener_paused(&self) -> bool {
        self.shards.has_paused_listener[self.own.index()].store(true, Ordering::SeqCst);
        self.shards.freed_descriptors.load(Ordering::SeqCst) != self.freed_descriptors
    }

    /// Signals a free file descriptor to shards with paused listeners.
    pub(crate) fn signal_free_descriptor(&self) {
        self.shards.freed_descriptors.fetch_add(1, Ordering::SeqCst);
        for shard in self.shards().filter(|shard| *shard != self.own) {
            let paused = &self.shards.has_paused_listener[shard.index()];
            if paused.load(Ordering::SeqCst) && paused.swap(false, Ordering::SeqCst) {
                self.signal(shard, ShardSignal::Descriptor);
            }
        }
    }
}

impl fmt::Debug for ShardRouter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardRouter")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
