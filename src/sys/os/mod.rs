//! The operating system, through mio and socket2.

mod facts;
mod listener;
mod poller;
mod stream;

pub(super) use listener::{OsListener, OsReserve};
pub(crate) use mio::Interest;
pub(crate) use mio::event::Source;
pub(super) use poller::{OsPoller, OsRegistrar, OsWake};
pub(super) use stream::OsStream;
pub(crate) use stream::SocketOptions;
