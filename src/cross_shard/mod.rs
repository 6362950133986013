//! What the shards of a node know of each other.
//!
//! A shard reaches another through its [`Mailbox`], which takes orders, refuses when it is full, and never waits. No lock is
//! held while that happens.

mod waiting;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Placement, Profile};
use crate::error::SendError;
use crate::framing::Codec;
use crate::id::{ConnId, Direction, ShardId};
use crate::limits::{SharedLimits, canonical};
use crate::sys::Stream;

/// What one shard asks of another, or another thread of a shard.
pub(crate) enum ShardCommand {
    Send(ConnId, Bytes),
    BroadcastOutcome(Box<RemoteBroadcast>),
    ConnCommand(ConnId, ConnCommand),
    Adopt(Box<AcceptedSocket>),
    /// The other end of this dial was accepted, and is closed only when the dial has been ended.
    EndSelfConnection(ConnId, Stream),
}

impl ShardCommand {
    /// How much of the command queue's bytes it takes.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Send(_, body) => body.len(),
            Self::BroadcastOutcome(broadcast) => broadcast.cost(),
            Self::ConnCommand(..) | Self::Adopt(_) | Self::EndSelfConnection(..) => 0,
        }
    }
}

/// What is wanted of a connection that another shard has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnCommand {
    Close,
    ShutdownWrite,
    Abort,
    Pause,
    Resume,
    Flush,
}

/// One message for several connections of one shard.
pub(crate) struct RemoteBroadcast {
    pub(crate) conns: Vec<ConnId>,
    pub(crate) body: Bytes,
    /// The message as most of them frame it, presumably.
    pub(crate) framed: Option<FramedBody>,
}

impl RemoteBroadcast {
    fn cost(&self) -> usize {
        let message = match &self.framed {
            // The body is a part of it.
            Some(framed) => framed.frame.len(),
            None => self.body.len(),
        };
        message.saturating_add(size_of_val(self.conns.as_slice()))
    }
}

/// A message as a framing without a state frames it.
pub(crate) struct FramedBody {
    pub(crate) codec: Codec,
    pub(crate) frame: Bytes,
}

/// A connection that was accepted, for which there is a place, and nothing more yet.
pub(crate) struct AcceptedSocket {
    pub(crate) stream: Stream,
    pub(crate) addr: SocketAddr,
    pub(crate) profile: Arc<Profile>,
}

/// A command that was not taken.
pub(crate) struct RefusedCommand<C> {
    pub(crate) error: SendError,
    /// Not there if it was lost with the shard.
    pub(crate) command: Option<C>,
}

/// What a shard is told by a flag and not by an order, so that a full queue cannot stop it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum ShardSignal {
    /// There is a place again for a connection whose handshake is not over.
    Place = 1,
    /// There is a descriptor again.
    Descriptor = 2,
}

/// How a shard is reached from other threads.
pub(crate) trait Mailbox: Send + Sync {
    /// Has the shard carry an order out. `Ok` means that it will try.
    fn pass(&self, order: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>>;

    fn tell(&self, news: ShardSignal);

    fn shut_down(&self, grace: Duration);
}

/// What the shards of a node share.
pub(crate) struct ShardSet {
    mailboxes: Vec<Box<dyn Mailbox>>,
    limits: SharedLimits,
    placement: Placement,
    /// By shard: its connections and dials, and the connections on their way to it.
    loads: Vec<AtomicUsize>,
    /// By shard: a listener of it rests for want of a descriptor.
    resting: Vec<AtomicBool>,
    /// How often a descriptor was given back.
    given_back: AtomicUsize,
    /// The two ends of every dial, the other one first.
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
            resting: mailboxes.iter().map(|_| AtomicBool::new(false)).collect(),
            given_back: AtomicUsize::new(0),
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

    /// The shard with the fewest connections; of several the first.
    pub(crate) fn least_loaded(&self) -> ShardId {
        self.shards()
            .min_by_key(|shard| self.load(*shard).load(Ordering::Relaxed))
            .unwrap_or(ShardId::FIRST)
    }

    /// Passes an order to a shard.
    pub(crate) fn pass(
        &self,
        shard: ShardId,
        order: ShardCommand,
    ) -> Result<(), RefusedCommand<ShardCommand>> {
        match self.mailboxes.get(shard.index()) {
            Some(mailbox) => mailbox.pass(order),
            // An id that nobody has given.
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
        // Nothing is left half done here that a panic could interrupt.
        self.connects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one shard knows of the others.
pub(crate) struct ShardRouter {
    own: ShardId,
    shards: Arc<ShardSet>,
    /// Whose turn it is to get a connection.
    next: usize,
    /// Memory for the shards in the order in which they are offered one.
    order: Vec<(usize, usize)>,
    /// [`ShardSet::given_back`] before the last try to accept.
    given_back: usize,
    /// By shard: orders for which its queue had no room, in their order.
    waiting: Vec<VecDeque<ShardCommand>>,
    /// A deadline is set at which they are passed on again.
    pub(crate) retry_is_armed: bool,
}

impl ShardRouter {
    pub(crate) fn new(own: ShardId, shards: Arc<ShardSet>) -> Self {
        Self {
            own,
            next: 0,
            order: Vec::new(),
            given_back: 0,
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

    pub(crate) fn tell(&self, shard: ShardId, news: ShardSignal) {
        if let Some(mailbox) = self.shards.mailboxes.get(shard.index()) {
            mailbox.tell(news);
        }
    }

    /// Shuts all others down.
    pub(crate) fn shut_down(&self, grace: Duration) {
        for (index, mailbox) in self.shards.mailboxes.iter().enumerate() {
            if index != self.own.index() {
                mailbox.shut_down(grace);
            }
        }
    }

    /// Gives an accepted connection to the shard that gets it, the next one if that is full, and so on; back if this one
    /// does, which never is. It counts as the shard's from now on.
    pub(crate) fn assign(&mut self, accepted: AcceptedSocket) -> Option<AcceptedSocket> {
        self.order_candidates();
        let mut order = ShardCommand::Adopt(Box::new(accepted));
        for &(_, index) in &self.order {
            let load = &self.shards.loads[index];
            load.fetch_add(1, Ordering::Relaxed);
            if index == self.own.index() {
                break;
            }
            let Err(refused) = self.shards.mailboxes[index].pass(order) else {
                return None;
            };
            load.fetch_sub(1, Ordering::Relaxed);
            // Lost with a shard that has just gone, and with it all of them go.
            order = refused.command?;
        }
        match order {
            ShardCommand::Adopt(accepted) => Some(*accepted),
            _ => None,
        }
    }

    /// Puts the shards in the order in which they are offered a connection.
    fn order_candidates(&mut self) {
        let shards = self.shards.mailboxes.len();
        self.order.clear();
        if self.shards.placement == Placement::ReusePort {
            return self.order.push((0, self.own.index()));
        }
        let in_turn = (0..shards).map(|i| (self.next + i) % shards);
        let load = |index: usize| match self.shards.placement {
            Placement::FewestConnections => self.shards.loads[index].load(Ordering::Relaxed),
            Placement::RoundRobin | Placement::ReusePort => 0,
        };
        self.order.extend(in_turn.map(|index| (load(index), index)));
        self.order.sort_by_key(|(load, _)| *load);
        self.next = (self.next + 1) % shards;
    }

    /// A dial of this shard has its slot.
    pub(crate) fn connects_started(&self) {
        self.shards.load(self.own).fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that was handed over was not admitted, and its descriptor given back.
    pub(crate) fn accepted_rejected(&self) {
        self.shards.load(self.own).fetch_sub(1, Ordering::Relaxed);
        self.wake_resting();
    }

    /// A connection or a dial of this shard has ended.
    pub(crate) fn ended(&self, conn: ConnId, direction: Direction) {
        self.shards.load(self.own).fetch_sub(1, Ordering::Relaxed);
        if direction == Direction::Outbound {
            self.shards.connects().remove(&conn);
        }
    }

    /// Begins a dial, and notes both of its ends before another shard can have accepted the other one and looked.
    pub(crate) fn connecting(
        &self,
        conn: ConnId,
        addr: SocketAddr,
        connect: impl FnOnce() -> io::Result<Stream>,
    ) -> io::Result<Stream> {
        let mut connects = self.shards.connects();
        let stream = connect()?;
        if let Ok(local_addr) = stream.local_addr() {
            connects.insert(conn, (canonical(addr), canonical(local_addr)));
        }
        Ok(stream)
    }

    /// Another shard's dial between these two addresses.
    pub(crate) fn find_connect(&self, from: SocketAddr, to: SocketAddr) -> Option<ConnId> {
        let ends = (canonical(to), canonical(from));
        let connects = self.shards.connects();
        let mut others = connects.iter().filter(|(conn, _)| conn.shard() != self.own);
        others
            .find(|(_, connect)| **connect == ends)
            .map(|(conn, _)| *conn)
    }

    /// This shard is about to accept.
    pub(crate) fn begin_accept(&mut self) {
        self.given_back = self.shards.given_back.load(Ordering::SeqCst);
    }

    /// A listener of this shard is to rest for want of a descriptor. Whether one was given back since the shard tried; who did
    /// may not have seen that anybody wants it.
    pub(crate) fn note_resting(&self) -> bool {
        self.shards.resting[self.own.index()].store(true, Ordering::SeqCst);
        self.shards.given_back.load(Ordering::SeqCst) != self.given_back
    }

    /// A descriptor is free: tells those whose listeners rest.
    pub(crate) fn wake_resting(&self) {
        self.shards.given_back.fetch_add(1, Ordering::SeqCst);
        for shard in self.shards().filter(|shard| *shard != self.own) {
            let resting = &self.shards.resting[shard.index()];
            if resting.load(Ordering::SeqCst) && resting.swap(false, Ordering::SeqCst) {
                self.tell(shard, ShardSignal::Descriptor);
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
