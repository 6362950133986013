//! One node on many threads.

mod handle;

use std::any::Any;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use handle::ShardsHandle;

use crate::command_queue::{self, CommandSender, Inbox};
use crate::config::{Config, ListenOptions, ShardOptions};
use crate::cross_shard::{Mailbox, ShardRouter, ShardSet};
use crate::handler::Handler;
use crate::id::{ShardId, WAKER_TOKEN};
use crate::limits::SharedLimits;
use crate::node::Handle;
use crate::node::Node;
use crate::node::inner::give_name;
use crate::sys::Poller;

/// One node on several threads: a poll loop on each, the *shards*, with a [`Handler`] of its own.
///
/// A connection lives on one shard from its beginning to its end, and all its callbacks are made there;
/// [`ConnId::shard`](crate::ConnId::shard) says on which. Who dials in is given to a shard as [`Placement`] says; who is
/// dialled is on the shard that dials. Every shard's [`Net`](crate::Net) reaches the connections of all others too, and a
/// [`ShardsHandle`] does from anywhere.
///
/// ```
/// use std::time::Duration;
/// use peerloop::{Config, ConnId, Handler, Net, ShardOptions, Shards};
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
/// let shards = Shards::start(Config::default(), ShardOptions::default(), |_, _| Echo)?;
/// let addr = shards.listen("127.0.0.1:0")?;
/// println!("listening on {addr}");
/// # shards.shutdown(Duration::ZERO);
/// let handlers = shards.join()?;
/// println!("{} shards have stopped", handlers.len());
/// # Ok(())
/// # }
/// ```
///
/// # What is shared
///
/// - **Limits on connections**: in all, per address, per network, dials and handshakes under way. They hold for all shards
///   together, exactly. So do the duplicates and the connections with oneself that are refused.
/// - **The end**: a [shutdown](crate::Net::shutdown) of one shard is one of all. A panic that is not
///   [contained](crate::Panics::Contain), and an error that keeps a shard from waiting for events, end all others at once.
///
/// Everything else of the [`Config`] holds for each shard by itself: budgets, queues of commands,
/// [`loop_queue_max`](Config::loop_queue_max). So do timers, and what [`Net`](crate::Net) tells: its lists, counts, `find`,
/// [`stats`](crate::Net::stats) and [`metrics`](crate::Net::metrics) are those of one shard; [`ShardsHandle::stats`] and
/// [`ShardsHandle::metrics`] add them up.
///
/// # From one shard to another
///
/// For a connection of another shard, what a handler asks of its `Net` travels through the command queue of that shard:
///
/// - [`send`](crate::Net::send), [`send_bytes`](crate::Net::send_bytes), [`send_parts`](crate::Net::send_parts) and
///   [`broadcast`](crate::Net::broadcast): `Ok` means that the other shard will try. If the connection does not take the message
///   then, that is counted there, in [`Metrics::commands_lost`](crate::Metrics::commands_lost).
///   [`SendError::Full`](crate::SendError::Full) means that the command queue is full, or that something asked of that shard
///   before waits for room in it, and no drain follows.
/// - [`close`](crate::Net::close), [`abort`](crate::Net::abort), [`shutdown_write`](crate::Net::shutdown_write),
///   [`pause`](crate::Net::pause), [`resume`](crate::Net::resume) and [`flush`](crate::Net::flush) take effect when the
///   other shard comes to them: messages that arrived before may still be delivered. If its queue is full they wait for room,
///   as many as a command queue holds; what is beyond that is lost, logged and counted in this shard's `commands_lost`.
/// - [`entry`](crate::Net::connection), [`queued`](crate::Net::queued) and [`is_writable`](crate::Net::is_writable) know nothing of
///   it, as if the id were stale, and [`send_tracked`](crate::Net::send_tracked) answers `Closed`.
///
/// What one shard asks of another is done in the order in which it asked. No shard ever waits for another.
///
/// # Threads
///
/// The threads are called as the shards are in log lines: [`Config::name`], `-shard-`, and the number (Linux shows the first 15
/// bytes). [`Handler::on_start`] is the first callback in each; who wants a shard to stay on a core says so there, for
/// instance with the crate `core_affinity`:
///
/// ```ignore
/// fn on_start(&mut self, net: &mut Net) {
///     let cores = core_affinity::get_core_ids().unwrap_or_default();
///     if let Some(core) = cores.get(net.shard().index()) {
///         core_affinity::set_for_current(*core);
///     }
/// }
/// ```
///
/// Dropping it ends all shards at once, with their callbacks, and waits for them, unless it is dropped inside one of these.
///
/// [`Placement`]: crate::Placement
pub struct Shards<H> {
    handle: ShardsHandle<H>,
    threads: Vec<JoinHandle<io::Result<H>>>,
}

impl<H: Handler + Send + 'static> Shards<H> {
    /// Starts the threads, each with a handler that `make` makes. That is called in this thread, for one shard after another
    /// and before any of them runs; the handle is for handlers that want to reach each other. What waits for an answer is an
    /// error of the kind `Deadlock` inside `make`, as it is inside callbacks.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with a [`ConfigError`](crate::ConfigError) inside when a setting cannot work;
    /// - what the system says when there is no descriptor left for the pollers and their wakers (three for each shard), or no
    ///   thread.
    pub fn start(
        mut config: Config,
        options: ShardOptions,
        mut make: impl FnMut(ShardId, &ShardsHandle<H>) -> H,
    ) -> io::Result<Self> {
        config.validate()?;
        options.validate()?;
        give_name(&mut config);
        let number = command_queue::number();
        let mut loops = Vec::new();
        for _ in 0..options.shards {
            let poller = Poller::new(config.busy_poll)?;
            let wake = poller.registrar().waker(WAKER_TOKEN)?;
            loops.push((poller, Inbox::<H>::new(number, wake, &config)));
        }
        let senders: Vec<_> = loops.iter().map(|(_, inbox)| inbox.sender()).collect();
        let mailbox = |sender: &CommandSender<H>| Box::new(sender.clone()) as Box<dyn Mailbox>;
        let mailboxes = senders.iter().map(mailbox).collect();
        let shards = ShardSet::new(mailboxes, SharedLimits::new(&config), options.placement);
        let shards = Arc::new(shards);
        let handle = ShardsHandle::new(
            senders.into_iter().map(Handle::new).collect(),
            Arc::clone(&shards),
        );
        // Nobody runs yet, so nobody would answer.
        let making = command_queue::enter(number);
        let nodes = shards.shards().zip(loops).map(|(shard, (poller, inbox))| {
            let handler = make(shard, &handle);
            let mut config = config.clone();
            config.name = format!("{}-shard-{shard}", config.name);
            let router = ShardRouter::new(shard, Arc::clone(&shards));
            Node::with_siblings(config, handler, poller, inbox, router)
        });
        let nodes: Vec<_> = nodes.collect();
        drop(making);
        let mut shards = Self {
            handle,
            threads: Vec::new(),
        };
        for node in nodes {
            // If there is no thread for one, the others are ended by the drop.
            shards.spawn(node)?;
        }
        Ok(shards)
    }

    fn spawn(&mut self, mut node: Node<H>) -> io::Result<()> {
        let guard = EndOfAll(self.handle.clone());
        // A name with a zero in it is one that no thread can have.
        let name = node.net().name().replace('\0', "");
        let thread = thread::Builder::new().name(name).spawn(move || {
            // Whoever stops as it was told has told the others; they may have something left to send.
            let guard = guard;
            node.run().inspect_err(|_| guard.end())?;
            Ok(node.into_handler())
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl<H> Shards<H> {
    /// A handle, for other threads and for handlers.
    pub fn handle(&self) -> ShardsHandle<H> {
        self.handle.clone()
    }

    /// Listens on `addr`; see [`ShardsHandle::listen`].
    ///
    /// # Errors
    ///
    /// Those of [`ShardsHandle::listen`].
    pub fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.handle.listen(addr)
    }

    /// Listens with options; see [`ShardsHandle::listen_with`].
    ///
    /// # Errors
    ///
    /// Those of [`ShardsHandle::listen_with`].
    pub fn listen_with(
        &self,
        addr: impl ToSocketAddrs,
        options: ListenOptions,
    ) -> io::Result<SocketAddr> {
        self.handle.listen_with(addr, options)
    }

    /// Ends all shards; see [`ShardsHandle::shutdown`].
    pub fn shutdown(&self, grace: Duration) {
        self.handle.shutdown(grace);
    }

    /// Waits until all shards have stopped, which a [shutdown](ShardsHandle::shutdown) makes them do, and gives their handlers
    /// back, in the order of the shards.
    ///
    /// # Errors
    ///
    /// The first that a shard ended with, when all have ended:
    /// - `Other` when its handler panicked and [`Panics::Unwind`](crate::Panics::Unwind) let it; the error has the
    ///   panic's text;
    /// - what made it impossible to wait for events;
    /// - `Deadlock`, at once, from inside a callback of one of these shards: they are ended, and not waited for.
    pub fn join(mut self) -> io::Result<Vec<H>> {
        self.handle.check_outside()?;
        // All of them, before the first error is told.
        let ended: Vec<io::Result<H>> = self.threads.drain(..).map(wait).collect();
        ended.into_iter().collect()
    }
}

impl<H> Drop for Shards<H> {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
        let is_outside = self.handle.check_outside().is_ok();
        for thread in self.threads.drain(..).filter(|_| is_outside) {
            if let Err(error) = wait(thread) {
                log::error!(target: "peerloop", "{error}");
            }
        }
    }
}

impl<H> fmt::Debug for Shards<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// If a shard cannot go on, the others do not.
struct EndOfAll<H>(ShardsHandle<H>);

impl<H> EndOfAll<H> {
    fn end(&self) {
        self.0.shutdown(Duration::ZERO);
    }
}

impl<H> Drop for EndOfAll<H> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.end();
        }
    }
}

/// Waits for the end of a shard; its handler, or why it has none to give back.
fn wait<H>(thread: JoinHandle<io::Result<H>>) -> io::Result<H> {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    match thread.join() {
        Ok(result) => result,
        Err(cause) => {
            let what = format!("{name} panicked: {}", text(&*cause));
            Err(io::Error::other(what))
        }
    }
}

/// What a panic said.
fn text(cause: &(dyn Any + Send)) -> &str {
    let literal = cause.downcast_ref::<&str>().copied();
    literal
        .or_else(|| cause.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("for no reason given")
}
