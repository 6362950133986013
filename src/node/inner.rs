//! A node but for its poller and its read buffer, which the members of a group share.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::buffers::ReadBuffer;
use crate::command_queue::{self, Inbox};
use crate::config::Config;
use crate::cross_shard::ShardRouter;
use crate::event_loop::{EventLoop, LoopState};
use crate::handler::Handler;
use crate::net::Net;
use crate::node::Handle;
use crate::sys::{Readiness, Registrar, Wake};

/// What belongs to one node alone.
pub(crate) struct NodeInner<H> {
    state: LoopState,
    pub(crate) net: Net,
    inbox: Inbox<H>,
    pub(crate) handler: H,
}

/// The name of the next node that was given none.
static NEXT_NAME: AtomicU64 = AtomicU64::new(0);

/// Gives a node that has none a name.
pub(crate) fn give_name(config: &mut Config) {
    if config.name.is_empty() {
        config.name = NEXT_NAME.fetch_add(1, Ordering::Relaxed).to_string();
    }
}

impl<H> NodeInner<H> {
    /// Makes a node in the world of `registrar`.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` when a setting cannot work;
    /// - what `wake` says.
    pub(crate) fn new(
        mut config: Config,
        handler: H,
        registrar: Registrar,
        wake: impl FnOnce(&Registrar) -> io::Result<Wake>,
    ) -> io::Result<Self> {
        config.validate()?;
        give_name(&mut config);
        let wake = wake(&registrar)?;
        let inbox = Inbox::new(command_queue::number(), wake, &config);
        Ok(Self::with_inbox(config, handler, registrar, inbox, None))
    }

    /// Makes a node, or one of several shards, whose settings are valid.
    pub(crate) fn with_inbox(
        config: Config,
        handler: H,
        registrar: Registrar,
        inbox: Inbox<H>,
        router: Option<ShardRouter>,
    ) -> Self {
        let now = registrar.now();
        Self {
            state: LoopState::new(),
            inbox,
            net: Net::new(config, registrar, now, router),
            handler,
        }
    }

    /// What the handler is given, with the time that it is.
    pub(crate) fn net(&mut self, now: Instant) -> &mut Net {
        self.net.now = now;
        &mut self.net
    }

    pub(crate) fn handle(&self) -> Handle<H> {
        Handle::new(self.inbox.sender())
    }

    /// What the world that the node lives in looks at.
    #[cfg(feature = "sim")]
    pub(crate) fn parts(&self) -> (&LoopState, &Net, &H) {
        (&self.state, &self.net, &self.handler)
    }

    /// Writes an event down.
    #[inline]
    pub(crate) fn note(&mut self, ready: Readiness) {
        self.state.note(&mut self.net, ready);
    }

    /// When there is something to do even if nothing happens.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.net.deadlines.next()
    }

    /// How many sockets there are at most.
    #[inline]
    pub(crate) fn sockets(&self) -> usize {
        self.net.conns.len() + self.net.listeners.len()
    }

    /// Whether there is something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        let shutdown_waits = self.net.stopping.is_some_and(|stopping| !stopping.begun);
        shutdown_waits
            || self.state.has_work()
            || !self.net.work.is_empty()
            || self.inbox.has_work()
    }

    /// Whether the shutdown is complete.
    pub(crate) fn has_stopped(&self) -> bool {
        self.net.stopping.is_some_and(|stopping| stopping.begun) && self.net.conns.len() == 0
    }
}

impl<H: Handler> NodeInner<H> {
    /// Does all there is to do now, within the budgets.
    pub(crate) fn turn(&mut self, buffer: &mut ReadBuffer, now: Instant) {
        self.net.now = now;
        let _running = self.inbox.enter();
        let Self {
            state,
            net,
            inbox,
            handler,
        } = self;
        EventLoop {
            state,
            buffer,
            net,
            handler,
        }
        .turn(inbox);
        if self.has_stopped() {
            self.inbox.close();
        }
    }
}

impl<H> fmt::Debug for NodeInner<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("net", &self.net)
            .finish_non_exhaustive()
    }
}
