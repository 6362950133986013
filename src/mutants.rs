//! Mistakes on purpose, to prove that the simulator finds them. Compiled only with `--cfg peerloop_mutants`; without it
//! every [`mutant!`](crate::planted) is `false` and leaves nothing behind.

#[cfg(peerloop_mutants)]
mod switch {
    use std::cell::Cell;

    /// A mistake that the library can be made to make.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum Mutant {
        /// A read that does not fill the buffer ends the loop although the peer's end was signalled with it.
        StopOnShortRead,
        /// A slot is free again within the turn in which its connection ended.
        FreeWithinTurn,
        /// A connection that used up its read budget is not put on the run list.
        ForgetRunList,
        /// Messages already read are delivered after a close.
        DeliverAfterClose,
        /// What arrived during a pause is not looked at when it ends.
        LoseEdgeOnResume,
        /// An accepted connection is charged twice.
        ChargeTwice,
        /// What a partial write left is dropped.
        DropTailOfPartialWrite,
        /// Any byte keeps a connection from being idle.
        RefreshIdleOnAnyByte,
        /// A listener that used up its budget is not looked at again.
        ForgetListener,
        /// A full socket is not written to again when it has room.
        LoseWritableEdge,
        /// The drain that is owed is not announced.
        ForgetDrain,
        /// The deadline of a connection that has ended stays.
        KeepDeadline,
        /// What came together with the end of a handshake is dropped.
        DropAfterHandshake,
        /// A tracked send is answered twice.
        AnswerTwice,
        /// The answers to tracked sends come in another order than was asked for.
        AnswerInDisorder,
        /// All queues together take what their cap forbids.
        PassLoopCap,
        /// A queue takes what its cap forbids.
        PassQueueCap,
        /// What a batch from the stash delivered stays there when the handler has it stopped.
        DeliverTwice,
        /// What a session has sealed stays in the queue.
        SealTwice,
        /// What a session has sealed keeps a connection from being read like answers that its peer does not take.
        HoldForBatch,
        /// A connection that was held is not read when its session's answers have left.
        ForgetHeld,
        /// What is behind a beginning that was kept takes its place.
        SwapWithPartialFrame,
        /// A failed handshake still counts as being under way.
        KeepConnecting,
        /// A network's count is not taken back.
        KeepPrefix,
        /// The limit of dials under way is not asked.
        DialWithoutLimit,
    }

    thread_local! {
        static CURRENT: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Has the nodes of this thread make one mistake from now on, or none.
    pub fn plant(mistake: Option<Mutant>) {
        CURRENT.set(mistake);
    }

    pub(crate) fn is_planted(mistake: Mutant) -> bool {
        CURRENT.get() == Some(mistake)
    }
}

#[cfg(peerloop_mutants)]
pub(crate) use switch::is_planted;
#[cfg(peerloop_mutants)]
pub use switch::{Mutant, plant};

/// Whether this mistake is to be made.
#[cfg(peerloop_mutants)]
macro_rules! mutant {
    ($mistake:ident) => {
        $crate::mutants::is_planted($crate::mutants::Mutant::$mistake)
    };
}

/// Whether this mistake is to be made: never.
#[cfg(not(peerloop_mutants))]
macro_rules! mutant {
    ($mistake:ident) => {
        false
    };
}

pub(crate) use mutant;
