//! One connection: its state and its outbound half. This module reads no clock
//! and makes no system call.
//!
//! ```text
//!   connect ─► Connecting ──► Handshaking ──► Open ──► Closing ──► Ended ──► Released
//!                  │  accept ──►  │             │                    ▲
//!                  └── failed ────┴─ failed ────┴─ abort, error, timeout
//! ```
//!
//! `net/close.rs` has the table of all transitions. A plain connection passes
//! through `Handshaking` within one call. In `Closing` no message is delivered:
//! the queued messages are sent, then FIN, then the loop waits for the peer's
//! end of stream.

mod queued_frames;
mod rates;
mod send_state;
mod state;
mod table;
mod timeouts;

use std::fmt;
use std::sync::Arc;

use crate::addr::{CompactAddr, ConnInfo};
use crate::buffers::SendQueue;
use crate::config::ConnectionConfig;
use crate::framing::Codec;
use crate::id::{ConnId, Direction, HasId, ListenerId};
use crate::session::Identity;
use crate::sys::Stream;
use crate::time::Timestamp;
use crate::traffic::Traffic;

pub(crate) use rates::{Allowance, RateState, TrafficFlow};
pub(crate) use send_state::AfterFlush;
use send_state::NO_DRAIN;
use state::{ConnectionExtra, LifecycleTag};
pub(crate) use state::{Ending, Lifecycle, PendingChange};
pub(crate) use table::{Entries, Table};

/// The state of one connection, without its inbound half.
pub(crate) struct ConnEntry {
    id: ConnId,
    addr: CompactAddr,
    local_addr: Option<CompactAddr>,
    direction: Direction,
    listener: Option<ListenerId>,
    since: Timestamp,
    pub(crate) traffic: Traffic,
    tag: LifecycleTag,
    extra: Option<Box<ConnectionExtra>>,
    pub(crate) codec: Codec,
    /// Bodies shorter than this may take the fast path into the queue. See
    /// [`ConnEntry::update_fast_path_end`].
    fast_path_end: u32,
    pub(crate) config: Arc<ConnectionConfig>,
    /// The socket. `None` before `connect` has opened one and after it was
    /// closed. Only the event loop makes system calls with it.
    pub(crate) stream: Option<Stream>,
    /// Present while anything is queued.
    pub(crate) queue: Option<Box<SendQueue>>,
    /// Charge on the loop's account for the session's output, in bytes.
    session_charge: usize,
    /// Length of the frame that was refused because of the loop's limit, or
    /// zero. While it is not zero, a drain is reported when the loop has room
    /// for it.
    refused_frame: usize,
    /// Slot of the armed deadline plus one. Zero without a deadline.
    deadline: u32,
    armed_at: Option<Timestamp>,
    /// A drain is owed because a send was refused or the high watermark was
    /// exceeded, and is reported once the queue costs at most this.
    /// [`NO_DRAIN`] if no drain is owed.
    drain_at: usize,
    /// Time of the last complete message or of the last time the queue became
    /// empty. In `Closing`, the time at which closing began, or at which the
    /// socket last took a byte.
    activity: Timestamp,
    /// Time of the last received byte, or of a restart of the timeouts.
    received_at: Timestamp,
    /// Start of an incomplete message, and its length so far.
    partial_since: Option<Timestamp>,
    partial_len: usize,
    /// Time since when no queued byte was written.
    stalled_since: Option<Timestamp>,
    /// Number of bytes written in the turn with number `turn`. `turn` is the
    /// lower half of the turn's number.
    pub(crate) written: u32,
    /// Memory that is charged for received bytes, in bytes.
    pub(crate) received_bytes: usize,
    turn: u32,
    /// The timeouts of the present state are armed at the end of this turn.
    pub(crate) is_unarmed: bool,
    /// The connection is on the list of connections to flush.
    pub(crate) dirty: bool,
    /// The socket is full. An edge is reported when it has room.
    pub(crate) blocked: bool,
    /// The connection waited for room in the loop's limit and may send next.
    pub(crate) has_turn: bool,
    /// The handshake of a session is complete, so messages are sealed.
    pub(crate) is_sealed: bool,
    pub(crate) paused: bool,
    /// Messages are not delivered: the connection is paused, or its receiving
    /// is limited and this is no visit with tokens.
    pub(crate) is_delivery_stopped: bool,
    pub(crate) is_receiving_limited: bool,
    pub(crate) is_sending_limited: bool,
    /// The messages that are sent are limited.
    counts_messages: bool,
    /// A queued message is accounted for: it is to be sealed or is limited.
    pub(crate) accounts_sends: bool,
    /// `close_write` was called.
    write_closed: bool,
    pub(crate) fin_sent: bool,
    /// The peer closed its sending side.
    pub(crate) read_closed: bool,
    /// The socket is to be closed with a reset.
    pub(crate) reset: bool,
    /// The session has output that is neither queued nor written.
    pub(crate) session_has_output: bool,
    /// The session has failed, so the queued messages are never written.
    pub(crate) sealing_failed: bool,
    /// The connection is on the list of sessions to wake.
    pub(crate) is_woken: bool,
    /// The handshake has taken a place, which another one may have taken over.
    pub(crate) has_place: bool,
}

/// State of a connection. See [`Connection::state`](crate::Connection::state).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The TCP connection or the handshake is not complete. Messages cannot be
    /// sent yet.
    Connecting,
    /// Established. Messages are delivered and can be sent.
    Connected,
    /// Closing. Messages are no longer delivered. The queued messages are being
    /// sent.
    Closing,
}

impl HasId for ConnEntry {
    #[inline]
    fn id(&self) -> ConnId {
        self.id
    }
}

impl ConnEntry {
    pub(crate) fn new(
        id: ConnId,
        info: &ConnInfo,
        now: Timestamp,
        config: Arc<ConnectionConfig>,
        codec: Codec,
    ) -> Self {
        Self {
            id,
            addr: info.addr.into(),
            local_addr: None,
            direction: info.direction,
            listener: info.listener,
            since: now,
            traffic: Traffic::default(),
            tag: LifecycleTag::Connecting,
            extra: None,
            codec,
            fast_path_end: 0,
            config,
            stream: None,
            queue: None,
            session_charge: 0,
            refused_frame: 0,
            deadline: 0,
            armed_at: None,
            drain_at: NO_DRAIN,
            activity: now,
            received_at: now,
            partial_since: None,
            partial_len: 0,
            stalled_since: None,
            written: 0,
            received_bytes: 0,
            turn: 0,
            is_unarmed: false,
            dirty: false,
            blocked: false,
            has_turn: false,
            is_sealed: false,
            paused: false,
            is_delivery_stopped: false,
            is_receiving_limited: false,
            is_sending_limited: false,
            counts_messages: false,
            accounts_sends: false,
            write_closed: false,
            fin_sent: false,
            read_closed: false,
            reset: false,
            session_has_output: false,
            sealing_failed: false,
            is_woken: false,
            has_place: false,
        }
    }

    #[inline]
    pub(crate) fn id(&self) -> ConnId {
        self.id
    }

    pub(crate) fn info(&self) -> ConnInfo {
        ConnInfo {
            direction: self.direction,
            addr: self.addr.into(),
            local_addr: self.local_addr.map(Into::into),
            listener: self.listener,
        }
    }

    /// Replaces the settings of the connection.
    pub(crate) fn set_config(&mut self, config: Arc<ConnectionConfig>) {
        self.config = config;
        self.update_fast_path_end();
    }

    /// Takes the socket out in order to close it. Returns whether to reset it.
    ///
    /// A stream with unwritten output is reset, so that the peer does not take
    /// the cut for a close. The queue behind a failed session is an exception:
    /// the peer's session detects that the stream was cut, and a reset could
    /// overtake the bytes that the session has sent.
    pub(crate) fn take_stream(&mut self) -> Option<(Stream, bool)> {
        let reset = self.reset || self.has_output();
        Some((self.stream.take()?, reset))
    }

    pub(crate) fn addr(&self) -> std::net::SocketAddr {
        self.addr.into()
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// Returns when the connection was established. Before that, returns when
    /// its present state began.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.extra.as_ref()?.identity.as_ref()
    }

    /// Returns the memory that the identity takes, in bytes.
    #[inline]
    pub(crate) fn identity_bytes(&self) -> usize {
        self.identity().map_or(0, Identity::held_bytes)
    }

    pub(crate) fn state(&self) -> ConnectionState {
        match self.tag {
            LifecycleTag::Connecting | LifecycleTag::Handshaking => ConnectionState::Connecting,
            LifecycleTag::Open => ConnectionState::Connected,
            LifecycleTag::Closing | LifecycleTag::Ended | LifecycleTag::Released => {
                ConnectionState::Closing
            }
        }
    }

    /// Returns the number of queued bytes that the kernel has not taken.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Returns the slot of the armed deadline.
    pub(crate) fn deadline(&self) -> Option<u32> {
        self.deadline.checked_sub(1)
    }

    pub(crate) fn set_deadline(&mut self, slot: Option<u32>, at: Option<Timestamp>) {
        self.deadline = slot.map_or(0, |slot| slot + 1);
        self.armed_at = at;
    }
}

impl fmt::Debug for ConnEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnEntry")
            .field("id", &self.id)
            .field("addr", &self.addr())
            .field("direction", &self.direction)
            .field("state", &self.lifecycle())
            .field("queued_bytes", &self.queued_bytes())
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}
