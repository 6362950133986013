//! The types that own or reach a node.

#[cfg(test)]
mod accept_tests;
#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod copy_tests;
#[cfg(target_pointer_width = "64")]
mod group;
mod handle;
mod inner;
#[cfg(test)]
mod list_tests;
mod run;
mod running;
mod shards;
mod turn;
mod wait;

use std::fmt;
use std::io;

#[cfg(target_pointer_width = "64")]
pub use self::group::{AnyMemberId, Group, MemberId};
pub use self::handle::Handle;
use self::inner::{NodeInner, give_name};
pub use self::running::RunningNode;
pub use self::shards::{Shards, ShardsHandle};
pub use self::turn::{RunEnd, Turn};
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
    ///   inside if a setting is invalid, or `Unsupported` if this
    ///   system lacks an option;
    /// - the error of the operating system if the three file descriptors of a
    ///   poll loop cannot be created.
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
}

impl<H> fmt::Debug for Node<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
