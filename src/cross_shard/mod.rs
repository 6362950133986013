//! Communication between the shards of a node.
//!
//! A shard reaches another shard through its [`Mailbox`]. A mailbox takes
//! commands, or refuses them when it is full. It never waits, and no lock is
//! held while a command is passed.

mod assign;
mod shared_message;
mod waiting;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::addr::to_canonical_target;
use crate::config::{ConnectionConfig, ConnectionSetting, Placement, TrustedProxies};
use crate::error::{DisconnectReason, SendError};
use crate::id::{ConnId, Direction, ListenerId, ShardId};
use crate::limits::SharedLimits;
use crate::sys::Stream;

pub(crate) use shared_message::{Form, SharedMessage};

/// A command from one shard, or from another thread, to a shard.
pub(crate) enum ShardCommand {
    Send(ConnId, Bytes),
    Broadcast(Box<RemoteBroadcast>),
    ConnCommand(ConnId, ConnCommand),
    Adopt(Box<AcceptedSocket>),
    CloseListener(ListenerId),
    /// Ends an outbound connection whose other end this node accepted. The
    /// accepted stream is closed afterwards.
    EndSelfConnection(ConnId, Stream),
}

impl ShardCommand {
    /// Returns the number of bytes that the command takes in the command queue.
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
#[derive(Debug)]
pub(crate) enum ConnCommand {
    Close,
    CloseWrite,
    Abort(DisconnectReason),
    Pause,
    Resume,
    Flush,
    WakeSession,
    Set(Box<ConnectionSetting>),
}

/// One message for several connections of one shard.
pub(crate) struct RemoteBroadcast {
    pub(crate) conns: Vec<ConnId>,
    pub(crate) message: SharedMessage,
}

impl RemoteBroadcast {
    fn cost(&self) -> usize {
        let conns = size_of_val(self.conns.as_slice());
        self.message.len().saturating_add(conns)
    }
}

/// An accepted connection that has no id yet.
#[derive(Debug)]
pub(crate) struct AcceptedSocket {
    pub(crate) stream: Stream,
    /// The socket options are set already.
    pub(crate) has_options: bool,
    pub(crate) addr: SocketAddr,
    /// The local address, if it is known: that of the listener, or the one in
    /// the PROXY header.
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) listener: ListenerId,
    pub(crate) config: Arc<ConnectionConfig>,
    /// The proxies that the listener trusts. `None` if no PROXY header is to be
    /// read.
    pub(crate) proxies: Option<TrustedProxies>,
}

/// A command that was refused.
pub(crate) struct RefusedCommand<C> {
    pub(crate) error: SendError,
    pub(crate) command: C,
}

/// A fact that is signalled to a shard by a flag. Unlike a command it cannot be
/// refused by a full queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum ShardSignal {
    /// A handshake was ended, because another one took its place.
    Eviction = 1,
    /// A file descriptor was freed.
    Descriptor = 2,
    /// A thread no longer waits for its request.
    Abandoned = 4,
}

/// The interface of a shard to other threads.
pub(crate) trait Mailbox: Send + Sync {
    /// Passes a command. `Ok` means that the shard will execute it, unless it
    /// stops before.
    fn pass(&self, command: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>>;

    fn signal(&self, signal: ShardSignal);

    fn shut_down(&self, grace: Duration);
}

/// State that the shards of a node share.
pub(crate) struct ShardSet {
    mailboxes: Vec<Box<dyn Mailbox>>,
    limits: SharedLimits,
    placement: Placement,
    /// By shard: number of its connections, including those on their way to it.
    loads: Vec<AtomicUsize>,
    /// By shard: number of connections on their way to it.
    arriving: Vec<AtomicUsize>,
    /// By shard: whether a listener is paused because of file-descriptor
    /// exhaustion.
    has_paused_listener: Vec<AtomicBool>,
    /// Number of file descriptors that were closed.
    freed_descriptors: AtomicUsize,
    connects: Mutex<HashMap<ConnId, OutboundEnds>>,
    /// Notified when the local address of a connect is known.
    connected: Condvar,
}

/// Addresses of an outbound connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct OutboundEnds {
    peer: SocketAddr,
    /// `None` until connect(2) has returned.
    local: Option<SocketAddr>,
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
            connected: Condvar::new(),
        }
    }

    pub(crate) fn placement(&self) -> Placement {
        self.placement
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.mailboxes.len()).filter_map(ShardId::new)
    }

    /// Returns the shard with the fewest connections, the first one of several.
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
            // No shard of this node has this id.
            None => Err(RefusedCommand {
                error: SendError::Closed,
                command,
            }),
        }
    }

    fn load(&self, shard: ShardId) -> &AtomicUsize {
        &self.loads[shard.index()]
    }

    fn connects(&self) -> MutexGuard<'_, HashMap<ConnId, OutboundEnds>> {
        // A panic cannot leave the map inconsistent.
        self.connects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The view that one shard has of the other shards.
pub(crate) struct ShardRouter {
    own: ShardId,
    shards: Arc<ShardSet>,
    /// The shard that is the first candidate for the next connection.
    next_shard: usize,
    /// The candidates for a connection, in their order. Kept to reuse the
    /// memory.
    candidates: Vec<(usize, usize)>,
    /// Value of [`ShardSet::freed_descriptors`] before the last accept.
    freed_descriptors: usize,
    /// By shard: commands that its full queue refused, in their order.
    waiting: Vec<VecDeque<ShardCommand>>,
    /// A timer is set after which the waiting commands are passed again.
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

    /// Counts a connection of this shard that got a slot.
    pub(crate) fn add_connection(&self) {
        self.shards.load(self.own).fetch_add(1, Ordering::Relaxed);
    }

    /// Subtracts a connection that was assigned to this shard and not admitted.
    /// Its file descriptor is free.
    pub(crate) fn remove_rejected(&self) {
        self.shards.load(self.own).fetch_sub(1, Ordering::Relaxed);
        self.signal_free_descriptor();
    }

    /// Subtracts a connection of this shard that has ended.
    pub(crate) fn remove_connection(&self, conn: ConnId, direction: Direction) {
        self.shards.load(self.own).fetch_sub(1, Ordering::Relaxed);
        if direction == Direction::Outbound {
            self.shards.connects().remove(&conn);
        }
    }

    /// Connects. The address is recorded before another shard can accept the
    /// other end and look it up. No lock is held meanwhile.
    pub(crate) fn connect(
        &self,
        conn: ConnId,
        addr: SocketAddr,
        open: impl FnOnce() -> io::Result<Stream>,
    ) -> io::Result<Stream> {
        let mut ends = OutboundEnds {
            peer: to_canonical_target(addr),
            local: None,
        };
        self.shards.connects().insert(conn, ends);
        let opened = open();
        let local = opened.as_ref().ok().map(Stream::local_addr);
        ends.local = local.and_then(Result::ok).map(to_canonical_target);
        let mut connects = self.shards.connects();
        if ends.local.is_some() {
            connects.insert(conn, ends);
        } else {
            connects.remove(&conn);
        }
        drop(connects);
        self.shards.connected.notify_all();
        opened
    }

    /// Returns the outbound connection of another shard between these
    /// addresses. Waits for the connect(2) of another shard to the address
    /// `to`, if one is in progress. It does not block.
    pub(crate) fn find_connect(&self, from: SocketAddr, to: SocketAddr) -> Option<ConnId> {
        let (from, to) = (to_canonical_target(from), to_canonical_target(to));
        let mut connects = self.shards.connects();
        loop {
            let mut is_undecided = false;
            for (conn, ends) in connects.iter() {
                if conn.shard() == self.own || ends.peer != to {
                    continue;
                }
                if ends.local == Some(from) {
                    return Some(*conn);
                }
                is_undecided |= ends.local.is_none();
            }
            if !is_undecided {
                return None;
            }
            let waited = self.shards.connected.wait(connects);
            connects = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Records the number of freed descriptors before an accept.
    pub(crate) fn note_accept_start(&mut self) {
        self.freed_descriptors = self.shards.freed_descriptors.load(Ordering::SeqCst);
    }

    /// Records that a listener of this shard is paused because of
    /// file-descriptor exhaustion. Returns whether a descriptor was freed since
    /// the accept: the shard that freed it may have missed the pause.
    pub(crate) fn note_listener_paused(&self) -> bool {
        self.shards.has_paused_listener[self.own.index()].store(true, Ordering::SeqCst);
        self.shards.freed_descriptors.load(Ordering::SeqCst) != self.freed_descriptors
    }

    /// Signals that a file descriptor is free to the shards with paused
    /// listeners.
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
