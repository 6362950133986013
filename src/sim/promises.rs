//! Promises about how soon a node is served.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::node_id::NodeId;
use super::world::World;
use crate::handler::Handler;
use crate::id::ConnId;

/// Messages that a node has exchanged on a connection.
pub(super) struct Exchange {
    pub(super) conn: ConnId,
    pub(super) is_outbound: bool,
    /// The connection is not open yet.
    pub(super) is_connecting: bool,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// Content of a promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The requests of the node are answered.
    Served,
    /// The attempts of the node to connect succeed.
    Connected,
}

/// A promise of [`World::promise_served_within`] or
/// [`World::promise_connected_within`].
pub(super) struct Promise {
    pub(super) index: usize,
    kind: Kind,
    within: Duration,
    conns: BTreeMap<ConnId, Waiting>,
}

/// Requests of a node on a connection that are not answered, by the time they
/// were sent.
#[derive(Default)]
struct Waiting {
    since: VecDeque<Duration>,
    sent: u64,
    received: u64,
}

impl Promise {
    /// Updates the promise after a turn of the node that began at `now`. The
    /// connections in `lost` ended in the turn, and the node did not end them.
    pub(super) fn update(
        &mut self,
        now: Duration,
        exchanges: &[Exchange],
        lost: &[ConnId],
    ) -> Result<(), String> {
        let what = self.what();
        let is_broken = |conn: &&ConnId| {
            let waiting = self.conns.get(conn);
            waiting.is_some_and(|waiting| !waiting.since.is_empty())
        };
        if let Some(conn) = lost.iter().find(is_broken) {
            return Err(format!("{conn} has ended, and {what}"));
        }
        self.conns
            .retain(|conn, _| exchanges.iter().any(|it| it.conn == *conn));
        for exchange in exchanges {
            self.count(now, exchange);
        }
        Ok(())
    }

    fn count(&mut self, now: Duration, exchange: &Exchange) {
        let waiting = self.conns.entry(exchange.conn).or_default();
        if self.kind == Kind::Connected {
            if !(exchange.is_connecting && exchange.is_outbound) {
                waiting.since.clear();
            } else if waiting.since.is_empty() {
                waiting.since.push_back(now);
            }
            return;
        }
        let answers = exchange.received - waiting.received;
        let known = waiting.since.len() as u64;
        waiting.since.drain(..answers.min(known) as usize);
        // A message that was sent in this turn may also have been answered in
        // it.
        let new = (exchange.sent - waiting.sent).saturating_sub(answers.saturating_sub(known));
        waiting.since.extend((0..new).map(|_| now));
        (waiting.sent, waiting.received) = (exchange.sent, exchange.received);
    }

    /// Checks that no request has waited for too long.
    pub(super) fn check(&self, now: Duration) -> Result<(), String> {
        for (conn, waiting) in &self.conns {
            let late = waiting.since.front().filter(|at| **at + self.within < now);
            if let Some(at) = late {
                let (what, within) = (self.what(), self.within);
                return Err(format!(
                    "{conn}: since {at:?}, for more than {within:?}, {what}"
                ));
            }
        }
        Ok(())
    }

    fn what(&self) -> &'static str {
        match self.kind {
            Kind::Served => "a message was not answered",
            Kind::Connected => "an attempt to connect was not successful",
        }
    }

    /// Forgets all requests, because the node has crashed.
    pub(super) fn clear(&mut self) {
        self.conns.clear();
    }
}

impl World {
    /// Promises that a node is served: each message that it sends from now on
    /// is answered by a message on the same connection, within `bound` of the
    /// world's time, whatever other nodes and scripted peers do.
    ///
    /// Answers are counted: the n-th message received on a connection answers
    /// the n-th message sent. A connection that ends before the answer breaks
    /// the promise, unless this node has ended it. Messages that were sent
    /// before this call are not included. If a promise is broken,
    /// [`World::run_for`] and [`World::run_until`] panic as for
    /// [`World::always`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use peerloop::config::OnPanic;
    /// use peerloop::sim::{self, Faults, World};
    /// use peerloop::{Config, ConnId, Handler, Net};
    ///
    /// /// Answers each message, after a computation of 5 ms.
    /// struct Server;
    ///
    /// impl Handler for Server {
    ///     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
    ///         sim::spend(Duration::from_millis(5));
    ///         let _ = net.send(conn, message);
    ///     }
    /// }
    ///
    /// struct Client;
    ///
    /// impl Handler for Client {
    ///     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
    ///         net.send(conn, b"question").expect("a new connection has room");
    ///     }
    ///
    ///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    /// }
    ///
    /// let config = Config { on_panic: OnPanic::Unwind, ..Config::default() };
    /// let mut world = World::new(7);
    /// world.faults(Faults::calm());
    /// let server = world.node(config.clone(), Server);
    /// let client = world.node(config, Client);
    /// // The link has a latency of 1 ms.
    /// world.promise_served_within(client, Duration::from_millis(8));
    /// let listening = world.with(server, |_, net| net.listen("0.0.0.0:7000"));
    /// let listening = listening.expect("the port is free");
    /// let addr = (world.ip(server), listening.addr.port());
    /// world.with(client, |_, net| net.connect(addr)).expect("no limit is reached");
    /// world.run_for(Duration::from_secs(1));
    /// ```
    pub fn promise_served_within<H: Handler>(&mut self, node: NodeId<H>, bound: Duration) {
        self.add_promise(node.index, Kind::Served, bound);
    }

    /// Promises that a node can connect: each of its attempts to connect that
    /// begins from now on succeeds within `bound` of the world's time. The time
    /// includes the handshake of the session. A broken promise panics; see
    /// [`World::promise_served_within`].
    pub fn promise_connected_within<H: Handler>(&mut self, node: NodeId<H>, bound: Duration) {
        self.add_promise(node.index, Kind::Connected, bound);
    }

    fn add_promise(&mut self, index: usize, kind: Kind, within: Duration) {
        let mut promise = Promise {
            index,
            kind,
            within,
            conns: BTreeMap::new(),
        };
        // Requests that were sent before are not promised.
        let now = self.now();
        let exchanges = self.slots[index].node.iter().flat_map(|it| it.exchanges());
        for exchange in exchanges {
            promise.count(now, &exchange);
            if let Some(waiting) = promise.conns.get_mut(&exchange.conn) {
                waiting.since.clear();
            }
        }
        self.promises.push(promise);
    }
}
