//! The requests of a handler.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::{BeginError, FailedRequest, RequestFailure, RequestRefusal};
use crate::connection::ConnectionState;
use crate::id::{ConnId, TimerId};
use crate::net::Net;

/// Limits of a [`Requests`].
///
/// A limit of zero allows no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestLimits {
    /// Maximum number of requests, on all connections together. Counted are
    /// requests without an outcome, and failed ones that
    /// [`next_failed`](Requests::next_failed) has not returned.
    ///
    /// Default: 16,384. With a context of 1 KiB each, they take 16 MiB.
    pub max_requests: usize,
    /// Maximum number of requests without an outcome on one connection.
    ///
    /// Default: 1,024, so that a few peers that do not answer do not use up
    /// `max_requests`.
    pub max_requests_per_connection: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            max_requests: 16_384,
            max_requests_per_connection: 1_024,
        }
    }
}

/// The requests of a handler that have no answer yet, each with a context of
/// the program.
///
/// The [module](super) has an example. The handler forwards
/// [`on_disconnect`](Self::on_disconnect) and [`on_timer`](Self::on_timer), and
/// then takes the requests that have failed from
/// [`next_failed`](Self::next_failed). Each request has exactly one outcome:
/// its context is returned by `answer`, by `cancel` or by `next_failed`.
///
/// An id is never given out twice by one `Requests`. Ids are consecutive, so a
/// peer can guess them. It gains nothing, because only the connection that was
/// asked can answer. A peer can see from the ids how many requests this node
/// makes.
///
/// With [`Shards`](crate::shards::Shards), each handler has its own `Requests`,
/// for the connections of its shard.
///
/// A `Requests` belongs to one node, because it stores ids of the node's
/// connections and timers.
///
/// The recipe [request and
/// answer](crate::guide::recipes#request-and-answer) asks another server when a
/// request fails.
#[derive(Debug)]
pub struct Requests<C> {
    limits: RequestLimits,
    next_id: u64,
    /// The pending requests of each connection that has some, by id.
    pending: HashMap<ConnId, BTreeMap<u64, PendingRequest<C>>>,
    /// The number of pending requests.
    len: usize,
    /// The request of each timer.
    timers: HashMap<TimerId, (ConnId, u64)>,
    failed: VecDeque<FailedRequest<C>>,
}

#[derive(Debug)]
struct PendingRequest<C> {
    timer: TimerId,
    context: C,
}

impl<C> Default for Requests<C> {
    fn default() -> Self {
        Self::new(RequestLimits::default())
    }
}

impl<C> Requests<C> {
    /// Creates a `Requests` without requests. [`Requests::default`] has the
    /// default limits.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            next_id: 1,
            pending: HashMap::new(),
            len: 0,
            timers: HashMap::new(),
            failed: VecDeque::new(),
        }
    }

    /// Begins a request to the peer of this connection, and returns its id. The
    /// program sends the message, which contains the id. If that send fails,
    /// call [`cancel`](Self::cancel).
    ///
    /// The timeout counts as that of [`Net::set_timer`], from the end of the
    /// turn inside a callback.
    ///
    /// # Errors
    ///
    /// The error contains the context.
    ///
    /// - [`RequestRefusal::NotConnected`] if the connection is not open, or
    ///   belongs to another [shard](crate::shards);
    /// - [`RequestRefusal::TooManyRequests`] or
    ///   [`RequestRefusal::TooManyOnConnection`] if that limit is reached.
    pub fn begin(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        timeout: Duration,
        context: C,
    ) -> Result<u64, BeginError<C>> {
        if let Some(reason) = self.refusal(net, conn) {
            return Err(BeginError { reason, context });
        }
        let id = self.next_id;
        self.next_id += 1;
        let timer = net.set_timer(timeout, 0);
        self.timers.insert(timer, (conn, id));
        let request = PendingRequest { timer, context };
        self.pending.entry(conn).or_default().insert(id, request);
        self.len += 1;
        Ok(id)
    }

    fn refusal(&self, net: &Net, conn: ConnId) -> Option<RequestRefusal> {
        let state = net.connection(conn).map(|it| it.state());
        let on_connection = self.pending.get(&conn).map_or(0, BTreeMap::len);
        if state != Some(ConnectionState::Connected) {
            Some(RequestRefusal::NotConnected)
        } else if self.len + self.failed.len() >= self.limits.max_requests {
            Some(RequestRefusal::TooManyRequests)
        } else if on_connection >= self.limits.max_requests_per_connection {
            Some(RequestRefusal::TooManyOnConnection)
        } else {
            None
        }
    }

    /// Ends a request because `conn` has answered it. Returns its context.
    ///
    /// Returns `None` if the answer belongs to no request: the id is unknown,
    /// it was answered before, it has failed or was cancelled, or another
    /// connection was asked. An answer that is late is therefore `None` too,
    /// which is not the fault of the peer.
    pub fn answer(&mut self, net: &mut Net, conn: ConnId, id: u64) -> Option<C> {
        let pending = self.remove(conn, id)?;
        net.cancel_timer(pending.timer);
        Some(pending.context)
    }

    /// Ends a request whose answer is not needed. Returns its context, or
    /// `None` if it has ended. An answer that arrives later is ignored.
    pub fn cancel(&mut self, net: &mut Net, conn: ConnId, id: u64) -> Option<C> {
        self.answer(net, conn, id)
    }

    /// To be called in
    /// [`Handler::on_disconnect`](crate::Handler::on_disconnect). All requests
    /// on this connection fail, in the order in which they began.
    pub fn on_disconnect(&mut self, net: &mut Net, conn: ConnId) {
        let requests = self.pending.remove(&conn).unwrap_or_default();
        self.len -= requests.len();
        for (id, request) in requests {
            self.timers.remove(&request.timer);
            net.cancel_timer(request.timer);
            self.fail(conn, id, RequestFailure::Disconnected, request.context);
        }
    }

    /// To be called in [`Handler::on_timer`](crate::Handler::on_timer). Returns
    /// whether the timer is one of this `Requests`. Its request has failed
    /// then.
    pub fn on_timer(&mut self, net: &mut Net, timer: TimerId) -> bool {
        let _ = net;
        let Some((conn, id)) = self.timers.get(&timer).copied() else {
            return false;
        };
        if let Some(request) = self.remove(conn, id) {
            self.fail(conn, id, RequestFailure::TimedOut, request.context);
        }
        true
    }

    /// Returns the next request that has failed, in the order in which they
    /// failed. Call it after [`on_disconnect`](Self::on_disconnect) and
    /// [`on_timer`](Self::on_timer) until it returns `None`.
    pub fn next_failed(&mut self) -> Option<FailedRequest<C>> {
        self.failed.pop_front()
    }

    /// Returns the number of requests without an outcome.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether no request is without an outcome.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn fail(&mut self, conn: ConnId, id: u64, reason: RequestFailure, context: C) {
        self.failed.push_back(FailedRequest {
            conn,
            id,
            reason,
            context,
        });
    }

    fn remove(&mut self, conn: ConnId, id: u64) -> Option<PendingRequest<C>> {
        let requests = self.pending.get_mut(&conn)?;
        let request = requests.remove(&id)?;
        if requests.is_empty() {
            self.pending.remove(&conn);
        }
        self.len -= 1;
        self.timers.remove(&request.timer);
        Some(request)
    }
}
