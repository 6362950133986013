//! Floor 4: the only place that knows mio and socket2. Everything above asks for readiness, bytes and the time here.

mod tcp;

pub(crate) use tcp::{Clock, Listener, Poller, Registrar, Reserve, SocketOptions, Stream, Wake};

/// What the poller reports about one key. Hints, all of them: any may be spurious.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) token: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has ended its side, or the connection is gone: reading on to the end is needed even after a short
    /// read, since no further edge will come.
    pub(crate) finished: bool,
}

/// What an error of `accept` speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AcceptError {
    /// Nobody waits.
    Empty,
    /// The connection that was to be accepted is gone, or its network is: the next call is worth making. Linux hands
    /// out the pending network errors of the new socket here (accept(2)).
    OneConnection,
    /// The process, or the system, has no descriptor left.
    NoDescriptor,
    /// Anything else; memory, for instance.
    Other,
}
