//! Methods that may wait for several turns of a loop.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::answer::{Unanswered, question};
use crate::cross_shard::{Mailbox, ShardSignal};
use crate::error::{ConnectError, SendError};
use crate::id::ConnId;
use crate::net::{Connected, Net};
use crate::node::Handle;
use crate::node::turn::stopped;

impl<H> Handle<H> {
    /// Connects to a host, and waits until [`Handler::on_connect`] has been
    /// called for the connection. Returns its id.
    ///
    /// - A name is resolved on the calling thread. `timeout` cannot interrupt
    ///   this.
    /// - The addresses of the host are tried one after another. Each gets an
    ///   equal share of the remaining time.
    /// - An attempt ends after its share of `timeout` or after
    ///   [`Timeouts::connect`](crate::config::Timeouts::connect), whichever is
    ///   shorter.
    /// - The options of the node are used. For other options, call
    ///   [`Net::connect_with`] in [`Handle::ask`].
    ///
    /// On a plain connection, `Ok` does not mean that the peer has admitted it.
    /// A node that refuses a connection closes it after the kernel has accepted
    /// it. Messages of the peer go to the [`Handler`](crate::Handler), which
    /// can pass them to this thread, for example with a channel.
    ///
    /// [`Handler::on_connect`]: crate::Handler::on_connect
    ///
    /// # Errors
    ///
    /// The error of the last address that was tried:
    /// - the errors of [`Net::connect`] and of
    ///   [`Handler::on_connect_failed`](crate::Handler::on_connect_failed);
    /// - [`ConnectError::Cancelled`] if `on_connect` aborted the connection,
    ///   and [`ConnectError::HandlerPanicked`] if it panicked. If `on_connect`
    ///   closed the connection, its id is returned;
    /// - [`ConnectError::Unresolved`] if the name could not be resolved or has
    ///   no address;
    /// - [`ConnectError::TimedOut`] if the time has passed. An attempt that had
    ///   not begun by then never begins. An attempt that had begun is aborted;
    /// - [`ConnectError::NodeStopped`] if the node has stopped or was dropped;
    /// - [`ConnectError::WouldDeadlock`] if this is called inside a callback;
    ///   see [`Handle`](Handle#what-may-be-called-where).
    ///
    /// # Examples
    ///
    /// A handler that passes received messages to the waiting thread:
    ///
    /// ```no_run
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use peerloop::{Config, ConnId, Handler, Net, Node};
    ///
    /// struct Replies(mpsc::Sender<Vec<u8>>);
    ///
    /// impl Handler for Replies {
    ///     fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
    ///         let _ = self.0.send(message.to_vec());
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (sender, replies) = mpsc::channel();
    /// let node = Node::new(Config::default(), Replies(sender))?.spawn()?;
    /// let timeout = Duration::from_secs(5);
    /// let conn = node.handle().connect_wait("peer.example.org:7000", timeout)?;
    /// node.handle().send(conn, "hello")?;
    /// println!("{} bytes", replies.recv_timeout(timeout)?.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_wait(
        &self,
        addr: impl ToSocketAddrs,
        timeout: Duration,
    ) -> Result<ConnId, ConnectError> {
        if self.check_may_wait().is_err() {
            return Err(ConnectError::WouldDeadlock);
        }
        let deadline = deadline(timeout);
        let addrs: Vec<SocketAddr> = match addr.to_socket_addrs() {
            Ok(addrs) => addrs.collect(),
            Err(error) => {
                log::debug!(target: "peerloop", "resolving a name: {error}");
                return Err(ConnectError::Unresolved);
            }
        };
        let mut outcome = Err(ConnectError::Unresolved);
        for (index, addr) in addrs.iter().enumerate() {
            outcome = self.attempt(*addr, share(deadline, addrs.len() - index));
            let is_over = matches!(
                outcome,
                Ok(_) | Err(ConnectError::NodeStopped | ConnectError::ShuttingDown)
            );
            if is_over {
                break;
            }
        }
        outcome
    }

    /// Connects to one address, and waits for the outcome.
    fn attempt(&self, addr: SocketAddr, deadline: Option<Instant>) -> Connected {
        let (question, answer) = question::<Connected>();
        let call = move |_: &mut H, net: &mut Net| {
            if !question.begin() {
                return;
            }
            match net.connect(addr) {
                Ok(conn) => net.await_connect(conn, question),
                Err(error) => {
                    // If the thread no longer waits, no attempt was started for
                    // it.
                    let _ = question.answer(Err(error));
                }
            }
        };
        let pushed = self.commands.push_until(Box::new(call), deadline);
        pushed.map_err(|error| match error {
            SendError::Full => ConnectError::TimedOut,
            _ => ConnectError::NodeStopped,
        })?;
        match answer.wait(deadline) {
            Ok(outcome) => outcome,
            // The call has panicked, because the queue is open.
            Err(Unanswered::Dropped) if !self.commands.is_closed() => {
                Err(ConnectError::HandlerPanicked)
            }
            Err(Unanswered::Dropped) => Err(ConnectError::NodeStopped),
            Err(Unanswered::NotBegun) => Err(ConnectError::TimedOut),
            Err(Unanswered::NotFinished) => {
                // The loop aborts the attempt.
                self.commands.signal(ShardSignal::Abandoned);
                Err(ConnectError::TimedOut)
            }
        }
    }

    /// Sends one message on a connection, and waits up to `timeout` until it is
    /// queued. While the queue of the connection is full, the call waits for
    /// room.
    ///
    /// `Ok` means that the message is queued, as with [`Net::send`]. Threads
    /// that wait for the same connection are served in the order of their
    /// calls. [`Handler::on_drain`](crate::Handler::on_drain) is called after
    /// them. A full queue does not end the connection here, even with
    /// [`OnFull::Disconnect`](crate::config::OnFull::Disconnect).
    ///
    /// # Errors
    ///
    /// - `NotConnected` if [`Net::send`] returns [`SendError::Closed`], and
    ///   `InvalidInput` if it returns another error than `Full`, with the
    ///   [`SendError`] inside;
    /// - `WouldBlock` if the connection belongs to another shard whose command
    ///   queue is full. Use
    ///   [`ShardsHandle::send_wait`](crate::shards::ShardsHandle::send_wait)
    ///   for such connections;
    /// - `TimedOut` if there was no room in time. The message is not sent
    ///   later;
    /// - `BrokenPipe` if the node has stopped or was dropped;
    /// - `Deadlock` if this is called inside a callback; see
    ///   [`Handle`](Handle#what-may-be-called-where).
    pub fn send_wait(
        &self,
        conn: ConnId,
        body: impl Into<Bytes>,
        timeout: Duration,
    ) -> io::Result<()> {
        self.check_may_wait()?;
        let (body, deadline) = (body.into(), deadline(timeout));
        let (question, answer) = question();
        let call = move |_: &mut H, net: &mut Net| net.send_or_wait(conn, body, question);
        let pushed = self.commands.push_until(Box::new(call), deadline);
        pushed.map_err(|error| match error {
            SendError::Full => not_queued(),
            error => refusal(error),
        })?;
        match answer.wait(deadline) {
            Ok(sent) => Ok(sent?),
            Err(Unanswered::Dropped) => Err(self.no_answer(Unanswered::Dropped)),
            Err(_) => {
                // The loop drops the message.
                self.commands.signal(ShardSignal::Abandoned);
                Err(not_queued())
            }
        }
    }

    /// Returns the error of a question that was not answered.
    pub(super) fn no_answer(&self, unanswered: Unanswered) -> io::Error {
        match unanswered {
            Unanswered::Dropped if self.commands.is_closed() => stopped(),
            Unanswered::Dropped => io::Error::other("the call panicked"),
            Unanswered::NotBegun | Unanswered::NotFinished => {
                io::Error::new(io::ErrorKind::TimedOut, "the loop did not answer in time")
            }
        }
    }
}

fn not_queued() -> io::Error {
    let text = "the message was not queued in time";
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Maximum time that a method without a timeout waits for the loop.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the deadline of several answers that are waited for together.
pub(super) fn answers_deadline() -> Option<Instant> {
    deadline(ANSWER_TIMEOUT)
}

/// Returns the end of a timeout, or `None` if it is beyond the range of the
/// clock.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

/// Returns the deadline of the next of `count` attempts that share the
/// remaining time.
pub(super) fn share(deadline: Option<Instant>, count: usize) -> Option<Instant> {
    let now = Instant::now();
    let left = deadline?.saturating_duration_since(now);
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    Some(now + left / count)
}

pub(super) fn refusal(error: SendError) -> io::Error {
    match error {
        SendError::Full => io::Error::new(io::ErrorKind::WouldBlock, "the command queue is full"),
        _ => stopped(),
    }
}

pub(super) fn refuse_deadlock(is_deadlock: bool) -> io::Result<()> {
    if is_deadlock {
        let text = "waiting for a loop inside a callback would be a deadlock";
        return Err(io::Error::new(io::ErrorKind::Deadlock, text));
    }
    Ok(())
}
