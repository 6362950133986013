//! The limit on the memory that a loop holds for sending.
//!
//! A queue may grow while its size, including the message, is at most the free
//! part of the account without a reserve. This is a dynamic threshold
//! (Choudhury and Hahne, *Dynamic queue length thresholds for shared-memory
//! packet switches*, IEEE/ACM Transactions on Networking, 1998). With `n` full
//! queues, each holds an `n + 1`-th of that part, and the same amount is left
//! for an empty queue.
//!
//! The reserve is for small queues. Without it, connections that do not read
//! and are filled one after another take half of the free part each, and little
//! is left after a few dozen of them.

use std::collections::VecDeque;

use crate::buffers::{Growth, SendAccount};
use crate::framing::FrameHeader;
use crate::id::ConnId;
use crate::mutants::mutant;

/// The reserve for small queues, as a divisor of the limit.
const RESERVE_PART: usize = 4;

/// Maximum length of a message that an empty queue accepts from the reserve,
/// without its header, as a divisor of the limit. By default it is 64 KiB.
const SMALL_MESSAGE_PART: usize = 4096;

/// Maximum size of a queue that grows in the reserve, as a divisor of the
/// limit. By default it is 16 KiB.
const SMALL_QUEUE_PART: usize = 16384;

/// The limit of a loop, and the connections whose sends it has refused.
#[derive(Debug)]
pub(crate) struct SendQuota {
    limit: usize,
    /// Connections that wait for room, in the order of their refused sends.
    line: VecDeque<ConnId>,
}

/// A message and the queue that it is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingSend {
    /// The length of the frame.
    pub(crate) frame: usize,
    pub(crate) growth: Growth,
    /// The memory that the connection holds for sending.
    pub(crate) memory: usize,
    /// The queue is empty.
    pub(crate) is_empty: bool,
    /// The connection has waited in the line, and it is its turn.
    pub(crate) has_turn: bool,
}

impl SendQuota {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: VecDeque::new(),
        }
    }

    /// Returns whether a queue may accept a message.
    #[inline]
    pub(crate) fn admits(&self, send: &PendingSend, account: &SendAccount) -> bool {
        // The memory that the queue already has is charged.
        send.growth.charge == 0 || self.admits_growth(send, account.used())
    }

    fn admits_growth(&self, send: &PendingSend, used: usize) -> bool {
        // Every message can be sent if nothing is held, even one that is longer
        // than the limit.
        if used == 0 {
            return true;
        }
        let left = self.left(used);
        if send.growth.charge > left {
            return false;
        }
        if self.is_small(send) {
            return true;
        }
        let above = left.saturating_sub(self.limit / RESERVE_PART);
        self.is_below_threshold(send, above) && self.is_in_turn(send)
    }

    /// Returns the free part of the limit.
    fn left(&self, used: usize) -> usize {
        mutant!(ExceedLoopMaximum => return usize::MAX);
        self.limit.saturating_sub(used)
    }

    /// Returns whether the message may use the reserve.
    #[inline]
    fn is_small(&self, send: &PendingSend) -> bool {
        let small_frame = self.limit / SMALL_MESSAGE_PART + FrameHeader::BLOCK;
        let is_small_message = send.is_empty && send.frame <= small_frame;
        is_small_message || send.memory + send.growth.memory <= self.limit / SMALL_QUEUE_PART
    }

    fn is_below_threshold(&self, send: &PendingSend, above: usize) -> bool {
        mutant!(IgnoreThreshold => return true);
        send.memory + send.growth.memory <= above
    }

    /// Returns whether the queue may grow now. While a refused send waits,
    /// queues that are not empty do not grow, so that the memory that they free
    /// is left for it.
    fn is_in_turn(&self, send: &PendingSend) -> bool {
        mutant!(PassOverWaitingSend => return true);
        self.line.is_empty() || send.is_empty || send.has_turn
    }

    pub(crate) fn is_line_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Puts a connection at the end of the line.
    pub(super) fn join_line(&mut self, conn: ConnId) {
        self.line.push_back(conn);
    }

    /// Removes the connections whose refused message fits now from the line, in
    /// order, and calls `serve` for each. A connection whose queue is not empty
    /// waits for the connections before it.
    ///
    /// `describe` returns the refused message of a connection, or `None` if the
    /// connection no longer waits.
    pub(crate) fn serve_line<T>(
        &mut self,
        account: &SendAccount,
        conns: &mut T,
        describe: impl Fn(&mut T, ConnId) -> Option<PendingSend>,
        mut serve: impl FnMut(&mut T, ConnId),
    ) {
        let mut used = account.used();
        let mut is_first = true;
        for _ in 0..self.line.len() {
            let Some(conn) = self.line.pop_front() else {
                return;
            };
            let Some(mut send) = describe(conns, conn) else {
                continue;
            };
            send.has_turn = is_first;
            if self.admits_growth(&send, used) {
                used += send.growth.charge;
                serve(conns, conn);
            } else {
                is_first = false;
                self.line.push_back(conn);
            }
        }
    }
}

#[cfg(test)]
mod tests;
