//! A node without its poller and its read buffer, which the members of a group
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
    /// A connection with something to send is reset: a peer must not take the
    /// end of a stream that was cut for a close.
    fn drop(&mut self) {
        let net = &mut self.net;
        self.inbox.close_with(|conn| net.mark_cut(conn));
        net.reset_cut_off();
    }
}

/// The number in the name of the next node that was given no name.
static NEXT_NAME: AtomicU64 = AtomicU64::new(0);

/// Gives a node that has none a name.
pub(crate) fn give_name(config: &mut Config) {
    if config.name.is_empty() {
        config.name = NEXT_NAME.fetch_add(1, Ordering::Relaxed).to_string();
    }
}

impl<H> NodeInner<H> {
    /// Makes a node, or one of several shards, in the world of `registrar`. The
    /// settings are valid and have a name.
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

    /// The net of the handler, with the present time.
    pub(crate) fn net(&mut self, now: Instant) -> &mut Net {
        self.parts.net.set_now(now);
        &mut self.parts.net
    }

    /// The net, to look at only.
    pub(crate) fn peek(&self) -> &Net {
        &self.parts.net
    }

    /// Calls a function between turns. As in a callback, a wait for this loop
    /// would not end in it.
    pub(crate) fn with<R>(&mut self, now: Instant, call: impl FnOnce(&mut H, &mut Net) -> R) -> R {
        self.parts.net.set_now(now);
        let _running = self.parts.inbox.enter(Scope::BetweenTurns);
        call(&mut self.handler, &mut self.parts.net)
    }

    pub(crate) fn handle(&self) -> Handle<H> {
        Handle::new(self.parts.inbox.sender())
    }

    /// The parts that the simulated world of the node looks at.
    #[cfg(feature = "sim")]
    pub(crate) fn parts(&self) -> (&LoopState, &Net, &H) {
        (&self.parts.state, &self.parts.net, &self.handler)
    }

    /// The parts that a program reaches between turns.
    #[cfg(feature = "sim")]
    pub(crate) fn parts_mut(&mut self, now: Instant) -> (&mut H, &mut Net) {
        self.parts.net.set_now(now);
        (&mut self.handler, &mut self.parts.net)
    }

    /// Writes an event down.
    #[inline]
    pub(crate) fn note(&mut self, ready: Readiness) {
        self.parts.state.note_event(&mut self.parts.net, ready);
    }

    /// When there is something to do even if nothing happens.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.parts.net.timers.next()
    }

    /// The number of sockets, listeners included. Connections without a socket
    /// yet count too.
    #[inline]
    pub(crate) fn sockets(&self) -> usize {
        self.parts.net.conns.len() + self.parts.net.listeners.len()
    }

    /// Whether there is something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        let Parts { state, net, inbox } = &self.parts;
        let shutdown_waits = net.stopping.is_some_and(|stopping| !stopping.begun);
        shutdown_waits || state.has_work() || !net.work.is_empty() || inbox.has_work()
    }

    /// Whether the shutdown is complete.
    pub(crate) fn has_stopped(&self) -> bool {
        let net = &self.parts.net;
        net.stopping.is_some_and(|stopping| stopping.begun) && net.conns.len() == 0
    }
}

impl<H: Handler> NodeInner<H> {
    /// Does all there is to do now, within the budgets.
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
    /// The parts that the world of the node looks at.
    pub(crate) fn parts(&self) -> (&LoopState, &Net, &H) {
        self.inner.parts()
    }

    pub(crate) fn parts_mut(&mut self) -> (&mut H, &mut Net) {
        self.inner.parts_mut(self.poller.now())
    }

    /// Whether it wants another turn at once.
    pub(crate) fn is_busy(&self) -> bool {
        self.has_work()
    }
}
