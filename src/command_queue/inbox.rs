//! The loop's end of the command queue.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Command, CommandSender, NO_SHUTDOWN, QueueState};
use crate::config::Config;
use crate::cross_shard::ShardSignal;
use crate::metrics::Metrics;
use crate::sys::Wake;

thread_local! {
    /// Which nodes' turns this thread is in, one inside the other.
    static RUNNING: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The number of the next node.
static NEXT_NODE: AtomicU64 = AtomicU64::new(0);

/// Whether this thread is in a turn of this node.
pub(crate) fn is_in_turn(node: u64) -> bool {
    RUNNING.with_borrow(|running| running.contains(&node))
}

/// A number for a node, by which its loop is known while it runs.
pub(crate) fn number() -> u64 {
    NEXT_NODE.fetch_add(1, Ordering::Relaxed)
}

/// Notes that this thread is in a turn of this node, until the guard is dropped.
pub(crate) fn enter(node: u64) -> Running {
    RUNNING.with_borrow_mut(|running| running.push(node));
    Running
}

/// The loop's end of the command queue.
pub(crate) struct Inbox<H> {
    sender: CommandSender<H>,
}

impl<H> Drop for Inbox<H> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<H> Inbox<H> {
    /// The queue of the node with this number, or of one of its shards.
    pub(crate) fn new(node: u64, wake: Wake, config: &Config) -> Self {
        let (commands, leftovers) = crossbeam_channel::bounded(config.command_queue);
        let shared = Arc::new(QueueState {
            wake,
            node,
            closed: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            news: AtomicU8::new(0),
            bytes: AtomicUsize::new(0),
            bytes_max: config.command_queue_bytes,
            wakes_sent: AtomicU64::new(0),
            wakes_saved: AtomicU64::new(0),
            shutdown: AtomicU64::new(NO_SHUTDOWN),
        });
        Self {
            sender: CommandSender {
                commands,
                leftovers,
                shared,
            },
        }
    }

    pub(crate) fn sender(&self) -> CommandSender<H> {
        self.sender.clone()
    }

    /// Whether commands are waiting that no wake will announce, because the last turn's budget ended before them.
    pub(crate) fn has_work(&self) -> bool {
        !self.sender.leftovers.is_empty()
    }

    /// How many commands wait.
    pub(crate) fn len(&self) -> usize {
        self.sender.leftovers.len()
    }

    /// From here on a new command wakes the loop again. Whatever was asked before is found by the looks that follow,
    /// so this comes first.
    pub(crate) fn rearm(&self) {
        self.sender.shared.woken.swap(false, Ordering::SeqCst);
    }

    /// The commands that are there, up to a budget.
    pub(crate) fn take(&self, budget: usize) -> impl Iterator<Item = Command<H>> + '_ {
        let shared = &self.sender.shared;
        self.sender
            .leftovers
            .try_iter()
            .take(budget)
            .inspect(|command| shared.release_bytes(command.cost()))
    }

    /// Whether another shard has told this since the last look.
    pub(crate) fn take_signal(&self, news: ShardSignal) -> bool {
        let bit = news as u8;
        let all = &self.sender.shared.news;
        all.load(Ordering::SeqCst) & bit != 0 && all.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Tells how often the loop was woken.
    pub(crate) fn report_wakes(&self, metrics: &mut Metrics) {
        metrics.wakes_sent = self.sender.shared.wakes_sent.load(Ordering::Relaxed);
        metrics.wakes_saved = self.sender.shared.wakes_saved.load(Ordering::Relaxed);
    }

    /// The grace of a shutdown that was asked for since the last look.
    pub(crate) fn shutdown_asked(&self) -> Option<Duration> {
        match self
            .sender
            .shared
            .shutdown
            .swap(NO_SHUTDOWN, Ordering::SeqCst)
        {
            NO_SHUTDOWN => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// Refuses commands from now on and clears the queue, so that nobody waits for an answer that will not come.
    pub(crate) fn close(&self) {
        self.sender.shared.closed.store(true, Ordering::SeqCst);
        self.sender.leftovers.try_iter().for_each(drop);
    }

    /// Notes that this thread is in a turn of this node, until the guard is dropped.
    pub(crate) fn enter(&self) -> Running {
        enter(self.sender.shared.node)
    }
}

/// A turn in progress on this thread. Turns end in the reverse order in which they began.
pub(crate) struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(Vec::pop);
    }
}
