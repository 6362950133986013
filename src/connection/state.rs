//! Where a connection stands, and how it ends.

use std::net::SocketAddr;
use std::time::Instant;

use super::ConnEntry;
use crate::error::{ConnectError, DisconnectReason, TimeoutKind};
use crate::session::Identity;

/// What few connections have.
#[derive(Debug, Default)]
pub(super) struct ConnectionExtra {
    /// Present in [`LifecycleTag::Closing`] and [`LifecycleTag::Ended`].
    ending: Option<Ending>,
    /// A write failed; reported once everything that had arrived is delivered.
    failure: Option<DisconnectReason>,
    pub(super) identity: Option<Identity>,
}

/// The part of a [`Lifecycle`] that every connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LifecycleTag {
    Connecting,
    Handshaking,
    Open,
    Closing,
    Ended,
    Released,
}

/// Where a connection stands inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lifecycle {
    /// Dialled, and there is no TCP connection yet.
    Connecting,
    /// The TCP connection is made, the handshake not over.
    Handshaking,
    Open,
    Closing(Ending),
    Ended(Ending),
    /// The last callback was made; the slot is kept to the end of the turn.
    Released,
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
                | Self::Disconnected(DisconnectReason::Timeout(
                    TimeoutKind::Idle | TimeoutKind::PartialMessage
                ))
        )
    }
}

impl ConnEntry {
    /// Why writing failed, if it has.
    pub(crate) fn failure(&self) -> Option<DisconnectReason> {
        self.extra.as_ref()?.failure
    }

    pub(crate) fn note_failure(&mut self, reason: DisconnectReason) {
        self.extra().failure = Some(reason);
    }

    fn extra(&mut self) -> &mut ConnectionExtra {
        self.extra.get_or_insert_default()
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
            LifecycleTag::Closing => self.ending_as(Lifecycle::Closing),
            LifecycleTag::Ended => self.ending_as(Lifecycle::Ended),
            LifecycleTag::Released => Lifecycle::Released,
        }
    }

    fn ending_as(&self, state: impl Fn(Ending) -> Lifecycle) -> Lifecycle {
        let ending = self.extra.as_ref().and_then(|extra| extra.ending);
        debug_assert!(ending.is_some(), "`set_state` keeps it");
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
        self.update_quick();
    }

    /// Whether no handler has heard of the connection yet.
    pub(crate) fn is_unopened(&self) -> bool {
        matches!(
            self.tag,
            LifecycleTag::Connecting | LifecycleTag::Handshaking
        )
    }

    /// The dial has begun.
    pub(crate) fn start_connect(&mut self, now: Instant) {
        self.since = self.moment(now);
    }

    /// The TCP connection is made.
    pub(crate) fn begin_handshake(&mut self, local_addr: SocketAddr, now: Instant) {
        self.set_state(Lifecycle::Handshaking);
        self.local_addr = Some(local_addr.into());
        self.since = self.moment(now);
    }

    pub(crate) fn set_identity(&mut self, identity: Option<Identity>) {
        if identity.is_some() {
            self.extra().identity = identity;
        }
    }

    /// The handshake is over.
    pub(crate) fn open(&mut self, now: Instant) {
        self.set_state(Lifecycle::Open);
        self.since = self.moment(now);
        self.activity = self.since;
    }

    /// How the connection ends if this is the cause: as a failed dial if no handler has heard of it, also when that was
    /// said before.
    pub(crate) fn ending(&self, cause: Ending) -> Ending {
        match (self.lifecycle(), cause) {
            (Lifecycle::Connecting | Lifecycle::Handshaking, Ending::Disconnected(reason)) => {
                Ending::Failed(reason.into())
            }
            (Lifecycle::Closing(failed @ Ending::Failed(_)), _) => failed,
            _ => cause,
        }
    }

    /// Begins to end.
    pub(crate) fn begin_closing(&mut self, ending: Ending, now: Instant) {
        self.set_state(Lifecycle::Closing(ending));
        self.activity = self.moment(now);
    }

    /// The peer has ended its side, `partial` bytes into a frame.
    pub(crate) fn finish(&mut self, partial: usize) -> DisconnectReason {
        self.peer_finished = true;
        match (self.lifecycle(), self.failure(), partial) {
            (Lifecycle::Closing(Ending::Disconnected(reason)), _, _) | (_, Some(reason), _) => {
                reason
            }
            (_, None, 0) => DisconnectReason::PeerClosed,
            (_, None, bytes) => DisconnectReason::Truncated { bytes },
        }
    }

    /// The reason to give when the connection is broken by `error`: none of the error's business any more once we
    /// had closed and everything had left.
    pub(crate) fn broken_by(&self, error: DisconnectReason) -> DisconnectReason {
        match self.lifecycle() {
            Lifecycle::Closing(Ending::Disconnected(reason))
                if !self.has_output() && self.fin_sent =>
            {
                reason
            }
            _ => self.failure().unwrap_or(error),
        }
    }
}
