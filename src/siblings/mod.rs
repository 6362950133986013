//! Floor 5: what the shards of a node know of each other.
//!
//! A shard reaches another through its [`Door`], which takes orders, refuses when it is full, and never waits. No lock is
//! held while that happens.

mod held_back;

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
use crate::id::{ConnId, ShardId, Side};
use crate::limits::{SharedLimits, canonical};
use crate::network::Stream;

/// What one shard asks of another, or another thread of a shard.
pub(crate) enum Order {
    Send(ConnId, Bytes),
    Broadcast(Box<Announcement>),
    Verb(ConnId, Verb),
    Adopt(Box<Newcomer>),
    /// The other end of this dial was accepted, and is closed only when the dial has been ended.
    EndSelfConnection(ConnId, Stream),
}

impl Order {
    /// How much of the command queue's bytes it takes.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Send(_, body) => body.len(),
            Self::Broadcast(announcement) => announcement.cost(),
            Self::Verb(..) | Self::Adopt(_) | Self::EndSelfConnection(..) => 0,
        }
    }
}

/// What is wanted of a connection that another shard has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Close,
    ShutdownWrite,
    Abort,
    Pause,
    Resume,
    Flush,
}

/// One message for several connections of one shard.
pub(crate) struct Announcement {
    pub(crate) conns: Vec<ConnId>,
    pub(crate) body: Bytes,
    /// The message as most of them frame it, presumably.
    pub(crate) framed: Option<Framed>,
}

impl Announcement {
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
pub(crate) struct Framed {
    pub(crate) codec: Codec,
    pub(crate) frame: Bytes,
}

/// A connection that was accepted, for which there is a place, and nothing more yet.
pub(crate) struct Newcomer {
    pub(crate) stream: Stream,
    pub(crate) addr: SocketAddr,
    pub(crate) profile: Arc<Profile>,
}

/// A command that was not taken.
pub(crate) struct Refused<C> {
    pub(crate) error: SendError,
    /// Not there if it was lost with the shard.
    pub(crate) command: Option<C>,
}

/// What a shard is told by a flag and not by an order, so that a full queue cannot stop it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum News {
    /// There is a place again for a connection whose handshake is not over.
    Place = 1,
    /// There is a descriptor again.
    Descriptor = 2,
}

/// How a shard is reached from other threads.
pub(crate) trait Door: Send + Sync {
    /// Has the shard carry an order out. `Ok` means that it will try.
    fn pass(&self, order: Order) -> Result<(), Refused<Order>>;

    fn tell(&self, news: News);

    fn shut_down(&self, grace: Duration);
}

/// What the shards of a node share.
pub(crate) struct Family {
    doors: Vec<Box<dyn Door>>,
    limits: SharedLimits,
    placement: Placement,
    /// By shard: its connections and dials, and the connections on their way to it.
    loads: Vec<AtomicUsize>,
    /// By shard: a listener of it rests for want of a descriptor.
    resting: Vec<AtomicBool>,
    /// How often a descriptor was given back.
    given_back: AtomicUsize,
    /// The two ends of every dial, the other one first.
    dials: Mutex<HashMap<ConnId, (SocketAddr, SocketAddr)>>,
}

impl Family {
    pub(crate) fn new(
        doors: Vec<Box<dyn Door>>,
        limits: SharedLimits,
        placement: Placement,
    ) -> Self {
        Self {
            loads: doors.iter().map(|_| AtomicUsize::new(0)).collect(),
            resting: doors.iter().map(|_| AtomicBool::new(false)).collect(),
            given_back: AtomicUsize::new(0),
            doors,
            limits,
            placement,
            dials: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) fn placement(&self) -> Placement {
        self.placement
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.doors.len()).filter_map(ShardId::new)
    }

    /// The shard with the fewest connections; of several the first.
    pub(crate) fn emptiest(&self) -> ShardId {
        self.shards()
            .min_by_key(|shard| self.load(*shard).load(Ordering::Relaxed))
            .unwrap_or(ShardId::FIRST)
    }

    /// Passes an order to a shard.
    pub(crate) fn pass(&self, shard: ShardId, order: Order) -> Result<(), Refused<Order>> {
        match self.doors.get(shard.index()) {
            Some(door) => door.pass(order),
            // An id that nobody has given.
            None => Err(Refused {
                error: SendError::Closed,
                command: None,
            }),
        }
    }

    fn load(&self, shard: ShardId) -> &AtomicUsize {
        &self.loads[shard.index()]
    }

    fn dials(&self) -> MutexGuard<'_, HashMap<ConnId, (SocketAddr, SocketAddr)>> {
        // Nothing is left half done here that a panic could interrupt.
        self.dials.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one shard knows of the others.
pub(crate) struct Siblings {
    own: ShardId,
    family: Arc<Family>,
    /// Whose turn it is to get a connection.
    next: usize,
    /// Memory for the shards in the order in which they are offered one.
    order: Vec<(usize, usize)>,
    /// [`Family::given_back`] before the last try to accept.
    given_back: usize,
    /// By shard: orders for which its queue had no room, in their order.
    held_back: Vec<VecDeque<Order>>,
    /// A deadline is set at which they are passed on again.
    pub(crate) retry_is_due: bool,
}

impl Siblings {
    pub(crate) fn new(own: ShardId, family: Arc<Family>) -> Self {
        Self {
            own,
            next: 0,
            order: Vec::new(),
            given_back: 0,
            held_back: family.doors.iter().map(|_| VecDeque::new()).collect(),
            retry_is_due: false,
            family,
        }
    }

    pub(crate) fn own(&self) -> ShardId {
        self.own
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.family.shards()
    }

    pub(crate) fn limits(&self) -> SharedLimits {
        self.family.limits.clone()
    }

    pub(crate) fn tell(&self, shard: ShardId, news: News) {
        if let Some(door) = self.family.doors.get(shard.index()) {
            door.tell(news);
        }
    }

    /// Shuts all others down.
    pub(crate) fn shut_down(&self, grace: Duration) {
        for (index, door) in self.family.doors.iter().enumerate() {
            if index != self.own.index() {
                door.shut_down(grace);
            }
        }
    }

    /// Gives an accepted connection to the shard that gets it, the next one if that is full, and so on; back if this one
    /// does, which never is. It counts as the shard's from now on.
    pub(crate) fn hand_over(&mut self, newcomer: Newcomer) -> Option<Newcomer> {
        self.line_up();
        let mut order = Order::Adopt(Box::new(newcomer));
        for &(_, index) in &self.order {
            let load = &self.family.loads[index];
            load.fetch_add(1, Ordering::Relaxed);
            if index == self.own.index() {
                break;
            }
            let Err(refused) = self.family.doors[index].pass(order) else {
                return None;
            };
            load.fetch_sub(1, Ordering::Relaxed);
            // Lost with a shard that has just gone, and with it all of them go.
            order = refused.command?;
        }
        match order {
            Order::Adopt(newcomer) => Some(*newcomer),
            _ => None,
        }
    }

    /// Puts the shards in the order in which they are offered a connection.
    fn line_up(&mut self) {
        let shards = self.family.doors.len();
        self.order.clear();
        if self.family.placement == Placement::ReusePort {
            return self.order.push((0, self.own.index()));
        }
        let in_turn = (0..shards).map(|i| (self.next + i) % shards);
        let load = |index: usize| match self.family.placement {
            Placement::FewestConnections => self.family.loads[index].load(Ordering::Relaxed),
            Placement::RoundRobin | Placement::ReusePort => 0,
        };
        self.order.extend(in_turn.map(|index| (load(index), index)));
        self.order.sort_by_key(|(load, _)| *load);
        self.next = (self.next + 1) % shards;
    }

    /// A dial of this shard has its slot.
    pub(crate) fn dialled(&self) {
        self.family.load(self.own).fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that was handed over was not admitted, and its descriptor given back.
    pub(crate) fn turned_away(&self) {
        self.family.load(self.own).fetch_sub(1, Ordering::Relaxed);
        self.wake_resting();
    }

    /// A connection or a dial of this shard has ended.
    pub(crate) fn ended(&self, conn: ConnId, side: Side) {
        self.family.load(self.own).fetch_sub(1, Ordering::Relaxed);
        if side == Side::Initiator {
            self.family.dials().remove(&conn);
        }
    }

    /// Begins a dial, and notes both of its ends before another shard can have accepted the other one and looked.
    pub(crate) fn connecting(
        &self,
        conn: ConnId,
        addr: SocketAddr,
        connect: impl FnOnce() -> io::Result<Stream>,
    ) -> io::Result<Stream> {
        let mut dials = self.family.dials();
        let stream = connect()?;
        if let Ok(local_addr) = stream.local_addr() {
            dials.insert(conn, (canonical(addr), canonical(local_addr)));
        }
        Ok(stream)
    }

    /// Another shard's dial between these two addresses.
    pub(crate) fn find_dial(&self, from: SocketAddr, to: SocketAddr) -> Option<ConnId> {
        let ends = (canonical(to), canonical(from));
        let dials = self.family.dials();
        let mut others = dials.iter().filter(|(conn, _)| conn.shard() != self.own);
        others
            .find(|(_, dial)| **dial == ends)
            .map(|(conn, _)| *conn)
    }

    /// This shard is about to accept.
    pub(crate) fn begin_accept(&mut self) {
        self.given_back = self.family.given_back.load(Ordering::SeqCst);
    }

    /// A listener of this shard is to rest for want of a descriptor. Whether one was given back since the shard tried; who did
    /// may not have seen that anybody wants it.
    pub(crate) fn note_resting(&self) -> bool {
        self.family.resting[self.own.index()].store(true, Ordering::SeqCst);
        self.family.given_back.load(Ordering::SeqCst) != self.given_back
    }

    /// A descriptor is free: tells those whose listeners rest.
    pub(crate) fn wake_resting(&self) {
        self.family.given_back.fetch_add(1, Ordering::SeqCst);
        for shard in self.shards().filter(|shard| *shard != self.own) {
            let resting = &self.family.resting[shard.index()];
            if resting.load(Ordering::SeqCst) && resting.swap(false, Ordering::SeqCst) {
                self.tell(shard, News::Descriptor);
            }
        }
    }
}

impl fmt::Debug for Siblings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Siblings")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
