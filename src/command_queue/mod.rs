//! Commands from other threads to a loop.
//!
//! Handles and the other shards have a [`CommandSender`], and the loop has an
//! [`Inbox`]. The queue is bounded in commands and in bytes. A full queue is an
//! error and never a wait, except in [`CommandSender::push_until`].

mod inbox;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError};

pub(crate) use self::inbox::{Inbox, Scope, enter, must_not_wait_for, number};
use crate::config::{ConnectOptions, ConnectionConfig, ListenOptions};
use crate::cross_shard::{Mailbox, RefusedCommand, ShardCommand, ShardSignal};
use crate::error::SendError;
use crate::net::Net;
use crate::panics::drop_contained;
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

/// The state that handles and the loop share in addition to the queue.
#[derive(Debug)]
struct QueueState {
    wake: Wake,
    /// The settings for the options that handles create.
    connection: Arc<ConnectionConfig>,
    allow_duplicates: bool,
    /// The number of the loops that wait for each other. The shards of a node
    /// have the same number, and so do the members of a group.
    loops: u64,
    /// The node has stopped or was dropped. The commands in the queue are not
    /// run.
    closed: AtomicBool,
    /// [`AWAKE`] if the loop is being woken, so that further commands need no
    /// system call.
    woken: AtomicU8,
    /// The signals since they were last taken. Each [`ShardSignal`] is one bit.
    signals: AtomicU8,
    /// Number of bytes of messages in the queue.
    bytes: AtomicUsize,
    bytes_max: usize,
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

impl QueueState {
    fn wake(&self) {
        if self.closed.load(Ordering::SeqCst) {
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

    /// Counts the bytes of a message, unless the queue would hold too many. A
    /// queue without bytes accepts any number.
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
    /// The receiving end. A bounded crossbeam channel keeps its content when
    /// its receiver is dropped, and with it the questions of waiting threads. A
    /// sender that is too late clears the queue with this receiver.
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
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// Queues a command and wakes the loop.
    pub(crate) fn push(&self, command: Command<H>) -> Result<(), RefusedCommand<Command<H>>> {
        let refused = |error, command| RefusedCommand { error, command };
        // The bytes of commands that were in the queue of a stopped node are
        // still counted, so the queue could seem to be full.
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
        self.pushed().map_err(|error| refused(error, None))
    }

    /// Queues a call, and waits for room until `deadline`, or without limit if
    /// it is `None`. [`SendError::Full`] means that there was no room until
    /// then.
    pub(crate) fn push_until(
        &self,
        call: Call<H>,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        if self.shared.closed.load(Ordering::SeqCst) {
            return Err(SendError::Closed);
        }
        let command = Command::Call(call);
        let sent = match deadline {
            Some(deadline) => self.commands.send_deadline(command, deadline),
            None => (self.commands.send(command))
                .map_err(|error| SendTimeoutError::Disconnected(error.into_inner())),
        };
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => SendError::Full,
            SendTimeoutError::Disconnected(_) => SendError::Closed,
        })?;
        self.pushed()
    }

    /// Wakes the loop for a command that is in the queue.
    fn pushed(&self) -> Result<(), SendError> {
        if self.shared.closed.load(Ordering::SeqCst) {
            // The node has stopped meanwhile, and may have cleared the queue
            // before the command was in it.
            self.leftovers.try_iter().for_each(drop_contained);
            return Err(SendError::Closed);
        }
        self.shared.wake();
        Ok(())
    }
}

impl<H> Mailbox for CommandSender<H> {
    fn pass(&self, command: ShardCommand) -> Result<(), RefusedCommand<ShardCommand>> {
        self.push(Command::ShardCommand(command))
            .map_err(|refused| RefusedCommand {
                error: refused.error,
                command: match refused.command {
                    Some(Command::ShardCommand(command)) => Some(command),
                    Some(Command::Call(_)) | None => None,
                },
            })
    }

    fn signal(&self, signal: ShardSignal) {
        self.shared.signals.fetch_or(signal as u8, Ordering::SeqCst);
        self.shared.wake();
    }

    fn shut_down(&self, grace: Duration) {
        self.shutdown(grace);
    }
}
