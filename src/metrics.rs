//! Counters of a node, for monitoring.

use std::ops::AddAssign;

use crate::connection::Ending;
use crate::error::{ConnectError, DisconnectReason, SendError, SessionError, TimeoutKind};
use crate::id::Direction;
use crate::traffic::UdpTraffic;

/// Counters of a node since it was created, returned by
/// [`Net::metrics`](crate::Net::metrics).
///
/// Counters only grow, except for `queued_bytes` and `received_bytes`, which
/// are present values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Number of turns of the loop.
    pub turns: u64,
    /// Inbound connections that got an id, including adopted ones.
    pub accepted: u64,
    /// Inbound connections refused by
    /// [`Handler::on_accept`](crate::Handler::on_accept), or for which it
    /// panicked.
    pub refused_by_handler: u64,
    /// Inbound connections refused at
    /// [`Limits::max_connections`](crate::config::Limits::max_connections),
    /// less the slots reserved for others, or at
    /// [`ListenerLimits::max_connections`](crate::config::ListenerLimits::max_connections).
    pub refused_by_total: u64,
    /// Inbound connections refused at
    /// [`Limits::max_connections_per_address`](crate::config::Limits::max_connections_per_address).
    pub refused_by_address: u64,
    /// Inbound connections refused at
    /// [`Limits::max_connections_per_prefix`](crate::config::Limits::max_connections_per_prefix).
    pub refused_by_prefix: u64,
    /// Inbound connections with a session refused at
    /// [`Limits::max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes)
    /// or
    /// [`ListenerLimits::max_handshakes`](crate::config::ListenerLimits::max_handshakes).
    pub refused_by_handshakes: u64,
    /// Inbound connections refused at
    /// [`Limits::accepts_per_address`](crate::config::Limits::accepts_per_address).
    pub refused_by_accept_rate: u64,
    /// Inbound connections with a session refused at
    /// [`Limits::handshakes_per_address`](crate::config::Limits::handshakes_per_address).
    pub refused_by_handshake_rate: u64,
    /// Inbound handshakes that were ended for another one at
    /// [`Limits::max_inbound_handshakes`](crate::config::Limits::max_inbound_handshakes)
    /// or
    /// [`ListenerLimits::max_handshakes`](crate::config::ListenerLimits::max_handshakes).
    pub handshakes_evicted: u64,
    /// Inbound connections refused because their address is not in
    /// [`ListenOptions::proxy_protocol`](crate::ListenOptions::proxy_protocol).
    pub refused_untrusted: u64,
    /// Inbound connections from trusted proxies that ended without a complete,
    /// valid PROXY header: malformed, closed or timed out.
    pub proxy_header_errors: u64,
    /// Connections of this node with itself that were ended.
    pub self_connections: u64,
    /// Errors of `accept(2)`, except for connections that ended before they
    /// were accepted.
    pub accept_errors: u64,
    /// Inbound connections that were accepted and closed because of
    /// file-descriptor exhaustion.
    pub shed_connections: u64,
    /// Pauses of listeners after file-descriptor or memory exhaustion; see
    /// [`Config::accept_backoff`](crate::Config::accept_backoff).
    pub accept_backoffs: u64,
    /// Outbound connections that were started.
    pub connects_started: u64,
    /// Outbound connections that failed, were cancelled or timed out before
    /// `on_connect`.
    pub connects_failed: u64,
    /// Connections, inbound and outbound, that ended during their handshake.
    pub handshakes_failed: u64,
    /// Connections that ended after `on_connect`.
    pub disconnected: u64,
    /// Connections that ended because of malformed or too large messages.
    pub framing_errors: u64,
    /// Connections that were ended by their session after the handshake: forged
    /// or malformed records, or a missing close notification.
    pub session_errors: u64,
    /// Connections that the peer reset.
    pub resets: u64,
    /// Outbound connections ended by
    /// [`Timeouts::connect`](crate::config::Timeouts::connect).
    pub connect_timeouts: u64,
    /// Connections ended by
    /// [`Timeouts::handshake`](crate::config::Timeouts::handshake).
    pub handshake_timeouts: u64,
    /// Connections ended by [`Timeouts::idle`](crate::config::Timeouts::idle).
    pub idle_timeouts: u64,
    /// Connections ended by
    /// [`Timeouts::receive_idle`](crate::config::Timeouts::receive_idle).
    pub receive_idle_timeouts: u64,
    /// Connections ended by
    /// [`Timeouts::partial_message`](crate::config::Timeouts::partial_message).
    pub partial_message_timeouts: u64,
    /// Connections ended by a rate of [`MinRate`](crate::config::MinRate).
    pub rate_timeouts: u64,
    /// Connections ended because their peer sent more than
    /// [`RateLimits`](crate::config::RateLimits) allow; see
    /// [`OnExcess::Disconnect`](crate::config::OnExcess::Disconnect).
    pub receive_rate_ends: u64,
    /// Waits of connections that were not read, because
    /// [`RateLimits`](crate::config::RateLimits) allow no more.
    pub receive_rate_waits: u64,
    /// Waits of connections that were not written, because
    /// [`RateLimits`](crate::config::RateLimits) allow no more.
    pub send_rate_waits: u64,
    /// Connections ended by
    /// [`loop_receive_bytes`](crate::config::Limits::loop_receive_bytes).
    pub memory_limit_ends: u64,
    /// Connections ended by
    /// [`Timeouts::write_stall`](crate::config::Timeouts::write_stall).
    pub write_stall_timeouts: u64,
    /// Connections ended by
    /// [`Timeouts::linger`](crate::config::Timeouts::linger) with data left to
    /// write.
    pub linger_timeouts: u64,
    /// Connections ended because their send queue was full; see
    /// [`OnFull::Disconnect`](crate::config::OnFull::Disconnect).
    pub send_queue_overflows: u64,
    /// Panics of callbacks and of sessions.
    pub panics: u64,
    /// Turns that took longer than
    /// [`Config::slow_turn`](crate::Config::slow_turn).
    pub slow_turns: u64,
    /// Reads that ended at
    /// [`TurnBudget::read_bytes`](crate::config::TurnBudget::read_bytes) and
    /// continued in the next turn.
    pub read_budget_hits: u64,
    /// Writes that ended at
    /// [`TurnBudget::write_bytes`](crate::config::TurnBudget::write_bytes) and
    /// continued in the next turn.
    pub write_budget_hits: u64,
    /// Writes that the kernel took in part.
    pub partial_writes: u64,
    /// Sends refused with [`SendError::Full`].
    pub sends_refused: u64,
    /// Sends accepted by [`Net::send_tracked`](crate::Net::send_tracked).
    pub sends_tracked: u64,
    /// Messages of [`Ping`](crate::config::Ping) that were queued.
    pub pings_sent: u64,
    /// Calls of [`Handler::on_drain`](crate::Handler::on_drain).
    pub drains: u64,
    /// Bytes that were accepted for sending and were lost with their
    /// connection.
    pub bytes_lost: u64,
    /// Datagrams of all UDP sockets, including closed ones.
    pub udp: UdpTraffic,
    /// Events for connections and sockets that had ended.
    pub stale_events: u64,
    /// System calls that woke the loop for a command from another thread.
    pub wakes_sent: u64,
    /// Commands from other threads that needed no system call, because the loop
    /// was already being woken.
    pub wakes_saved: u64,
    /// Commands from other threads that were run.
    pub commands: u64,
    /// Messages from other threads that their connection did not accept, and
    /// commands for other shards that found no room.
    pub commands_lost: u64,
    /// Memory held for sending, in bytes, as counted for
    /// [`Limits::loop_send_bytes`](crate::config::Limits::loop_send_bytes).
    pub queued_bytes: usize,
    /// Highest value of `queued_bytes` so far.
    pub max_queued_bytes: usize,
    /// Memory held for received data that is not delivered, in bytes, as
    /// counted for
    /// [`Limits::loop_receive_bytes`](crate::config::Limits::loop_receive_bytes).
    pub received_bytes: usize,
    /// Highest value of `received_bytes` so far.
    pub max_received_bytes: usize,
}

/// Adds each field. The pattern does not compile if a field is missing.
macro_rules! add_each {
    ($to:ident, $from:ident; $($field:ident),+) => {
        let Self { $($field),+ } = $from;
        $($to.$field += $field;)+
    };
}

/// Adds the counters of another loop. The sum of two maxima is an upper bound,
/// because the loops may have reached them at different times.
impl AddAssign for Metrics {
    #[rustfmt::skip]
    fn add_assign(&mut self, other: Self) {
        add_each!(self, other;
            turns, accepted, refused_by_handler, refused_by_total, refused_by_address,
            refused_by_prefix, refused_by_handshakes, refused_by_accept_rate,
            refused_by_handshake_rate, handshakes_evicted, refused_untrusted, proxy_header_errors, self_connections, accept_errors, shed_connections, accept_backoffs,
            connects_started, connects_failed, handshakes_failed, disconnected, framing_errors,
            session_errors, resets, connect_timeouts, handshake_timeouts, idle_timeouts,
            receive_idle_timeouts, pings_sent, partial_message_timeouts, rate_timeouts, receive_rate_ends, receive_rate_waits,
            send_rate_waits, memory_limit_ends,
            write_stall_timeouts, linger_timeouts,
            send_queue_overflows, panics, slow_turns, read_budget_hits,
            write_budget_hits, partial_writes, sends_refused, sends_tracked, drains,
            bytes_lost, udp, stale_events, wakes_sent, wakes_saved, commands, commands_lost,
            queued_bytes, max_queued_bytes, received_bytes, max_received_bytes
        );
    }
}

impl Metrics {
    /// Counts the end of a connection.
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
                self.framing_errors += 1
            }
            DisconnectReason::Session(error) => {
                self.session_errors += 1;
                self.panics += u64::from(error == SessionError::Panicked);
            }
            DisconnectReason::Reset => self.resets += 1,
            DisconnectReason::SendQueueFull => self.send_queue_overflows += 1,
            DisconnectReason::Timeout(TimeoutKind::Idle) => self.idle_timeouts += 1,
            DisconnectReason::Timeout(TimeoutKind::ReceiveIdle) => self.receive_idle_timeouts += 1,
            DisconnectReason::Timeout(TimeoutKind::PartialMessage) => {
                self.partial_message_timeouts += 1
            }
            DisconnectReason::Timeout(TimeoutKind::ReceiveRate | TimeoutKind::SendRate) => {
                self.rate_timeouts += 1
            }
            DisconnectReason::ReceiveRateExceeded => self.receive_rate_ends += 1,
            DisconnectReason::MemoryLimit => self.memory_limit_ends += 1,
            DisconnectReason::Timeout(TimeoutKind::WriteStall) => self.write_stall_timeouts += 1,
            DisconnectReason::Timeout(TimeoutKind::Linger) => self.linger_timeouts += 1,
            _ => {}
        }
    }

    /// Counts a connection that was refused by a limit.
    pub(crate) fn count_refusal(&mut self, limit: ConnectError) {
        match limit {
            ConnectError::TooManyFromAddress => self.refused_by_address += 1,
            ConnectError::TooManyFromPrefix => self.refused_by_prefix += 1,
            _ => self.refused_by_total += 1,
        }
    }

    /// Counts messages that another shard refused.
    pub(crate) fn count_refused_sends(&mut self, error: SendError, messages: usize) {
        if error == SendError::Full {
            self.sends_refused += messages as u64;
        }
    }
}
