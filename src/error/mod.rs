//! Errors, one enum per operation, and the reasons for which connections end.

mod config;
mod connect;
mod disconnect;
mod framing;
mod hello;
mod os;
mod send;
mod send_to;
mod session;

pub use config::ConfigError;
pub(crate) use config::UNSUPPORTED;
pub use connect::{ConnectError, TransportError};
pub use disconnect::{DisconnectReason, TimeoutKind};
pub use framing::FramingError;
pub use hello::HelloRefusal;
pub use os::OsError;
pub use send::SendError;
pub use send_to::SendToError;
pub use session::SessionError;
