//! The only place that knows mio and socket2. Everything above asks for readiness, bytes and the time here.
//!
//! Each type is an enum over the worlds that there are, and its calls go straight through. Whatever makes something new
//! is a call of the [`Registrar`], which knows the world that it belongs to; so nothing above this floor asks which
//! one it lives in.

mod listener;
mod os;
mod poller;
mod registrar;
#[cfg(feature = "sim")]
pub(crate) mod sim;
mod stream;
mod wake_list;

pub(crate) use listener::{AcceptError, Listener, Reserve};
pub(crate) use os::SocketOptions;
pub(crate) use poller::Poller;
pub(crate) use registrar::{Registrar, Wake};
pub(crate) use stream::Stream;
pub(crate) use wake_list::WakeList;

/// Events taken from the system at once. What does not fit stays there and is reported by the next wait.
const EVENTS_MAX: usize = 1024;

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
