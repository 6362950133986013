//! Reaching the shards of a node from other threads, and from each other.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{ConnectOptions, ListenOptions, Placement};
use crate::cross_shard::{RemoteBroadcast, ShardCommand, ShardSet};
use crate::error::SendError;
use crate::id::{ConnId, ShardId};
use crate::metrics::Metrics;
use crate::net::{BroadcastOutcome, Net};
use crate::node::handle::{Answer, Handle};
use crate::traffic::Traffic;

/// Reaches all [`Shards`](crate::Shards) of a node from any thread, as a [`Handle`] does a node. Clone it as often as you
/// like; it does not keep them running.
///
/// What waits for an answer (`ask`, `listen`, `connect`, `metrics` and their like) is an error of the kind `Deadlock` inside
/// the callbacks of these shards; `send`, `broadcast`, `post` and `shutdown` never wait and work there too.
///
/// ```
/// use std::time::Duration;
/// use peerloop::{Config, ConnId, Handler, Net, ShardOptions, Shards, ShardsHandle};
///
/// /// Counts what it hears, and tells every shard.
/// struct Counter {
///     heard: u64,
///     all: ShardsHandle<Counter>,
/// }
///
/// impl Handler for Counter {
///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
///         let _ = self.all.post_all(|counter, _| counter.heard += 1);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let options = ShardOptions { shards: 2, ..ShardOptions::default() };
/// let shards = Shards::start(Config::default(), options, |_, all| Counter {
///     heard: 0,
///     all: all.clone(),
/// })?;
/// let handle = shards.handle();
/// let heard = handle.ask_all(|counter, _| counter.heard)?;
/// assert_eq!(heard, [0, 0]);
/// handle.shutdown(Duration::from_secs(1));
/// shards.join()?;
/// # Ok(())
/// # }
/// ```
pub struct ShardsHandle<H> {
    handles: Arc<[Handle<H>]>,
    shards: Arc<ShardSet>,
}

impl<H> Clone for ShardsHandle<H> {
    fn clone(&self) -> Self {
        Self {
            handles: Arc::clone(&self.handles),
            shards: Arc::clone(&self.shards),
        }
    }
}

impl<H> fmt::Debug for ShardsHandle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardsHandle")
            .field("shards", &self.handles)
            .finish_non_exhaustive()
    }
}

impl<H> ShardsHandle<H> {
    pub(super) fn new(handles: Vec<Handle<H>>, shards: Arc<ShardSet>) -> Self {
        let handles = handles.into();
        Self { handles, shards }
    }

    /// All shards, in their order.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<H> {
        self.shards.shards()
    }

    /// The handle of one shard alone; `None` if there is none of this number.
    pub fn shard(&self, shard: ShardId) -> Option<&Handle<H>> {
        self.handles.get(shard.index())
    }

    /// Has the connection's shard send one message; see [`Handle::send`].
    ///
    /// # Errors
    ///
    /// Those of [`Handle::send`].
    pub fn send(&self, conn: ConnId, body: Bytes) -> Result<(), SendError> {
        self.shard(conn.shard())
            .ok_or(SendError::Closed)?
            .send(conn, body)
    }

    /// Has one message sent on several connections, wherever they are: one command for each shard that has some of them, in
    /// which it is framed once for all that frame alike.
    ///
    /// [`BroadcastOutcome::sent`] counts connections whose shard will try, the others those whose shard's command queue is full or
    /// gone. What becomes of it then is as with [`Handle::send`].
    pub fn broadcast(
        &self,
        conns: impl IntoIterator<Item = ConnId>,
        body: Bytes,
    ) -> BroadcastOutcome {
        let mut outcome = BroadcastOutcome::default();
        let mut conns: Vec<ConnId> = conns.into_iter().collect();
        // The order of those of one shard stays.
        conns.sort_by_key(|conn| conn.shard());
        for conns in conns.chunk_by(|a, b| a.shard() == b.shard()) {
            let broadcast = RemoteBroadcast {
                conns: conns.to_vec(),
                body: body.clone(),
                framed: None,
            };
            let order = ShardCommand::BroadcastOutcome(Box::new(broadcast));
            let passed = self.shards.pass(conns[0].shard(), order);
            outcome.count(passed.map_err(|refused| refused.error), conns.len());
        }
        outcome
    }

    /// Has one shard call a function; see [`Handle::post`].
    ///
    /// # Errors
    ///
    /// Those of [`Handle::post`], and
    /// - `NotFound` when there is no such shard.
    pub fn post(
        &self,
        shard: ShardId,
        call: impl FnOnce(&mut H, &mut Net) + Send + 'static,
    ) -> io::Result<()> {
        self.existing(shard)?.post(call)
    }

    /// Has every shard call a function.
    ///
    /// # Errors
    ///
    /// Those of [`Handle::post`], of the first shard that does not take it. The others call it all the same.
    pub fn post_all(
        &self,
        call: impl FnOnce(&mut H, &mut Net) + Clone + Send + 'static,
    ) -> io::Result<()> {
        let post = |handle: &Handle<H>| handle.post(call.clone());
        let posted: Vec<io::Result<()>> = self.handles.iter().map(post).collect();
        posted.into_iter().collect()
    }

    /// Has one shard call a function, and waits for the answer; see [`Handle::ask`].
    ///
    /// # Errors
    ///
    /// Those of [`Handle::ask`], and
    /// - `NotFound` when there is no such shard.
    pub fn ask<R: Send + 'static>(
        &self,
        shard: ShardId,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<R> {
        self.existing(shard)?.ask(call)
    }

    /// Has every shard call a function, and waits for the answers, which are in the order of the shards.
    ///
    /// # Errors
    ///
    /// Those of [`Handle::ask`], of the first shard that does not answer. The others call it all the same.
    pub fn ask_all<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Clone + Send + 'static,
    ) -> io::Result<Vec<R>> {
        self.check_outside()?;
        let ask = |handle: &Handle<H>| handle.begin_ask(call.clone());
        // All are asked, whatever the first one says, and before it is waited for.
        let asked: Vec<io::Result<Answer<R>>> = self.handles.iter().map(ask).collect();
        asked.into_iter().map(|answer| answer?.wait()).collect()
    }

    /// Listens on `addr`, and says on which address; see [`Net::listen`]. Who dials in is given to a shard as
    /// [`Placement`] says. The first shard accepts, or with [`Placement::ReusePort`] all do.
    ///
    /// [`Net::listen`] inside one shard does the same with a listener of that shard, which accepts for all; but with
    /// [`Placement::ReusePort`] it keeps what it accepts.
    ///
    /// # Errors
    ///
    /// Those of [`Net::listen`] and of [`Handle::ask`].
    pub fn listen(&self, addr: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.listen_with(addr, ListenOptions::default())
    }

    /// Listens with a backlog, a framing or deadlines of its own; see [`ShardsHandle::listen`].
    ///
    /// # Errors
    ///
    /// Those of [`Net::listen_with`] and of [`Handle::ask`].
    pub fn listen_with(
        &self,
        addr: impl ToSocketAddrs,
        mut options: ListenOptions,
    ) -> io::Result<SocketAddr> {
        let is_everywhere = self.shards.placement() == Placement::ReusePort;
        options.reuse_port |= is_everywhere;
        // Names are resolved here, where nobody else has to wait.
        let addrs: Vec<SocketAddr> = addr.to_socket_addrs()?.collect();
        let bound = self.listen_on(ShardId::FIRST, addrs, options.clone())?;
        if !is_everywhere {
            return Ok(bound);
        }
        for shard in self.shards().skip(1) {
            if let Err(error) = self.listen_on(shard, vec![bound], options.clone()) {
                // On those alone that have begun: others may have a listener there from before.
                for listener in self.shards().take_while(|begun| *begun != shard) {
                    let _ = self.ask(listener, move |_, net| net.unlisten(bound));
                }
                return Err(error);
            }
        }
        Ok(bound)
    }

    fn listen_on(
        &self,
        shard: ShardId,
        addrs: Vec<SocketAddr>,
        options: ListenOptions,
    ) -> io::Result<SocketAddr> {
        self.ask(shard, move |_, net| net.listen_with(&addrs[..], options))?
    }

    /// Stops listening on an address, on every shard that does; see [`Net::unlisten`].
    ///
    /// # Errors
    ///
    /// - `NotFound` when no listener of any shard has that address;
    /// - those of [`Handle::ask`].
    pub fn unlisten(&self, addr: SocketAddr) -> io::Result<()> {
        let unlistened = self.ask_all(move |_, net| net.unlisten(addr))?;
        let (done, refused): (Vec<_>, Vec<_>) = unlistened.into_iter().partition(io::Result::is_ok);
        match refused.into_iter().next() {
            Some(refused) if done.is_empty() => refused,
            _ => Ok(()),
        }
    }

    /// Dials `addr` from the shard with the fewest connections; see [`Net::connect`]. To dial from a certain one,
    /// [`ShardsHandle::ask`] for it.
    ///
    /// # Errors
    ///
    /// - Those of [`Net::connect`]: the [`ConnectError`](crate::ConnectError) is inside;
    /// - those of [`Handle::ask`].
    pub fn connect(&self, addr: SocketAddr) -> io::Result<ConnId> {
        self.connect_with(addr, ConnectOptions::default())
    }

    /// Dials `addr` with options; see [`ShardsHandle::connect`] and [`Net::connect_with`].
    ///
    /// # Errors
    ///
    /// - Those of [`Net::connect_with`]: the [`ConnectError`](crate::ConnectError) is inside;
    /// - those of [`Handle::ask`].
    pub fn connect_with(&self, addr: SocketAddr, options: ConnectOptions) -> io::Result<ConnId> {
        let connect = move |_: &mut H, net: &mut Net| net.connect_with(addr, options);
        Ok(self.ask(self.shards.least_loaded(), connect)??)
    }

    /// Messages and bytes of all connections of all shards; see [`Net::stats`].
    ///
    /// # Errors
    ///
    /// Those of [`Handle::ask`].
    pub fn stats(&self) -> io::Result<Traffic> {
        let mut sum = Traffic::default();
        for traffic in self.ask_all(|_, net| net.stats())? {
            sum += traffic;
        }
        Ok(sum)
    }

    /// What all shards have done so far, added up; see [`Net::metrics`]. [`Metrics::queued_max`] is the sum of what each
    /// shard had queued at most, which may never have been at once.
    ///
    /// # Errors
    ///
    /// Those of [`Handle::ask`].
    pub fn metrics(&self) -> io::Result<Metrics> {
        let mut sum = Metrics::default();
        for metrics in self.ask_all(|_, net| net.metrics())? {
            sum += metrics;
        }
        Ok(sum)
    }

    /// Ends all shards, as by [`Net::shutdown`]. Never refused, and safe to repeat: the shortest grace counts. When they are
    /// gone, nothing happens.
    pub fn shutdown(&self, grace: Duration) {
        self.handles
            .iter()
            .for_each(|handle| handle.shutdown(grace));
    }

    /// # Errors
    ///
    /// - `Deadlock` in a turn of one of the shards.
    pub(super) fn check_outside(&self) -> io::Result<()> {
        self.handles.iter().try_for_each(Handle::check_outside)
    }

    fn existing(&self, shard: ShardId) -> io::Result<&Handle<H>> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no such shard");
        self.shard(shard).ok_or_else(none)
    }
}
