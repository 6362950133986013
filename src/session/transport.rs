//! The transport of a connection: plain TCP or a session.

use std::fmt;

use super::Session;

/// The transport of a connection, between its wire and its framing. See
/// [`Handler::transport`](crate::Handler::transport).
///
/// A [`Session`] converts into it:
///
/// ```
/// # use std::error::Error;
/// # use peerloop::session::Session;
/// # use peerloop::Transport;
/// fn secured<S: Session + 'static>(
///     session: std::io::Result<S>,
/// ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
///     Ok(session?.into())
/// }
/// ```
///
/// A handler that uses TLS for every connection:
///
/// ```
/// # #[cfg(feature = "tls")] mod tls_example {
/// use std::error::Error;
/// use std::sync::Arc;
///
/// use peerloop::tls;
/// use peerloop::tls::rustls::pki_types::ServerName;
/// use peerloop::tls::rustls::{ClientConfig, ServerConfig};
/// use peerloop::{ConnId, ConnInfo, Direction, Handler, Net, Transport};
///
/// struct Secured {
///     client: Arc<ClientConfig>,
///     server: Arc<ServerConfig>,
///     name: ServerName<'static>,
/// }
///
/// impl Handler for Secured {
///     fn transport(
///         &mut self,
///         _: &mut Net,
///         _: ConnId,
///         info: &ConnInfo,
///     ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
///         Ok(match info.direction {
///             Direction::Outbound => {
///                 tls::client(self.client.clone(), self.name.clone())?.into()
///             }
///             Direction::Inbound => tls::server(self.server.clone())?.into(),
///         })
///     }
///
///     fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
/// }
/// # }
/// ```
pub enum Transport {
    /// Plain TCP. [`Handler::on_connect`](crate::Handler::on_connect) is called
    /// at once. With
    /// [`require_session`](crate::config::ConnectionConfig::require_session)
    /// the connection fails with
    /// [`ConnectError::Transport`](crate::ConnectError::Transport) instead.
    Plain,
    /// A session. [`Handler::on_connect`](crate::Handler::on_connect) is called
    /// when its handshake has completed.
    Session(Box<dyn Session>),
}

impl<S: Session + 'static> From<S> for Transport {
    fn from(session: S) -> Self {
        Self::Session(Box::new(session))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Session(_) => "Session",
        })
    }
}
