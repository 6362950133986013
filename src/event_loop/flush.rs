//! Which connections a turn writes, and in which order.

use std::ops::Range;

use super::EventLoop;
use crate::handler::Handler;

/// Number of connections that are written between two readings of the clock.
const WRITES_PER_LOOK: usize = 8;

/// Of this many writes one is to a connection that an earlier turn left, if
/// there are others. The share bounds the wait of such a connection.
const NEW_WRITES_PER_OTHER: usize = 4;

impl<H: Handler> EventLoop<'_, H> {
    /// Puts the connections that the last turn left before those with new
    /// output.
    pub(super) fn resume_writes(&mut self) {
        let (lists, dirty) = (&mut self.state.lists, &mut self.net.work.dirty);
        lists.left_dirty = lists.over_write_budget.len();
        if lists.left_dirty > 0 {
            lists.over_write_budget.append(dirty);
            std::mem::swap(dirty, &mut lists.over_write_budget);
        }
    }

    /// Writes each dirty connection once. When half of the time that
    /// connections have is used up, the rest waits for the next turn, unless
    /// the node is shutting down.
    ///
    /// Those with new output do not wait for all that an earlier turn left,
    /// because that may be a broadcast to thousands.
    pub(super) fn flush(&mut self) {
        if self.net.work.dirty.is_empty() {
            return self.net.pool.end_flush();
        }
        let scratch = std::mem::take(&mut self.state.scratch);
        let mut dirty = std::mem::replace(&mut self.net.work.dirty, scratch);
        let mut order = WriteOrder::new(&mut self.state.lists.left_dirty, dirty.len());
        let (began, most) = (
            self.net.read_clock(),
            self.net.config.budget.max_turn_time / 2,
        );
        let over_budget = self.state.lists.over_write_budget.len();
        while let Some(conn) = order.next().and_then(|index| dirty.get(index).copied()) {
            if let Some(entry) = self.net.conns.get_mut(conn) {
                entry.dirty = false;
                self.state.write(self.net, conn);
            }
            if order.written % WRITES_PER_LOOK == 0 {
                self.net.clock.is_stale = true;
                let elapsed = self.net.read_clock().saturating_duration_since(began);
                if elapsed >= most && self.net.stopping.is_none() {
                    break;
                }
            }
        }
        // The rest is still dirty. In the next turn it comes before the
        // connections that were written now and have more.
        let rest = order.left.chain(order.new);
        let rest = rest.filter_map(|index| dirty.get(index).copied());
        let lists = &mut self.state.lists;
        lists
            .over_write_budget
            .splice(over_budget..over_budget, rest);
        dirty.clear();
        self.state.scratch = dirty;
        self.net.pool.end_flush();
    }
}

/// The indexes of the dirty connections that are not written.
///
/// ```text
///   0                      left_dirty                   len
///   ├─ written ─┬── left ──┼─ written ──┬───── new ─────┤
/// ```
struct WriteOrder {
    left: Range<usize>,
    new: Range<usize>,
    written: usize,
}

impl WriteOrder {
    /// Takes the number of connections that an earlier turn left.
    fn new(left_dirty: &mut usize, len: usize) -> Self {
        let left = std::mem::take(left_dirty).min(len);
        Self {
            left: 0..left,
            new: left..len,
            written: 0,
        }
    }

    fn next(&mut self) -> Option<usize> {
        self.written += 1;
        if self.written % NEW_WRITES_PER_OTHER == 0 {
            self.left.next().or_else(|| self.new.next())
        } else {
            self.new.next().or_else(|| self.left.next())
        }
    }
}
