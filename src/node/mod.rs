//! The types that own or reach a node.

#[cfg(target_pointer_width = "64")]
#[cfg(test)]
mod copy_tests;
mod group;
mod handle;
mod inner;
mod running;
mod shards;
mod turn;
mod wait;

use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

#[cfg(target_pointer_width = "64")]
pub use self::group::{AnyMemberId, Group, MemberId};
pub use self::handle::Handle;
use self::inner::{NodeInner, give_name};
pub use self::running::RunningNode;
pub use self::shards::{Shards, ShardsHandle};
pub use self::turn::{RunEnd, Turn};
use self::turn::{STOPPED_PAUSE, stopped, time_left};
use crate::buffers::ReadBuffer;
use crate::command_queue::{self, Inbox};
use crate::config::{Config, ConnectOptions, ListenOptions};
use crate::cross_shard::ShardRouter;
use crate::handler::Handler;
use crate::id::WAKER_TOKEN;
use crate::net::Net;
use crate::sys::Poller;

/// A peer-to-peer node: a poll loop, its sockets, and the [`Handler`] that it
/// calls.
///
/// A node does nothing until it is run:
///
/// - [`Node::run`] runs it on the calling thread.
/// - [`Node::spawn`] runs it on a new thread.
/// - [`Node::turn`] runs one turn, for a program that has its own loop.
///
/// Dropping a node closes all its sockets at once, without callbacks. A
/// connection that has bytes left to send is reset, so that the peer does not
/// mistake the truncated stream for a complete one.
///
/// ```
/// use peerloop::{Config, ConnId, Handler, Net, Node};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
///         let _ = net.send(conn, message);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let mut node = Node::new(Config::default(), Echo)?;
/// let listening = node.net().listen("127.0.0.1:0")?;
/// println!("listening on {listening}");
/// # node.net().shutdown(std::time::Duration::ZERO);
/// node.run()
/// # }
/// ```
///
/// # In tests
///
/// By default a panic in a callback is contained: it ends the connection that
/// the callback was called for, and the node continues. A failed assertion is
/// such a panic, so it does not fail the test. Set
/// [`Config::on_panic`](crate::Config::on_panic) to
/// [`OnPanic::Unwind`](crate::config::OnPanic::Unwind) in tests, and
/// [join](RunningNode::join) every node that has a thread.
///
/// ```
/// use std::time::Duration;
/// use peerloop::config::OnPanic;
/// use peerloop::{Config, ConnId, Handler, Net, Node, RunEnd};
///
/// #[derive(Default)]
/// struct Checker(usize);
///
/// impl Handler for Checker {
///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
///         net.send(conn, b"hello").expect("a new connection has room");
///     }
///
///     fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
///         assert_eq!(message, b"hello");
///         self.0 += 1;
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
/// let mut other = Node::new(config.clone(), Checker::default())?;
/// let addr = other.net().listen("127.0.0.1:0")?.addr;
/// let other = other.spawn()?;
///
/// let mut node = Node::new(config, Checker::default())?;
/// node.net().connect(addr)?;
/// let end = node.run_until(Duration::from_secs(10), |checker, _| checker.0 == 1)?;
/// assert_eq!(end, RunEnd::Done);
///
/// // `join` resumes a panic of the other thread. Without it, the panic is only
/// // logged.
/// other.shutdown(Duration::ZERO);
/// other.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Node<H> {
    // The fields are dropped in this order, because sockets must be dropped
    // before the poller that they are registered with.
    inner: NodeInner<H>,
    buffer: ReadBuffer,
    poller: Poller,
    /// `Turn::Stopped` has been returned.
    stop_reported: bool,
}

impl<H: Handler> Node<H> {
    /// Creates a node. Opens no network socket and starts no thread.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with a [`ConfigError`](crate::error::ConfigError)
    ///   inside if a setting is invalid;
    /// - the error of the operating system if the poller and its waker cannot
    ///   be created. They take three file descriptors.
    pub fn new(config: Config, handler: H) -> io::Result<Self> {
        let poller = Poller::new(config.busy_poll)?;
        Self::with_poller(config, handler, poller)
    }

    /// Creates a node in the world that the poller belongs to.
    pub(crate) fn with_poller(mut config: Config, handler: H, poller: Poller) -> io::Result<Self> {
        config.validate()?;
        give_name(&mut config);
        let wake = poller.registrar().waker(WAKER_TOKEN)?;
        let inbox = Inbox::new(command_queue::number(), wake, &config);
        Ok(Self::from_parts(config, handler, poller, inbox, None))
    }

    /// Creates a node, or one of several shards. The settings are valid and
    /// have a name.
    pub(crate) fn from_parts(
        config: Config,
        handler: H,
        poller: Poller,
        inbox: Inbox<H>,
        router: Option<ShardRouter>,
    ) -> Self {
        let buffer = ReadBuffer::new(config.read_buffer_bytes);
        let registrar = poller.registrar();
        Self {
            inner: NodeInner::new(config, handler, registrar, inbox, router),
            buffer,
            poller,
            stop_reported: false,
        }
    }

    /// Returns the net for use between turns, for example to listen and to
    /// connect before the node is run.
    pub fn net(&mut self) -> &mut Net {
        self.inner.net(self.poller.now())
    }

    /// Returns options for [`Net::listen_with`], with the node's settings.
    pub fn listen_options(&self) -> ListenOptions {
        self.inner.peek().listen_options()
    }

    /// Returns options for [`Net::connect_with`], with the node's settings.
    pub fn connect_options(&self) -> ConnectOptions {
        self.inner.peek().connect_options()
    }

    /// Returns the handler.
    pub fn handler(&self) -> &H {
        &self.inner.handler
    }

    /// Returns the handler, mutably.
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.inner.handler
    }

    /// Calls a function with the handler and the net, between turns, and
    /// returns its result.
    ///
    /// ```
    /// # use peerloop::{Config, ConnId, Handler, Net, Node};
    /// # #[derive(Default)]
    /// # struct Chat { peers: Vec<ConnId> }
    /// # impl Handler for Chat {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    /// # fn main() -> std::io::Result<()> {
    /// # let mut node = Node::new(Config::default(), Chat::default())?;
    /// node.with(|chat, net| {
    ///     for conn in &chat.peers {
    ///         let _ = net.send(*conn, b"hello");
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn with<R>(&mut self, call: impl FnOnce(&mut H, &mut Net) -> R) -> R {
        self.inner.with(self.poller.now(), call)
    }

    /// Drops the node and returns its handler. No further callback is called.
    pub fn into_handler(self) -> H {
        self.inner.handler
    }

    /// Returns a handle for other threads.
    pub fn handle(&self) -> Handle<H> {
        self.inner.handle()
    }

    /// Runs the node until a [shutdown](Net::shutdown) is complete. If it is
    /// already complete, this returns at once.
    ///
    /// A panic in a callback ends the run only with
    /// [`OnPanic::Unwind`](crate::config::OnPanic::Unwind). This includes
    /// failed assertions; see [In tests](Node#in-tests).
    ///
    /// # Errors
    ///
    /// - The error of the operating system if waiting for events fails. Errors
    ///   of a connection or a listener are not returned here.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.stop_reported {
            let _ = self.turn(None)?;
        }
        Ok(())
    }

    /// Runs the node until a condition is true, or for about `bound`.
    ///
    /// The condition is called with the handler and the net before the first
    /// turn and after each turn. It may change both.
    ///
    /// - At least one turn is run, even with a bound of zero, unless the
    ///   condition is true before.
    /// - If the node has stopped, the condition is called once and no turn is
    ///   run.
    ///
    /// Set [`OnPanic::Unwind`](crate::config::OnPanic::Unwind) in tests,
    /// because a failed assertion in a callback is contained otherwise. [In
    /// tests](Node#in-tests) has an example.
    ///
    /// # Errors
    ///
    /// - The errors of [`Node::run`].
    pub fn run_until(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut(&mut H, &mut Net) -> bool,
    ) -> io::Result<RunEnd> {
        let end = self.poller.now().checked_add(bound);
        let mut left = time_left(end, self.poller.now()).or(Some(Duration::ZERO));
        loop {
            if self.with(&mut condition) {
                return Ok(RunEnd::Done);
            }
            if self.stop_reported {
                return Ok(RunEnd::Stopped);
            }
            let Some(timeout) = left else {
                return Ok(RunEnd::TimedOut);
            };
            let _ = self.turn(Some(timeout))?;
            left = time_left(end, self.poller.now());
        }
    }

    /// Runs the node for about `time`. Returns [`RunEnd::TimedOut`] after that
    /// time, or [`RunEnd::Stopped`] if a shutdown is complete earlier.
    ///
    /// # Errors
    ///
    /// - The errors of [`Node::run`].
    pub fn run_for(&mut self, time: Duration) -> io::Result<RunEnd> {
        self.run_until(time, |_, _| false)
    }

    /// Runs one turn: waits for an event, a command or a deadline, and then
    /// does the work that is due, within the budgets of the [`Config`].
    ///
    /// The wait takes up to `timeout`. `None` waits without limit, and zero
    /// does not wait. Call it again at once after [`Turn::MoreWork`]. After
    /// [`Turn::Waiting`], call it when the descriptor of [`Node::as_fd`] is
    /// readable or [`Node::timeout`] has passed, or call it with a timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use peerloop::{Config, ConnId, Handler, Net, Node, Turn};
    /// # struct Game;
    /// # impl Game {
    /// #     fn draw(&mut self) -> bool { false }
    /// # }
    /// # impl Handler for Game {
    /// #     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// # }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut node = Node::new(Config::default(), Game)?;
    /// while node.handler_mut().draw() {
    ///     // Runs the network between two frames. Work that is left after eight
    ///     // turns waits for the next frame, so that peers that send without
    ///     // pause do not stop the game.
    ///     for _ in 0..8 {
    ///         match node.turn(Some(Duration::ZERO))? {
    ///             Turn::MoreWork => {}
    ///             Turn::Waiting => break,
    ///             Turn::Stopped => return Ok(()),
    ///         }
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - `BrokenPipe` if the node has stopped, and `turn`, `run` or `run_until`
    ///   has reported it. The call first waits for `timeout`, up to 10 ms, so
    ///   that a loop that ignores the error does not use a whole core;
    /// - the errors of [`Node::run`].
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        if self.stop_reported {
            thread::sleep(timeout.unwrap_or(STOPPED_PAUSE).min(STOPPED_PAUSE));
            return Err(stopped());
        }
        if !self.inner.has_stopped() {
            self.take_turn(timeout)?;
        }
        Ok(if self.inner.has_stopped() {
            self.stop_reported = true;
            Turn::Stopped
        } else if self.has_work() {
            Turn::MoreWork
        } else {
            Turn::Waiting
        })
    }

    fn take_turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let (deadline, sockets) = (self.inner.next_deadline(), self.inner.sockets());
        self.poller
            .wait(timeout, deadline, sockets, |ready| self.inner.note(ready))?;
        self.inner.turn(&mut self.buffer, self.poller.now());
        Ok(())
    }

    /// Returns the time after which another loop must call [`Node::turn`]
    /// again, unless [`Node::as_fd`] becomes readable earlier.
    ///
    /// Returns zero if there is work at once, and `None` if there is no
    /// deadline or the node has stopped. The value changes with every turn and
    /// every call of [`Node::net`].
    pub fn timeout(&self) -> Option<Duration> {
        if self.inner.has_stopped() {
            return None;
        }
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let next = self.inner.next_deadline()?;
        Some(next.saturating_duration_since(self.poller.now()))
    }

    /// Returns the descriptor of the poller (Unix), for use in another poll
    /// loop.
    ///
    /// When it is readable, or when [`Node::timeout`] has passed, call
    /// [`Node::turn`] with a timeout of zero.
    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }

    fn has_work(&self) -> bool {
        self.inner.has_work() || self.poller.is_full()
    }
}

impl<H> fmt::Debug for Node<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
