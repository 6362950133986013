//! The end of the command queue that belongs to the loop.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::{ASLEEP, Command, CommandSender, NO_SHUTDOWN, Queue, QueueState};
use crate::config::Config;
use crate::cross_shard::{ShardCommand, ShardSignal};
use crate::id::ConnId;
use crate::metrics::Metrics;
use crate::panics::drop_contained;
use crate::sys::Wake;

thread_local! {
    /// The numbers of the loops that this thread is running, innermost last.
    static RUNNING: RefCell<Vec<(u64, Scope)>> = const { RefCell::new(Vec::new()) };
}

/// The part of a loop that a thread is running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// A turn, in which callbacks are called.
    Turn,
    /// Code of the program that uses the net between two turns.
    BetweenTurns,
}

/// Number of commands whose memory is kept.
const KEPT_COMMANDS: usize = 64;

/// The next number for loops.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Returns whether waiting for a loop with this number could be a deadlock: the
/// loop does not run during the wait, or it waits for a loop that does not run.
pub(crate) fn must_not_wait_for(loops: u64) -> bool {
    // The destructor of another thread-local may call this after the list was
    // dropped.
    let running = RUNNING.try_with(|running| {
        let running = running.borrow();
        running
            .iter()
            .any(|(number, scope)| *number == loops || *scope == Scope::Turn)
    });
    running.unwrap_or(false)
}

/// Returns a new number for loops that must not wait for each other: a node,
/// the shards of a node, or the members of a group.
pub(crate) fn number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Records that this thread runs a loop with this number, until the guard is
/// dropped.
pub(crate) fn enter(loops: u64, scope: Scope) -> Running {
    let _ = RUNNING.try_with(|running| running.borrow_mut().push((loops, scope)));
    Running
}

/// The end of the command queue that belongs to the loop.
pub(crate) struct Inbox<H> {
    shared: Arc<QueueState<H>>,
    /// Commands that the loop has taken to run them in this turn. A panic may
    /// leave some for the next turn.
    taken: VecDeque<Command<H>>,
    /// A budget left commands in the queue.
    has_rest: bool,
}

impl<H> Drop for Inbox<H> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<H> Inbox<H> {
    /// Creates the queue of a loop with this number.
    pub(crate) fn new(loops: u64, wake: Wake, config: &Config) -> Self {
        let queue = Queue {
            commands: VecDeque::new(),
            commands_max: config.commands.max_commands,
            bytes: 0,
            bytes_max: config.commands.max_bytes,
            waiting: 0,
        };
        let shared = Arc::new(QueueState {
            queue: Mutex::new(queue),
            room: Condvar::new(),
            wake,
            connection: Arc::new(config.connection.clone()),
            allow_duplicates: config.allow_duplicates,
            loops,
            closed: AtomicBool::new(false),
            woken: AtomicU8::new(ASLEEP),
            signals: AtomicU8::new(0),
            wakes_sent: AtomicU64::new(0),
            wakes_saved: AtomicU64::new(0),
            shutdown: AtomicU64::new(NO_SHUTDOWN),
        });
        Self {
            shared,
            taken: VecDeque::new(),
            has_rest: false,
        }
    }

    pub(crate) fn sender(&self) -> CommandSender<H> {
        let shared = Arc::clone(&self.shared);
        CommandSender { shared }
    }

    /// Returns whether there is work for the loop: commands that the last turn
    /// left, or a command or a signal since the last call of [`Inbox::rearm`].
    /// It does not look at the queue.
    ///
    /// The event of the waker is not sufficient. With poll(2), mio clears it
    /// when the loop registers or deregisters a socket, or when a call returns
    /// `WouldBlock` (mio 1.2, `SelectorState::modify_fds`), and the next poll
    /// would sleep.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        let is_woken = self.shared.woken.load(Ordering::SeqCst) != ASLEEP;
        is_woken || self.has_rest || !self.taken.is_empty()
    }

    /// Returns the number of commands in the queue.
    pub(crate) fn len(&self) -> usize {
        self.taken.len() + self.shared.lock().commands.len()
    }

    /// Lets the next command wake the loop again. It is called before the queue
    /// and the signals are read, so that no command is missed.
    pub(crate) fn rearm(&self) {
        self.shared.woken.swap(ASLEEP, Ordering::SeqCst);
    }

    /// Removes and returns the commands in the queue, up to a budget. The queue
    /// is locked once for all of them. The memory of a burst is freed by the
    /// following calls that find much fewer commands.
    pub(crate) fn take(&mut self, budget: usize) -> impl Iterator<Item = Command<H>> + '_ {
        let mut queue = self.shared.lock();
        let queue = &mut *queue;
        if self.taken.is_empty() && queue.commands.len() <= budget {
            if self.taken.capacity() / 4 > queue.commands.len().max(KEPT_COMMANDS) {
                self.taken = VecDeque::new();
            }
            // The common case moves no command while other threads wait.
            std::mem::swap(&mut self.taken, &mut queue.commands);
            queue.bytes = 0;
        } else {
            let room = budget.saturating_sub(self.taken.len());
            let count = room.min(queue.commands.len());
            for command in queue.commands.drain(..count) {
                queue.bytes -= command.cost();
                self.taken.push_back(command);
            }
        }
        self.has_rest = !queue.commands.is_empty();
        if queue.waiting > 0 {
            self.shared.room.notify_all();
        }
        std::iter::from_fn(|| self.taken.pop_front())
    }

    /// Removes a signal. Returns whether it was set.
    pub(crate) fn take_signal(&self, signal: ShardSignal) -> bool {
        let bit = signal as u8;
        let all = &self.shared.signals;
        all.load(Ordering::SeqCst) & bit != 0 && all.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Copies the numbers of wakes into the metrics.
    pub(crate) fn report_wakes(&self, metrics: &mut Metrics) {
        metrics.wakes_sent = self.shared.wakes_sent.load(Ordering::Relaxed);
        metrics.wakes_saved = self.shared.wakes_saved.load(Ordering::Relaxed);
    }

    /// Removes and returns the grace of a shutdown that was requested since the
    /// last call.
    pub(crate) fn shutdown_asked(&self) -> Option<Duration> {
        match self.shared.shutdown.swap(NO_SHUTDOWN, Ordering::SeqCst) {
            NO_SHUTDOWN => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// Refuses commands from now on and clears the queue, so that no thread
    /// waits for an answer that never comes.
    pub(crate) fn close(&mut self) {
        self.close_with(|_| ());
    }

    /// Closes the queue as [`Inbox::close`] does, and calls `lost` for each
    /// connection that a message in the queue was for.
    pub(crate) fn close_with(&mut self, mut lost: impl FnMut(ConnId)) {
        self.has_rest = false;
        for command in self.taken.drain(..).chain(self.shared.close()) {
            match command {
                Command::ShardCommand(ShardCommand::Send(conn, _)) => lost(conn),
                Command::ShardCommand(ShardCommand::Broadcast(broadcast)) => {
                    broadcast.conns.iter().copied().for_each(&mut lost);
                }
                Command::ShardCommand(_) => {}
                Command::Call(call) => drop_contained(call),
            }
        }
    }

    /// Records that this thread runs this loop, until the guard is dropped.
    pub(crate) fn enter(&self, scope: Scope) -> Running {
        enter(self.shared.loops, scope)
    }
}

/// The guard of a scope that this thread is in. Scopes end in the reverse order
/// of their beginning.
pub(crate) struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        let _ = RUNNING.try_with(|running| running.borrow_mut().pop());
    }
}
