//! The layer between the wire and the messages: TLS 1.3 or Noise.

use std::io;
use std::sync::Arc;

use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::Session;
use peerloop::tls::rustls::client::Resumption;
use peerloop::tls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use peerloop::{Direction, tls};

#[derive(Clone)]
pub enum Security {
    Tls(Arc<ClientConfig>, Arc<ServerConfig>),
    Noise(Arc<StaticKey>),
}

impl Security {
    /// TLS 1.3 with a new self-signed certificate, without resumption.
    pub fn tls() -> Self {
        let (client, server) = tls_configs();
        Self::Tls(client, server)
    }

    /// Noise_XX_25519_ChaChaPoly_BLAKE2s.
    pub fn noise() -> Self {
        Self::Noise(Arc::new(StaticKey::generate().expect("random numbers")))
    }

    /// Returns a session for one end of a connection.
    pub fn session(&self, direction: Direction) -> io::Result<Box<dyn Session>> {
        Ok(match (self, direction) {
            (Self::Tls(config, _), Direction::Outbound) => {
                Box::new(tls::client(Arc::clone(config), name())?)
            }
            (Self::Tls(_, config), Direction::Inbound) => {
                Box::new(tls::server(Arc::clone(config))?)
            }
            (Self::Noise(key), _) => {
                Box::new(Noise::new(Pattern::XX, direction).local_key(key).build()?)
            }
        })
    }
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

fn tls_configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate: CertificateDer<'static> = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let mut client = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let mut server = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .expect("the key belongs to the certificate");
    server.send_tls13_tickets = 0;
    (Arc::new(client), Arc::new(server))
}
