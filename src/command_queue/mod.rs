//! Commands from other threads to a loop.
//!
//! A [`CommandSender`] is what handles and the other shards hold, an [`Inbox`] what
//! the loop holds. The queue is bounded in commands and in bytes: full is an error
//! and never a wait.

mod inbox;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

pub(crate) use self::inbox::{Inbox, enter, is_in_turn, number};
use crate::cross_shard::{Mailbox, RefusedCommand, ShardCommand, ShardSignal};
use crate::error::SendError;
use crate::net::Net;
use crate::sys::Wake;

/// What another thread asks of a node. The queue holds [`Config::command_queue`](crate::Config::command_queue) of them.
pub(crate) enum Command<H> {
    ShardCommand(ShardCommand),
    Call(Call<H>),
}

impl<H> Command<H> {
    /// How much of the queue's bytes it takes.
    fn cost(&self) -> usize {
        match self {
            Self::ShardCommand(order) => order.cost(),
            Self::Call(_) => 0,
        }
    }
}

/// A function for the loop to call.
type Call<H> = Box<dyn FnOnce(&mut H, &mut Net) + Send>;

/// What handles and the loop share beside the queue.
#[derive(Debug)]
struct QueueState {
    wake: Wake,
    /// Which node it is; all of its shards have the same number.
    node: u64,
    /// The node has stopped or was dropped: nothing that is in the queue will be carried out.
    closed: AtomicBool,
    /// A wake is under way, so that a thousand commands cost one system call.
    woken: AtomicBool,
    /// The [`ShardSignal`] since the last look, each a bit.
    news: AtomicU8,
    /// Bytes of messages in the queue.
    bytes: AtomicUsize,
    bytes_max: usize,
    wakes_sent: AtomicU64,
    wakes_saved: AtomicU64,
    /// The shortest grace asked for, in milliseconds; `u64::MAX` while nobody asked. Apart from the queue, so that a
    /// full queue cannot keep a node from ending.
    shutdown: AtomicU64,
}

const NO_SHUTDOWN: u64 = u64::MAX;

impl QueueState {
    fn wake(&self) {
        if self.woken.swap(true, Ordering::SeqCst) {
            self.wakes_saved.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.wakes_sent.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.wake.wake() {
            // Nobody will come; the next command has to try again.
            self.woken.store(false, Ordering::SeqCst);
            log::warn!(target: "peerloop", "waking a loop: {error}");
        }
    }

    /// Counts a message in, unless the queue holds too many bytes. An empty queue takes any.
    fn reserve(&self, bytes: usize) -> Result<(), SendError> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if bytes > 0 && before > 0 && before.saturating_add(bytes) > self.bytes_max {
            self.release_bytes(bytes);
            return Err(SendError::Full);
        }
        Ok(())
    }

    fn release_bytes(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The sending end of a command queue. A clone does not keep the loop alive.
pub(crate) struct CommandSender<H> {
    commands: Sender<Command<H>>,
    /// The receiving end. A bounded crossbeam channel keeps its content when its
    /// receiver is dropped, and with it the answers that a caller waits for; a
    /// command that comes too late clears it with this.
    leftovers: Receiver<Command<H>>,
    shared: Arc<QueueState>,
}

impl<H> Clone for CommandSender<H> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            leftovers: self.leftovers.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<H> fmt::Debug for CommandSender<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandSender")
            .field("waiting", &self.commands.len())
            .finish_non_exhaustive()
    }
}

impl<H> CommandSender<H> {
    /// The number of the node that the queue belongs to.
    pub(crate) fn node(&self) -> u64 {
        self.shared.node
    }

    /// Asks for a shutdown. The shortest grace counts.
    pub(crate) fn shutdown(&self, grace: Duration) {
        let millis = u64::try_from(grace.as_millis())
            .unwrap_or(NO_SHUTDOWN - 1)
            .min(NO_SHUTDOWN - 1);
        self.shared.shutdown.fetch_min(millis, Ordering::SeqCst);
        self.shared.wake();
    }

    /// Queues a command and wakes the loop.
    pub(crate) fn push(&self, command: Command<H>) -> Result<(), RefusedCommand<Command<H>>> {
        let refused = |error, command| RefusedCommand { error, command };
        // What was in the queue of a node that is gone still counts there, and would be said to fill it for ever.
        if self.shared.closed.load(Ordering::SeqCst) {
            return Err(refused(SendError::Closed, Some(command)));
        }
        let cost = command.cost();
        if let Err(error) = self.shared.reserve(cost) {
            return Err(refused(error, Some(command)));
        }
        self.commands.try_send(command).map_err(|error| {
            self.shared.release_bytes(cost);
            match error {
                TrySendError::Full(command) => refused(SendError::Full, Some(command)),
                TrySendError::Disconnected(command) => refused(SendError::Closed, Some(command)),
            }
        })?;
        if self.shared.closed.load(Ordering::SeqCst) {
            // The node went in between, and may have cleared the queue before the command was in it.
            self.leftovers.try_iter().for_each(drop);
            return Err(refused(SendError::Closed, None));
        }
        self.shared.wake();
        Ok(())
    }
}

impl<H> Mailbox for CommandSender<H> {
    fn pass(&self, order: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>> {
        self.push(Command::ShardCommand(order))
            .map_err(|refused| RefusedCommand {
                error: refused.error,
                command: match refused.command {
                    Some(Command::ShardCommand(order)) => Some(order),
                    Some(Command::Call(_)) | None => None,
                },
            })
    }

    fn tell(&self, news: ShardSignal) {
        self.shared.news.fetch_or(news as u8, Ordering::SeqCst);
        self.shared.wake();
    }

    fn shut_down(&self, grace: Duration) {
        self.shutdown(grace);
    }
}
