//! A node without its poller and read buffer, which the members of a group
//! share.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::buffers::ReadBuffer;
use crate::command_queue::{Inbox, Scope};
use crate::config::Config;
use crate::cross_shard::ShardRouter;
use crate::event_loop::{EventLoop, LoopState};
use crate::handler::Handler;
use crate::net::Net;
use crate::node::Handle;
#[cfg(feature = "sim")]
use crate::node::Node;
use crate::sys::{Readiness, Registrar};

/// The parts that belong to one node alone.
pub(crate) struct NodeInner<H> {
    parts: Parts<H>,
    pub(crate) handler: H,
}

/// A node without its handler.
struct Parts<H> {
    state: LoopState,
    net: Net,
    inbox: Inbox<H>,
}

impl<H> Drop for Parts<H> {
    /// Resets connections that have bytes to send, so that a peer does not
    /// mistake a truncated stream for a complete one.
    fn drop(&mut self) {
        let net = &mut self.net;
        self.inbox.close_with(|conn| net.mark_cut(conn));
        net.reset_cut_off();
    }
}

/// The number in the name of the next node without a configured name.
static NEXT_NAME: AtomicU64 = AtomicU64::new(0);

/// Sets the name of a node that has none.
pub(crate) fn give_name(config: &mut Config) {
    if config.name.is_empty() {
        config.name = NEXT_NAME.fetch_add(1, Ordering::Relaxed).to_string();
    }
}

impl<H> NodeInner<H> {
    /// Creates a node, or one of several shards, in the world of `registrar`.
    /// The settings are valid and have a name.
    pub(crate) fn new(
        config: Config,
        handler: H,
        registrar: Registrar,
        inbox: Inbox<H>,
        router: Option<ShardRouter>,
    ) -> Self {
        let now = registrar.now();
        let parts = Parts {
            state: LoopState::new(),
            net: Net::new(config, registrar, now, router),
            inbox,
        };
        Self { parts, handler }
    }

    /// Returns the net, with the current time.
    pub(crate) fn net(&mut self, now: Instant) -> &mut Net {
        self.parts.net.set_now(now);
        &mut self.parts.net
    }

    /// Returns the net, immutably.
    pub(crate) fn peek(&self) -> &Net {
        &self.parts.net
    }

    /// Calls a function between turns. Waiting for this loop in it would be a
    /// deadlock, as in a callback.
    pub(crate) fn with<R>(&mut self, now: Instant, call: impl FnOnce(&mut H, &mut Net) -> R) -> R {
        self.parts.net.set_now(now);
        let _running = self.parts.inbox.enter(Scope::BetweenTurns);
        call(&mut self.handler, &mut self.parts.net)
    }

    pub(crate) fn handle(&self) -> Handle<H> {
        Handle::new(self.parts.inbox.sender())
    }

    /// Returns the parts that the simulated world of the node inspects.
    #[cfg(feature = "sim")]
    pub(crate) fn parts(&self) -> (&LoopState, &Net, &H) {
        (&self.parts.state, &self.parts.net, &self.handler)
    }

    /// Returns the parts that a program can use between turns.
    #[cfg(feature = "sim")]
    pub(crate) fn parts_mut(&mut self, now: Instant) -> (&mut H, &mut Net) {
        self.parts.net.set_now(now);
        (&mut self.handler, &mut self.parts.net)
    }

    /// Records an event.
    #[inline]
    pub(crate) fn note(&mut self, ready: Readiness) {
        self.parts.state.note_event(&mut self.parts.net, ready);
    }

    /// Returns the time of the next deadline.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.parts.net.timers.next()
    }

    /// Returns the latest reading of the clock.
    pub(crate) fn clock(&self) -> Instant {
        self.parts.net.clock.latest()
    }

    /// Returns the number of sockets, including listeners and the program's own
    /// sources. Connections without a socket yet are counted too.
    #[inline]
    pub(crate) fn sockets(&self) -> usize {
        let net = &self.parts.net;
        net.conns.len()
            + net.listeners.len()
            + net.headers.len()
            + net.udp.len()
            + net.sources.len()
    }

    /// Returns whether there is work at once.
    pub(crate) fn has_work(&self) -> bool {
        let Parts { state, net, inbox } = &self.parts;
        let shutdown_waits = net.stopping.is_some_and(|stopping| !stopping.begun);
        let net_waits = !net.work.is_empty() || net.udp.has_work() || net.sources.has_ready();
        shutdown_waits || state.has_work() || net_waits || inbox.has_work()
    }

    /// Returns whether the shutdown is complete.
    pub(crate) fn has_stopped(&self) -> bool {
        let net = &self.parts.net;
        net.stopping.is_some_and(|stopping| stopping.begun) && net.conns.len() == 0
    }
}

impl<H: Handler> NodeInner<H> {
    /// Does the work that is due now, within the budgets.
    pub(crate) fn turn(&mut self, buffer: &mut ReadBuffer, now: Instant) {
        let Parts { state, net, inbox } = &mut self.parts;
        net.begin_turn(now);
        let _running = inbox.enter(Scope::Turn);
        EventLoop {
            state,
            buffer,
            net,
            handler: &mut self.handler,
        }
        .turn(inbox);
        if self.has_stopped() {
            self.parts.inbox.close();
        }
    }
}

impl<H> fmt::Debug for NodeInner<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeInner")
            .field("net", &self.parts.net)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "sim")]
impl<H: Handler> Node<H> {
    /// Returns the parts that the world of the node inspects.
    pub(crate) fn parts(&self) -> (&LoopState, &Net, &H) {
        self.inner.parts()
    }

    pub(crate) fn parts_mut(&mut self) -> (&mut H, &mut Net) {
        self.inner.parts_mut(self.poller.now())
    }

    /// Returns whether there is work at once.
    pub(crate) fn is_busy(&self) -> bool {
        self.has_work()
    }
}
