//! Access to a node from other threads.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;

use crate::answer::{Answer, question};
use crate::command_queue::{CommandSender, must_not_wait_for};
use crate::config::{ConnectOptions, ListenOptions};
use crate::cross_shard::{Mailbox, ShardCommand};
use crate::error::{ConnectError, SendError};
use crate::id::ConnId;
use crate::net::{ConnectAddr, Net};
use crate::node::wait::{ANSWER_TIMEOUT, deadline, refusal, refuse_deadlock};

/// Sends messages on the connections of a node, and runs functions in its loop,
/// from any thread.
///
/// A handle can be cloned, sent to other threads and stored in handlers. It
/// does not keep the node alive: when the node has stopped or was dropped,
/// calls fail. Each call adds a command to a queue, and the loop runs the
/// commands of one thread in the order of the calls, in one of its next turns.
/// The command queue is bounded; see
/// [`CommandQueueConfig`](crate::config::CommandQueueConfig).
///
/// # What may be called where
///
/// [`send`](Handle::send), [`post`](Handle::post) and
/// [`shutdown`](Handle::shutdown) never wait. They can be called everywhere,
/// including callbacks.
///
/// The methods that wait are [`ask`](Handle::ask),
/// [`ask_within`](Handle::ask_within), [`connect`](Handle::connect),
/// [`connect_wait`](Handle::connect_wait) and [`send_wait`](Handle::send_wait):
///
/// - Inside a callback of any node they return
///   [`ErrorKind::Deadlock`](io::ErrorKind::Deadlock) or
///   [`ConnectError::WouldDeadlock`] at once, because a loop that waits serves
///   no connection, and two loops could wait for each other. Use
///   [`post`](Handle::post) there.
/// - Inside [`Node::with`](crate::Node::with) or a condition of `run_until`
///   they return the same error if the target is that node, another shard of
///   it, or a member of the same [`Group`](crate::group::Group). Other nodes
///   can be waited for.
/// - If the command queue is full, `ask`, `ask_within` and `connect` return
///   [`ErrorKind::WouldBlock`](io::ErrorKind::WouldBlock) at once.
///   `connect_wait` and `send_wait` wait for room in it.
/// - Every wait for the loop ends. If the loop does not run, the error is
///   [`ErrorKind::TimedOut`](io::ErrorKind::TimedOut). If the node has stopped
///   or was dropped, it is
///   [`ErrorKind::BrokenPipe`](io::ErrorKind::BrokenPipe). From `connect_wait`
///   they are [`ConnectError::TimedOut`] and [`ConnectError::NodeStopped`].
///
/// ```
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
/// let node = Node::new(Config::default(), Counter::default())?.spawn()?;
/// let handle = node.handle();
///
/// let listening = handle.ask(|_, net| net.listen("127.0.0.1:0"))??;
/// let count = handle.ask(|counter, _| counter.0)?;
/// println!("{listening} has received {count} messages");
///
/// handle.shutdown(Duration::from_secs(1));
/// node.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Handle<H> {
    pub(super) commands: CommandSender<H>,
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

    /// Returns options for [`Net::listen_with`], with the node's settings.
    pub fn listen_options(&self) -> ListenOptions {
        self.commands.listen_options()
    }

    /// Returns options for [`Net::connect_with`], with the node's settings.
    pub fn connect_options(&self) -> ConnectOptions {
        self.commands.connect_options()
    }

    /// Sends one message on a connection, without waiting.
    ///
    /// `Ok` means that the loop will try to queue the message. A message that
    /// the connection refuses is counted in
    /// [`Metrics::commands_lost`](crate::Metrics::commands_lost). To get the
    /// result, use [`Handle::send_wait`], or send inside [`Handle::ask`].
    ///
    /// # Errors
    ///
    /// - [`SendError::Full`] if the command queue is full, or would exceed
    ///   [`CommandQueueConfig::max_bytes`](crate::config::CommandQueueConfig::max_bytes);
    /// - [`SendError::Closed`] if the node has stopped or was dropped.
    pub fn send(&self, conn: ConnId, body: impl Into<Bytes>) -> Result<(), SendError> {
        self.commands
            .pass(ShardCommand::Send(conn, body.into()))
            .map_err(|refused| refused.error)
    }

    /// Makes the loop call a function with the handler and the net, without
    /// waiting.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` if the command queue is full;
    /// - `BrokenPipe` if the node has stopped or was dropped.
    pub fn post(&self, call: impl FnOnce(&mut H, &mut Net) + Send + 'static) -> io::Result<()> {
        self.commands.post(Box::new(call)).map_err(refusal)
    }

    /// Makes the loop call a function with the handler and the net, and waits
    /// up to 10 s for its result; see [`Handle::ask_within`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::ask_within`].
    pub fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<R> {
        self.ask_within(ANSWER_TIMEOUT, call)
    }

    /// Makes the loop call a function with the handler and the net, and waits
    /// up to `timeout` for its result.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` if the command queue is full;
    /// - `BrokenPipe` if the node has stopped or was dropped;
    /// - `Other` if the function panicked and the panic was contained;
    /// - `Deadlock` if this is called inside a callback; see
    ///   [`Handle`](Handle#what-may-be-called-where);
    /// - `TimedOut` if there was no result in time. A function whose call had
    ///   not begun by then is never called. If it had begun, it runs to its
    ///   end, and its result is dropped.
    pub fn ask_within<R: Send + 'static>(
        &self,
        timeout: Duration,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<R> {
        self.check_may_wait()?;
        let deadline = deadline(timeout);
        let answer = self.begin_ask(call)?;
        answer
            .wait(deadline)
            .map_err(|unanswered| self.no_answer(unanswered))
    }

    /// Posts the call, and returns the answer to wait for.
    pub(crate) fn begin_ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<Answer<R>> {
        let (question, answer) = question();
        self.post(move |handler, net| {
            if question.begin() {
                // If the thread no longer waits meanwhile, the result is
                // dropped.
                let _ = question.answer(call(handler, net));
            }
        })?;
        Ok(answer)
    }

    /// Starts to connect to `addr`, and returns the id of the connection; see
    /// [`Net::connect`]. Waits up to 10 s for the loop, but not for the
    /// connection.
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::connect`], with the [`ConnectError`] inside;
    /// - the errors of [`Handle::ask_within`]. After `TimedOut`, an attempt
    ///   that had begun is aborted.
    pub fn connect(&self, addr: impl ConnectAddr) -> io::Result<ConnId> {
        self.connect_with(addr, self.connect_options())
    }

    /// Starts to connect with options; see [`Handle::connect`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::connect_with`] and of [`Handle::connect`].
    pub fn connect_with(
        &self,
        addr: impl ConnectAddr,
        options: ConnectOptions,
    ) -> io::Result<ConnId> {
        let addr = addr.to_socket_addr().ok_or(ConnectError::InvalidAddress)?;
        let begun = self.ask_or_undo(
            move |net| net.connect_with(addr, options),
            |net, unwanted| {
                if let Ok(conn) = unwanted {
                    net.abort(conn);
                }
            },
        )?;
        Ok(begun?)
    }

    /// Asks as [`Handle::ask`] does. If the thread stops waiting while the call
    /// runs, `undo` is called with the result.
    pub(super) fn ask_or_undo<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Net) -> R + Send + 'static,
        undo: impl FnOnce(&mut Net, R) + Send + 'static,
    ) -> io::Result<R> {
        self.check_may_wait()?;
        let (question, answer) = question();
        self.post(move |_, net| {
            if question.begin() {
                if let Err(unwanted) = question.answer(call(net)) {
                    undo(net, unwanted);
                }
            }
        })?;
        answer
            .wait(deadline(ANSWER_TIMEOUT))
            .map_err(|unanswered| self.no_answer(unanswered))
    }

    /// Shuts the node down, as [`Net::shutdown`] does, without waiting.
    ///
    /// It does not use the command queue, so a full queue does not refuse it. A
    /// further call can only make the end of the grace earlier. A no-op if the
    /// node has stopped.
    pub fn shutdown(&self, grace: Duration) {
        self.commands.shutdown(grace);
    }

    /// # Errors
    ///
    /// - `Deadlock` if this thread must not wait for the loop.
    pub(super) fn check_may_wait(&self) -> io::Result<()> {
        refuse_deadlock(must_not_wait_for(self.commands.loops()))
    }
}
