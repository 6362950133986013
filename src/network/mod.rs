//! Floor 4: the only place that knows mio and socket2. Everything above asks for readiness, bytes and the time here.

mod tcp;

pub(crate) use tcp::{Listener, Poller, Registrar, SocketOptions, Stream, Wake};

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
