//! What was counted.

use std::ops::AddAssign;

use crate::buffers::overhead_max;
use crate::connection::Ending;
use crate::error::{ConnectError, DisconnectReason, SendError, SessionError, TimeoutKind};
use crate::id::Direction;
use crate::mutants::mutant;

/// What a node has done since it was made, for its operator. Plain numbers, copied out by
/// [`Net::metrics`](crate::Net::metrics).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns of the loop.
    pub turns: u64,
    /// Connections accepted and given an id.
    pub accepted: u64,
    /// Connections refused by [`Handler::on_accept`](crate::Handler::on_accept), or in which it panicked.
    pub refused_by_handler: u64,
    /// Connections refused at [`Config::max_connections`](crate::Config::max_connections).
    pub refused_by_total: u64,
    /// Connections refused at [`Config::max_connections_per_ip`](crate::Config::max_connections_per_ip).
    pub refused_by_ip: u64,
    /// Connections refused at [`Config::max_connections_per_prefix`](crate::Config::max_connections_per_prefix).
    pub refused_by_prefix: u64,
    /// Connections of this node with itself, found and ended.
    pub self_connections: u64,
    /// Failures to accept, other than a client that gave up first.
    pub accept_errors: u64,
    /// Connections closed unheard because there was no descriptor for them.
    pub shed: u64,
    /// Times a listener was paused because of such a failure.
    pub accept_backoffs: u64,
    /// Dials asked for.
    pub connects_started: u64,
    /// Dials that failed, were cancelled or timed out.
    pub connects_failed: u64,
    /// Connections, dialled or accepted, that ended before their handshake was over.
    pub handshakes_failed: u64,
    /// Connections that ended after `on_connect`.
    pub disconnected: u64,
    /// Connections ended because of what the peer sent: malformed or too large.
    pub frame_errors: u64,
    /// Connections ended by their session after its handshake: forged or malformed records, a missing goodbye.
    pub session_errors: u64,
    /// Connections that the peer reset.
    pub resets: u64,
    /// Dials that had no answer within [`Timeouts::connect`](crate::Timeouts::connect).
    pub connect_timeouts: u64,
    /// Connections ended by [`Timeouts::handshake`](crate::Timeouts::handshake).
    pub handshake_timeouts: u64,
    /// Connections ended by [`Timeouts::idle`](crate::Timeouts::idle).
    pub idle_timeouts: u64,
    /// Connections ended by [`Timeouts::partial_message`](crate::Timeouts::partial_message).
    pub partial_message_timeouts: u64,
    /// Connections ended by [`Timeouts::write_stall`](crate::Timeouts::write_stall).
    pub write_stall_timeouts: u64,
    /// Connections ended by [`Timeouts::linger`](crate::Timeouts::linger) with something left to write.
    pub linger_timeouts: u64,
    /// Connections ended because their queue overflowed.
    pub send_queue_overflows: u64,
    /// Callbacks that panicked, and sessions.
    pub panics: u64,
    /// Callbacks that took longer than [`Config::slow_callback`](crate::Config::slow_callback).
    pub slow_callbacks: u64,
    /// Connections that used up their read budget in a turn and were continued in the next.
    pub read_budget_hits: u64,
    /// Connections that used up their write budget in a turn and were continued in the next.
    pub write_budget_hits: u64,
    /// Writes that the kernel took only a part of.
    pub partial_writes: u64,
    /// Sends refused with [`SendError::Full`].
    pub sends_refused: u64,
    /// Sends accepted by [`Net::send_tracked`](crate::Net::send_tracked), each to be answered once.
    pub sends_tracked: u64,
    /// Calls of [`Handler::on_drain`](crate::Handler::on_drain).
    pub drains: u64,
    /// Bytes that were accepted for sending and lost with their connection.
    pub bytes_lost: u64,
    /// Readiness reported for a connection that no longer was.
    pub stale_events: u64,
    /// System calls that woke the loop for a command from another thread.
    pub wakes_sent: u64,
    /// Commands that needed none, because the loop had been woken already.
    pub wakes_saved: u64,
    /// Commands from other threads carried out.
    pub commands: u64,
    /// Messages from other threads whose connection would not take them any more, and what this shard asked of another's
    /// connection without a place left to wait for room.
    pub commands_lost: u64,
    /// Bytes queued at the moment on all connections, overhead counted.
    pub queued: usize,
    /// The most that ever was.
    pub queued_max: usize,
}

/// Adds each of the fields, which are to be all that there are.
macro_rules! add_each {
    ($to:ident, $from:ident; $($field:ident),+) => {
        let Self { $($field),+ } = $from;
        $($to.$field += $field;)+
    };
}

/// What several loops have done; their peaks are added up as if they had been at once.
impl AddAssign for Metrics {
    #[rustfmt::skip]
    fn add_assign(&mut self, other: Self) {
        add_each!(self, other;
            turns, accepted, refused_by_handler, refused_by_total, refused_by_ip,
            refused_by_prefix, self_connections, accept_errors, shed, accept_backoffs,
            connects_started, connects_failed, handshakes_failed, disconnected, frame_errors,
            session_errors, resets, connect_timeouts, handshake_timeouts, idle_timeouts,
            partial_message_timeouts, write_stall_timeouts, linger_timeouts,
            send_queue_overflows, panics, slow_callbacks, read_budget_hits,
            write_budget_hits, partial_writes, sends_refused, sends_tracked, drains,
            bytes_lost, stale_events, wakes_sent, wakes_saved, commands, commands_lost,
            queued, queued_max
        );
    }
}

impl Metrics {
    /// Counts the end of a connection or dial.
    pub(crate) fn count_end(&mut self, ending: Ending, direction: Direction) {
        let reason = match ending {
            Ending::Failed(error) => {
                self.panics += u64::from(error == ConnectError::Session(SessionError::Panicked));
                self.connects_failed += u64::from(direction == Direction::Outbound);
                self.connect_timeouts += u64::from(error == ConnectError::TimedOut);
                self.handshake_timeouts += u64::from(error == ConnectError::HandshakeTimedOut);
                return;
            }
            Ending::Disconnected(reason) => reason,
        };
        self.disconnected += 1;
        match reason {
            DisconnectReason::MessageTooLarge { .. } | DisconnectReason::MalformedFrame(_) => {
                self.frame_errors += 1
            }
            DisconnectReason::Session(error) => {
                self.session_errors += 1;
                self.panics += u64::from(error == SessionError::Panicked);
            }
            DisconnectReason::Reset => self.resets += 1,
            DisconnectReason::SendQueueFull => self.send_queue_overflows += 1,
            DisconnectReason::Timeout(TimeoutKind::Idle) => self.idle_timeouts += 1,
            DisconnectReason::Timeout(TimeoutKind::PartialMessage) => {
                self.partial_message_timeouts += 1
            }
            DisconnectReason::Timeout(TimeoutKind::WriteStall) => self.write_stall_timeouts += 1,
            DisconnectReason::Timeout(TimeoutKind::Linger) => self.linger_timeouts += 1,
            _ => {}
        }
    }

    /// Counts a connection that a limit kept out.
    pub(crate) fn count_refusal(&mut self, limit: ConnectError) {
        match limit {
            ConnectError::TooManyFromAddress => self.refused_by_ip += 1,
            ConnectError::TooManyFromPrefix => self.refused_by_prefix += 1,
            _ => self.refused_by_total += 1,
        }
    }

    /// Counts messages that another shard did not take.
    pub(crate) fn count_refused(&mut self, error: SendError, messages: usize) {
        if error == SendError::Full {
            self.sends_refused += messages as u64;
        }
    }

    /// Whether the loop may queue `need` more bytes, and what it costs to keep them. One frame always, so that every legal
    /// message can be sent.
    #[inline]
    pub(crate) fn has_room(&self, need: usize, max: usize) -> bool {
        self.queued == 0 || self.queued + need + overhead_max(need) <= max || mutant!(PassLoopCap)
    }

    /// To be called before `queued` falls, so that the most there ever was is not missed.
    pub(crate) fn note_peak(&mut self) {
        self.queued_max = self.queued_max.max(self.queued);
    }
}
