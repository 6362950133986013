//! One node on several threads.

mod handle;
mod listen;

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use handle::ShardsHandle;

use crate::addr::Listening;
use crate::command_queue::{self, CommandSender, Inbox, Scope};
use crate::config::{Config, ListenOptions, ShardOptions};
use crate::cross_shard::{Mailbox, ShardRouter, ShardSet};
use crate::handler::Handler;
use crate::id::{ShardId, WAKER_TOKEN};
use crate::limits::SharedLimits;
use crate::node::inner::give_name;
use crate::node::running::{panic_text, thread_name};
use crate::node::{Handle, Node};
use crate::panics::discard;
use crate::sys::Poller;

/// One node on several threads. Each thread is a *shard*: a poll loop with its
/// sockets and its [`Handler`].
///
/// - A connection belongs to one shard from its beginning to its end, and all
///   its callbacks are called there; see
///   [`ConnId::shard`](crate::ConnId::shard).
/// - Inbound connections are assigned to shards according to [`Placement`].
///   Outbound connections belong to the shard that connects.
/// - The [`Net`](crate::Net) of every shard can send to and close the
///   connections of all shards. A [`ShardsHandle`] can do so from every thread.
///
/// ```
/// use std::time::Duration;
/// use peerloop::shards::{ShardOptions, Shards};
/// use peerloop::{Config, ConnId, Handler, Net};
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
/// let listening = shards.listen("127.0.0.1:0")?;
/// println!("listening on {listening}");
/// # shards.shutdown(Duration::ZERO);
/// let handlers = shards.join()?;
/// println!("{} shards have stopped", handlers.len());
/// # Ok(())
/// # }
/// ```
///
/// # What is shared
///
/// - **Limits on connections.** The limits on connections in total, per
///   address, per network and per listener, and on connects and handshakes in
///   progress, apply exactly to all shards together. So do the rate of connects
///   after failed ones, and the refusal of duplicates and of connections of the
///   node to itself.
/// - **The end.** A [shutdown](crate::Net::shutdown) of one shard shuts all
///   shards down. A panic that is not
///   [contained](crate::config::OnPanic::Contain), and an error of a poller,
///   end all other shards at once.
///
/// Everything else exists once per shard:
///
/// - The other fields of the [`Config`], such as budgets, the command queue and
///   [`loop_send_bytes`](crate::config::Limits::loop_send_bytes), apply to each
///   shard.
/// - Timers belong to one shard.
/// - A UDP socket belongs to the shard that bound it. On other shards its id is
///   stale. Several shards can bind one port with
///   [`reuse_port`](crate::UdpOptions::reuse_port).
/// - The lists and counts of a [`Net`](crate::Net), [`find`](crate::Net::find),
///   [`traffic`](crate::Net::traffic) and [`metrics`](crate::Net::metrics)
///   cover one shard. [`ShardsHandle::traffic`] and [`ShardsHandle::metrics`]
///   return the sums.
///
/// # From one shard to another
///
/// A call of [`Net`](crate::Net) for a connection of another shard uses the
/// command queue of that shard:
///
/// - [`send`](crate::Net::send) and [`broadcast`](crate::Net::broadcast): `Ok`
///   means that the other shard will try to queue the message. A message that
///   the connection refuses is counted there in
///   [`Metrics::commands_lost`](crate::Metrics::commands_lost).
///   [`SendError::Full`](crate::SendError::Full) means that the command queue
///   is full, or that an earlier command for that shard waits for room in it.
///   No `on_drain` follows.
/// - [`close`](crate::Net::close), [`abort`](crate::Net::abort),
///   [`close_write`](crate::Net::close_write), [`pause`](crate::Net::pause),
///   [`resume`](crate::Net::resume), [`flush`](crate::Net::flush),
///   [`wake_session`](crate::Net::wake_session),
///   [`set_max_message_len`](crate::Net::set_max_message_len),
///   [`set_timeouts`](crate::Net::set_timeouts),
///   [`set_rate`](crate::Net::set_rate) and
///   [`set_framing`](crate::Net::set_framing) take effect in one of the next
///   turns of the other shard. Messages that arrived earlier may still be
///   delivered. If the command queue is full, up to
///   [`max_commands`](crate::config::CommandQueueConfig::max_commands) of these
///   calls wait for room. Further calls are lost, logged, and counted in
///   `commands_lost` of this shard.
/// - [`connection`](crate::Net::connection) returns `None`,
///   [`is_writable`](crate::Net::is_writable) returns false, and
///   [`send_tracked`](crate::Net::send_tracked) returns `Closed`, as for a
///   stale id.
///
/// The commands of one shard for another are run in the order of the calls. A
/// shard never waits for another.
///
/// # Threads
///
/// A thread has the name that its shard has in log lines: [`Config::name`],
/// `-shard-`, and the number of the shard. Linux shows the first 15 bytes.
/// [`Handler::on_start`] is the first callback in each thread. It can bind the
/// thread to a core, for example with the crate `core_affinity`:
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
/// Dropping a `Shards` shuts all shards down with a grace of zero and waits for
/// their threads. It does not wait where that could be a deadlock: inside a
/// callback of any node, and for the thread that drops it.
///
/// By default a panic in a callback is contained, including failed assertions;
/// see [In tests](crate::Node#in-tests).
///
/// [`Placement`]: crate::shards::Placement
pub struct Shards<H> {
    handle: ShardsHandle<H>,
    threads: Vec<JoinHandle<io::Result<H>>>,
}

impl<H: Handler + Send + 'static> Shards<H> {
    /// Starts the threads. `make` returns the handler of each shard.
    ///
    /// `make` is called on this thread, for one shard after another, before any
    /// shard runs. The [`ShardsHandle`] is for handlers that call each other.
    /// Inside `make`, methods that wait for a loop return an error of the kind
    /// `Deadlock`, as they do inside callbacks.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with a [`ConfigError`](crate::error::ConfigError)
    ///   inside if a setting is invalid, or `Unsupported` if this
    ///   system lacks an option;
    /// - the error of the operating system if a thread, a poller or a waker
    ///   cannot be created. Each shard takes three file descriptors.
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
        // No loop runs yet, so a wait would not end.
        let making = command_queue::enter(number, Scope::BetweenTurns);
        let nodes = shards.shards().zip(loops).map(|(shard, (poller, inbox))| {
            let handler = make(shard, &handle);
            let mut config = config.clone();
            config.name = format!("{}-shard-{shard}", config.name);
            let router = ShardRouter::new(shard, Arc::clone(&shards));
            Node::from_parts(config, handler, poller, inbox, Some(router))
        });
        let nodes: Vec<_> = nodes.collect();
        drop(making);
        let mut shards = Self {
            handle,
            threads: Vec::new(),
        };
        for node in nodes {
            // If a thread cannot be started, dropping `shards` ends the others.
            shards.spawn(node)?;
        }
        Ok(shards)
    }

    fn spawn(&mut self, mut node: Node<H>) -> io::Result<()> {
        let guard = EndOfAll(self.handle.clone());
        let name = thread_name(node.net().name());
        let thread = thread::Builder::new().name(name).spawn(move || {
            // A shard that was shut down has shut down the others, which may
            // have bytes left to send.
            let guard = guard;
            node.run().inspect_err(|_| guard.end())?;
            Ok(node.into_handler())
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl<H> Shards<H> {
    /// Returns a handle for other threads and for handlers.
    pub fn handle(&self) -> ShardsHandle<H> {
        self.handle.clone()
    }

    /// Listens on `addr`; see [`ShardsHandle::listen`].
    ///
    /// # Errors
    ///
    /// - The errors of [`ShardsHandle::listen`].
    pub fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<Listening> {
        self.handle.listen(addr)
    }

    /// Returns options for [`Shards::listen_with`], with the node's settings.
    pub fn listen_options(&self) -> ListenOptions {
        self.handle.listen_options()
    }

    /// Listens with options; see [`ShardsHandle::listen_with`].
    ///
    /// # Errors
    ///
    /// - The errors of [`ShardsHandle::listen_with`].
    pub fn listen_with(
        &self,
        addr: impl ToSocketAddrs,
        options: ListenOptions,
    ) -> io::Result<Listening> {
        self.handle.listen_with(addr, options)
    }

    /// Shuts all shards down, without waiting; see [`ShardsHandle::shutdown`].
    pub fn shutdown(&self, grace: Duration) {
        self.handle.shutdown(grace);
    }

    /// Waits until all shards have stopped, and returns their handlers in the
    /// order of the shards. This call does not [shut them
    /// down](ShardsHandle::shutdown).
    ///
    /// # Errors
    ///
    /// The first error of a shard is returned after all shards have stopped:
    /// - `Other` with the text of the panic if its handler panicked and
    ///   [`OnPanic::Unwind`](crate::config::OnPanic::Unwind) is set;
    /// - the error of the operating system if waiting for events failed;
    /// - `Deadlock`, at once, if this is called inside a callback. The shards
    ///   are shut down then, and not waited for.
    pub fn join(mut self) -> io::Result<Vec<H>> {
        self.handle.check_may_wait()?;
        // All threads are waited for before the first error is returned.
        let ended: Vec<io::Result<H>> = self.threads.drain(..).map(wait).collect();
        ended.into_iter().collect()
    }
}

impl<H> Drop for Shards<H> {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
        let is_outside = self.handle.check_may_wait().is_ok();
        let own = thread::current().id();
        let is_awaited = |it: &JoinHandle<_>| is_outside && it.thread().id() != own;
        for thread in self.threads.drain(..).filter(is_awaited) {
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

/// Shuts all shards down if its thread panics.
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

/// Waits for the end of a shard, and returns its handler.
fn wait<H>(thread: JoinHandle<io::Result<H>>) -> io::Result<H> {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    match thread.join() {
        Ok(result) => result,
        Err(cause) => {
            let what = format!("{name} panicked: {}", panic_text(&*cause));
            discard(cause);
            Err(io::Error::other(what))
        }
    }
}
