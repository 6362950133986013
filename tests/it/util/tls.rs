//! Certificates made on the spot, configurations of rustls with them, and TLS without a network.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of it"
)]

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use peerloop::error::SessionError;
use peerloop::session::{Identity, Output, Session, Stage};
use peerloop::tls;
use peerloop::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use peerloop::tls::rustls::server::WebPkiClientVerifier;
use peerloop::tls::rustls::version::{TLS12, TLS13};
use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData,
    date_time_ymd,
};

use crate::util::Sessions;

pub type Versions = &'static [&'static SupportedProtocolVersion];

pub const ONLY_12: Versions = &[&TLS12];
pub const ONLY_13: Versions = &[&TLS13];

/// Who signs certificates.
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
        Self::of(name, IsCa::Ca(BasicConstraints::Unconstrained))
    }

    /// A peer that has signed its own certificate, which says that it is no authority.
    pub fn friend(name: &str) -> Self {
        Self::of(name, IsCa::ExplicitNoCa)
    }

    fn of(name: &str, is_ca: IsCa) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = is_ca;
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Self { issuer }
    }

    pub fn issue(&self, name: &str) -> Credentials {
        self.issue_until(name, 4000)
    }

    pub fn issue_expired(&self, name: &str) -> Credentials {
        self.issue_until(name, 2001)
    }

    fn issue_until(&self, name: &str, year: i32) -> Credentials {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Credentials { certificate, key }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.issuer.der().clone())
            .expect("a certificate of an authority");
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

/// A server that asks for nothing.
pub fn server_config(own: &Credentials, versions: Versions) -> ServerConfig {
    ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(own.chain(), own.key())
        .expect("a key that fits")
}

/// A server that wants to know who the client is.
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

pub fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a name")
}

/// Every connection of a node is that of a client.
pub fn connecting(config: impl Into<Arc<ClientConfig>>, name: &str) -> Sessions {
    let (config, name) = (config.into(), server_name(name));
    Box::new(move |_, _| Ok(Some(Box::new(tls::client(config.clone(), name.clone())?))))
}

/// Every connection of a node is that of a server.
pub fn accepting(config: impl Into<Arc<ServerConfig>>) -> Sessions {
    let config = config.into();
    Box::new(move |_, _| Ok(Some(Box::new(tls::server(config.clone())?))))
}

/// One end without a network, and what it has made so far.
pub struct End {
    pub session: Box<dyn Session>,
    /// What it has heard and not taken yet.
    untaken: Vec<u8>,
    /// What it has said.
    pub wire: Vec<u8>,
    /// What it has understood.
    pub plaintext: Vec<u8>,
}

impl End {
    pub fn new(session: impl Session + 'static) -> Self {
        let mut end = Self {
            session: Box::new(session),
            untaken: Vec::new(),
            wire: Vec::new(),
            plaintext: Vec::new(),
        };
        end.session.start(&mut end.wire).expect("it can start");
        end
    }

    pub fn client(config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::new(tls::client(config.clone(), server_name(name)).expect("a client"))
    }

    pub fn server(config: &Arc<ServerConfig>) -> Self {
        Self::new(tls::server(config.clone()).expect("a server"))
    }

    pub fn hear(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut output = Output::new(&mut self.plaintext, &mut self.wire);
        self.untaken.extend_from_slice(bytes);
        let taken = self.session.receive(&mut self.untaken, &mut output)?;
        self.untaken.drain(..taken);
        Ok(())
    }

    /// What it has said since the last time.
    pub fn said(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire)
    }

    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.session
            .seal(&[IoSlice::new(plaintext)], &mut self.wire)
            .expect("it is established");
        self.said()
    }

    pub fn close_notify(&mut self) -> Vec<u8> {
        self.session.close_notify(&mut self.wire);
        self.said()
    }

    pub fn stage(&self) -> Stage {
        self.session.stage()
    }
}

/// Lets two ends talk until neither has anything to say.
pub fn talk(a: &mut End, b: &mut End) -> Result<(), SessionError> {
    while !a.wire.is_empty() || !b.wire.is_empty() {
        let said = a.said();
        b.hear(&said)?;
        let said = b.said();
        a.hear(&said)?;
    }
    Ok(())
}

/// Why sessions failed: of an accepted connection no handler is told.
pub type Failures = Arc<Mutex<Vec<SessionError>>>;

/// Like [`accepting`], and writes down why sessions failed.
pub fn accepting_and_noting(config: impl Into<Arc<ServerConfig>>) -> (Sessions, Failures) {
    let (config, failures) = (config.into(), Failures::default());
    let noted = failures.clone();
    let sessions: Sessions = Box::new(move |_, _| {
        let (inner, noted) = (tls::server(config.clone())?, noted.clone());
        Ok(Some(Box::new(Noting { inner, noted })))
    });
    (sessions, failures)
}

struct Noting {
    inner: tls::Tls,
    noted: Failures,
}

impl Session for Noting {
    fn receive(
        &mut self,
        bytes: &mut [u8],
        output: &mut Output<'_>,
    ) -> Result<usize, SessionError> {
        self.inner.receive(bytes, output).inspect_err(|error| {
            self.noted.lock().expect("nobody panicked").push(*error);
        })
    }

    fn stage(&self) -> Stage {
        self.inner.stage()
    }

    fn seal(&mut self, plaintext: &[IoSlice<'_>], wire: &mut Vec<u8>) -> Result<(), SessionError> {
        self.inner.seal(plaintext, wire)
    }

    fn close_notify(&mut self, wire: &mut Vec<u8>) {
        self.inner.close_notify(wire);
    }

    fn wire_ended(&mut self) -> Result<(), SessionError> {
        self.inner.wire_ended()
    }

    fn identity(&self) -> Option<Identity> {
        self.inner.identity()
    }
}
