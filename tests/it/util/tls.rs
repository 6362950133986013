//! Certificates that are made by the test, and configurations of rustls with them.

use std::sync::Arc;

use peerloop::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use peerloop::tls::rustls::server::WebPkiClientVerifier;
use peerloop::tls::rustls::version::{TLS12, TLS13};
use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use peerloop::tls::{self, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData,
    date_time_ymd,
};

use super::Sessions;
use super::session_end::SessionEnd;

pub type Versions = &'static [&'static SupportedProtocolVersion];

pub const ONLY_12: Versions = &[&TLS12];
pub const ONLY_13: Versions = &[&TLS13];
pub const EACH_VERSION: [Versions; 2] = [ONLY_12, ONLY_13];

/// The name of the server.
pub const NAME: &str = "peer.example";

/// An authority that signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub struct Credentials {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer }
    }

    pub fn issue(&self, name: &str) -> Credentials {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(4000, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Credentials { certificate, key }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let certificate = self.issuer.der().clone();
        roots.add(certificate).expect("an authority");
        Arc::new(roots)
    }
}

impl Credentials {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }

    pub fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    pub fn certificate_pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// A client without a certificate.
pub fn client_config(authority: &Authority, versions: Versions) -> ClientConfig {
    ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(authority.roots())
        .with_no_client_auth()
}

/// A client with a certificate.
pub fn known_client_config(
    authority: &Authority,
    versions: Versions,
    own: &Credentials,
) -> ClientConfig {
    ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(authority.roots())
        .with_client_auth_cert(own.chain(), own.key())
        .expect("a key that fits")
}

/// A server that requires no certificate of the client.
pub fn server_config(own: &Credentials, versions: Versions) -> ServerConfig {
    ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(own.chain(), own.key())
        .expect("a key that fits")
}

/// A server that requires a certificate of the client.
pub fn strict_server_config(
    authority: &Authority,
    own: &Credentials,
    versions: Versions,
) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), tls::provider())
        .build()
        .expect("a verifier");
    ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.chain(), own.key())
        .expect("a key that fits")
}

/// The configurations of a client without a certificate and its server.
pub fn configs(versions: Versions) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let authority = Authority::new("the authority");
    let client = client_config(&authority, versions);
    let server = server_config(&authority.issue(NAME), versions);
    (Arc::new(client), Arc::new(server))
}

pub fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a name")
}

pub fn client(config: &Arc<ClientConfig>) -> Tls {
    tls::client(config.clone(), server_name(NAME)).expect("a client")
}

pub fn server(config: &Arc<ServerConfig>) -> Tls {
    tls::server(config.clone()).expect("a server")
}

/// Every connection of a node gets the session of a client.
pub fn connecting(config: impl Into<Arc<ClientConfig>>) -> Sessions {
    let config = config.into();
    Box::new(move |_, _| Ok(Some(Box::new(client(&config)))))
}

/// Every connection of a node gets the session of a server.
pub fn accepting(config: impl Into<Arc<ServerConfig>>) -> Sessions {
    let config = config.into();
    Box::new(move |_, _| Ok(Some(Box::new(server(&config)))))
}

/// A client and a server without a network.
pub fn ends(versions: Versions) -> [SessionEnd<Tls>; 2] {
    let (there, here) = configs(versions);
    [
        SessionEnd::new(client(&there)),
        SessionEnd::new(server(&here)),
    ]
}

/// A client and a server that have completed the handshake.
pub fn established_ends(versions: Versions) -> [SessionEnd<Tls>; 2] {
    let [mut a, mut b] = ends(versions);
    super::session_end::exchange(&mut a, &mut b).expect("a handshake");
    [a, b]
}
