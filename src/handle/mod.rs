//! Floor 6: reaching a node from other threads.

mod inbox;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};

pub(crate) use self::inbox::{Inbox, enter, number};
use crate::error::SendError;
use crate::id::ConnId;
use crate::net::Net;
use crate::network::Wake;
use crate::siblings::{Door, News, Order, Refused};

/// What another thread asks of a node. The queue holds [`Config::command_queue`](crate::Config::command_queue) of them.
pub(crate) enum Command<H> {
    Order(Order),
    Call(Call<H>),
}

impl<H> Command<H> {
    /// How much of the queue's bytes it takes.
    fn cost(&self) -> usize {
        match self {
            Self::Order(order) => order.cost(),
            Self::Call(_) => 0,
        }
    }
}

/// A function for the loop to call.
type Call<H> = Box<dyn FnOnce(&mut H, &mut Net) + Send>;

/// What handles and the loop share beside the queue.
#[derive(Debug)]
struct Shared {
    wake: Wake,
    /// Which node it is; all of its shards have the same number.
    node: u64,
    /// The node has stopped or was dropped: nothing that is in the queue will be carried out.
    gone: AtomicBool,
    /// A wake is under way, so that a thousand commands cost one system call.
    woken: AtomicBool,
    /// The [`News`] since the last look, each a bit.
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

impl Shared {
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
            self.release(bytes);
            return Err(SendError::Full);
        }
        Ok(())
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

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
    commands: Sender<Command<H>>,
    /// The loop's end of the queue. A bounded crossbeam channel keeps what is in it when its receiver is dropped, and
    /// with it the answers that somebody waits for; whoever comes too late clears it out with this.
    leftovers: Receiver<Command<H>>,
    shared: Arc<Shared>,
}

impl<H> Clone for Handle<H> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            leftovers: self.leftovers.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<H> fmt::Debug for Handle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("waiting", &self.commands.len())
            .finish_non_exhaustive()
    }
}

impl<H> Handle<H> {
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
        self.pass(Order::Send(conn, body))
            .map_err(|refused| refused.error)
    }

    /// Has the loop call a function with the handler and the net, and does not wait for it.
    ///
    /// # Errors
    ///
    /// - `WouldBlock`: the command queue is full;
    /// - `BrokenPipe`: the node is gone.
    pub fn post(&self, call: impl FnOnce(&mut H, &mut Net) + Send + 'static) -> io::Result<()> {
        self.push(Command::Call(Box::new(call)))
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
        let millis = u64::try_from(grace.as_millis())
            .unwrap_or(NO_SHUTDOWN - 1)
            .min(NO_SHUTDOWN - 1);
        self.shared.shutdown.fetch_min(millis, Ordering::SeqCst);
        self.shared.wake();
    }

    /// # Errors
    ///
    /// - `Deadlock` in a turn of this node.
    pub(crate) fn check_outside(&self) -> io::Result<()> {
        if inbox::is_in_turn(self.shared.node) {
            return Err(io::Error::new(
                io::ErrorKind::Deadlock,
                "asked from inside the loop",
            ));
        }
        Ok(())
    }

    fn push(&self, command: Command<H>) -> Result<(), Refused<Command<H>>> {
        let refused = |error, command| Refused { error, command };
        // What was in the queue of a node that is gone still counts there, and would be said to fill it for ever.
        if self.shared.gone.load(Ordering::SeqCst) {
            return Err(refused(SendError::Closed, Some(command)));
        }
        let cost = command.cost();
        if let Err(error) = self.shared.reserve(cost) {
            return Err(refused(error, Some(command)));
        }
        self.commands.try_send(command).map_err(|error| {
            self.shared.release(cost);
            match error {
                TrySendError::Full(command) => refused(SendError::Full, Some(command)),
                TrySendError::Disconnected(command) => refused(SendError::Closed, Some(command)),
            }
        })?;
        if self.shared.gone.load(Ordering::SeqCst) {
            // The node went in between, and may have cleared the queue before the command was in it.
            self.leftovers.try_iter().for_each(drop);
            return Err(refused(SendError::Closed, None));
        }
        self.shared.wake();
        Ok(())
    }
}

/// An answer to be waited for.
pub(crate) struct Answer<R>(Receiver<R>);

impl<R> Answer<R> {
    pub(crate) fn wait(self) -> io::Result<R> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the node is gone");
        self.0.recv().map_err(gone)
    }
}

impl<H> Door for Handle<H> {
    fn pass(&self, order: Order) -> Result<(), Refused<Order>> {
        self.push(Command::Order(order)).map_err(|refused| Refused {
            error: refused.error,
            command: match refused.command {
                Some(Command::Order(order)) => Some(order),
                Some(Command::Call(_)) | None => None,
            },
        })
    }

    fn tell(&self, news: News) {
        self.shared.news.fetch_or(news as u8, Ordering::SeqCst);
        self.shared.wake();
    }

    fn shut_down(&self, grace: Duration) {
        self.shutdown(grace);
    }
}
