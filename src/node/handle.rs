//! Reaching a node from other threads.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Receiver;

use crate::command_queue::{Command, CommandSender, is_in_turn};
use crate::cross_shard::{Mailbox, ShardCommand};
use crate::error::SendError;
use crate::id::ConnId;
use crate::net::Net;

/// Reaches a node from any thread. Clone it as often as you like; it does not keep the node alive.
///
/// What is asked is carried out by the loop, in the order in which one thread asked it, when the loop comes round. The
/// queue is bounded: full is an error, never a wait. Nothing is carried out while nobody runs the node.
///
/// ```
/// use std::thread;
/// use std::time::Duration;
/// use peerloop::{Config, ConnId, Handler, Net, Node};
///
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl Handler for Counter {
///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
///         self.0 += 1;
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let mut node = Node::new(Config::default(), Counter::default())?;
/// let handle = node.handle();
/// let looping = thread::spawn(move || node.run());
///
/// let addr = handle.ask(|_, net| net.listen("127.0.0.1:0"))??;
/// let seen = handle.ask(|counter, _| counter.0)?;
/// println!("{addr} has seen {seen} messages");
///
/// handle.shutdown(Duration::from_secs(1));
/// looping.join().expect("the loop does not panic")
/// # }
/// ```
pub struct Handle<H> {
    commands: CommandSender<H>,
}

impl<H> Clone for Handle<H> {
    fn clone(&self) -> Self {
        Self::new(self.commands.clone())
    }
}

impl<H> fmt::Debug for Handle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("commands", &self.commands)
            .finish_non_exhaustive()
    }
}

impl<H> Handle<H> {
    pub(crate) fn new(commands: CommandSender<H>) -> Self {
        Self { commands }
    }

    /// Has the loop send one message, as by [`Net::send_bytes`].
    ///
    /// `Ok` means that the loop will try. If the connection does not take the message then, it is counted in
    /// [`Metrics::commands_lost`](crate::Metrics::commands_lost); to hear of it, [`Handle::ask`] for the send.
    ///
    /// # Errors
    ///
    /// - [`SendError::Full`]: the command queue is full, or would hold more than
    ///   [`Config::command_queue_bytes`](crate::Config::command_queue_bytes);
    /// - [`SendError::Closed`]: the node is gone.
    pub fn send(&self, conn: ConnId, body: Bytes) -> Result<(), SendError> {
        self.commands
            .pass(ShardCommand::Send(conn, body))
            .map_err(|refused| refused.error)
    }

    /// Has the loop call a function with the handler and the net, and does not wait for it.
    ///
    /// # Errors
    ///
    /// - `WouldBlock`: the command queue is full;
    /// - `BrokenPipe`: the node is gone.
    pub fn post(&self, call: impl FnOnce(&mut H, &mut Net) + Send + 'static) -> io::Result<()> {
        self.commands
            .push(Command::Call(Box::new(call)))
            .map_err(|refused| match refused.error {
                SendError::Full => {
                    io::Error::new(io::ErrorKind::WouldBlock, "the command queue is full")
                }
                _ => io::Error::new(io::ErrorKind::BrokenPipe, "the node is gone"),
            })
    }

    /// Has the loop call a function with the handler and the net, and waits for the answer: for as long as it takes
    /// until somebody runs the node, and no longer than the node lives.
    ///
    /// # Errors
    ///
    /// Those of [`Handle::post`], and
    /// - `BrokenPipe` when the node goes away before it comes to the call, or the call panics;
    /// - `Deadlock` from inside one of this node's own callbacks, which has `&mut Net` at hand, or from a callback of a
    ///   node whose turn runs inside one. All [`Shards`](crate::Shards) of a node are that node.
    ///
    /// Only that is found out. Two threads whose loops ask each other from their callbacks wait for each other without
    /// end; [`Handle::post`] does not wait.
    pub fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<R> {
        self.check_outside()?;
        self.begin_ask(call)?.wait()
    }

    /// Asks, and does not wait yet.
    pub(crate) fn begin_ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<Answer<R>> {
        let (answer, receive) = crossbeam_channel::bounded(1);
        self.post(move |handler, net| {
            // Nobody waits any more only if the asking thread has died.
            let _ = answer.send(call(handler, net));
        })?;
        Ok(Answer(receive))
    }

    /// Ends the node, as by [`Net::shutdown`]. Never refused, and safe to repeat: the shortest grace counts. When the
    /// node is gone, nothing happens.
    pub fn shutdown(&self, grace: Duration) {
        self.commands.shutdown(grace);
    }

    /// # Errors
    ///
    /// - `Deadlock` in a turn of this node.
    pub(crate) fn check_outside(&self) -> io::Result<()> {
        if is_in_turn(self.commands.node()) {
            return Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "asked from inside the loop",
            ));
        }
        Ok(())
    }
}

/// An answer to be waited for.
pub(crate) struct Answer<R>(Receiver<R>);

impl<R> Answer<R> {
    pub(crate) fn wait(self) -> io::Result<R> {
        let slots_to_free = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the node is gone");
        self.0.recv().map_err(slots_to_free)
    }
}
