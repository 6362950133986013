//! Two peers that trust each other's certificates, and no others, exchange
//! messages by TLS.
//!
//! ```text
//! cargo run --example tls --features tls
//! ```
//!
//! It shows how configurations of rustls are made for peers without an authority,
//! how a node is client or server as the direction of a connection requires, how
//! each finds out which peer it is connected with, and that a peer with another
//! certificate is refused. `RUST_LOG=debug` shows what the loops do, and why that
//! peer is refused.

use peerloop::config::ConnectionConfig;
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler, Net, Node,
    Transport, tls,
};
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerloop::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use peerloop::tls::rustls::server::WebPkiClientVerifier;
use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use rcgen::{CertificateParams, DnType, KeyPair};

/// The protocol that both ends must offer (ALPN).
const PROTOCOL: &[u8] = b"example/1";

type Failure = Box<dyn Error + Send + Sync>;

/// A certificate and its key. A real program makes them once and keeps them in
/// files.
struct Credentials {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Makes a certificate that signs itself: no authority is needed.
    fn new(name: &str) -> Result<Self, Failure> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate: params.self_signed(&key)?.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der())?,
        })
    }
}

/// A trusted peer.
#[derive(Clone)]
struct Friend {
    name: &'static str,
    certificate: CertificateDer<'static>,
}

/// The TLS configuration of a node, as client and as server.
struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// Presents `own` to every peer and trusts `friends` alone.
    fn new(own: Credentials, friends: &[Friend]) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        for friend in friends {
            roots.add(friend.certificate.clone())?;
        }
        let (roots, chain) = (Arc::new(roots), vec![own.certificate]);

        let mut client = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain.clone(), own.key.clone_key())?;
        client.alpn_protocols = vec![PROTOCOL.to_vec()];

        let who = WebPkiClientVerifier::builder_with_provider(roots, tls::provider()).build()?;
        let mut server = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(who)
            .with_single_cert(chain, own.key)?;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];

        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }
}

/// One program: sends its lines to the peer that it connects to, and answers the
/// peers that connect to it.
struct Program {
    name: &'static str,
    tls: Tls,
    friends: Vec<Friend>,
    /// The lines to send, the last one first.
    lines: Vec<&'static str>,
    failure: Option<String>,
}

impl Program {
    fn print(&self, what: &str) {
        // A closed output does not end the program.
        let _ = writeln!(io::stdout(), "{:>8}: {what}", self.name);
    }

    /// The friend that the certificate of a connection belongs to. rustls also
    /// accepts a certificate that a friend has signed: this does not.
    fn friend(&self, net: &Net, conn: ConnId) -> Option<&'static str> {
        let shown = net.connection(conn)?.identity()?.certificates.first()?;
        let is_shown = |friend: &&Friend| friend.certificate.as_ref() == shown;
        Some(self.friends.iter().find(is_shown)?.name)
    }

    /// Sends the next line, or closes the connection after the last one.
    fn send_next(&mut self, net: &mut Net, conn: ConnId) {
        let Some(line) = self.lines.pop() else {
            return net.close(conn);
        };
        if let Err(error) = net.send(conn, line.as_bytes()) {
            self.failure = Some(format!("sending {line:?}: {error}"));
            net.abort(conn);
        }
    }
}

impl Handler for Program {
    // The end that connected is the client. Certificates are checked by the session,
    // before `on_connect`.
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(match info.direction {
            Direction::Outbound => {
                let name = ServerName::try_from("bob")?;
                tls::client(self.tls.client.clone(), name)?.into()
            }
            Direction::Inbound => tls::server(self.tls.server.clone())?.into(),
        })
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match self.friend(net, conn) {
            Some(friend) => self.print(&format!("connected, and it is {friend}")),
            None => return net.abort(conn),
        }
        if net
            .connection(conn)
            .is_some_and(|connection| connection.info().direction == Direction::Outbound)
        {
            self.send_next(net, conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        self.print(&format!(
            "{} says {text:?}",
            self.friend(net, conn).unwrap_or("an unknown peer")
        ));
        if net
            .connection(conn)
            .is_some_and(|connection| connection.info().direction == Direction::Outbound)
        {
            self.send_next(net, conn);
        } else if let Err(error) = net.send(conn, text.to_uppercase().as_bytes()) {
            self.print(&format!("answering: {error}"));
            net.abort(conn);
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        match info.direction {
            Direction::Outbound => {
                self.failure = Some(error.to_string());
                net.shutdown(Duration::ZERO);
            }
            Direction::Inbound => log::info!("{} is refused: {error}", info.addr),
        }
    }

    // A refused client may get here too: with TLS 1.3 the client's handshake
    // completes before the server has verified its certificate.
    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        match reason {
            DisconnectReason::Local | DisconnectReason::PeerClosed => {
                self.print(&format!("the connection has ended: {reason}"));
            }
            _ => self.failure = Some(reason.to_string()),
        }
        // Bob waits for further connections. The others have only one.
        if net.listeners().next().is_none() {
            net.shutdown(Duration::ZERO);
        }
    }
}

/// A configuration in which no connection goes without TLS.
fn config() -> Config {
    Config {
        connection: ConnectionConfig {
            require_session: true,
            ..Default::default()
        },
        ..Config::default()
    }
}

/// Connects, sends everything, and waits for the end. Returns the failure, if
/// there was one.
fn visit(addr: SocketAddr, program: Program) -> Result<Option<String>, Failure> {
    let mut node = Node::new(config(), program)?;
    node.net().connect(addr)?;
    node.run()?;
    Ok(node.handler().failure.clone())
}

fn run() -> Result<(), Failure> {
    let (alice, bob, mallory) = (
        Credentials::new("alice")?,
        Credentials::new("bob")?,
        Credentials::new("mallory")?,
    );
    // A real program gets the certificates of its friends in another way.
    let friend = |name, own: &Credentials| Friend {
        name,
        certificate: own.certificate.clone(),
    };
    let (knows_alice, knows_bob) = (vec![friend("alice", &alice)], vec![friend("bob", &bob)]);
    let program = |name, own, friends: Vec<Friend>, lines: &[&'static str]| {
        Ok::<_, Failure>(Program {
            name,
            tls: Tls::new(own, &friends)?,
            friends,
            lines: lines.iter().rev().copied().collect(),
            failure: None,
        })
    };

    let mut bob = Node::new(config(), program("bob", bob, knows_alice, &[])?)?;
    let addr = bob.net().listen("127.0.0.1:0")?.addr;
    let bobs_handle = bob.handle();
    let bobs_thread = thread::spawn(move || bob.run());

    let alice = program(
        "alice",
        alice,
        knows_bob.clone(),
        &["hello", "this is encrypted", "bye"],
    )?;
    let alices_failure = visit(addr, alice)?;
    let mallory = program("mallory", mallory, knows_bob, &["let me in"])?;
    let mallorys_failure = visit(addr, mallory)?;

    bobs_handle.shutdown(Duration::from_secs(1));
    bobs_thread.join().map_err(|_| "bob panicked")??;
    if let Some(failure) = alices_failure {
        return Err(failure.into());
    }
    let why = mallorys_failure.ok_or("mallory was accepted")?;
    writeln!(io::stdout(), "{:>8}: refused: {why}", "mallory")?;
    Ok(())
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls: {error}");
            ExitCode::FAILURE
        }
    }
}
