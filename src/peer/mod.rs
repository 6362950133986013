//! Floor 3: the state machine of one peer, as far as it does not need the socket. Pure: nothing here reads a clock or
//! makes a system call.
//!
//! ```text
//!   dial ──► Connecting ──► Handshaking ──► Open ──► Closing ──► Ended ──► Gone
//!                │  accept ──►  │             │                    ▲
//!                └── failed ────┴─ failed ────┴─ abort, error, deadline
//! ```
//!
//! A plain connection passes through `Handshaking` within one call. In `Closing` no message is delivered any more; what is
//! queued leaves, then FIN, then the peer's end is awaited.

mod due;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::compact::{CompactAddr, Moment};
use crate::config::Profile;
use crate::error::{ConnectError, DisconnectReason, Phase};
use crate::framing::Codec;
use crate::id::{ConnId, Named, Side};
use crate::planted::planted;
use crate::queue::SendQueue;
use crate::session::Identity;
use crate::stats::Traffic;

/// What a node knows about one connection; see [`Net::peer`](crate::Net::peer).
pub struct Peer {
    id: ConnId,
    addr: CompactAddr,
    local_addr: Option<CompactAddr>,
    side: Side,
    since: Moment,
    pub(crate) traffic: Traffic,
    stage: Stage,
    seldom: Option<Box<Seldom>>,
    pub(crate) codec: Codec,
    /// Bodies shorter than this may take the short way into the queue; see [`Peer::update_quick`].
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
    activity: Moment,
    /// Since when there is a message that is not complete.
    partial_since: Option<Moment>,
    /// Since when nothing that is queued has left.
    stalled_since: Option<Moment>,
    /// Bytes written in the turn `turn`, of which the lower half is kept.
    pub(crate) written: u32,
    turn: u32,
    /// On the list of what is to be flushed.
    pub(crate) dirty: bool,
    /// The socket took all it could: wait for an edge before writing on.
    pub(crate) blocked: bool,
    /// A send was refused because of the loop's cap: a drain is to be announced when the loop has room.
    pub(crate) starved: bool,
    pub(crate) paused: bool,
    /// `shutdown_write` was asked for.
    send_shut: bool,
    pub(crate) fin_sent: bool,
    /// The peer has ended its side.
    pub(crate) peer_finished: bool,
    /// Close with a reset.
    pub(crate) reset: bool,
    /// The session has something to say that is in no queue.
    pub(crate) session_speaks: bool,
    /// The session has failed: what is queued will never leave.
    pub(crate) sealed_off: bool,
}

/// What few connections have.
#[derive(Debug, Default)]
struct Seldom {
    /// Present in [`Stage::Closing`] and [`Stage::Ended`].
    ending: Option<Ending>,
    /// A write failed; reported once everything that had arrived is delivered.
    failure: Option<DisconnectReason>,
    identity: Option<Identity>,
}

/// No queue costs so much.
const NO_DRAIN: usize = usize::MAX;

/// The part of a [`State`] that every connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Connecting,
    Handshaking,
    Open,
    Closing,
    Ended,
    Gone,
}

/// Where a connection stands inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// Dialled, and there is no TCP connection yet.
    Connecting,
    /// The TCP connection is made, the handshake not over.
    Handshaking,
    Open,
    Closing(Ending),
    Ended(Ending),
    /// The last callback was made; the slot is kept to the end of the turn.
    Gone,
}

/// How it ended, and so which callback is owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Failed(ConnectError),
    Disconnected(DisconnectReason),
}

impl Ending {
    /// Whether it is for what a peer did not say in time.
    pub(crate) fn is_for_silence(self) -> bool {
        matches!(
            self,
            Self::Failed(ConnectError::HandshakeTimedOut)
                | Self::Disconnected(DisconnectReason::Timeout(Phase::Idle | Phase::PartialFrame))
        )
    }
}

/// What is to be done with the socket once everything queued has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AfterFlush {
    Nothing,
    SendFin,
    End(Ending),
}

/// Where a connection stands; see [`Peer::state`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerState {
    /// Dialled and not connected yet, or its handshake is not over.
    Connecting,
    /// Established: messages arrive and can be sent.
    Connected,
    /// Ending: no message arrives any more, what was queued is leaving.
    Closing,
}

impl Named for Peer {
    #[inline]
    fn id(&self) -> ConnId {
        self.id
    }
}

impl Peer {
    pub(crate) fn new(
        id: ConnId,
        addr: SocketAddr,
        side: Side,
        now: Instant,
        profile: Arc<Profile>,
        codec: Codec,
    ) -> Self {
        let moment = Moment::new(now, profile.epoch);
        Self {
            id,
            addr: addr.into(),
            local_addr: None,
            side,
            since: moment,
            traffic: Traffic::default(),
            stage: Stage::Connecting,
            seldom: None,
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
            starved: false,
            paused: false,
            send_shut: false,
            fin_sent: false,
            peer_finished: false,
            reset: false,
            session_speaks: false,
            sealed_off: false,
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

    /// The role of **this** node: [`Side::Initiator`] when it dialled.
    pub fn side(&self) -> Side {
        self.side
    }

    /// When the connection was established; before, when its present stage began: the dial, or the handshake.
    pub fn since(&self) -> Instant {
        self.instant(self.since)
    }

    /// What the handshake proved about the peer; `None` on plain connections, before the handshake is over, and where
    /// it proves nothing.
    pub fn identity(&self) -> Option<&Identity> {
        self.seldom.as_ref()?.identity.as_ref()
    }

    /// Messages and bytes in both directions so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Where the connection stands.
    pub fn state(&self) -> PeerState {
        match self.stage {
            Stage::Connecting | Stage::Handshaking => PeerState::Connecting,
            Stage::Open => PeerState::Connected,
            Stage::Closing | Stage::Ended | Stage::Gone => PeerState::Closing,
        }
    }

    /// Bytes queued and not yet handed to the kernel.
    pub fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// The same with what it costs to keep them, for comparison with the caps.
    #[inline]
    pub(crate) fn queue_cost(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.cost())
    }

    /// Whether `need` more bytes fit. One frame on an empty queue always, so that every legal message can be sent.
    #[inline]
    pub(crate) fn has_room(&self, need: usize) -> bool {
        let cost = self.queue_cost();
        cost == 0 || cost + need <= self.profile.queue_max || planted!(PassQueueCap)
    }

    /// Notes that a drain is to be announced. A frame may be refused by a queue that is low already, because of its
    /// own size; it is welcome when there is nothing left.
    pub(crate) fn owe_drain(&mut self) {
        let low = self.profile.queue_low;
        let at = if self.queue_cost() > low { low } else { 0 };
        self.drain_at = self.drain_at.min(at);
    }

    /// Whether a drain is overdue; for the checks of a simulated world.
    #[cfg(feature = "sim")]
    pub(crate) fn is_owed_a_drain(&self) -> bool {
        !self.starved && self.drain_is_due()
    }

    /// Whether the drain that is owed is to be announced now; then it is owed no more.
    pub(crate) fn take_drain(&mut self) -> bool {
        let due = !planted!(ForgetDrain) && !self.starved && self.drain_is_due();
        if due {
            self.drain_at = NO_DRAIN;
        }
        due
    }

    fn drain_is_due(&self) -> bool {
        self.drain_at != NO_DRAIN && self.queue_cost() <= self.drain_at
    }

    /// The slot of the deadline that is set, if one is.
    pub(crate) fn deadline(&self) -> Option<u32> {
        self.deadline.checked_sub(1)
    }

    pub(crate) fn set_deadline(&mut self, slot: Option<u32>) {
        self.deadline = slot.map_or(0, |slot| slot + 1);
    }

    /// How much of a budget of so many bytes for each turn is left in this one.
    pub(crate) fn write_budget(&mut self, budget: usize, turn: u64) -> usize {
        if self.turn != turn as u32 {
            (self.turn, self.written) = (turn as u32, 0);
        }
        // No more than can be counted.
        budget
            .min(u32::MAX as usize)
            .saturating_sub(self.written as usize)
    }

    /// Why writing failed, if it has.
    pub(crate) fn failure(&self) -> Option<DisconnectReason> {
        self.seldom.as_ref()?.failure
    }

    pub(crate) fn note_failure(&mut self, reason: DisconnectReason) {
        self.seldom().failure = Some(reason);
    }

    fn seldom(&mut self) -> &mut Seldom {
        self.seldom.get_or_insert_default()
    }

    fn moment(&self, at: Instant) -> Moment {
        Moment::new(at, self.profile.epoch)
    }

    fn instant(&self, moment: Moment) -> Instant {
        moment.instant(self.profile.epoch)
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::Ended | Stage::Gone)
    }

    #[inline]
    pub(crate) fn can_send(&self) -> bool {
        self.stage == Stage::Open && !self.send_shut
    }

    #[inline]
    pub(crate) fn inner_state(&self) -> State {
        match self.stage {
            Stage::Connecting => State::Connecting,
            Stage::Handshaking => State::Handshaking,
            Stage::Open => State::Open,
            Stage::Closing => self.ending_as(State::Closing),
            Stage::Ended => self.ending_as(State::Ended),
            Stage::Gone => State::Gone,
        }
    }

    fn ending_as(&self, state: impl Fn(Ending) -> State) -> State {
        let ending = self.seldom.as_ref().and_then(|seldom| seldom.ending);
        debug_assert!(ending.is_some(), "`set_state` keeps it");
        ending.map_or(State::Gone, state)
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.stage = match state {
            State::Connecting => Stage::Connecting,
            State::Handshaking => Stage::Handshaking,
            State::Open => Stage::Open,
            State::Closing(ending) => {
                self.seldom().ending = Some(ending);
                Stage::Closing
            }
            State::Ended(ending) => {
                self.seldom().ending = Some(ending);
                Stage::Ended
            }
            State::Gone => Stage::Gone,
        };
        self.update_quick();
    }

    /// No frame is accepted for sending any more.
    pub(crate) fn shut_send(&mut self) {
        self.send_shut = true;
        self.update_quick();
    }

    /// Brings together in one number what would otherwise be asked for every message: whether the connection is open
    /// for sending, has the default framing, and how long a body may be. Zero sends everybody the long way.
    fn update_quick(&mut self) {
        let quick = self.can_send() && self.codec.is_default();
        self.quick = if quick {
            u32::try_from(self.profile.max_frame).map_or(u32::MAX, |max| max.saturating_add(1))
        } else {
            0
        };
    }

    #[inline]
    pub(crate) fn quick(&self) -> usize {
        self.quick as usize
    }

    /// Whether something is still to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.session_speaks || (self.queue.is_some() && !self.sealed_off)
    }

    /// Whether nothing will be queued behind what is queued now.
    pub(crate) fn is_last_flush(&self) -> bool {
        self.send_shut || self.stage == Stage::Closing
    }

    /// Whether no handler has heard of the connection yet.
    pub(crate) fn is_unheard(&self) -> bool {
        matches!(self.stage, Stage::Connecting | Stage::Handshaking)
    }

    /// The dial has begun.
    pub(crate) fn begin_dial(&mut self, now: Instant) {
        self.since = self.moment(now);
    }

    /// The TCP connection is made.
    pub(crate) fn begin_handshake(&mut self, local_addr: SocketAddr, now: Instant) {
        self.set_state(State::Handshaking);
        self.local_addr = Some(local_addr.into());
        self.since = self.moment(now);
    }

    pub(crate) fn set_identity(&mut self, identity: Option<Identity>) {
        if identity.is_some() {
            self.seldom().identity = identity;
        }
    }

    /// The handshake is over.
    pub(crate) fn open(&mut self, now: Instant) {
        self.set_state(State::Open);
        self.since = self.moment(now);
        self.activity = self.since;
    }

    /// How the connection ends if this is the cause: as a failed dial if no handler has heard of it, also when that was
    /// said before.
    pub(crate) fn ending(&self, cause: Ending) -> Ending {
        match (self.inner_state(), cause) {
            (State::Connecting | State::Handshaking, Ending::Disconnected(reason)) => {
                Ending::Failed(reason.into())
            }
            (State::Closing(failed @ Ending::Failed(_)), _) => failed,
            _ => cause,
        }
    }

    /// Begins to end.
    pub(crate) fn begin_closing(&mut self, ending: Ending, now: Instant) {
        self.set_state(State::Closing(ending));
        self.activity = self.moment(now);
    }

    /// The peer has ended its side, `partial` bytes into a frame.
    pub(crate) fn finish(&mut self, partial: usize) -> DisconnectReason {
        self.peer_finished = true;
        match (self.inner_state(), self.failure(), partial) {
            (State::Closing(Ending::Disconnected(reason)), _, _) | (_, Some(reason), _) => reason,
            (_, None, 0) => DisconnectReason::PeerClosed,
            (_, None, bytes) => DisconnectReason::Truncated { bytes },
        }
    }

    /// What to do now that this much of the queue has left.
    pub(crate) fn after_flush(&self) -> AfterFlush {
        if self.has_output() {
            return AfterFlush::Nothing;
        }
        match self.inner_state() {
            State::Closing(ending) if self.peer_finished => AfterFlush::End(ending),
            State::Closing(_) if !self.fin_sent => AfterFlush::SendFin,
            // Half open, and now the other half has ended too.
            State::Open if self.send_shut && self.peer_finished => {
                AfterFlush::End(Ending::Disconnected(DisconnectReason::PeerClosed))
            }
            State::Open if self.send_shut && !self.fin_sent => AfterFlush::SendFin,
            _ => AfterFlush::Nothing,
        }
    }

    /// The reason to give when the connection is broken by `error`: none of the error's business any more once we
    /// had closed and everything had left.
    pub(crate) fn broken_by(&self, error: DisconnectReason) -> DisconnectReason {
        match self.inner_state() {
            State::Closing(Ending::Disconnected(reason)) if !self.has_output() && self.fin_sent => {
                reason
            }
            _ => self.failure().unwrap_or(error),
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id)
            .field("addr", &self.addr())
            .field("side", &self.side)
            .field("state", &self.inner_state())
            .field("queued", &self.queued())
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}
