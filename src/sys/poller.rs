//! Waiting, in whichever world.

use std::io;
use std::time::{Duration, Instant};

#[cfg(feature = "sim")]
use super::sim;
use super::{EVENTS_MAX, Readiness, Registrar, os};

/// Waits for readiness, and has the clock.
#[derive(Debug)]
pub(crate) enum Poller {
    Os(os::OsPoller),
    #[cfg(feature = "sim")]
    Sim(sim::SimPoller),
}

impl Poller {
    /// A poller of the operating system that spins for as long as `busy_poll` says before it sleeps.
    pub(crate) fn new(busy_poll: Option<Duration>) -> io::Result<Self> {
        os::OsPoller::new(busy_poll).map(Self::Os)
    }

    pub(crate) fn registrar(&self) -> Registrar {
        match self {
            Self::Os(poller) => Registrar::Os(poller.registrar().clone()),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => Registrar::Sim(poller.registrar().clone()),
        }
    }

    /// Waits until something is ready, the timeout is over or the deadline has come, and hands out all that is ready.
    /// An interrupted wait is one without events.
    ///
    /// The system tells so much at a time; it is asked again for as long as there may be more, so that nobody is judged
    /// by what a deadline says while what it sent is waiting. Each of the `sockets` is told of once, but for those to
    /// which something happens meanwhile: that bounds how often.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
        sockets: usize,
        mut note: impl FnMut(Readiness),
    ) -> io::Result<()> {
        self.wait_once(timeout, deadline)?;
        self.for_each_ready(&mut note);
        for _ in 0..sockets / EVENTS_MAX {
            if !self.is_full() {
                break;
            }
            self.wait_once(Some(Duration::ZERO), None)?;
            self.for_each_ready(&mut note);
        }
        Ok(())
    }

    /// Whether the last wait brought as much as one can, so that there may be more: the next one must not sleep, nor
    /// may a foreign loop, for which no further edge comes.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Os(poller) => poller.is_full(),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => poller.is_full(),
        }
    }

    #[inline]
    fn wait_once(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        match self {
            Self::Os(poller) => poller.wait(timeout, deadline),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => {
                poller.wait();
                Ok(())
            }
        }
    }

    /// Hands out what the last wait brought.
    #[inline]
    fn for_each_ready(&self, note: impl FnMut(Readiness)) {
        match self {
            Self::Os(poller) => poller.ready().for_each(note),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => poller.ready().for_each(note),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Os(poller) => poller.now(),
            #[cfg(feature = "sim")]
            Self::Sim(poller) => poller.now(),
        }
    }

    #[cfg(unix)]
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Os(poller) => poller.as_fd(),
            #[cfg(feature = "sim")]
            Self::Sim(_) => unreachable!("a world keeps its nodes, and asks none for a descriptor"),
        }
    }
}
