//! How a program holds a node.

#[cfg(target_pointer_width = "64")]
mod group;
mod handle;
mod inner;
mod shards;

use std::fmt;
use std::io;
use std::time::Duration;

#[cfg(target_pointer_width = "64")]
pub use self::group::{Group, MemberId};
pub use self::handle::Handle;
use self::inner::NodeInner;
pub use self::shards::{Shards, ShardsHandle};
use crate::buffers::ReadBuffer;
use crate::command_queue::Inbox;
use crate::config::Config;
use crate::cross_shard::ShardRouter;
use crate::handler::Handler;
use crate::id::WAKER_TOKEN;
use crate::net::Net;
use crate::sys::{Poller, Registrar};

/// One peer-to-peer node: a poll loop, its sockets, and the [`Handler`] that says what to do with them.
///
/// A node does nothing by itself. Either it gets a thread and [`Node::run`], or a program that has a loop of its own
/// calls [`Node::turn`] from there. Dropping a node closes everything at once, without callbacks.
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
/// let addr = node.net().listen("127.0.0.1:0")?;
/// println!("listening on {addr}");
/// # node.net().shutdown(std::time::Duration::ZERO);
/// node.run()
/// # }
/// ```
pub struct Node<H> {
    // Dropped in this order: sockets before the poller that they are registered with.
    inner: NodeInner<H>,
    buffer: ReadBuffer,
    poller: Poller,
}

/// What there is to do after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[must_use = "a node that has stopped needs no more turns"]
pub enum Turn {
    /// Nothing, until an event, a deadline or a command comes.
    Waiting,
    /// More, at once: a budget ended the turn. Peers that send without pause can keep it so; a loop with other work to
    /// do bounds how many turns it takes in a row.
    Busy,
    /// Nothing, ever: the shutdown is complete. Every further turn says so at once; listening, dialling and commands
    /// are refused.
    Stopped,
}

impl<H: Handler> Node<H> {
    /// Makes a node. No socket is opened yet and no thread started.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with a [`ConfigError`](crate::ConfigError) inside when a setting cannot work;
    /// - what the system says when there is no descriptor left for the poller and its waker (it takes three).
    pub fn new(config: Config, handler: H) -> io::Result<Self> {
        let poller = Poller::new(config.busy_poll)?;
        Self::with_poller(config, handler, poller)
    }

    /// Makes a node in the world that the poller belongs to.
    pub(crate) fn with_poller(config: Config, handler: H, poller: Poller) -> io::Result<Self> {
        let read_buffer = config.read_buffer;
        let wake = |registrar: &Registrar| registrar.waker(WAKER_TOKEN);
        Ok(Self {
            inner: NodeInner::new(config, handler, poller.registrar(), wake)?,
            buffer: ReadBuffer::new(read_buffer),
            poller,
        })
    }

    /// Makes one of several shards, whose settings are valid.
    pub(crate) fn with_siblings(
        config: Config,
        handler: H,
        poller: Poller,
        inbox: Inbox<H>,
        router: ShardRouter,
    ) -> Self {
        let buffer = ReadBuffer::new(config.read_buffer);
        let registrar = poller.registrar();
        Self {
            inner: NodeInner::with_inbox(config, handler, registrar, inbox, Some(router)),
            buffer,
            poller,
        }
    }

    /// What the handler is given, for use between turns: to listen and dial before the loop runs, for instance.
    pub fn net(&mut self) -> &mut Net {
        self.inner.net(self.poller.now())
    }

    /// The handler.
    pub fn handler(&self) -> &H {
        &self.inner.handler
    }

    /// The handler, to be changed.
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.inner.handler
    }

    /// Closes everything at once, without callbacks, and gives the handler back.
    pub fn into_handler(self) -> H {
        self.inner.handler
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle<H> {
        self.inner.handle()
    }

    /// Runs until a [shutdown](Net::shutdown) is complete.
    ///
    /// # Errors
    ///
    /// Only what makes it impossible to wait for events at all. What happens to a connection or a listener is never
    /// an error here.
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? != Turn::Stopped {}
        Ok(())
    }

    /// Runs one turn: waits for an event, a command or a deadline, for at most `timeout` (`None`: without limit, zero:
    /// not at all), and does all there is to do then, within the budgets of the [`Config`].
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
    ///     // Sixty frames a second, and the network in between: what is left after eight turns waits for the next
    ///     // frame, so that peers who send without pause do not stop the game.
    ///     for _ in 0..8 {
    ///         match node.turn(Some(Duration::ZERO))? {
    ///             Turn::Busy => {}
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
    /// As [`Node::run`].
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Turn> {
        if self.inner.has_stopped() {
            return Ok(Turn::Stopped);
        }
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        let (deadline, sockets) = (self.inner.next_deadline(), self.inner.sockets());
        self.poller
            .wait(timeout, deadline, sockets, |ready| self.inner.note(ready))?;
        self.inner.turn(&mut self.buffer, self.poller.now());
        Ok(if self.inner.has_stopped() {
            Turn::Stopped
        } else if self.has_work() {
            Turn::Busy
        } else {
            Turn::Waiting
        })
    }

    /// How long a foreign loop may wait before it calls [`Node::turn`] again, unless [`Node::as_fd`] becomes readable
    /// earlier: zero when there is work at once, `None` when there is no deadline or the node has stopped. It changes with every turn and
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

    /// The poller's descriptor (Unix only), for another poll loop to wait on: readable means that a turn is due, and so does the
    /// end of [`Node::timeout`]. Call [`Node::turn`] with a timeout of zero then.
    #[cfg(unix)]
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.poller.as_fd()
    }

    fn has_work(&self) -> bool {
        self.inner.has_work() || self.poller.is_full()
    }
}

#[cfg(feature = "sim")]
impl<H: Handler> Node<H> {
    /// What the world that the node lives in looks at.
    pub(crate) fn parts(&self) -> (&crate::event_loop::LoopState, &Net, &H) {
        self.inner.parts()
    }

    pub(crate) fn parts_mut(&mut self) -> (&mut H, &mut Net) {
        self.inner.net.now = self.poller.now();
        (&mut self.inner.handler, &mut self.inner.net)
    }

    /// Whether it wants another turn at once.
    pub(crate) fn is_busy(&self) -> bool {
        self.has_work()
    }
}

impl<H> fmt::Debug for Node<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("net", &self.inner.net)
            .finish_non_exhaustive()
    }
}
