//! Commands from other threads to a loop.
//!
//! Handles and the other shards have a [`CommandSender`], and the loop has an
//! [`Inbox`]. The queue is bounded in commands and in bytes. A full queue is an
//! error and never a wait, except in [`CommandSender::push_until`]. Its memory
//! grows with the commands in it, so a node that gets none has none.

mod inbox;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use self::inbox::{Inbox, Scope, enter, must_not_wait_for, number};
use crate::config::{ConnectOptions, ConnectionConfig, ListenOptions};
use crate::cross_shard::{Mailbox, RefusedCommand, ShardCommand, ShardSignal};
use crate::error::SendError;
use crate::net::Net;
use crate::sys::Wake;

/// A command from another thread to a loop.
pub(crate) enum Command<H> {
    ShardCommand(ShardCommand),
    Call(Call<H>),
}

impl<H> Command<H> {
    /// Returns the number of bytes that count for the limit of the queue.
    fn cost(&self) -> usize {
        match self {
            Self::ShardCommand(command) => command.cost(),
            Self::Call(_) => 0,
        }
    }
}

/// A function that the loop calls.
pub(crate) type Call<H> = Box<dyn FnOnce(&mut H, &mut Net) + Send>;

/// The commands that the loop has not taken.
struct Queue<H> {
    commands: VecDeque<Command<H>>,
    commands_max: usize,
    /// Number of bytes of messages in the queue.
    bytes: usize,
    bytes_max: usize,
    /// Number of threads that wait for room.
    waiting: usize,
}

impl<H> Queue<H> {
    /// Returns whether there is room for a command with this cost. A queue
    /// without bytes accepts any number of them.
    fn has_room(&self, cost: usize) -> bool {
        self.commands.len() < self.commands_max
            && (cost == 0 || self.bytes == 0 || cost <= self.bytes_max.saturating_sub(self.bytes))
    }

    fn push(&mut self, command: Command<H>, cost: usize) {
        self.bytes += cost;
        self.commands.push_back(command);
    }
}

/// The state that handles and the loop share.
struct QueueState<H> {
    queue: Mutex<Queue<H>>,
    /// Notified when commands are taken while threads wait for room, and when
    /// the queue is closed.
    room: Condvar,
    wake: Wake,
    /// The settings for the options that handles create.
    connection: Arc<ConnectionConfig>,
    allow_duplicates: bool,
    /// The number of the loops that wait for each other. The shards of a node
    /// have the same number, and so do the members of a group.
    loops: u64,
    /// The node has stopped or was dropped. It is set while the queue is
    /// locked, which stays empty from then on.
    closed: AtomicBool,
    /// [`AWAKE`] if the loop is being woken, so that further commands need no
    /// system call.
    woken: AtomicU8,
    /// The signals since they were last taken. Each [`ShardSignal`] is one bit.
    signals: AtomicU8,
    wakes_sent: AtomicU64,
    wakes_saved: AtomicU64,
    /// The shortest grace of the requested shutdowns in milliseconds, or
    /// `u64::MAX` without a request. It is not in the queue, so that a full
    /// queue cannot prevent a node from stopping.
    shutdown: AtomicU64,
}

const NO_SHUTDOWN: u64 = u64::MAX;

/// Values of [`QueueState::woken`]. Each command and signal changes it, after it
/// is in its place. While it is `ASLEEP`, the loop has nothing to do for other
/// threads.
const ASLEEP: u8 = 0;
const AWAKE: u8 = 1;
/// Waking has failed. The next command tries again, and so does the loop if it
/// wakes for another reason.
const NOT_WOKEN: u8 = 2;

impl<H> QueueState<H> {
    /// Locks the queue. No command is run or dropped while it is locked,
    /// because both call code of the program.
    fn lock(&self) -> MutexGuard<'_, Queue<H>> {
        // Nothing panics between the steps of a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Refuses commands from now on, and returns those in the queue.
    fn close(&self) -> VecDeque<Command<H>> {
        let mut queue = self.lock();
        self.closed.store(true, Ordering::SeqCst);
        if queue.waiting > 0 {
            self.room.notify_all();
        }
        std::mem::take(&mut queue.commands)
    }

    /// Unlocks the queue and waits until a command was taken, or for this long.
    fn wait_for_room<'a>(
        &self,
        mut queue: MutexGuard<'a, Queue<H>>,
        at_most: Option<Duration>,
    ) -> MutexGuard<'a, Queue<H>> {
        queue.waiting += 1;
        let mut queue = match at_most {
            Some(at_most) => {
                let waited = self.room.wait_timeout(queue, at_most);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.room.wait(queue);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        queue.waiting -= 1;
        queue
    }

    fn wake(&self) {
        if self.is_closed() {
            // No loop would reset `woken`.
            return;
        }
        if self.woken.swap(AWAKE, Ordering::SeqCst) == AWAKE {
            self.wakes_saved.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.wakes_sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.wake.wake() {
            self.woken.store(NOT_WOKEN, Ordering::SeqCst);
            log::warn!(target: "peerloop", "waking a loop: {error}");
        }
    }
}

/// The sending end of a command queue. A clone does not keep the loop alive.
pub(crate) struct CommandSender<H> {
    shared: Arc<QueueState<H>>,
}

impl<H> Clone for CommandSender<H> {
    fn clone(&self) -> Self {
        let shared = Arc::clone(&self.shared);
        Self { shared }
    }
}

impl<H> fmt::Debug for CommandSender<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSender")
            .field("waiting", &self.shared.lock().commands.len())
            .finish_non_exhaustive()
    }
}

impl<H> CommandSender<H> {
    /// Returns the number of the loops that must not wait for each other.
    pub(crate) fn loops(&self) -> u64 {
        self.shared.loops
    }

    /// Returns options with the node's settings.
    pub(crate) fn listen_options(&self) -> ListenOptions {
        ListenOptions::new(Arc::clone(&self.shared.connection))
    }

    /// Returns options with the node's settings.
    pub(crate) fn connect_options(&self) -> ConnectOptions {
        let connection = Arc::clone(&self.shared.connection);
        ConnectOptions::new(connection, self.shared.allow_duplicates)
    }

    /// Requests a shutdown. The shortest grace applies.
    pub(crate) fn shutdown(&self, grace: Duration) {
        // Rounded up, so that a short grace is not zero.
        let millis = u64::try_from(grace.as_nanos().div_ceil(1_000_000))
            .unwrap_or(NO_SHUTDOWN - 1)
            .min(NO_SHUTDOWN - 1);
        self.shared.shutdown.fetch_min(millis, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Returns whether the loop has stopped or was dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Queues a call and wakes the loop.
    pub(crate) fn post(&self, call: Call<H>) -> Result<(), SendError> {
        self.push(call, 0, Command::Call)
            .map_err(|refused| refused.error)
    }

    /// Queues a command that is made of `content`, and wakes the loop.
    fn push<C>(
        &self,
        content: C,
        cost: usize,
        command: impl FnOnce(C) -> Command<H>,
    ) -> Result<(), RefusedCommand<C>> {
        let mut queue = self.shared.lock();
        let error = if self.shared.is_closed() {
            SendError::Closed
        } else if !queue.has_room(cost) {
            SendError::Full
        } else {
            queue.push(command(content), cost);
            drop(queue);
            self.shared.wake();
            return Ok(());
        };
        Err(RefusedCommand {
            error,
            command: content,
        })
    }

    /// Queues a call, and waits for room until `deadline`, or without limit if
    /// it is `None`. [`SendError::Full`] means that there was no room until
    /// then.
    pub(crate) fn push_until(
        &self,
        call: Call<H>,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        let mut queue = self.shared.lock();
        loop {
            if self.shared.is_closed() {
                return Err(SendError::Closed);
            }
            if queue.has_room(0) {
                break;
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(SendError::Full);
            }
            queue = self.shared.wait_for_room(queue, left);
        }
        queue.push(Command::Call(call), 0);
        drop(queue);
        self.shared.wake();
        Ok(())
    }
}

impl<H> Mailbox for CommandSender<H> {
    fn pass(&self, command: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>> {
        let cost = command.cost();
        self.push(command, cost, Command::ShardCommand)
    }

    fn signal(&self, signal: ShardSignal) {
        self.shared.signals.fetch_or(signal as u8, Ordering::SeqCst);
        self.shared.wake();
    }

    fn shut_down(&self, grace: Duration) {
        self.shutdown(grace);
    }
}
