//! TCP through mio.

mod listener;
mod poller;
mod stream;

pub(super) use listener::{Listener, Reserve};
pub(super) use poller::{Poller, Registrar, Wake};
pub(crate) use stream::SocketOptions;
pub(super) use stream::Stream;
