//! The state machine of one peer, as far as it does not need the socket. Pure: nothing here reads a clock or
//! makes a system call.
//!
//! ```text
//!   connect ──► Connecting ──► Handshaking ──► Open ──► Closing ──► Ended ──► Gone
//!                │  accept ──►  │             │                    ▲
//!                └── failed ────┴─ failed ────┴─ abort, error, deadline
//! ```
//!
//! A plain connection passes through `Handshaking` within one call. In `Closing` no message is delivered any more; what is
//! queued leaves, then FIN, then the peer's end is awaited.

mod send_state;
mod state;
mod table;
mod timeouts;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::addr::CompactAddr;
use crate::buffers::SendQueue;
use crate::config::Profile;
use crate::framing::Codec;
use crate::id::{ConnId, Direction, Named};
use crate::session::Identity;
use crate::time::Timestamp;
use crate::traffic::Traffic;

pub(crate) use send_state::AfterFlush;
use send_state::NO_DRAIN;
use state::{ConnectionExtra, LifecycleTag};
pub(crate) use state::{Ending, Lifecycle};
pub(crate) use table::Table;

/// What a node knows about one connection; see [`Net::entry`](crate::Net::connection).
pub struct ConnEntry {
    id: ConnId,
    addr: CompactAddr,
    local_addr: Option<CompactAddr>,
    direction: Direction,
    since: Timestamp,
    pub(crate) traffic: Traffic,
    tag: LifecycleTag,
    extra: Option<Box<ConnectionExtra>>,
    pub(crate) codec: Codec,
    /// Bodies shorter than this may take the short way into the queue; see [`ConnEntry::update_quick`].
    quick: u32,
    pub(crate) profile: Arc<Profile>,
    /// Present while something is queued.
    pub(crate) queue: Option<Box<SendQueue>>,
    /// The slot of the deadline that is set, and one; zero if none is.
    deadline: u32,
    /// A drain is to be announced once the queue costs no more than this: a send was refused, or the high watermark
    /// passed. [`NO_DRAIN`] if none is.
    drain_at: usize,
    /// When the last complete message came or the queue last emptied; when closing began, once it has.
    activity: Timestamp,
    /// Since when there is a message that is not complete.
    partial_since: Option<Timestamp>,
    /// Since when nothing that is queued has left.
    stalled_since: Option<Timestamp>,
    /// Bytes written in the turn `turn`, of which the lower half is kept.
    pub(crate) written: u32,
    turn: u32,
    /// On the list of what is to be flushed.
    pub(crate) dirty: bool,
    /// The socket took all it could: wait for an edge before writing on.
    pub(crate) blocked: bool,
    /// A send was refused because of the loop's cap: a drain is to be announced when the loop has room.
    pub(crate) waiting_for_quota: bool,
    pub(crate) paused: bool,
    /// `shutdown_write` was asked for.
    send_shut: bool,
    pub(crate) fin_sent: bool,
    /// The peer has ended its side.
    pub(crate) peer_finished: bool,
    /// Close with a reset.
    pub(crate) reset: bool,
    /// The session has something to say that is in no queue.
    pub(crate) session_has_output: bool,
    /// The session has failed: what is queued will never leave.
    pub(crate) sealing_failed: bool,
}

/// Where a connection stands; see [`ConnEntry::state`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConnectionState {
    /// Dialled and not connected yet, or its handshake is not over.
    Connecting,
    /// Established: messages arrive and can be sent.
    Connected,
    /// Ending: no message arrives any more, what was queued is leaving.
    Closing,
}

impl Named for ConnEntry {
    #[inline]
    fn id(&self) -> ConnId {
        self.id
    }
}

impl ConnEntry {
    pub(crate) fn new(
        id: ConnId,
        addr: SocketAddr,
        direction: Direction,
        now: Instant,
        profile: Arc<Profile>,
        codec: Codec,
    ) -> Self {
        let moment = Timestamp::new(now, profile.epoch);
        Self {
            id,
            addr: addr.into(),
            local_addr: None,
            direction,
            since: moment,
            traffic: Traffic::default(),
            tag: LifecycleTag::Connecting,
            extra: None,
            codec,
            quick: 0,
            profile,
            queue: None,
            deadline: 0,
            drain_at: NO_DRAIN,
            activity: moment,
            partial_since: None,
            stalled_since: None,
            written: 0,
            turn: 0,
            dirty: false,
            blocked: false,
            waiting_for_quota: false,
            paused: false,
            send_shut: false,
            fin_sent: false,
            peer_finished: false,
            reset: false,
            session_has_output: false,
            sealing_failed: false,
        }
    }

    /// The connection's id.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The address of the other end: the one dialled, or the one the peer dialled from.
    pub fn addr(&self) -> SocketAddr {
        self.addr.into()
    }

    /// The address of this end; `None` until the TCP connection is made.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr.map(SocketAddr::from)
    }

    /// The role of **this** node: [`Direction::Outbound`] when it dialled.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// When the connection was established; before, when its present stage began: the dial, or the handshake.
    pub fn since(&self) -> Instant {
        self.instant(self.since)
    }

    /// What the handshake proved about the peer; `None` on plain connections, before the handshake is over, and where
    /// it proves nothing.
    pub fn identity(&self) -> Option<&Identity> {
        self.extra.as_ref()?.identity.as_ref()
    }

    /// Messages and bytes in both directions so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Where the connection stands.
    pub fn state(&self) -> ConnectionState {
        match self.tag {
            LifecycleTag::Connecting | LifecycleTag::Handshaking => ConnectionState::Connecting,
            LifecycleTag::Open => ConnectionState::Connected,
            LifecycleTag::Closing | LifecycleTag::Ended | LifecycleTag::Released => {
                ConnectionState::Closing
            }
        }
    }

    /// Bytes queued and not yet handed to the kernel.
    pub fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// The slot of the deadline that is set, if one is.
    pub(crate) fn deadline(&self) -> Option<u32> {
        self.deadline.checked_sub(1)
    }

    pub(crate) fn set_deadline(&mut self, slot: Option<u32>) {
        self.deadline = slot.map_or(0, |slot| slot + 1);
    }

    fn moment(&self, at: Instant) -> Timestamp {
        Timestamp::new(at, self.profile.epoch)
    }

    fn instant(&self, moment: Timestamp) -> Instant {
        moment.instant(self.profile.epoch)
    }
}

impl fmt::Debug for ConnEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id)
            .field("addr", &self.addr())
            .field("side", &self.direction)
            .field("state", &self.lifecycle())
            .field("queued", &self.queued())
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}
