//! Two peers that know each other's certificates, and nobody else's, talk by TLS.
//!
//! ```text
//! cargo run --example tls --features tls
//! ```
//!
//! It shows how configurations of rustls are made for peers without an authority, how a node is client or server as the
//! connection demands, how each finds out whom it talks to, and that a stranger does not get in. `RUST_LOG=debug` shows
//! what the loops do, and why the stranger is turned away.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use peerloop::session::Session;
use peerloop::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use peerloop::tls::rustls::server::WebPkiClientVerifier;
use peerloop::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use peerloop::{
    Config, ConnId, ConnectError, Direction, DisconnectReason, Handler, Net, Node, tls,
};
use rcgen::{CertificateParams, DnType, KeyPair};

/// What both sides must say that they speak (ALPN).
const PROTOCOL: &[u8] = b"example/1";

type Failure = Box<dyn Error + Send + Sync>;

/// A certificate and its key. A real peer makes them once and keeps them in files.
struct Credentials {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Signed by nobody but itself: no authority is needed.
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

/// Somebody to talk to.
#[derive(Clone)]
struct Friend {
    name: &'static str,
    certificate: CertificateDer<'static>,
}

/// What a node needs for TLS, as client and as server.
struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// Shows `own` to everybody and trusts `friends` alone.
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

/// One peer: says so many things to whom it dials, and answers everybody.
struct Peer {
    name: &'static str,
    tls: Tls,
    friends: Vec<Friend>,
    /// What is still to be said, the last thing first.
    lines: Vec<&'static str>,
    failure: Option<String>,
}

impl Peer {
    fn say(&self, what: &str) {
        // If nobody listens to this program any more, the talk goes on all the same.
        let _ = writeln!(io::stdout(), "{:>8}: {what}", self.name);
    }

    /// Whom the certificate of a connection belongs to. rustls lets in what a friend has signed, too: this does not.
    fn friend(&self, net: &Net, conn: ConnId) -> Option<&'static str> {
        let shown = net.connection(conn)?.identity()?.certificates.first()?;
        let is_shown = |friend: &&Friend| friend.certificate.as_ref() == shown;
        Some(self.friends.iter().find(is_shown)?.name)
    }

    /// Says the next thing, or that there is nothing left.
    fn speak(&mut self, net: &mut Net, conn: ConnId) {
        let Some(line) = self.lines.pop() else {
            return net.close(conn);
        };
        if let Err(error) = net.send(conn, line.as_bytes()) {
            self.failure = Some(format!("sending {line:?}: {error}"));
            net.abort(conn);
        }
    }
}

impl Handler for Peer {
    // Who dialled is the client. All certificates are checked here, before `on_connect`.
    fn session(&mut self, net: &mut Net, conn: ConnId) -> io::Result<Option<Box<dyn Session>>> {
        let side = net.connection(conn).map(|peer| peer.direction());
        Ok(Some(Box::new(match side {
            Some(Direction::Outbound) => {
                let name = ServerName::try_from("bob").map_err(io::Error::other)?;
                tls::client(self.tls.client.clone(), name)?
            }
            _ => tls::server(self.tls.server.clone())?,
        })))
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match self.friend(net, conn) {
            Some(friend) => self.say(&format!("connected, and it is {friend}")),
            None => return net.abort(conn),
        }
        if net
            .connection(conn)
            .is_some_and(|peer| peer.direction() == Direction::Outbound)
        {
            self.speak(net, conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        self.say(&format!(
            "{} says {text:?}",
            self.friend(net, conn).unwrap_or("somebody")
        ));
        if net
            .connection(conn)
            .is_some_and(|peer| peer.direction() == Direction::Outbound)
        {
            self.speak(net, conn);
        } else if let Err(error) = net.send(conn, text.to_uppercase().as_bytes()) {
            self.say(&format!("answering: {error}"));
            net.abort(conn);
        }
    }

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: SocketAddr, error: ConnectError) {
        self.failure = Some(error.to_string());
        net.shutdown(Duration::ZERO);
    }

    // A stranger may come here too: with TLS 1.3 the client is done before the server has looked at its certificate.
    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        match reason {
            DisconnectReason::Local | DisconnectReason::PeerClosed => {
                self.say(&format!("the connection has ended: {reason}"));
            }
            _ => self.failure = Some(reason.to_string()),
        }
        // Bob waits for others; the others have only one thing to do.
        if net.listeners().next().is_none() {
            net.shutdown(Duration::ZERO);
        }
    }
}

/// Dials, says everything, and waits for the end; what went wrong, if anything did.
fn visit(addr: SocketAddr, peer: Peer) -> Result<Option<String>, Failure> {
    let mut node = Node::new(Config::default(), peer)?;
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
    // How friends come by each other's certificates is their own affair.
    let friend = |name, own: &Credentials| Friend {
        name,
        certificate: own.certificate.clone(),
    };
    let (knows_alice, knows_bob) = (vec![friend("alice", &alice)], vec![friend("bob", &bob)]);
    let peer = |name, own, friends: Vec<Friend>, lines: &[&'static str]| {
        Ok::<_, Failure>(Peer {
            name,
            tls: Tls::new(own, &friends)?,
            friends,
            lines: lines.iter().rev().copied().collect(),
            failure: None,
        })
    };

    let mut bob = Node::new(Config::default(), peer("bob", bob, knows_alice, &[])?)?;
    let addr = bob.net().listen("127.0.0.1:0")?;
    let bobs_handle = bob.handle();
    let bobs_thread = thread::spawn(move || bob.run());

    let alice = peer(
        "alice",
        alice,
        knows_bob.clone(),
        &["hello", "nobody listens", "goodbye"],
    )?;
    let alices_failure = visit(addr, alice)?;
    let mallory = peer("mallory", mallory, knows_bob, &["let me in"])?;
    let mallorys_failure = visit(addr, mallory)?;

    bobs_handle.shutdown(Duration::from_secs(1));
    bobs_thread.join().map_err(|_| "bob panicked")??;
    if let Some(failure) = alices_failure {
        return Err(failure.into());
    }
    let why = mallorys_failure.ok_or("a stranger got in")?;
    writeln!(io::stdout(), "{:>8}: turned away: {why}", "mallory")?;
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
