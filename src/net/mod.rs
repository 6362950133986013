//! What a handler may do.
//!
//! `Net` owns the outbound half of every connection: its queue, its state, what is known about the peer. The inbound
//! half (socket, partial frame) belongs to the loop. That is why a message can be a slice of the loop's buffer while
//! the handler that reads it sends to anybody: nothing here touches a socket that is being read.

mod body;
mod broadcast;
mod close;
mod connect;
mod establish;
mod listen;
mod remote;
mod send;
mod timer;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::buffers::BlockPool;
use crate::config::{Config, Profile};
use crate::connection::Table;
use crate::connection::{ConnEntry, Ending, Lifecycle};
use crate::cross_shard::ShardRouter;
use crate::error::DisconnectReason;
use crate::framing::FrameHeader;
use crate::id::{ConnId, ShardId};
use crate::limits::SharedLimits;
use crate::metrics::Metrics;
use crate::sys::{Registrar, Reserve, SocketOptions};
use crate::timers::Timers;
use crate::traffic::Traffic;

pub use body::Body;
pub use broadcast::BroadcastOutcome;

pub(crate) use connect::PendingConnect;
pub(crate) use listen::ListenerEntry;
pub(crate) use timer::Due;

/// What a [`Handler`](crate::Handler) may do: listen, dial, send, close, set timers, look around.
///
/// Every callback gets a `&mut Net`; between turns [`Node::net`](crate::Node::net) lends it. No call of it ever calls
/// the handler: what follows from a call is told later, by a callback of its own.
///
/// Operations on a stale [`ConnId`] are ordinary misses. Those that give something back say so (`None`,
/// [`SendError::Closed`](crate::SendError::Closed)); those that only want something to be over, like
/// [`Net::close`], find that it is.
///
/// Connections of the node's other [`Shards`](crate::Shards) can be sent to and closed as well; what differs is told there.
#[derive(Debug)]
pub struct Net {
    pub(crate) config: Config,
    profile: Arc<Profile>,
    pub(crate) sockets: SocketOptions,
    pub(crate) registrar: Registrar,
    pub(crate) now: Instant,
    pub(crate) conns: Table<ConnEntry>,
    pub(crate) limits: SharedLimits,
    /// Peers in [`Lifecycle::Connecting`] and in [`Lifecycle::Open`].
    connecting: usize,
    connected: usize,
    pub(crate) listeners: Slab<ListenerEntry>,
    pub(crate) deadlines: Timers<Due>,
    pub(crate) reserve: Reserve,
    pub(crate) pool: BlockPool,
    pub(crate) metrics: Metrics,
    /// Of the connections that have ended.
    ended_traffic: Traffic,
    /// A frame in the making, for framers of the user's own.
    scratch: Vec<u8>,
    pub(crate) work: PendingWork,
    pub(crate) stopping: Option<Stopping>,
    /// The other shards, if this is one of several.
    pub(crate) router: Option<Box<ShardRouter>>,
}

/// What the handler's calls leave for the loop to do. Each list is worked off within the turn or has the next turn
/// begin at once.
#[derive(Debug, Default)]
pub(crate) struct PendingWork {
    pub(crate) connects: Vec<PendingConnect>,
    /// Connections with something to write, or a FIN to send.
    pub(crate) dirty: Vec<ConnId>,
    /// Those of them that want it written before the turn's end.
    pub(crate) urgent: Vec<ConnId>,
    /// Connections to be looked at as if they were readable.
    pub(crate) revisit: Vec<ConnId>,
    /// Listeners that may have connections waiting.
    pub(crate) listeners: Vec<usize>,
    pub(crate) ended: Vec<ConnId>,
    /// Whose messages are being delivered.
    pub(crate) current: Option<ConnId>,
    /// Stop delivering after the present message: the current connection was paused or ended, or a flush asked for.
    pub(crate) interrupt: bool,
    /// Connections that were refused because of the loop's cap, and the bytes that were.
    pub(crate) waiting_for_quota: Vec<(ConnId, usize)>,
}

impl PendingWork {
    pub(crate) fn is_empty(&self) -> bool {
        self.connects.is_empty()
            && self.dirty.is_empty()
            && self.urgent.is_empty()
            && self.revisit.is_empty()
            && self.listeners.is_empty()
            && self.ended.is_empty()
    }
}

/// A shutdown that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopping {
    pub(crate) by: Instant,
    /// Whether the loop has begun to carry it out.
    pub(crate) begun: bool,
}

impl Net {
    pub(crate) fn new(
        config: Config,
        registrar: Registrar,
        now: Instant,
        router: Option<ShardRouter>,
    ) -> Self {
        let limits = router.as_ref().map(ShardRouter::limits);
        let shard = router.as_ref().map_or(ShardId::FIRST, ShardRouter::own);
        Self {
            profile: Arc::new(config.profile(now)),
            sockets: SocketOptions::new(&config),
            limits: limits.unwrap_or_else(|| SharedLimits::new(&config)),
            config,
            now,
            conns: Table::new(shard),
            connecting: 0,
            connected: 0,
            listeners: Slab::new(),
            deadlines: Timers::new(now),
            reserve: registrar.reserve(),
            registrar,
            pool: BlockPool::default(),
            metrics: Metrics::default(),
            ended_traffic: Traffic::default(),
            scratch: Vec::new(),
            work: PendingWork::default(),
            stopping: None,
            router: router.map(Box::new),
        }
    }

    /// Ends the whole node: gracefully at first, then for good.
    ///
    /// At the end of this turn the listeners are closed, dials are cancelled, and every connection is closed as by
    /// [`Net::close`], with the reason [`DisconnectReason::Shutdown`]. What is left
    /// when `grace` is over is ended. Then [`Node::run`](crate::Node::run) returns. From this call on, dials and
    /// listeners are refused.
    ///
    /// May be called anywhere and more than once; the shortest grace counts. Of several [`Shards`](crate::Shards) all end.
    pub fn shutdown(&mut self, grace: Duration) {
        let by = self.later(grace);
        match &mut self.stopping {
            Some(stopping) if stopping.by <= by => return,
            Some(stopping) => stopping.by = by,
            None => self.stopping = Some(Stopping { by, begun: false }),
        }
        self.deadlines.insert(by, Due::Shutdown);
        if let Some(router) = &self.router {
            router.shut_down(grace);
        }
    }

    /// This instant plus a time, or what is as good as never where that overflows.
    pub(crate) fn later(&self, after: Duration) -> Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        self.now
            .checked_add(after)
            .unwrap_or_else(|| self.now + CENTURY)
    }

    /// Asks the loop to look at a connection again although no edge will come.
    fn revisit(&mut self, conn: ConnId) {
        self.work.revisit.push(conn);
    }

    fn interrupt(&mut self, conn: ConnId) {
        self.work.interrupt |= self.work.current == Some(conn);
    }

    /// Puts a connection on the list of what is to be flushed, once.
    fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            if !entry.dirty && !entry.blocked {
                entry.dirty = true;
                self.work.dirty.push(conn);
            }
        }
    }

    /// Notes whether a session has something to say that is in no queue, and has it written.
    pub(crate) fn note_session_output(&mut self, conn: ConnId, speaks: bool) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.session_has_output = speaks;
            if speaks {
                self.mark_dirty(conn);
            }
        }
    }

    /// Queues the last words of a session that goes, before any message.
    pub(crate) fn queue_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(entry) = self.conns.get_mut(conn).filter(|_| !bytes.is_empty()) else {
            return;
        };
        debug_assert!(entry.queue.is_none());
        let queue = entry.queue.insert(self.pool.take_queue());
        queue.push(&FrameHeader::EMPTY, bytes, None, &mut self.pool);
        self.metrics.queued += queue.cost();
        self.mark_dirty(conn);
    }

    /// Sets, moves or removes the deadline of a connection, as its state demands. Not called by traffic.
    pub(crate) fn arm(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(entry) = self.conns.get_mut(conn) else {
            return;
        };
        // Never in the past: there it would come before all that is due, and what is set within a turn waits for the next one.
        let at = Some(&*entry).filter(|entry| entry.is_live());
        let at = at
            .and_then(|entry| entry.next_look(now))
            .map(|at| at.max(now));
        match (entry.deadline(), at) {
            (Some(slot), Some(at)) => self.deadlines.set(slot, at),
            (Some(slot), None) => {
                self.deadlines.remove(slot);
                entry.set_deadline(None);
            }
            (None, Some(at)) => {
                let (slot, _) = self.deadlines.insert(at, Due::Connection(conn));
                entry.set_deadline(Some(slot));
            }
            (None, None) => {}
        }
    }

    /// Counts what a read delivered.
    pub(crate) fn count_received(&mut self, conn: ConnId, messages: u64, bytes: usize) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.traffic.messages_received += messages;
            entry.traffic.bytes_received += bytes as u64;
        }
    }

    /// Frees a slot whose last callback was made. Only at the end of a turn.
    pub(crate) fn free(&mut self, conn: ConnId) {
        debug_assert!(
            self.conns
                .get(conn)
                .is_some_and(|entry| entry.lifecycle() == Lifecycle::Released)
        );
        self.conns.remove(conn);
    }

    /// A callback panicked, for this connection or for none. Ends the connection; the node goes on.
    pub(crate) fn panicked(&mut self, callback: &str, conn: Option<ConnId>) {
        self.work.current = None;
        let Some(conn) = conn else {
            self.metrics.panics += 1;
            log::error!(target: "peerloop", "{}: {callback} panicked", self.config.name);
            return;
        };
        self.end_panicked(callback, conn);
    }

    /// Something of the user's panicked that serves this connection alone.
    fn end_panicked(&mut self, what: &str, conn: ConnId) {
        self.metrics.panics += 1;
        log::error!(target: "peerloop", "{}: {conn}: {what} panicked", self.config.name);
        self.end(
            conn,
            Ending::Disconnected(DisconnectReason::HandlerPanicked),
        );
    }
}
