//! The operating system, through mio and socket2.

mod alive;
mod facts;
mod listener;
mod poller;
mod stream;
mod udp;

pub(super) use listener::{OsListener, OsReserve};
pub(crate) use mio::Interest;
pub(crate) use mio::event::Source;
pub(super) use poller::{OsPoller, OsRegistrar, OsWake};
pub(super) use stream::OsStream;
pub(crate) use stream::SocketOptions;
pub(super) use udp::OsUdp;
