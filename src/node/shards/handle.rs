//! Access to the shards of a node from other threads and from each other.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::answer::Answer;
use crate::config::ConnectOptions;
use crate::cross_shard::{RemoteBroadcast, ShardCommand, ShardSet, SharedMessage};
use crate::error::{ConnectError, SendError};
use crate::id::{ConnId, ShardId};
use crate::metrics::Metrics;
use crate::net::{BroadcastOutcome, ConnectAddr, Net};
use crate::node::handle::Handle;
use crate::node::wait::answers_deadline;
use crate::traffic::Traffic;

/// Sends messages and function calls to all [`Shards`](crate::shards::Shards)
/// of a node from any thread, as a [`Handle`] does to one node.
///
/// A handle can be cloned, sent to other threads and stored in handlers. It
/// does not keep the shards running.
///
/// `send`, `broadcast`, `broadcast_all`, `post`, `post_all` and `shutdown`
/// never wait, and can be called everywhere. The other methods wait for one or
/// all of the loops, up to 10 s if they have no timeout. Inside a callback they
/// return an error; see [`Handle`](Handle#what-may-be-called-where).
///
/// ```
/// use std::time::Duration;
/// use peerloop::shards::{ShardOptions, Shards, ShardsHandle};
/// use peerloop::{Config, ConnId, Handler, Net};
///
/// /// Counts the messages of all shards, on every shard.
/// struct Counter {
///     received: u64,
///     all: ShardsHandle<Counter>,
/// }
///
/// impl Handler for Counter {
///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
///         let _ = self.all.post_all(|counter, _| counter.received += 1);
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let options = ShardOptions { shards: 2, ..ShardOptions::default() };
/// let shards = Shards::start(Config::default(), options, |_, all| Counter {
///     received: 0,
///     all: all.clone(),
/// })?;
/// let handle = shards.handle();
/// let received = handle.ask_all(|counter, _| counter.received)?;
/// assert_eq!(received, [0, 0]);
/// handle.shutdown(Duration::from_secs(1));
/// shards.join()?;
/// # Ok(())
/// # }
/// ```
pub struct ShardsHandle<H> {
    handles: Arc<[Handle<H>]>,
    pub(super) shards: Arc<ShardSet>,
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

    /// Returns all shards in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<H> {
        self.shards.shards()
    }

    /// Returns the handle of one shard, or `None` if there is no such shard.
    pub fn shard(&self, shard: ShardId) -> Option<&Handle<H>> {
        self.handles.get(shard.index())
    }

    /// Sends one message on a connection, without waiting; see
    /// [`Handle::send`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::send`].
    pub fn send(&self, conn: ConnId, body: impl Into<Bytes>) -> Result<(), SendError> {
        self.shard(conn.shard())
            .ok_or(SendError::Closed)?
            .send(conn, body)
    }

    /// Sends one message on several connections, without waiting. Each shard
    /// that has some of the connections gets one command.
    ///
    /// [`BroadcastOutcome::queued`] counts the connections whose shard will try
    /// to queue the message. The other fields count connections whose shard has
    /// a full command queue or has stopped. Each send then has the result
    /// described at [`Handle::send`].
    pub fn broadcast(
        &self,
        conns: impl IntoIterator<Item = ConnId>,
        body: impl Into<Bytes>,
    ) -> BroadcastOutcome {
        let message = SharedMessage::of_body(body.into());
        let mut outcome = BroadcastOutcome::default();
        let mut conns: Vec<ConnId> = conns.into_iter().collect();
        // The sort is stable, so the order of the connections of one shard is
        // kept.
        conns.sort_by_key(|conn| conn.shard());
        for conns in conns.chunk_by(|a, b| a.shard() == b.shard()) {
            let broadcast = RemoteBroadcast {
                conns: conns.to_vec(),
                message: message.share(),
            };
            let command = ShardCommand::Broadcast(Box::new(broadcast));
            let passed = self.shards.pass(conns[0].shard(), command);
            outcome.count(passed.map_err(|refused| refused.error), conns.len());
        }
        outcome
    }

    /// Sends one message on all open connections of all shards except `except`,
    /// without waiting; see [`Net::broadcast_all`].
    ///
    /// # Errors
    ///
    /// - The error of [`Handle::post`] of the first shard that refuses the
    ///   call. The other shards send the message nevertheless.
    pub fn broadcast_all(&self, body: impl Into<Bytes>, except: Option<ConnId>) -> io::Result<()> {
        let body = body.into();
        self.post_all(move |_, net| {
            let _ = net.broadcast_all(body, except);
        })
    }

    /// Makes one shard call a function, without waiting; see [`Handle::post`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::post`];
    /// - `NotFound` if there is no such shard.
    pub fn post(
        &self,
        shard: ShardId,
        call: impl FnOnce(&mut H, &mut Net) + Send + 'static,
    ) -> io::Result<()> {
        self.existing(shard)?.post(call)
    }

    /// Makes every shard call a function, without waiting.
    ///
    /// # Errors
    ///
    /// - The error of [`Handle::post`] of the first shard that refuses the
    ///   call. The other shards call the function nevertheless.
    pub fn post_all(
        &self,
        call: impl FnOnce(&mut H, &mut Net) + Clone + Send + 'static,
    ) -> io::Result<()> {
        let post = |handle: &Handle<H>| handle.post(call.clone());
        let posted: Vec<io::Result<()>> = self.handles.iter().map(post).collect();
        posted.into_iter().collect()
    }

    /// Makes one shard call a function, and waits up to 10 s for its result;
    /// see [`Handle::ask`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::ask_within`];
    /// - `NotFound` if there is no such shard.
    pub fn ask<R: Send + 'static>(
        &self,
        shard: ShardId,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<R> {
        self.existing(shard)?.ask(call)
    }

    /// Makes one shard call a function, and waits up to `timeout` for its
    /// result; see [`Handle::ask_within`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::ask_within`];
    /// - `NotFound` if there is no such shard.
    pub fn ask_within<R: Send + 'static>(
        &self,
        shard: ShardId,
        timeout: Duration,
        call: impl FnOnce(&mut H, &mut Net) -> R + Send + 'static,
    ) -> io::Result<R> {
        self.existing(shard)?.ask_within(timeout, call)
    }

    /// Makes every shard call a function, and waits up to 10 s for the results.
    /// They are in the order of the shards.
    ///
    /// # Errors
    ///
    /// - The error of [`Handle::ask_within`] of the first shard that does not
    ///   answer. The other shards call the function nevertheless, unless their
    ///   call had not begun when this method returned.
    pub fn ask_all<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut H, &mut Net) -> R + Clone + Send + 'static,
    ) -> io::Result<Vec<R>> {
        self.check_may_wait()?;
        let deadline = answers_deadline();
        let ask = |handle: &Handle<H>| handle.begin_ask(call.clone());
        // All shards are asked, even after an error, and before the first
        // answer is waited for.
        let asked: Vec<io::Result<Answer<R>>> = self.handles.iter().map(ask).collect();
        let wait = |(answer, handle): (io::Result<Answer<R>>, &Handle<H>)| {
            let answer = answer?.wait(deadline);
            answer.map_err(|unanswered| handle.no_answer(unanswered))
        };
        let asked = asked.into_iter().zip(self.handles.iter());
        let answers: Vec<io::Result<R>> = asked.map(wait).collect();
        answers.into_iter().collect()
    }

    /// Returns options for [`ShardsHandle::connect_with`], with the node's
    /// settings.
    pub fn connect_options(&self) -> ConnectOptions {
        self.first().connect_options()
    }

    /// Starts to connect to `addr` from the shard with the fewest connections;
    /// see [`Handle::connect`]. To connect from a certain shard, use
    /// [`ShardsHandle::shard`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::connect`].
    pub fn connect(&self, addr: impl ConnectAddr) -> io::Result<ConnId> {
        self.connect_with(addr, self.connect_options())
    }

    /// Starts to connect to `addr` with options; see [`ShardsHandle::connect`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Net::connect_with`] and of [`Handle::connect`].
    pub fn connect_with(
        &self,
        addr: impl ConnectAddr,
        options: ConnectOptions,
    ) -> io::Result<ConnId> {
        let shard = self.existing(self.shards.least_loaded())?;
        shard.connect_with(addr, options)
    }

    /// Connects to a host from the shard with the fewest connections, and waits
    /// until [`Handler::on_connect`](crate::Handler::on_connect) has been
    /// called; see [`Handle::connect_wait`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::connect_wait`].
    pub fn connect_wait(
        &self,
        addr: impl ToSocketAddrs,
        timeout: Duration,
    ) -> Result<ConnId, ConnectError> {
        let shard = self.shard(self.shards.least_loaded());
        shard
            .ok_or(ConnectError::NodeStopped)?
            .connect_wait(addr, timeout)
    }

    /// Sends one message on a connection of any shard, and waits up to
    /// `timeout` until it is queued; see [`Handle::send_wait`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::send_wait`];
    /// - `NotFound` if there is no such shard.
    pub fn send_wait(
        &self,
        conn: ConnId,
        body: impl Into<Bytes>,
        timeout: Duration,
    ) -> io::Result<()> {
        let shard = self.existing(conn.shard())?;
        shard.send_wait(conn, body, timeout)
    }

    /// Returns the numbers of messages and bytes of all connections of all
    /// shards; see [`Net::traffic`].
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::ask`].
    pub fn traffic(&self) -> io::Result<Traffic> {
        let mut sum = Traffic::default();
        for traffic in self.ask_all(|_, net| net.traffic())? {
            sum += traffic;
        }
        Ok(sum)
    }

    /// Returns the sum of the metrics of all shards; see [`Net::metrics`].
    /// [`Metrics::max_queued_bytes`] and [`Metrics::max_received_bytes`] are
    /// sums of maxima, which the shards may have reached at different times.
    ///
    /// # Errors
    ///
    /// - The errors of [`Handle::ask`].
    pub fn metrics(&self) -> io::Result<Metrics> {
        let mut sum = Metrics::default();
        for metrics in self.ask_all(|_, net| net.metrics())? {
            sum += metrics;
        }
        Ok(sum)
    }

    /// Shuts all shards down, without waiting; see [`Handle::shutdown`].
    pub fn shutdown(&self, grace: Duration) {
        self.handles
            .iter()
            .for_each(|handle| handle.shutdown(grace));
    }

    /// # Errors
    ///
    /// - `Deadlock` if this thread must not wait for the shards.
    pub(super) fn check_may_wait(&self) -> io::Result<()> {
        self.first().check_may_wait()
    }

    /// Returns the handle of the first shard. There is at least one.
    pub(super) fn first(&self) -> &Handle<H> {
        &self.handles[0]
    }

    pub(super) fn existing(&self, shard: ShardId) -> io::Result<&Handle<H>> {
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no such shard");
        self.shard(shard).ok_or_else(none)
    }
}
