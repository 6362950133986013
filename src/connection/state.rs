//! The lifecycle of a connection and how it ends.

use std::net::SocketAddr;

use super::{ConnEntry, RateState};
use crate::addr::to_canonical;
use crate::error::{ConnectError, DisconnectReason, TimeoutKind};
use crate::framing::Codec;
use crate::session::Identity;
use crate::time::Timestamp;

/// State that few connections have, allocated when needed.
#[derive(Debug, Default)]
pub(super) struct ConnectionExtra {
    /// Present in [`LifecycleTag::Closing`] and [`LifecycleTag::Ended`].
    ending: Option<Ending>,
    /// A write failed with this reason. It is reported once all bytes that had
    /// arrived are delivered.
    write_failure: Option<DisconnectReason>,
    pub(super) identity: Option<Identity>,
    /// Time of the last written byte, or of the opening. Present on an open
    /// connection with a ping.
    pub(super) sent_at: Option<Timestamp>,
    /// Time at which the queue was last empty, and the number of bytes written
    /// since. Present if a minimum rate is set.
    pub(super) sending: Option<(Timestamp, u64)>,
    /// Keys and slots of the timers of the connection.
    timers: Vec<(u64, u32)>,
    /// Present if a rate limits the connection.
    pub(super) rates: Option<Box<RateState>>,
    /// Slot of the timer of the session.
    session_timer: Option<u32>,
    pending_change: Option<PendingChange>,
}

/// A change of the inbound half that the loop has not applied yet.
#[derive(Debug, Default)]
pub(crate) struct PendingChange {
    /// The decoder of a new framing. Without one only the settings that
    /// decoding uses have changed.
    pub(crate) decoder: Option<Codec>,
}

/// The part of a [`Lifecycle`] that each connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LifecycleTag {
    Connecting,
    Handshaking,
    Open,
    Closing,
    Ended,
    Released,
}

/// State of a connection inside the library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lifecycle {
    /// The TCP connection is not established yet.
    Connecting,
    /// The TCP connection is established. The handshake is not complete.
    Handshaking,
    Open,
    Closing(Ending),
    Ended(Ending),
    /// The last callback was made. The slot is kept until the end of the turn.
    Released,
}

/// How a connection ended, which determines its last callback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Failed(ConnectError),
    Disconnected(DisconnectReason),
}

impl Ending {
    /// Returns whether an attempt to connect failed without having been given
    /// up by this node.
    pub(crate) fn is_failed_attempt(self) -> bool {
        let given_up = matches!(
            self,
            Self::Failed(ConnectError::Cancelled | ConnectError::ShuttingDown)
        );
        matches!(self, Self::Failed(_)) && !given_up
    }

    /// Returns whether the connection ended because the peer sent nothing, or
    /// too little, in time.
    pub(crate) fn is_for_silence(self) -> bool {
        matches!(
            self,
            Self::Failed(ConnectError::TimedOut | ConnectError::HandshakeTimedOut)
                | Self::Disconnected(DisconnectReason::Timeout(
                    TimeoutKind::Idle
                        | TimeoutKind::ReceiveIdle
                        | TimeoutKind::PartialMessage
                        | TimeoutKind::ReceiveRate
                        | TimeoutKind::Linger
                ))
        )
    }
}

impl ConnEntry {
    /// Returns the reason why writing failed, if it did.
    pub(crate) fn write_failure(&self) -> Option<DisconnectReason> {
        self.extra.as_ref()?.write_failure
    }

    pub(crate) fn note_write_failure(&mut self, reason: DisconnectReason) {
        self.extra().write_failure = Some(reason);
    }

    pub(super) fn extra(&mut self) -> &mut ConnectionExtra {
        self.extra.get_or_insert_default()
    }

    /// Adds a change of the inbound half to the one that is pending.
    pub(crate) fn add_pending_change(&mut self, change: PendingChange) {
        let pending = self.extra().pending_change.get_or_insert_default();
        if change.decoder.is_some() {
            pending.decoder = change.decoder;
        }
    }

    pub(crate) fn take_pending_change(&mut self) -> Option<PendingChange> {
        self.extra.as_mut()?.pending_change.take()
    }

    /// Returns the slot of the timer with this key.
    pub(crate) fn timer(&self, key: u64) -> Option<u32> {
        let timers = &self.extra.as_ref()?.timers;
        let (_, slot) = timers.iter().find(|(other, _)| *other == key)?;
        Some(*slot)
    }

    pub(crate) fn add_timer(&mut self, key: u64, slot: u32) {
        self.extra().timers.push((key, slot));
    }

    /// Removes a timer and returns its slot.
    pub(crate) fn remove_timer(&mut self, key: u64) -> Option<u32> {
        let timers = &mut self.extra.as_mut()?.timers;
        let index = timers.iter().position(|(other, _)| *other == key)?;
        Some(timers.swap_remove(index).1)
    }

    /// Removes all timers and returns their slots.
    pub(crate) fn take_timers(&mut self) -> impl Iterator<Item = u32> + use<> {
        let extra = self.extra.as_mut();
        let taken = extra.map(|extra| {
            (
                std::mem::take(&mut extra.timers),
                extra.session_timer.take(),
            )
        });
        let (timers, session_timer) = taken.unwrap_or_default();
        let slots = timers.into_iter().map(|(_, slot)| slot);
        slots.chain(session_timer)
    }

    /// Returns the slot of the timer of the session.
    pub(crate) fn session_timer(&self) -> Option<u32> {
        self.extra.as_ref()?.session_timer
    }

    pub(crate) fn set_session_timer(&mut self, slot: Option<u32>) {
        self.extra().session_timer = slot;
    }

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.tag, LifecycleTag::Ended | LifecycleTag::Released)
    }

    #[inline]
    pub(crate) fn lifecycle(&self) -> Lifecycle {
        match self.tag {
            LifecycleTag::Connecting => Lifecycle::Connecting,
            LifecycleTag::Handshaking => Lifecycle::Handshaking,
            LifecycleTag::Open => Lifecycle::Open,
            LifecycleTag::Closing => self.with_ending(Lifecycle::Closing),
            LifecycleTag::Ended => self.with_ending(Lifecycle::Ended),
            LifecycleTag::Released => Lifecycle::Released,
        }
    }

    fn with_ending(&self, state: impl Fn(Ending) -> Lifecycle) -> Lifecycle {
        let ending = self.extra.as_ref().and_then(|extra| extra.ending);
        debug_assert!(ending.is_some(), "`set_state` stores the ending");
        ending.map_or(Lifecycle::Released, state)
    }

    pub(crate) fn set_state(&mut self, state: Lifecycle) {
        self.tag = match state {
            Lifecycle::Connecting => LifecycleTag::Connecting,
            Lifecycle::Handshaking => LifecycleTag::Handshaking,
            Lifecycle::Open => LifecycleTag::Open,
            Lifecycle::Closing(ending) => {
                self.extra().ending = Some(ending);
                LifecycleTag::Closing
            }
            Lifecycle::Ended(ending) => {
                self.extra().ending = Some(ending);
                LifecycleTag::Ended
            }
            Lifecycle::Released => LifecycleTag::Released,
        };
        self.update_fast_path_end();
    }

    /// Returns whether `on_connect` is still to be called.
    pub(crate) fn is_unopened(&self) -> bool {
        matches!(
            self.tag,
            LifecycleTag::Connecting | LifecycleTag::Handshaking
        )
    }

    /// Records that the TCP connection is established.
    pub(crate) fn set_handshaking(&mut self, local_addr: SocketAddr, now: Timestamp) {
        self.set_state(Lifecycle::Handshaking);
        self.local_addr = Some(to_canonical(local_addr).into());
        self.since = now;
        if self.config.min_rate.send_bytes_per_second.is_some() {
            self.extra();
        }
    }

    pub(crate) fn set_identity(&mut self, identity: Option<Identity>) {
        if identity.is_some() {
            self.extra().identity = identity;
        }
    }

    /// Records whether the session seals the messages.
    pub(crate) fn set_sealed(&mut self, is_sealed: bool) {
        self.is_sealed = is_sealed;
        self.accounts_sends |= is_sealed;
    }

    /// Records that the handshake is complete.
    pub(crate) fn set_open(&mut self, now: Timestamp) {
        self.set_state(Lifecycle::Open);
        self.since = now;
        self.activity = self.since;
        if self.config.ping.is_some() {
            self.extra().sent_at = Some(now);
        }
    }

    /// Returns how the connection ends for `cause`. A connection that never was
    /// `Open` ends as a failed attempt to connect.
    pub(crate) fn ending_for(&self, cause: Ending) -> Ending {
        match (self.lifecycle(), cause) {
            (Lifecycle::Connecting | Lifecycle::Handshaking, Ending::Disconnected(reason)) => {
                Ending::Failed(reason.into())
            }
            (Lifecycle::Closing(failed @ Ending::Failed(_)), _) => failed,
            _ => cause,
        }
    }

    /// Starts closing. `ending` is reported when the connection has ended.
    pub(crate) fn set_closing(&mut self, ending: Ending) {
        self.set_state(Lifecycle::Closing(ending));
    }

    /// Records that the peer closed its sending side after `partial` bytes of
    /// an incomplete message. Returns the reason for the end.
    pub(crate) fn note_read_closed(&mut self, partial: usize) -> DisconnectReason {
        self.read_closed = true;
        match (self.lifecycle(), self.write_failure(), partial) {
            (Lifecycle::Closing(Ending::Disconnected(reason)), _, _) | (_, Some(reason), _) => {
                reason
            }
            (_, None, 0) => DisconnectReason::PeerClosed,
            (_, None, bytes) => DisconnectReason::Truncated { bytes },
        }
    }

    /// Returns the reason to report when `error` breaks the connection. If the
    /// connection was closing, the reason of the close is kept if everything was
    /// sent, or if it is an error of the peer's framing.
    pub(crate) fn break_reason(&self, error: DisconnectReason) -> DisconnectReason {
        match self.lifecycle() {
            Lifecycle::Closing(Ending::Disconnected(reason))
                if reason.is_framing_error() || (!self.has_output() && self.fin_sent) =>
            {
                reason
            }
            _ => self.write_failure().unwrap_or(error),
        }
    }
}
