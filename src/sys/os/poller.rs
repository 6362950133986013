//! The poll of the operating system, and its registrations.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::facts::{CLOSE_DEREGISTERS, HANGUP_DEREGISTERS};
use super::{OsListener, OsStream, OsUdp};
use crate::counts::Count;
use crate::sys::{EVENTS_MAX, Readiness, WakeList};

/// The poll of the operating system, and the clock.
#[derive(Debug)]
pub(crate) struct OsPoller {
    poll: Poll,
    events: Events,
    registrar: OsRegistrar,
    busy_poll: Option<Duration>,
}

impl OsPoller {
    pub(crate) fn new(busy_poll: Option<Duration>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registrar = OsRegistrar {
            registry: Arc::new(poll.registry().try_clone()?),
            member_tag: 0,
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            registrar,
            busy_poll,
        })
    }

    pub(crate) fn registrar(&self) -> &OsRegistrar {
        &self.registrar
    }

    /// Waits until a socket is ready, or until `timeout` has passed or
    /// `deadline` has come. An interrupted wait returns no events. `now` is a
    /// recent reading of the clock, if there is one.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
        now: Option<Instant>,
    ) -> io::Result<()> {
        // mio rounds up to milliseconds, so the wait never ends before a
        // deadline.
        let until = match deadline {
            Some(deadline) if timeout != Some(Duration::ZERO) => {
                let now = now.unwrap_or_else(|| self.now());
                Some(deadline.saturating_duration_since(now))
            }
            _ => None,
        };
        let timeout = timeout.into_iter().chain(until).min();
        let spin = match (self.busy_poll, timeout) {
            (None, _) | (_, Some(Duration::ZERO)) => return self.poll(timeout),
            (Some(spin), None) => spin,
            (Some(spin), Some(timeout)) => spin.min(timeout),
        };
        if self.spin(spin)? {
            return Ok(());
        }
        self.poll(timeout.map(|timeout| timeout - spin))
    }

    /// Polls for this long without sleeping. Returns whether an event came.
    fn spin(&mut self, spin: Duration) -> io::Result<bool> {
        let begun = self.now();
        loop {
            self.poll(Some(Duration::ZERO))?;
            if !self.events.is_empty() {
                return Ok(true);
            }
            if self.now().saturating_duration_since(begun) >= spin {
                return Ok(false);
            }
        }
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// Returns whether the last wait returned as many events as one wait can.
    /// With poll(2) a wait returns all events, so one more wait finds none.
    pub(crate) fn is_full(&self) -> bool {
        self.events.iter().nth(EVENTS_MAX - 1).is_some()
    }

    /// Returns the events of the last wait.
    pub(crate) fn ready(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.events.iter().map(|event| {
            let failed = event.is_error();
            Readiness {
                token: event.token().0,
                readable: event.is_readable() || failed,
                writable: event.is_writable() || failed,
                finished: event.is_read_closed() || failed,
                write_closed: event.is_write_closed(),
                error: failed,
            }
        })
    }

    pub(crate) fn now(&self) -> Instant {
        read_clock()
    }

    // poll(2) has no descriptor.
    #[cfg(all(unix, not(mio_unsupported_force_poll_poll)))]
    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(self.poll.registry())
    }
}

#[inline]
fn read_clock() -> Instant {
    Count::ClockReads.add(1);
    Instant::now()
}

/// Registers sockets. mio is edge-triggered, so a registered socket needs a
/// further call only when it is to be reported for other reasons.
#[derive(Clone, Debug)]
pub(crate) struct OsRegistrar {
    registry: Arc<Registry>,
    /// Added to each token. It identifies the member of a group.
    member_tag: usize,
}

impl OsRegistrar {
    pub(crate) fn add_stream(&self, stream: &mut OsStream, token: usize) -> io::Result<()> {
        let interest = if stream.watches_room {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let token = Token(self.member_tag | token);
        self.registry.register(&mut stream.socket, token, interest)
    }

    pub(crate) fn watch_room(&self, stream: &mut OsStream, token: usize) -> io::Result<()> {
        if stream.watches_room {
            return Ok(());
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(self.member_tag | token);
        self.registry
            .reregister(&mut stream.socket, token, interest)?;
        stream.watches_room = true;
        Ok(())
    }

    pub(crate) fn remove_stream(&self, stream: &mut OsStream) -> io::Result<()> {
        self.registry.deregister(&mut stream.socket)
    }

    pub(crate) fn close_stream(&self, mut stream: OsStream) -> io::Result<()> {
        if CLOSE_DEREGISTERS && stream.is_own.get() {
            return Ok(());
        }
        self.remove_stream(&mut stream)
    }

    pub(crate) fn add_listener(&self, listener: &mut OsListener, token: usize) -> io::Result<()> {
        let token = Token(self.member_tag | token);
        self.registry
            .register(&mut listener.socket, token, Interest::READABLE)
    }

    pub(crate) fn remove_listener(&self, listener: &mut OsListener) -> io::Result<()> {
        self.registry.deregister(&mut listener.socket)
    }

    pub(crate) fn add_udp(&self, udp: &mut OsUdp, token: usize) -> io::Result<()> {
        let token = Token(self.member_tag | token);
        self.registry
            .register(&mut udp.0, token, Interest::READABLE)
    }

    /// Changes whether the socket is reported when it has room. Present
    /// readiness is reported again.
    pub(crate) fn watch_udp(
        &self,
        udp: &mut OsUdp,
        token: usize,
        for_room: bool,
    ) -> io::Result<()> {
        let token = Token(self.member_tag | token);
        let interest = if for_room {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        self.registry.reregister(&mut udp.0, token, interest)
    }

    pub(crate) fn remove_udp(&self, udp: &mut OsUdp) -> io::Result<()> {
        self.registry.deregister(&mut udp.0)
    }

    pub(crate) fn add_source(
        &self,
        source: &mut (impl Source + ?Sized),
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let token = Token(self.member_tag | token);
        self.registry.register(source, token, interest)
    }

    pub(crate) fn change_source(
        &self,
        source: &mut (impl Source + ?Sized),
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let mio_token = Token(self.member_tag | token);
        match self.registry.reregister(source, mio_token, interest) {
            Err(error) if HANGUP_DEREGISTERS && error.kind() == io::ErrorKind::NotFound => {
                // The source itself has not noticed that.
                let _ = self.registry.deregister(source);
                self.add_source(source, token, interest)
            }
            result => result,
        }
    }

    pub(crate) fn remove_source(&self, source: &mut (impl Source + ?Sized)) -> io::Result<()> {
        match self.registry.deregister(source) {
            Err(error) if HANGUP_DEREGISTERS && error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        read_clock()
    }

    pub(crate) fn waker(&self, token: usize) -> io::Result<OsWake> {
        let waker = Waker::new(&self.registry, Token(token))?;
        Ok(OsWake {
            waker: Arc::new(waker),
            wake_list: None,
        })
    }

    /// Returns a registrar of the same poll, for the member of a group with
    /// this tag.
    pub(crate) fn with_member_tag(&self, member_tag: usize) -> Self {
        let registry = Arc::clone(&self.registry);
        Self {
            registry,
            member_tag,
        }
    }
}

/// Ends the wait of another thread.
#[derive(Debug)]
pub(crate) struct OsWake {
    waker: Arc<Waker>,
    /// The member of a group to wake, because a poll has only one waker.
    wake_list: Option<(WakeList, usize)>,
}

impl OsWake {
    pub(crate) fn wake(&self) -> io::Result<()> {
        if let Some((wake_list, member)) = &self.wake_list {
            wake_list.push(*member);
        }
        self.waker.wake()
    }

    /// Returns the same waker, for a member of a group.
    pub(crate) fn for_member(&self, member: usize, wake_list: WakeList) -> Self {
        Self {
            waker: Arc::clone(&self.waker),
            wake_list: Some((wake_list, member)),
        }
    }
}
