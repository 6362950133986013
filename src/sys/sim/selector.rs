//! The selectors of hosts, and the readiness that they report.

/// The readiness of a socket, as `tcp_poll` of Linux computes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Mask {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) finished: bool,
    pub(super) error: bool,
}

impl Mask {
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The selector of a simulated host. It determines after which calls of a
/// program a socket is reported again. Default: [`Selector::Epoll`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Selector {
    /// epoll(7) on Linux, edge-triggered. Data that arrives after a read that
    /// did not fill its buffer is a new event.
    #[default]
    Epoll,
    /// poll(2) and Windows, where mio emulates edges. A direction that was
    /// reported is not reported again until a call on the socket has returned
    /// `WouldBlock`. Then both directions can be reported again, and the
    /// directions that are ready are reported at once.
    Poll,
}

/// The directions for which a socket registered with [`Selector::Poll`] is
/// reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Interest {
    readable: bool,
    writable: bool,
    finished: bool,
}

impl Interest {
    pub(super) const ALL: Self = Self {
        readable: true,
        writable: true,
        finished: true,
    };

    /// Returns the part of a readiness that is reported. An error is always
    /// reported, like POLLERR and POLLHUP of poll(2).
    pub(super) fn of(self, mask: Mask) -> Mask {
        if mask.error {
            return mask;
        }
        Mask {
            readable: mask.readable && self.readable,
            writable: mask.writable && self.writable,
            finished: mask.finished && self.finished,
            error: false,
        }
    }

    /// Removes the reported directions, as mio 1.2 does.
    pub(super) fn remove(&mut self, mask: Mask) {
        self.readable &= !mask.readable;
        self.writable &= !mask.writable;
        self.finished &= !mask.finished;
    }
}
