//! Pollers of both backends.

use std::io;
use std::time::{Duration, Instant};

#[cfg(feature = "sim")]
use super::sim;
use super::{EVENTS_MAX, Readiness, Registrar, dispatch, os};

/// A poller, and the clock.
#[derive(Debug)]
pub(crate) enum Poller {
    Os(os::OsPoller),
    #[cfg(feature = "sim")]
    Sim(sim::SimPoller),
}

impl Poller {
    /// Makes a poller of the operating system. Before it sleeps, it polls
    /// without sleeping for `busy_poll`.
    pub(crate) fn new(busy_poll: Option<Duration>) -> io::Result<Self> {
        os::OsPoller::new(busy_poll).map(Self::Os)
    }

    pub(crate) fn registrar(&self) -> Registrar {
        dispatch!(self, poller => poller.registrar().clone().into())
    }

    /// Waits until a socket is ready, or until `timeout` has passed or
    /// `deadline` has come, and passes each event to `on_ready`. An interrupted
    /// wait returns no events. `now` is a reading of the clock since which
    /// nothing took long; without one the clock is read.
    ///
    /// The system returns at most [`EVENTS_MAX`] events in one call. It is
    /// called again while there may be more, so that no timeout is handled
    /// while bytes of that connection are waiting. Each of the `sockets` is
    /// reported once, unless new events arrive meanwhile; that bounds the
    /// number of calls.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
        now: Option<Instant>,
        sockets: usize,
        mut on_ready: impl FnMut(Readiness),
    ) -> io::Result<()> {
        self.wait_once(timeout, deadline, now)?;
        self.for_each_ready(&mut on_ready);
        for _ in 0..sockets / EVENTS_MAX {
            if !self.is_full() {
                break;
            }
            self.wait_once(Some(Duration::ZERO), None, None)?;
            self.for_each_ready(&mut on_ready);
        }
        Ok(())
    }

    /// Returns whether the last wait returned as many events as one wait can,
    /// so that there may be more. Then neither the next wait nor the loop of
    /// another library may sleep, because no further edge comes for these
    /// events.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        dispatch!(self, poller => poller.is_full())
    }

    #[inline]
    fn wait_once(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
        now: Option<Instant>,
    ) -> io::Result<()> {
        dispatch!(self, poller => poller.wait(timeout, deadline, now))
    }

    /// Passes the events of the last wait to `on_ready`.
    #[inline]
    fn for_each_ready(&self, on_ready: impl FnMut(Readiness)) {
        dispatch!(self, poller => poller.ready().for_each(on_ready));
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        dispatch!(self, poller => poller.now())
    }

    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Os(poller) => poller.as_fd(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("a world does not call `as_fd` on its nodes"),
        }
    }
}
