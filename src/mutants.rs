//! Deliberate mistakes, which prove that the simulator finds them. They are
//! compiled only with `--cfg peerloop_mutants`; without it every `mutant!`
//! leaves nothing behind.
//!
//! A mistake is one statement on a separate line, never part of a condition.

#[cfg(peerloop_mutants)]
mod switch {
    use std::cell::Cell;

    /// A deliberate mistake.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Mutant {
        /// A read that does not fill the buffer ends the loop, although the
        /// event reported the end of the stream too.
        StopOnShortRead,
        /// A slot is free again within the turn in which its connection ended.
        FreeWithinTurn,
        /// A connection that used up its read budget is not carried over.
        ForgetCarriedOver,
        /// Messages already read are delivered after a close.
        DeliverAfterClose,
        /// Bytes that arrived during a pause are not read when it ends.
        LoseEdgeOnResume,
        /// An accepted connection is charged twice.
        ChargeTwice,
        /// The rest of a partial write is dropped.
        DropTailOfPartialWrite,
        /// Any byte keeps a connection from being idle.
        RefreshIdleOnAnyByte,
        /// A timeout that begins in a turn counts from the beginning of the
        /// turn.
        DeadlineFromTurnBeginning,
        /// A slow handler gets all messages of a read.
        VisitWithoutEnd,
        /// A new event waits for the connections that were left with more work.
        EventBehindCarriedOver,
        /// A flush that a callback asks for during a visit does nothing.
        LoseFlushInVisit,
        /// A listener that used up its budget is not looked at again.
        ForgetListener,
        /// A full socket is not written to again when it has room.
        LoseWritableEdge,
        /// The drain that is owed is not announced.
        ForgetDrain,
        /// The timer of a connection that has ended stays.
        KeepTimer,
        /// Bytes that came together with the end of a handshake are dropped.
        DropAfterHandshake,
        /// A tracked send is answered twice.
        AnswerTwice,
        /// The answers to tracked sends come in another order than was asked
        /// for.
        AnswerInDisorder,
        /// All queues together exceed their maximum.
        ExceedLoopMaximum,
        /// A queue grows beyond what is left of the loop's limit.
        IgnoreThreshold,
        /// A queue that holds something grows while a refused send waits.
        PassOverWaitingSend,
        /// The body of a broadcast is charged for each queue that holds it.
        ChargeEachReader,
        /// A queue exceeds its maximum.
        ExceedQueueMaximum,
        /// Messages of a batch that the handler has stopped stay in the buffer,
        /// and are delivered again.
        DeliverTwice,
        /// Sealed messages stay in the queue.
        SealTwice,
        /// Sealed messages keep a connection from being read, as handshake
        /// answers do that its peer does not take.
        HoldForBatch,
        /// A connection whose reads were deferred is not read when its
        /// session's answers are written.
        ForgetHeld,
        /// The bytes behind a kept partial frame take its place.
        SwapWithPartialFrame,
        /// A failed handshake still counts as connecting.
        KeepConnecting,
        /// A network's count is not taken back.
        KeepPrefix,
        /// The limit of outbound connections that are connecting is not
        /// checked.
        ConnectWithoutLimit,
        /// A short read empties a socket also where no edge comes before
        /// `WouldBlock`.
        NoEdgeWithoutWouldBlock,
        /// A connection that is resumed before it is open stays paused.
        ResumeBeforeOpen,
        /// A handshake place is not given back.
        KeepPlace,
        /// The handshake that has waited longest loses its place, whatever its
        /// address.
        EvictOldestOnly,
    }

    thread_local! {
        static CURRENT: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Has the nodes of this thread make one mistake from now on, or none.
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

/// Makes a mistake if it is the active one.
#[cfg(peerloop_mutants)]
macro_rules! mutant {
    ($name:ident => $($mistake:tt)+) => {
        if $crate::mutants::is_active($crate::mutants::Mutant::$name) {
            $($mistake)+;
        }
    };
}

/// Makes a mistake if it is the active one: never in this build.
#[cfg(not(peerloop_mutants))]
macro_rules! mutant {
    ($name:ident => $($mistake:tt)+) => {};
}

pub(crate) use mutant;
