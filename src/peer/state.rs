//! Where a connection stands, and how it ends.

use std::net::SocketAddr;
use std::time::Instant;

use super::Peer;
use crate::error::{ConnectError, DisconnectReason, Phase};
use crate::session::Identity;

/// What few connections have.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// Present in [`Stage::Closing`] and [`Stage::Ended`].
    ending: Option<Ending>,
    /// A write failed; reported once everything that had arrived is delivered.
    failure: Option<DisconnectReason>,
    pub(super) identity: Option<Identity>,
}

/// The part of a [`State`] that every connection has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
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

impl Peer {
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

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.stage, Stage::Ended | Stage::Gone)
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
