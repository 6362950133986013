//! Sockets, readiness and the clock. No other module calls mio or socket2.
//!
//! There are two backends: [`os`] calls the operating system, and `sim`, with
//! the feature `sim`, calls a simulated kernel. Each type here is an enum over
//! the two backends and forwards its calls. New sockets come from a
//! [`Registrar`], which belongs to one backend, so no code outside of this
//! module depends on the backend.

mod dispatch;
mod listener;
mod os;
mod poller;
mod readiness;
mod registrar;
#[cfg(feature = "sim")]
pub(crate) mod sim;
mod stream;
mod udp;
mod wake_list;

use dispatch::{dispatch, from_backends};
pub(crate) use listener::{AcceptError, Listener, Reserve};
pub(crate) use os::{Interest, SocketOptions, Source};
pub(crate) use poller::Poller;
pub use readiness::Readiness;
pub(crate) use registrar::{Registrar, Wake};
pub(crate) use stream::Stream;
pub(crate) use udp::{Udp, UdpError};
pub(crate) use wake_list::WakeList;

/// Maximum number of events that are taken from the system in one call. The
/// system keeps the others and reports them in the next call.
const EVENTS_MAX: usize = 1024;
