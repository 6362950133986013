//! The lengths of queued messages.

use std::collections::VecDeque;

/// Number of runs whose memory is kept while nothing is queued.
const RUNS_KEPT: usize = 64;

/// The lengths of the queued messages of a connection whose messages are
/// limited, oldest first. The beginning of the queue may be the rest of a
/// message that has begun.
///
/// ```text
///   queue   ├── begun ──┼─ len ─┼─ len ─┼─ len ─┤
///                       ├─────── bytes ─────────┤
/// ```
#[derive(Debug, Default)]
pub(super) struct QueuedFrames {
    /// Lengths, each with the number of messages in a row that have it.
    runs: VecDeque<(u32, u32)>,
    /// The sum of the lengths.
    bytes: u64,
    /// The number of messages, because a write must not look at all of them.
    messages: u64,
}

impl QueuedFrames {
    pub(super) fn push(&mut self, len: usize) {
        self.bytes += len as u64;
        let mut len = len as u64;
        // A frame that is longer than a `u32` counts as several messages.
        while len > 0 {
            let part = u32::try_from(len).unwrap_or(u32::MAX);
            len -= u64::from(part);
            self.messages += 1;
            match self.runs.back_mut() {
                Some((same, count)) if *same == part && *count < u32::MAX => *count += 1,
                _ => self.runs.push_back((part, 1)),
            }
        }
    }

    /// Returns the number of messages that wait in a queue of this length. It
    /// is zero while a message that has begun can continue.
    pub(super) fn waiting(&self, queue: usize) -> u64 {
        if queue as u64 > self.bytes {
            0
        } else {
            self.messages
        }
    }

    /// Returns the number of bytes from the beginning of a queue of this length
    /// to the end of the first `messages` messages that have not begun.
    pub(super) fn bytes_of(&self, mut messages: u64, queue: usize) -> u64 {
        if messages >= self.messages {
            return queue as u64;
        }
        let mut bytes = (queue as u64).saturating_sub(self.bytes);
        for (len, count) in &self.runs {
            let taken = messages.min((*count).into());
            bytes += taken * u64::from(*len);
            messages -= taken;
            if messages == 0 {
                break;
            }
        }
        bytes
    }

    /// Removes the messages that have begun, now that the queue has this
    /// length. Returns their number.
    pub(super) fn shrink_to(&mut self, queue: usize) -> u64 {
        let mut messages = 0;
        while self.bytes > queue as u64 {
            let Some((len, count)) = self.runs.front_mut() else {
                break;
            };
            let beyond = self.bytes - queue as u64;
            let begun = beyond.div_ceil(u64::from(*len)).min((*count).into());
            self.bytes -= begun * u64::from(*len);
            self.messages -= begun;
            messages += begun;
            *count -= begun as u32;
            if *count == 0 {
                self.runs.pop_front();
            }
        }
        if self.runs.is_empty() && self.runs.capacity() > RUNS_KEPT {
            self.runs.shrink_to(RUNS_KEPT);
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_with_its_first_byte() {
        let mut frames = QueuedFrames::default();
        for len in [10, 10, 5, 7] {
            frames.push(len);
        }
        // Three bytes were queued before the messages were counted.
        assert_eq!((frames.waiting(35), frames.runs.len()), (0, 3));
        let ends = [0, 1, 2, 3, 99].map(|messages| frames.bytes_of(messages, 35));
        assert_eq!(ends, [3, 13, 23, 28, 35]);
        assert_eq!(frames.shrink_to(32), 0);
        assert_eq!(frames.waiting(32), 4);
        assert_eq!(frames.shrink_to(31), 1);
        assert_eq!((frames.waiting(31), frames.bytes_of(0, 31)), (0, 9));
        assert_eq!(frames.shrink_to(22), 0);
        assert_eq!(frames.shrink_to(10), 2);
        assert_eq!(frames.bytes_of(1, 10), 10);
        assert_eq!(frames.shrink_to(0), 1);
        assert_eq!((frames.waiting(0), frames.runs.len()), (0, 0));
    }

    #[test]
    fn long_queue_leaves_no_memory_behind() {
        let mut frames = QueuedFrames::default();
        let lens = (0..10_000).map(|index| 1 + index % 2);
        lens.clone().for_each(|len| frames.push(len));
        assert_eq!(frames.runs.len(), 10_000);
        let total = lens.sum();
        assert_eq!(frames.bytes_of(u64::MAX, total), total as u64);
        assert_eq!(frames.shrink_to(0), 10_000);
        assert_eq!(frames.waiting(0), 0);
        assert!(frames.runs.capacity() < 10 * RUNS_KEPT);
    }
}
