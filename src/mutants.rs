//! Deliberate mistakes that the simulator must find. They are compiled only
//! with `--cfg peerloop_mutants`. Otherwise `mutant!` expands to nothing.
//!
//! A mistake is one statement on a line by itself, never a part of a condition.

#[cfg(peerloop_mutants)]
mod switch {
    use std::cell::Cell;

    /// A deliberate mistake.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Mutant {
        /// A read that does not fill the buffer ends the reading, although the
        /// event also reported the end of the stream.
        StopOnShortRead,
        /// A write that was not taken whole waits for room on every selector.
        NoRoomEdgeWithoutWouldBlock,
        /// A slot is free again in the turn in which its connection ended.
        FreeWithinTurn,
        /// A connection that used up its read budget is not read in the next
        /// turn.
        ForgetCarriedOver,
        /// Messages that were already read are delivered after a close.
        DeliverAfterClose,
        /// Bytes that arrived during a pause are not read when the pause ends.
        LoseEdgeOnResume,
        /// An accepted connection is charged twice.
        ChargeTwice,
        /// The rest of a partial write is dropped.
        DropTailOfPartialWrite,
        /// Any byte restarts the idle timeout.
        RefreshIdleOnAnyByte,
        /// A write restarts the time without a byte from the peer.
        RestartReceiveIdleOnWrite,
        /// A ping is sent although something was sent before.
        PingWhileSending,
        /// A timeout that begins in a turn counts from the beginning of the
        /// turn.
        DeadlineFromTurnBeginning,
        /// A slow handler gets all messages of a read in one visit.
        VisitWithoutEnd,
        /// A new event waits for the connections that have work left from the
        /// previous turn.
        EventBehindCarriedOver,
        /// A flush requested by a callback during a visit does nothing.
        LoseFlushInVisit,
        /// A listener that used up its accept budget is not visited again.
        ForgetListener,
        /// A full socket is not written again when it has room.
        LoseWritableEdge,
        /// The first time that an accepted socket is full, its room is not made
        /// an event.
        ForgetRoom,
        /// Any event of a connecting socket counts as its success.
        TrustEachEvent,
        /// `on_drain` is not called when it is due.
        ForgetDrain,
        /// The timer of a connection that has ended is not removed.
        KeepTimer,
        /// Bytes that arrived together with the end of a handshake are dropped.
        DropAfterHandshake,
        /// `on_sent` is called twice for a tracked send.
        AnswerTwice,
        /// `on_sent` is called in a different order than the sends.
        AnswerInDisorder,
        /// All queues together exceed their maximum.
        ExceedLoopMaximum,
        /// A queue grows beyond the dynamic threshold of the loop's limit.
        IgnoreThreshold,
        /// A queue that is not empty grows while a refused send waits.
        PassOverWaitingSend,
        /// The body of a broadcast is charged for each queue that contains it.
        ChargeEachReader,
        /// A queue exceeds its maximum.
        ExceedQueueMaximum,
        /// Messages of a batch that the handler stopped stay in the buffer and
        /// are delivered again.
        DeliverTwice,
        /// Sealed messages stay in the queue and are sealed again.
        SealTwice,
        /// Unwritten sealed messages stop the reading of a connection, as
        /// unwritten handshake output does.
        HoldForBatch,
        /// A connection whose reads were deferred is not read after its
        /// session's output is written.
        ForgetHeld,
        /// The bytes after a kept partial frame replace it.
        SwapWithPartialFrame,
        /// A failed handshake still counts as connecting.
        KeepConnecting,
        /// The count of a network is not decremented.
        KeepPrefix,
        /// The limit of outbound connections that are connecting is not
        /// checked.
        ConnectWithoutLimit,
        /// A short read counts as a drained socket, although the selector gives
        /// no edge before `WouldBlock`.
        NoEdgeWithoutWouldBlock,
        /// A connection behind a proxy keeps the address of the proxy.
        KeepAddressOfProxy,
        /// A PROXY header that the turn had no budget for is not read later.
        ForgetHeader,
        /// A connection that is resumed before it is open stays paused.
        ResumeBeforeOpen,
        /// A new framing is not applied to received bytes.
        ForgetChange,
        /// A new framing is applied after the batch in progress.
        ChangeAfterBatch,
        /// A handshake place is not freed.
        KeepPlace,
        /// The handshake that has waited longest loses its place, whichever
        /// address it has.
        EvictOldestOnly,
        /// A token bucket gains no tokens.
        NoTokens,
        /// A connection does not continue when its tokens are there.
        ForgetTokens,
        /// An address that failed is not connected to again.
        ForgetFailedAddress,
        /// A UDP socket that used up its budget is not read in the next turn.
        ForgetDatagrams,
        /// `on_udp_drain` is not called when it is due.
        ForgetUdpDrain,
        /// A session that is woken is not called.
        ForgetWake,
        /// The timer of a session that returns another duration is not moved.
        KeepSessionTimer,
        /// Each end orders the connections with a node by its own numbers.
        OrderByOwnNumber,
    }

    thread_local! {
        static CURRENT: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Activates one mistake for the nodes of this thread, or none.
    pub fn activate(mutant: Option<Mutant>) {
        CURRENT.set(mutant);
    }

    pub(crate) fn is_active(mutant: Mutant) -> bool {
        CURRENT.get() == Some(mutant)
    }
}

#[cfg(peerloop_mutants)]
pub(crate) use switch::is_active;
#[cfg(peerloop_mutants)]
pub use switch::{Mutant, activate};

/// Runs a mistake if it is the active one.
#[cfg(peerloop_mutants)]
macro_rules! mutant {
    ($name:ident => $($mistake:tt)+) => {
        if $crate::mutants::is_active($crate::mutants::Mutant::$name) {
            $($mistake)+;
        }
    };
}

/// Expands to nothing, because this build has no mistakes.
#[cfg(not(peerloop_mutants))]
macro_rules! mutant {
    ($name:ident => $($mistake:tt)+) => {};
}

pub(crate) use mutant;
