//! TLS 1.2 and 1.3 sessions on top of [rustls] with its ring provider. Requires
//! the feature `tls`.
//!
//! [`client`] and [`server`] return a [`Session`] for a configuration of
//! rustls. This module exports the crate as [`rustls`](mod@rustls), so that a
//! program need not depend on it. The configuration decides everything:
//! certificates, trust, versions, ALPN, client certificates, resumption. The
//! client is usually the end that opened the connection,
//! [`Direction::Outbound`].
//!
//! # Examples
//!
//! Two nodes that accept each other's certificate and no other one, as in small
//! peer-to-peer networks. Each node makes its own certificate, and both ends
//! authenticate. [Self-signed certificates](#self-signed-certificates) shows
//! peers that are not known in advance.
//!
//! ```
//! use std::error::Error;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use peerloop::config::ConnectionConfig;
//! use peerloop::group::Group;
//! use peerloop::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
//! use peerloop::tls::rustls::server::WebPkiClientVerifier;
//! use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
//! use peerloop::{Config, ConnId, ConnInfo, Direction, Handler, Net, RunEnd, Transport, tls};
//!
//! struct Friend {
//!     name: &'static str,
//!     client: Arc<ClientConfig>,
//!     server: Arc<ServerConfig>,
//!     friends: Vec<CertificateDer<'static>>,
//!     greeting: Option<String>,
//! }
//!
//! impl Friend {
//!     fn new(
//!         name: &'static str,
//!         certificate: CertificateDer<'static>,
//!         key: PrivateKeyDer<'static>,
//!         friends: &[CertificateDer<'static>],
//!     ) -> Result<Self, Box<dyn Error>> {
//!         let mut roots = RootCertStore::empty();
//!         for friend in friends {
//!             roots.add(friend.clone())?;
//!         }
//!         let roots = Arc::new(roots);
//!         let provider = tls::provider();
//!         let client = ClientConfig::builder_with_provider(provider.clone())
//!             .with_safe_default_protocol_versions()?
//!             .with_root_certificates(roots.clone())
//!             .with_client_auth_cert(vec![certificate.clone()], key.clone_key())?;
//!         let verifier =
//!             WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
//!         let server = ServerConfig::builder_with_provider(provider)
//!             .with_safe_default_protocol_versions()?
//!             .with_client_cert_verifier(verifier)
//!             .with_single_cert(vec![certificate], key)?;
//!         let (client, server, friends) = (Arc::new(client), Arc::new(server), friends.to_vec());
//!         Ok(Self { name, client, server, friends, greeting: None })
//!     }
//! }
//!
//! impl Handler for Friend {
//!     fn transport(
//!         &mut self,
//!         _: &mut Net,
//!         _: ConnId,
//!         info: &ConnInfo,
//!     ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
//!         let session = match info.direction {
//!             Direction::Outbound => {
//!                 tls::client(self.client.clone(), ServerName::try_from("bob")?)?
//!             }
//!             Direction::Inbound => tls::server(self.server.clone())?,
//!         };
//!         Ok(session.into())
//!     }
//!
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         // The certificate identifies the friend; see "Trust" below.
//!         let shown = net.connection(conn).and_then(|c| c.identity()?.certificates.first());
//!         if self.friends.iter().any(|friend| Some(friend.as_ref()) == shown.map(Vec::as_slice)) {
//!             let _ = net.send(conn, self.name.as_bytes());
//!         } else {
//!             net.abort(conn);
//!         }
//!     }
//!
//!     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//!         self.greeting = Some(String::from_utf8_lossy(message).into_owned());
//!         net.close(conn);
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn Error>> {
//! // A real node stores its key and gives its certificate to its friends.
//! let alice = rcgen::generate_simple_self_signed(["alice".to_owned()])?;
//! let bob = rcgen::generate_simple_self_signed(["bob".to_owned()])?;
//! let key = |bytes: Vec<u8>| PrivateKeyDer::try_from(bytes);
//! let (alices, bobs) = (alice.cert.der().clone(), bob.cert.der().clone());
//!
//! let key_of_bob = key(bob.signing_key.serialize_der())?;
//! let key_of_alice = key(alice.signing_key.serialize_der())?;
//! let bob = Friend::new("bob", bobs.clone(), key_of_bob, &[alices.clone()])?;
//! let alice = Friend::new("alice", alices, key_of_alice, &[bobs])?;
//! // A handler that forgets `transport` sends nothing in plaintext.
//! let connection = ConnectionConfig { require_session: true, ..Default::default() };
//! let config = Config { connection, ..Default::default() };
//! let mut group = Group::new()?;
//! let (bob, alice) = (group.add(config.clone(), bob)?, group.add(config, alice)?);
//! let listening = group.net(bob).expect("a member").listen("127.0.0.1:0")?;
//! group.net(alice).expect("a member").connect(listening.addr)?;
//! let end = group.run_until(Duration::from_secs(10), |group| {
//!     let is_greeted = |id| group.handler(id).is_some_and(|it: &Friend| it.greeting.is_some());
//!     is_greeted(alice) && is_greeted(bob)
//! })?;
//! assert_eq!(end, RunEnd::Done);
//! # Ok(())
//! # }
//! ```
//!
#![doc = include_str!("self_signed.md")]
//!
//! # Trust
//!
//! - **Known peers.** In the first example the certificate of each friend is an
//!   anchor. An anchor vouches for everything that its key signs, so a friend
//!   can make certificates with the name of another friend. Identify a friend
//!   by comparing `certificates` or `public_key` with the known ones, not by a
//!   name. The client checks the name too: each certificate must contain the
//!   name that is passed to [`client`], and must have a distinct subject. A
//!   peer with an unknown certificate whose subject is that of a friend is
//!   refused for its signature, not as unknown.
//! - **A private authority.** Only its certificate is in the store, and it
//!   signs the certificates of the peers.
//! - **The public authorities.** For servers of the web, with the anchors of
//!   the crate `webpki-roots`.
//! - **Self-signed certificates.** Peers are identified by the hash of their
//!   key, as in [the example above](#self-signed-certificates). Verify the
//!   signatures of the handshake; without that a certificate proves nothing.
//!   The server name need not mean anything then. Check the key in the
//!   verifier, or in [`Handler::on_connect`] by
//!   [`Identity::public_key`](crate::session::Identity::public_key).
//!
//! # The identity of the peer
//!
//! When [`Handler::on_connect`] is called, the connection has an
//! [`Identity`](crate::session::Identity):
//!
//! | field | on the client | on the server |
//! |---|---|---|
//! | `certificates` | the chain of the server, its own first | the chain of the client, if any |
//! | `public_key` | the key of the first certificate, in DER | likewise |
//! | `requested_server_name` | the name given to [`client`] | the name that the client sent (SNI) |
//! | `protocol` | the protocol agreed on by ALPN | likewise |
//!
//! These are the values of the handshake. **The verifier of the configuration
//! decides what they prove**, because only the verifier checks certificates:
//!
//! - With the verifiers of rustls, which `with_root_certificates` and
//!   [`WebPkiClientVerifier`](rustls::server::WebPkiClientVerifier) set up, the
//!   peer has the private key of `public_key`, and its certificate leads to an
//!   anchor of the configuration. On the client the certificate is also valid
//!   for `requested_server_name`.
//! - With a verifier of the program, they prove what that verifier checks, and
//!   nothing else. In particular `requested_server_name` is the name that was
//!   requested, whether it was compared with the certificate or not.
//! - On the server `requested_server_name` proves nothing about the client.
//!
//! A resumed session has the identity of the session that it resumes. The
//! verifier is not called again.
//!
//! With TLS 1.3 the handshake of the client completes before the server has
//! received the client's certificate. A client whose certificate is refused may
//! therefore get [`Handler::on_connect`] first, and then
//! [`Handler::on_disconnect`] with [`SessionError::RefusedByPeer`]. The first
//! message from the server shows that the certificate was accepted.
//!
//! # Closing
//!
//! [`Net::close`](crate::Net::close) and
//! [`Net::close_write`](crate::Net::close_write) send a close_notify alert
//! before the FIN. A close_notify from the peer ends its stream with
//! [`DisconnectReason::PeerClosed`]. Bytes after it are discarded.
//!
//! A FIN without a close_notify is [`SessionError::Truncated`], and the
//! messages that are queued for the peer are dropped. Anyone on the path can
//! forge a FIN, so the last messages may be missing. Some implementations never
//! send a close_notify. For them, [`Tls::allow_missing_close_notify`] accepts
//! the FIN, and queued answers are still sent:
//!
//! ```
//! # use std::error::Error;
//! # use std::sync::Arc;
//! # use peerloop::tls::{self, rustls::ServerConfig};
//! # use peerloop::Transport;
//! fn server(config: Arc<ServerConfig>) -> Result<Transport, Box<dyn Error + Send + Sync>> {
//!     Ok(tls::server(config)?.allow_missing_close_notify().into())
//! }
//! ```
//!
//! The keys of AES-GCM in TLS 1.2 last for 2²⁴ records (256 GiB if they are
//! full), and cannot be changed. The record after the last one ends the
//! connection with [`SessionError::Failed`] at this end and with
//! [`SessionError::Truncated`] at the peer. The messages from there on are
//! lost. TLS 1.3 updates its keys in time.
//!
//! # Failures
//!
//! | [`SessionError`] | cause |
//! |---|---|
//! | [`Malformed`](crate::error::SessionError::Malformed) | the bytes are not TLS, are out of order, forged or replayed |
//! | [`Refused`](crate::error::SessionError::Refused) | this end refused the peer: certificate, name, version, cipher, ALPN |
//! | [`RefusedByPeer`](crate::error::SessionError::RefusedByPeer) | the peer sent a fatal alert |
//! | [`Truncated`](crate::error::SessionError::Truncated) | the stream ended without a close_notify |
//! | [`Failed`](crate::error::SessionError::Failed) | the cause is local: no randomness, exhausted keys |
//!
//! The alert that TLS defines for the failure is sent before the connection is
//! closed. The error of rustls is logged at debug level. If a peer ends the
//! connection during the handshake without an alert, the connect fails with
//! [`ConnectError::Io`](crate::ConnectError::Io) of
//! [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
//!
//! # Limitations
//!
//! - Early data (0-RTT) can be replayed, so it is neither sent nor accepted.
//! - Renegotiation is refused with an alert, and the connection continues.
//!
//! # Notes
//!
//! Messages that are queued at the end of a turn are sealed together, in
//! records of 16 KiB, so there is no need to join small messages.
//!
//! [rustls]: https://docs.rs/rustls
//! [`Handler::on_connect`]: crate::Handler::on_connect
//! [`Handler::on_disconnect`]: crate::Handler::on_disconnect
//! [`DisconnectReason::PeerClosed`]: crate::DisconnectReason::PeerClosed
//! [`SessionError`]: crate::error::SessionError
//! [`SessionError::Failed`]: crate::error::SessionError::Failed
//! [`SessionError::RefusedByPeer`]: crate::error::SessionError::RefusedByPeer
//! [`SessionError::Truncated`]: crate::error::SessionError::Truncated
//! [`Session`]: crate::session::Session
//! [`Direction::Outbound`]: crate::Direction::Outbound

mod reason;
mod record;
mod tls_session;

use std::io;
use std::sync::Arc;

pub use rustls;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

pub use tls_session::Tls;

/// Returns the client end of a TLS connection to the server `name`.
///
/// The name is a DNS name or an IP address. The verifier of the configuration
/// decides what the name is compared with; see [the identity of the
/// peer](self#the-identity-of-the-peer). A DNS name is sent to the server
/// (SNI), unless the configuration disables that.
///
/// # Errors
///
/// - `InvalidInput`: rustls does not accept the configuration. The text is that
///   of rustls.
pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Tls> {
    let requested = name.to_str().into_owned();
    let connection = ClientConnection::new(config, name).map_err(invalid)?;
    Ok(Tls::new(connection.into(), Some(requested)))
}

/// Returns the server end of a TLS connection.
///
/// # Errors
///
/// - `InvalidInput`: rustls does not accept the configuration, or the
///   configuration allows early data. The text names the cause.
pub fn server(config: Arc<ServerConfig>) -> io::Result<Tls> {
    if config.max_early_data_size > 0 {
        return Err(invalid("early data is not supported"));
    }
    let connection = ServerConnection::new(config).map_err(invalid)?;
    Ok(Tls::new(connection.into(), None))
}

/// Returns the cryptography of ring, for `builder_with_provider` of the
/// configurations of rustls.
///
/// The plain `builder` uses the default provider of the process. That provider
/// is ambiguous if another crate in the program enables a second one.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
