//! TLS in which both sides present certificates, with one authority and two
//! certificates for all nodes of the process.

use std::sync::{Arc, OnceLock};

use peerloop::Direction;
use peerloop::tls::rustls::client::Resumption;
use peerloop::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use peerloop::tls::rustls::server::WebPkiClientVerifier;
use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use peerloop::tls::{self, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519,
    SerialNumber, date_time_ymd,
};

const NAMES: [&str; 2] = ["connecting.example", "accepting.example"];

struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

pub fn session(side: Direction) -> Tls {
    static CONFIGS: OnceLock<Configs> = OnceLock::new();
    let configs = CONFIGS.get_or_init(configs);
    let session = match side {
        Direction::Outbound => {
            let name = ServerName::try_from(NAMES[1]).expect("a name");
            tls::client(configs.client.clone(), name)
        }
        Direction::Inbound => tls::server(configs.server.clone()),
    };
    session.expect("the settings fit each other")
}

/// Of a kind whose signatures have one length.
fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("a key")
}

fn configs() -> Configs {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key()).expect("a certificate");
    let [client, server] = NAMES.map(|name| issue(&authority, name));
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.der().clone())
        .expect("a certificate of an authority");
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), tls::provider())
        .build()
        .expect("a verifier");
    let mut client_config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(client.0, client.1)
        .expect("a key that fits");
    // Tickets are kept by the process, so that one world would influence
    // another.
    client_config.resumption = Resumption::disabled();
    let server_config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(server.0, server.1)
        .expect("a key that fits");
    Configs {
        client: Arc::new(client_config),
        server: Arc::new(server_config),
    }
}

fn issue(
    authority: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(4000, 1, 1);
    // One that is drawn has a length that depends.
    params.serial_number = Some(SerialNumber::from(1));
    let key = key();
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    (vec![certificate.der().clone()], key)
}
