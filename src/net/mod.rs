//! `Net`, the interface of handlers.
//!
//! `Net` owns the outbound half of every connection: its queue, state,
//! addresses and identity. The loop owns the inbound half: the codec and the
//! partial frame. Therefore a message can be a slice of the loop's buffer while
//! the handler that reads it sends to any connection.

mod body;
mod broadcast;
mod clock;
mod close;
mod connect;
mod connect_delay;
mod datagram;
mod datagram_work;
mod establish;
mod listen;
mod ping;
mod proxy_header;
mod rates;
mod receive_quota;
mod remote;
mod send;
mod send_quota;
mod session_timer;
mod settings;
mod sources;
mod timer;
mod udp_table;
mod view;
mod visit;
mod waiters;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::buffers::BlockPool;
use crate::config::{Config, ConnectionConfig};
use crate::connection::Table;
use crate::connection::{ConnEntry, Ending};
use crate::cross_shard::ShardRouter;
use crate::error::{ConfigError, DisconnectReason};
use crate::framing::FrameHeader;
use crate::id::{ConnId, ShardId};
use crate::limits::SharedLimits;
use crate::metrics::Metrics;
use crate::sys::{Registrar, Reserve, SocketOptions, Stream};
use crate::timers::Timers;
use crate::traffic::Traffic;

pub use body::Body;
pub use broadcast::BroadcastOutcome;
pub use connect::ConnectAddr;
pub use view::{Connection, Connections};

pub(crate) use clock::TurnClock;
pub(crate) use connect::{PendingConnect, PendingSocket};
use connect_delay::DelayedConnect;
pub(crate) use listen::ListenerEntry;
use proxy_header::PendingHeaders;
pub(crate) use rates::RateContext;
pub(crate) use send_quota::{PendingSend, SendQuota};
use sources::Sources;
pub(crate) use timer::Due;
use udp_table::UdpTable;
use visit::{BatchInProgress, Visit};
pub(crate) use waiters::{Connected, Waiters};

/// The operations of a node. A [`Handler`](crate::Handler) uses it to listen,
/// connect, send and close, to set timers and to look at connections.
///
/// Every callback receives a `&mut Net`. [`Node::net`](crate::Node::net)
/// returns it between turns. None of its methods calls the handler. The
/// consequences of a call are reported later, by callbacks.
///
/// A [`ConnId`] is stale after the last callback of its connection. An
/// operation on a stale id affects no connection: methods with a return value
/// return `None`, false or [`SendError::Closed`](crate::SendError::Closed), and
/// others, such as [`Net::close`], are no-ops.
///
/// In a node with [shards](crate::shards), a `Net` can also send to connections
/// of other shards, close and pause them, and change their settings. [`Shards`](crate::shards::Shards)
/// describes the differences.
#[derive(Debug)]
pub struct Net {
    pub(crate) config: Config,
    /// The default settings of connections.
    connection_config: Arc<ConnectionConfig>,
    pub(crate) sockets: SocketOptions,
    pub(crate) registrar: Registrar,
    pub(crate) now: Instant,
    pub(crate) clock: TurnClock,
    pub(crate) visit: Visit,
    /// The origin of timestamps.
    pub(crate) epoch: Instant,
    pub(crate) conns: Table<ConnEntry>,
    pub(crate) limits: SharedLimits,
    /// The number of connections before `Lifecycle::Open`.
    connecting: usize,
    /// The number of connections in `Lifecycle::Open`, by direction.
    open: [usize; 2],
    pub(crate) listeners: Slab<ListenerEntry>,
    /// Accepted connections whose PROXY header is incomplete.
    pub(crate) headers: PendingHeaders,
    pub(crate) udp: UdpTable,
    /// The sources of the program.
    pub(crate) sources: Sources,
    pub(crate) timers: Timers<Due>,
    /// Connects that have not begun.
    delayed_connects: HashMap<ConnId, DelayedConnect>,
    pub(crate) reserve: Reserve,
    pub(crate) pool: BlockPool,
    pub(crate) metrics: Metrics,
    pub(crate) send_quota: SendQuota,
    /// The memory that the connections hold for what they received, in bytes.
    pub(crate) received_bytes: usize,
    /// The traffic of all connections that have ended.
    ended_traffic: Traffic,
    /// Memory for encoding frames of custom framers and for joining the parts of
    /// a broadcast, for reuse.
    scratch: Vec<u8>,
    pub(crate) work: PendingWork,
    pub(crate) turn_counts: TurnCounts,
    pub(crate) stopping: Option<Stopping>,
    /// Threads that wait for a connection or for room in a queue.
    pub(crate) waiters: Waiters,
    /// The other shards of the node.
    pub(crate) router: Option<Box<ShardRouter>>,
}

/// Work that calls of the handler leave for the loop. Each list is processed in
/// the same turn, or the next turn starts at once.
///
/// Lists that are processed with callbacks are queues. An entry is taken out
/// when its callbacks are made, so that a panic loses no other entry, and the
/// list keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct PendingWork {
    pub(crate) connects: VecDeque<PendingConnect>,
    /// Connections to flush: there are bytes or a FIN to send.
    pub(crate) dirty: Vec<ConnId>,
    /// Work to do when the current callback returns, before the next message.
    pub(crate) urgent: Vec<UrgentWork>,
    /// Connections to visit as if they were readable.
    pub(crate) visits: Vec<ConnId>,
    /// Connections whose sessions are to be woken.
    pub(crate) wakes: Vec<ConnId>,
    /// Listeners that may have connections to accept.
    pub(crate) listeners: VecDeque<usize>,
    /// Connections whose PROXY header can be read.
    pub(crate) headers: VecDeque<ConnId>,
    pub(crate) ended: VecDeque<ConnId>,
    /// The batch of messages that is being delivered.
    pub(crate) batch: BatchInProgress,
}

/// Work that a callback has requested and that does not wait for the end of the
/// turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UrgentWork {
    /// Write the queue of the connection.
    Flush(ConnId),
    /// Apply the pending change of the connection to its inbound half.
    Change(ConnId),
}

impl UrgentWork {
    pub(crate) fn conn(self) -> ConnId {
        match self {
            Self::Flush(conn) | Self::Change(conn) => conn,
        }
    }
}

impl PendingWork {
    pub(crate) fn is_empty(&self) -> bool {
        self.connects.is_empty()
            && self.dirty.is_empty()
            && self.urgent.is_empty()
            && self.visits.is_empty()
            && self.wakes.is_empty()
            && self.listeners.is_empty()
            && self.headers.is_empty()
            && self.ended.is_empty()
    }
}

/// Numbers of messages delivered in a turn, for the log line of a slow turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnCounts {
    pub(crate) messages: u64,
    /// The largest batch and its connection.
    pub(crate) largest_batch: Option<(u64, ConnId)>,
}

impl TurnCounts {
    fn add(&mut self, batch: &BatchInProgress) {
        self.messages += batch.messages;
        let batch = batch.conn.map(|conn| (batch.messages, conn));
        self.largest_batch = self.largest_batch.max(batch);
    }
}

/// A requested shutdown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopping {
    pub(crate) by: Instant,
    /// The grace, until the end of the turn in which the shutdown was
    /// requested. `None` if it was requested between turns.
    unarmed: Option<Duration>,
    /// The end of the grace of an earlier request, which still applies.
    earlier: Option<Instant>,
    /// The loop has started to close all connections.
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
        let send_limit = config.limits.loop_send_bytes;
        Self {
            connection_config: Arc::new(config.connection.clone()),
            epoch: now,
            sockets: SocketOptions::new(&config),
            limits: limits.unwrap_or_else(|| SharedLimits::new(&config)),
            config,
            now,
            clock: TurnClock::new(now),
            visit: Visit::new(now),
            conns: Table::new(shard),
            connecting: 0,
            open: [0; 2],
            listeners: Slab::new(),
            headers: PendingHeaders::default(),
            udp: UdpTable::default(),
            sources: Sources::default(),
            timers: Timers::new(now),
            delayed_connects: HashMap::new(),
            reserve: registrar.reserve(),
            registrar,
            pool: BlockPool::new(send_limit),
            metrics: Metrics::default(),
            received_bytes: 0,
            send_quota: SendQuota::new(send_limit),
            ended_traffic: Traffic::default(),
            scratch: Vec::new(),
            work: PendingWork::default(),
            turn_counts: TurnCounts::default(),
            stopping: None,
            waiters: Waiters::default(),
            router: router.map(Box::new),
        }
    }

    /// Shuts the node down gracefully.
    ///
    /// At the end of this turn, or of the next one if it is called between
    /// turns,
    ///
    /// - all listeners are closed,
    /// - all connects and handshakes fail with
    ///   [`ConnectError::ShuttingDown`](crate::ConnectError::ShuttingDown), and
    /// - all connections are closed as by [`Net::close`], with the reason
    ///   [`DisconnectReason::Shutdown`].
    ///
    /// UDP sockets are closed when no connection is left.
    ///
    /// Connections that remain after `grace` are ended with the same reason,
    /// and what is queued for them is dropped. The grace begins at the end of
    /// the turn, or with this call if it is made between turns. Then
    /// [`Node::run`](crate::Node::run) returns. From this call on, connects and
    /// listeners are refused.
    ///
    /// A further call can only make the end of the grace earlier. All
    /// [shards](crate::shards) of the node shut down.
    pub fn shutdown(&mut self, grace: Duration) {
        let by = clock::later(self.now, grace);
        let earlier = self.stopping;
        if earlier.is_some_and(|earlier| earlier.by <= by) {
            return;
        }
        // Between turns the grace counts from now, as its timer does.
        let unarmed = self.clock.is_in_turn().then_some(grace);
        self.stopping = Some(Stopping {
            by,
            unarmed,
            earlier: earlier.map(|earlier| earlier.by),
            begun: earlier.is_some_and(|earlier| earlier.begun),
        });
        self.arm_after(grace, |_| Due::Shutdown);
        if let Some(router) = &self.router {
            router.shut_down(grace);
        }
    }

    /// Makes the loop visit a connection without a readiness event.
    fn request_visit(&mut self, conn: ConnId) {
        self.work.visits.push(conn);
    }

    fn interrupt_batch(&mut self, conn: ConnId) {
        if self.work.batch.conn == Some(conn) {
            self.interrupt();
        }
    }

    /// Adds a connection to the list of connections to flush, once.
    fn mark_dirty(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            if !entry.dirty && !entry.blocked {
                entry.dirty = true;
                self.work.dirty.push(conn);
            }
        }
    }

    /// Records the unwritten output of a session and the memory of that output,
    /// and schedules its writing.
    pub(crate) fn note_session_output(&mut self, conn: ConnId, unwritten: usize, memory: usize) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.update_session_charge(memory, &mut self.pool.account);
            entry.session_has_output = unwritten > 0;
            if unwritten > 0 {
                self.mark_dirty(conn);
            }
        }
    }

    /// Queues the last output of a transparent session, before any message.
    pub(crate) fn queue_session_output(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(entry) = self.conns.get_mut(conn).filter(|_| !bytes.is_empty()) else {
            return;
        };
        debug_assert!(entry.queue.is_none());
        let queue = entry.queue.insert(self.pool.take_queue());
        queue.push(&FrameHeader::EMPTY, bytes, None, &mut self.pool);
        self.mark_dirty(conn);
    }

    /// Returns the socket of a connection.
    pub(crate) fn stream(&self, conn: ConnId) -> Option<&Stream> {
        self.conns.get(conn)?.stream.as_ref()
    }

    /// Checks the settings in options. The settings of the node were checked
    /// when it was created.
    fn validated(
        &self,
        config: &Arc<ConnectionConfig>,
    ) -> Result<Arc<ConnectionConfig>, ConfigError> {
        if !Arc::ptr_eq(config, &self.connection_config) {
            config.validate()?;
            self.config.limits.validate_connection(config)?;
        }
        Ok(Arc::clone(config))
    }

    /// Counts and logs a panic of a callback, and ends the connection that the
    /// callback was called for.
    pub(crate) fn handle_panic(&mut self, callback: &str, conn: Option<ConnId>) {
        let Some(conn) = conn else {
            self.metrics.panics += 1;
            log::error!(target: "peerloop", "{}: {callback} panicked", self.config.name);
            return;
        };
        self.end_after_panic(callback, conn);
    }

    /// Ends a connection after a panic in code of the program that was called
    /// for it.
    fn end_after_panic(&mut self, what: &str, conn: ConnId) {
        self.metrics.panics += 1;
        log::error!(target: "peerloop", "{}: {conn}: {what} panicked", self.config.name);
        self.end_connection(
            conn,
            Ending::Disconnected(DisconnectReason::HandlerPanicked),
        );
    }
}
