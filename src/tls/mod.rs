//! TLS 1.2 and 1.3 on a connection, by [rustls] with its ring provider. Needs the feature `tls`.
//!
//! [`client`] and [`server`] make a [`Session`] from a configuration of rustls, which is this module's
//! [`rustls`](mod@rustls): depending on it by yourself is not needed. Everything that can be chosen is chosen there:
//! certificates, whom to trust, versions, ALPN, client certificates, resumption. Which end of a connection is the
//! client need not be asked of the user: it is the one that dialled, [`Direction::Outbound`].
//!
//! # Examples
//!
//! Two nodes that know each other's certificates and nobody else's, the way of small peer-to-peer networks. Each makes
//! its own certificate, no authority is needed, and both sides are proved:
//!
//! ```
//! use std::io;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use peerloop::session::Session;
//! use peerloop::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
//! use peerloop::tls::rustls::server::WebPkiClientVerifier;
//! use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
//! use peerloop::{Config, ConnId, Handler, Net, Node, Direction, tls};
//!
//! struct ConnEntry {
//!     name: &'static str,
//!     client: Arc<ClientConfig>,
//!     server: Arc<ServerConfig>,
//!     friends: Vec<CertificateDer<'static>>,
//!     heard: Option<String>,
//! }
//!
//! impl ConnEntry {
//!     /// A peer with a certificate of its own, which trusts `friends`.
//!     fn new(
//!         name: &'static str,
//!         certificate: CertificateDer<'static>,
//!         key: PrivateKeyDer<'static>,
//!         friends: &[CertificateDer<'static>],
//!     ) -> Result<Self, Box<dyn std::error::Error>> {
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
//!         let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
//!         let server = ServerConfig::builder_with_provider(provider)
//!             .with_safe_default_protocol_versions()?
//!             .with_client_cert_verifier(verifier)
//!             .with_single_cert(vec![certificate], key)?;
//!         let (client, server, friends) = (Arc::new(client), Arc::new(server), friends.to_vec());
//!         Ok(Self { name, client, server, friends, heard: None })
//!     }
//! }
//!
//! impl Handler for ConnEntry {
//!     fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
//!         let Some(peer) = net.connection(conn) else { return Ok(None) };
//!         Ok(Some(Box::new(match peer.direction() {
//!             Direction::Outbound => tls::client(self.client.clone(), ServerName::try_from("bob").expect("a name"))?,
//!             Direction::Inbound => tls::server(self.server.clone())?,
//!         })))
//!     }
//!
//!     fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
//!         // Which of the friends it is, the certificate says, and nothing else does; see below.
//!         let shown = net.connection(conn).and_then(|peer| peer.identity()?.certificates.first());
//!         if self.friends.iter().any(|friend| Some(friend.as_ref()) == shown.map(Vec::as_slice)) {
//!             let _ = net.send(conn, self.name.as_bytes());
//!         } else {
//!             net.abort(conn);
//!         }
//!     }
//!
//!     fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
//!         self.heard = Some(String::from_utf8_lossy(message).into_owned());
//!         net.close(conn);
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A real peer keeps its key and hands its certificate to its friends.
//! let alice = rcgen::generate_simple_self_signed(["alice".to_owned()])?;
//! let bob = rcgen::generate_simple_self_signed(["bob".to_owned()])?;
//! let key = |bytes: Vec<u8>| PrivateKeyDer::try_from(bytes);
//! let (alices, bobs) = (alice.cert.der().clone(), bob.cert.der().clone());
//!
//! let bob = ConnEntry::new("bob", bobs.clone(), key(bob.signing_key.serialize_der())?, &[alices.clone()])?;
//! let alice = ConnEntry::new("alice", alices, key(alice.signing_key.serialize_der())?, &[bobs])?;
//! let (mut alice, mut bob) = (Node::new(Config::default(), alice)?, Node::new(Config::default(), bob)?);
//! let addr = bob.net().listen("127.0.0.1:0")?;
//! alice.net().connect(addr)?;
//! while alice.handler().heard.is_none() || bob.handler().heard.is_none() {
//!     let _ = alice.turn(Some(Duration::from_millis(1)))?;
//!     let _ = bob.turn(Some(Duration::from_millis(1)))?;
//! }
//! assert_eq!(bob.handler().heard.as_deref(), Some("alice"));
//! # Ok(())
//! # }
//! ```
//!
//! # Whom to trust
//!
//! - **Known peers**: as above, every friend's certificate is an anchor of its own. An anchor vouches for whatever its key
//!   signs, so a friend can make itself certificates with the name of another one: who it is, tell by comparing
//!   `certificates` or `public_key` with what you have of your friends, not by the name. The client also checks the name;
//!   let every certificate say the name by which it is dialled, and have a subject of its own: a stranger's with the
//!   subject of a friend is refused for its signature and not for being unknown.
//! - **An authority of your own**: put its certificate alone into the store, and have it sign the peers'.
//! - **The public authorities**: for servers of the web, with the anchors from the crate `webpki-roots`.
//! - **Keys rather than certificates**, or peers that are not known in advance: implement
//!   [`ServerCertVerifier`](rustls::client::danger::ServerCertVerifier) and
//!   [`ClientCertVerifier`](rustls::server::danger::ClientCertVerifier). Verify the handshake's signatures with
//!   [`verify_tls13_signature`](rustls::crypto::verify_tls13_signature), without which a certificate proves nothing, and
//!   judge the key in the verifier or, from [`Identity::public_key`](crate::session::Identity::public_key), in
//!   [`Handler::on_connect`].
//!
//! # What is proved
//!
//! [`ConnEntry::identity`](crate::Peer::identity) has, from [`Handler::on_connect`] on:
//!
//! | field | on the client | on the server |
//! |---|---|---|
//! | `certificates` | the server's chain, its own first | the client's, if it was asked for and has one |
//! | `public_key` | the key of the first certificate, as a `SubjectPublicKeyInfo` in DER | likewise |
//! | `name` | the name that was dialled, and so verified | nothing |
//! | `requested_name` | nothing | the name that the client dialled (SNI), which proves nothing about the client |
//! | `protocol` | what was agreed on by ALPN | likewise |
//!
//! All of it holds for resumed sessions too.
//!
//! With TLS 1.3 the client is done one flight before the server has seen its certificate. A client that is turned away for
//! its certificate may therefore see [`Handler::on_connect`] first, and then [`Handler::on_disconnect`] with
//! [`SessionError::RefusedByPeer`]. It is let in for certain when the first message has come.
//!
//! # How it ends
//!
//! [`Net::close`](crate::Net::close) and [`Net::shutdown_write`](crate::Net::shutdown_write) send a close_notify before
//! the FIN. A close_notify from the peer is the end of its stream, [`DisconnectReason::PeerClosed`]; what it sends behind that
//! is thrown away. A FIN without a close_notify is [`SessionError::Truncated`]: anybody on the way can make one, so the last
//! messages may be missing. What was queued for the peer is dropped then. Some peers are careless and never say
//! close_notify; whether that matters, the application knows.
//!
//! | [`SessionError`] | when |
//! |---|---|
//! | [`Malformed`](crate::SessionError::Malformed) | what came is no TLS, out of turn, forged, or replayed |
//! | [`Refused`](crate::SessionError::Refused) | this side turned the peer away: certificate, name, version, cipher, ALPN |
//! | [`RefusedByPeer`](crate::SessionError::RefusedByPeer) | the peer sent a fatal alert |
//! | [`Truncated`](crate::SessionError::Truncated) | the stream ended without a close_notify |
//! | [`Failed`](crate::SessionError::Failed) | neither's fault: no random bytes, keys that are used up |
//!
//! The alert that TLS has for it leaves before the connection is closed. What exactly rustls had to say is logged at debug
//! level. A peer that ends the connection in the middle of the handshake without an alert leaves a dial with
//! [`ConnectError::Io`](crate::ConnectError::Io) of [`UnexpectedEof`](io::ErrorKind::UnexpectedEof).
//!
//! # What is not there
//!
//! Early data (0-RTT), which can be replayed, is neither sent nor accepted. Renegotiation is refused, with an alert that
//! leaves the connection intact. [`Net::flush`](crate::Net::flush) and [`Net::send`](crate::Net::send) need no
//! thought: what is queued at the end of a turn is sealed together, in records of 16 KiB.
//!
//! [rustls]: https://docs.rs/rustls
//! [`Handler::on_connect`]: crate::Handler::on_connect
//! [`Handler::on_disconnect`]: crate::Handler::on_disconnect
//! [`DisconnectReason::PeerClosed`]: crate::DisconnectReason::PeerClosed
//! [`SessionError`]: crate::SessionError
//! [`SessionError::RefusedByPeer`]: crate::SessionError::RefusedByPeer
//! [`SessionError::Truncated`]: crate::SessionError::Truncated
//! [`Session`]: crate::session::Session
//! [`Direction::Outbound`]: crate::Side::Initiator

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

/// The client's end of a TLS connection with `name`, for a connection that this node dialled.
///
/// The name is a DNS name or an IP address; the configuration's verifier decides what it means. It is sent to the server
/// (SNI) if it is a DNS name and the configuration does not say otherwise.
///
/// # Errors
///
/// `InvalidInput` if the configuration cannot work, with what rustls says of it.
pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Tls> {
    let verified = name.to_str().into_owned();
    let connection = ClientConnection::new(config, name).map_err(invalid)?;
    Ok(Tls::new(connection.into(), Some(verified)))
}

/// The server's end of a TLS connection, for a connection that this node accepted.
///
/// # Errors
///
/// `InvalidInput` if the configuration cannot work, with what rustls says of it, or if it allows early data.
pub fn server(config: Arc<ServerConfig>) -> io::Result<Tls> {
    if config.max_early_data_size > 0 {
        return Err(invalid("early data is not supported"));
    }
    let connection = ServerConnection::new(config).map_err(invalid)?;
    Ok(Tls::new(connection.into(), None))
}

/// The cryptography of ring, for the `builder_with_provider` of the configurations.
///
/// Their plain `builder` asks for the provider of the process, which is a guess where another crate in the program has
/// enabled a second one.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
