//! TLS between two nodes: what arrives, what is proved, how it ends, and what it is refused for.

use peerloop::config::ConnectionConfig;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::util::raw::{connect, until_ended};
use crate::util::tls::{
    Authority, Credentials, End, ONLY_12, ONLY_13, Versions, accepting, client_config, connecting,
    known_client_config, server_config, server_name, strict_server_config, talk,
};
use crate::util::{Event, Recorder, TestNode, listening, node, pair, run_until};
use peerloop::error::SessionError;
use peerloop::session::Identity;
use peerloop::tls::rustls::client::WebPkiServerVerifier;
use peerloop::tls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use peerloop::tls::rustls::crypto::CipherSuiteCommon;
use peerloop::tls::rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
use peerloop::tls::rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use peerloop::tls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use peerloop::tls::rustls::{
    self, ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, SignatureScheme,
    StreamOwned, SupportedCipherSuite, Tls12CipherSuite,
};
use peerloop::{Config, ConnId, ConnectError, DisconnectReason, SendOutcome, tls};

const NAME: &str = "peer.example";

/// A recorder that connects by TLS.
fn client(config: impl Into<Arc<ClientConfig>>) -> Recorder {
    Recorder {
        sessions: connecting(config, NAME),
        ..Recorder::default()
    }
}

/// A recorder that accepts TLS connections and answers every message with itself.
fn server(config: impl Into<Arc<ServerConfig>>) -> Recorder {
    Recorder {
        sessions: accepting(config),
        ..Recorder::echo()
    }
}

/// An authority, and a server's credentials from it.
fn authority() -> (Authority, Credentials) {
    let authority = Authority::new("the authority");
    let credentials = authority.issue(NAME);
    (authority, credentials)
}

fn identity(node: &mut TestNode, conn: ConnId) -> Identity {
    let connection = node.net().connection(conn).expect("it is connected");
    let identity = connection.identity();
    identity.expect("something is proved").clone()
}

mod messages {
    use super::*;

    fn come_back(versions: Versions) {
        let (authority, own) = authority();
        let (mut a, to_b, mut b, to_a) = pair(
            Config::default(),
            client(client_config(&authority, versions)),
            server(server_config(&own, versions)),
        );
        // Around the length of a record, of a batch, and of a read.
        let around = |len: usize| [len - 1, len, len + 1];
        let lens = [
            vec![0, 1, 2, 1 << 20],
            around(1 << 14).into(),
            around(1 << 16).into(),
        ]
        .concat();
        for len in lens {
            let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let before = a.handler().messages(to_b).len();
            a.net().send(to_b, &body).expect("there is room");
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().messages(to_b).len() > before
            });
            assert!(a.handler().messages(to_b)[before] == body, "{len} bytes");
        }
        assert_eq!(b.handler().messages(to_a).len(), 10);
        a.net().close(to_b);
        assert_eq!(until_ended_both(&mut a, to_b, &mut b, to_a), CLEAN);
    }

    #[test]
    fn of_every_length_come_back_by_tls_1_2() {
        come_back(ONLY_12);
    }

    #[test]
    fn of_every_length_come_back_by_tls_1_3() {
        come_back(ONLY_13);
    }

    /// Many small ones that are sent in one turn share records.
    #[test]
    fn of_one_turn_are_sealed_together() {
        const MESSAGES: usize = 1000;
        let (authority, own) = authority();
        let (mut b, addr) = listening(Config::default(), server(server_config(&own, ONLY_13)));
        let mut peer = Blocking::connect(&mut b, addr, client_config(&authority, ONLY_13));
        let to_peer = b.handler().connected()[0];
        for _ in 0..MESSAGES {
            b.net().send(to_peer, &[7; 28]).expect("there is room");
        }
        // 32,000 bytes of plaintext, so two records; and the tickets.
        let plain = peer.read(&mut b, MESSAGES * 32);
        assert_eq!(plain.len(), MESSAGES * 32);
        let sent = peer.wire_read - plain.len();
        assert!(sent < 4000, "{sent} bytes beside the plaintext");
    }
}

mod identities {
    use super::*;

    fn proves_both_sides(versions: Versions) {
        let (authority, own) = authority();
        let guest = authority.issue("guest.example");
        let mut there = known_client_config(&authority, versions, &guest);
        let mut here = strict_server_config(&authority, &own, versions);
        there.alpn_protocols = vec![b"old".to_vec(), b"new".to_vec()];
        here.alpn_protocols = vec![b"new".to_vec()];
        let (mut a, to_b, mut b, to_a) = pair(Config::default(), client(there), server(here));

        let of_server = identity(&mut a, to_b);
        assert_eq!(of_server.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(of_server.protocol.as_deref(), Some(&b"new"[..]));
        assert_eq!(of_server.certificates, [own.chain()[0].to_vec()]);
        assert_eq!(of_server.public_key, Some(own.public_key()));

        let of_client = identity(&mut b, to_a);
        assert_eq!(of_client.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(of_client.protocol.as_deref(), Some(&b"new"[..]));
        assert_eq!(of_client.certificates, [guest.chain()[0].to_vec()]);
        assert_eq!(of_client.public_key, Some(guest.public_key()));
    }

    #[test]
    fn are_those_of_both_certificates_with_tls_1_2() {
        proves_both_sides(ONLY_12);
    }

    #[test]
    fn are_those_of_both_certificates_with_tls_1_3() {
        proves_both_sides(ONLY_13);
    }

    /// Who is an anchor vouches for everything that its key signs, whatever its own certificate says of it. So a friend may
    /// take another's name, but not its certificate or its key.
    #[test]
    fn of_a_friend_with_another_name_are_told_apart_by_the_certificate() {
        let friend = Authority::friend("a friend");
        let pretender = friend.issue(NAME);
        let (mut a, to_b, _b, _) = pair(
            Config::default(),
            client(client_config(&friend, ONLY_13)),
            server(server_config(&pretender, ONLY_13)),
        );
        let of_pretender = identity(&mut a, to_b);
        assert_eq!(of_pretender.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(of_pretender.public_key, Some(pretender.public_key()));
    }

    #[test]
    fn of_a_client_without_a_certificate_is_what_it_asked_for() {
        let (authority, own) = authority();
        let (_a, _, mut b, to_a) = pair(
            Config::default(),
            client(client_config(&authority, ONLY_13)),
            server(server_config(&own, ONLY_13)),
        );
        let of_client = identity(&mut b, to_a);
        assert_eq!(of_client.requested_server_name.as_deref(), Some(NAME));
        assert_eq!(
            (of_client.public_key, of_client.certificates.len()),
            (None, 0)
        );
    }

    #[test]
    fn of_a_client_that_says_nothing_is_none() {
        let (authority, own) = authority();
        let mut there = client_config(&authority, ONLY_13);
        there.enable_sni = false;
        let (_a, _, mut b, to_a) = pair(
            Config::default(),
            client(there),
            server(server_config(&own, ONLY_13)),
        );
        let connection = b.net().connection(to_a).expect("it is connected");
        assert_eq!(connection.identity(), None);
    }

    /// Accepts every certificate, for whatever name.
    #[derive(Debug)]
    struct AnyCertificate;

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let known = tls::provider().signature_verification_algorithms;
            verify_tls12_signature(message, cert, dss, &known)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let known = tls::provider().signature_verification_algorithms;
            verify_tls13_signature(message, cert, dss, &known)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let known = tls::provider().signature_verification_algorithms;
            known.supported_schemes()
        }
    }

    /// The library cannot know what a verifier checked. A name that was only asked for is in the field that says so, and in
    /// no other one.
    #[test]
    fn have_the_name_only_as_requested() {
        let own = Authority::new("unknown").issue("mallory.example");
        let here = Arc::new(server_config(&own, ONLY_13));
        let there = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(ONLY_13)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        let (mut a, mut b) = (End::client(&Arc::new(there), NAME), End::server(&here));
        talk(&mut a, &mut b).expect("everything is accepted");
        let mut expected = Identity::default();
        expected.requested_server_name = Some(NAME.to_owned());
        expected.public_key = Some(own.public_key());
        expected.certificates = own.chain().iter().map(|der| der.to_vec()).collect();
        assert_eq!(a.session.identity(), Some(expected));
    }
}

mod resumption {
    use super::*;

    /// Counts how often a certificate is verified: in a resumed handshake there is none.
    #[derive(Debug)]
    struct Counting {
        inner: Arc<WebPkiServerVerifier>,
        verified: Arc<AtomicUsize>,
    }

    impl ServerCertVerifier for Counting {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            intermediates: &[CertificateDer<'_>],
            server_name: &ServerName<'_>,
            ocsp_response: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            self.verified.fetch_add(1, Ordering::Relaxed);
            let inner = &self.inner;
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.inner.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.inner.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.inner.supported_verify_schemes()
        }
    }

    fn spares_the_certificate(versions: Versions) {
        let (authority, own) = authority();
        let guest = authority.issue("guest.example");
        let mut there = known_client_config(&authority, versions, &guest);
        let verified = Arc::new(AtomicUsize::new(0));
        let inner = WebPkiServerVerifier::builder_with_provider(authority.roots(), tls::provider())
            .build()
            .expect("a verifier");
        there
            .dangerous()
            .set_certificate_verifier(Arc::new(Counting {
                inner,
                verified: verified.clone(),
            }));
        let here = strict_server_config(&authority, &own, versions);
        let mut a = node(Config::default(), client(there));
        let (mut b, addr) = listening(Config::default(), server(here));

        for round in 1..=3 {
            let to_b = a.net().connect(addr).expect("a connect");
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().connected().contains(&to_b)
            });
            // The tickets have come when an answer has.
            a.net().send(to_b, b"hello").expect("there is room");
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().messages(to_b).len() == 1
            });
            let to_a = b.handler().connected()[round - 1];
            assert_eq!(identity(&mut a, to_b).public_key, Some(own.public_key()));
            assert_eq!(identity(&mut b, to_a).public_key, Some(guest.public_key()));
            a.net().close(to_b);
            assert_eq!(until_ended_both(&mut a, to_b, &mut b, to_a), CLEAN);
        }
        assert_eq!(verified.load(Ordering::Relaxed), 1, "only the first time");
    }

    #[test]
    fn spares_the_certificates_and_remembers_who_they_were_with_tls_1_2() {
        spares_the_certificate(ONLY_12);
    }

    #[test]
    fn spares_the_certificates_and_remembers_who_they_were_with_tls_1_3() {
        spares_the_certificate(ONLY_13);
    }
}

/// The side that closed, and the other one.
const CLEAN: (DisconnectReason, DisconnectReason) =
    (DisconnectReason::Local, DisconnectReason::PeerClosed);

/// Runs both nodes until the connection has ended on both; why.
fn until_ended_both(
    a: &mut TestNode,
    to_b: ConnId,
    b: &mut TestNode,
    to_a: ConnId,
) -> (DisconnectReason, DisconnectReason) {
    run_until([a, b], |[a, b]| {
        a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
    });
    let ended = |node: &TestNode, conn| node.handler().ended(conn).expect("it has ended");
    (ended(a, to_b), ended(b, to_a))
}

/// A peer of rustls alone, on a socket that does not block, so that the node runs in the same thread.
struct Blocking {
    tls: StreamOwned<ClientConnection, TcpStream>,
    /// Bytes that came through the socket.
    wire_read: usize,
}

impl Blocking {
    /// Connects and shakes hands.
    fn connect(node: &mut TestNode, addr: std::net::SocketAddr, config: ClientConfig) -> Self {
        let connection =
            ClientConnection::new(Arc::new(config), server_name(NAME)).expect("a client");
        let socket = connect(addr);
        socket.set_nonblocking(true).expect("a socket");
        let mut peer = Self {
            tls: StreamOwned::new(connection, socket),
            wire_read: 0,
        };
        let before = node.handler().connected().len();
        run_until([node], |[node]| {
            peer.step();
            node.handler().connected().len() > before && !peer.tls.conn.is_handshaking()
        });
        peer.wire_read = 0;
        peer
    }

    /// Reads and writes what it can. Whether the stream has ended.
    fn step(&mut self) -> bool {
        let StreamOwned { conn, sock } = &mut self.tls;
        while conn.wants_write() {
            match conn.write_tls(sock) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("writing: {error}"),
            }
        }
        match conn.read_tls(sock) {
            Ok(0) => return true,
            Ok(count) => self.wire_read += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("reading: {error}"),
        }
        conn.process_new_packets()
            .expect("the node makes no mistakes");
        false
    }

    /// Reads this much plaintext while the node runs.
    fn read(&mut self, node: &mut TestNode, len: usize) -> Vec<u8> {
        let mut plaintext = Vec::new();
        run_until([node], |_| {
            self.step();
            let mut part = vec![0; len];
            if let Ok(count) = self.tls.conn.reader().read(&mut part) {
                plaintext.extend_from_slice(&part[..count]);
            }
            plaintext.len() >= len
        });
        plaintext
    }
}

mod ends {
    use super::*;

    /// A node that answers, and a peer of rustls alone that has connected to it.
    fn node_and_peer(config: Config, versions: Versions) -> (TestNode, ConnId, Blocking) {
        let (authority, own) = authority();
        let (mut b, addr) = listening(config, server(server_config(&own, versions)));
        let peer = Blocking::connect(&mut b, addr, client_config(&authority, versions));
        let to_peer = b.handler().connected()[0];
        (b, to_peer, peer)
    }

    fn a_close_says_so(versions: Versions) {
        let (mut b, to_peer, mut peer) = node_and_peer(Config::default(), versions);
        b.net().send(to_peer, b"last words").expect("there is room");
        b.net().close(to_peer);
        assert_eq!(&peer.read(&mut b, 14)[4..], b"last words");
        run_until([&mut b], |_| peer.step());
        let closed = peer
            .tls
            .conn
            .process_new_packets()
            .expect("no mistake")
            .peer_has_closed();
        assert!(closed, "the close_notify came before the FIN");
        drop(peer);
        assert_eq!(until_ended(&mut b, to_peer), DisconnectReason::Local);
    }

    #[test]
    fn a_close_is_announced_with_tls_1_2() {
        a_close_says_so(ONLY_12);
    }

    #[test]
    fn a_close_is_announced_with_tls_1_3() {
        a_close_says_so(ONLY_13);
    }

    /// The node does not wait for the peer's FIN: a close_notify is the end, and is answered with one.
    #[test]
    fn a_close_notify_is_the_end_and_is_answered() {
        for versions in [ONLY_12, ONLY_13] {
            let (mut b, to_peer, mut peer) = node_and_peer(Config::default(), versions);
            peer.tls
                .conn
                .writer()
                .write_all(b"\0\0\0\x03bye")
                .expect("no limit");
            peer.tls.conn.send_close_notify();
            let _ = peer.step();
            assert_eq!(
                &peer.read(&mut b, 7)[4..],
                b"bye",
                "the answer to what came before"
            );
            run_until([&mut b], |_| peer.step());
            assert!(
                peer.tls
                    .conn
                    .process_new_packets()
                    .expect("no mistake")
                    .peer_has_closed()
            );
            assert_eq!(until_ended(&mut b, to_peer), DisconnectReason::PeerClosed);
        }
    }

    #[test]
    fn a_fin_without_a_close_notify_is_a_truncation() {
        for versions in [ONLY_12, ONLY_13] {
            let (mut b, to_peer, mut peer) = node_and_peer(Config::default(), versions);
            peer.tls
                .conn
                .writer()
                .write_all(b"\0\0\0\x03bye")
                .expect("no limit");
            let _ = peer.step();
            drop(peer.tls.sock);
            let reason = until_ended(&mut b, to_peer);
            assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
            assert_eq!(
                b.handler().messages(to_peer),
                [b"bye"],
                "what had come is delivered"
            );
        }
    }

    #[test]
    fn a_fin_in_the_middle_of_a_record_is_a_truncation() {
        let (mut b, to_peer, mut peer) = node_and_peer(Config::default(), ONLY_13);
        peer.tls
            .conn
            .writer()
            .write_all(b"\0\0\0\x03bye")
            .expect("no limit");
        let mut record = Vec::new();
        peer.tls.conn.write_tls(&mut record).expect("a vector");
        peer.tls
            .sock
            .write_all(&record[..record.len() - 1])
            .expect("there is room");
        drop(peer.tls.sock);
        let reason = until_ended(&mut b, to_peer);
        assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
        assert!(b.handler().messages(to_peer).is_empty());
    }

    /// One half ends with its close_notify, the other lives on for as long as it likes.
    #[test]
    fn one_half_alone_ends_with_a_close_notify() {
        let half_open = Config {
            connection: ConnectionConfig {
                allow_half_open: true,
                ..Default::default()
            },
            ..Config::default()
        };
        for versions in [ONLY_12, ONLY_13] {
            let (authority, own) = authority();
            let (mut a, to_b, mut b, to_a) = pair(
                half_open.clone(),
                client(client_config(&authority, versions)),
                server(server_config(&own, versions)),
            );
            a.net().send(to_b, b"the question").expect("there is room");
            a.net().close_write(to_b);
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().messages(to_b).len() == 1
            });
            b.net().send(to_a, b"one more").expect("this half is open");
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().messages(to_b).len() == 2
            });
            b.net().close(to_a);
            let reasons = until_ended_both(&mut a, to_b, &mut b, to_a);
            assert_eq!(
                reasons,
                (DisconnectReason::PeerClosed, DisconnectReason::Local)
            );
        }
    }
}

mod refusals {
    use super::*;

    /// A connect that must fail; why it does, for the client. The server is told of the other side of it.
    #[track_caller]
    fn refused(there: ClientConfig, here: ServerConfig) -> SessionError {
        let mut a = node(Config::default(), client(there));
        let (mut b, addr) = listening(Config::default(), server(here));
        let connect = a.net().connect(addr).expect("a connect");
        let mut failure = None;
        run_until([&mut a, &mut b], |[a, b]| {
            failure = a.handler().events.iter().find_map(|event| match event {
                Event::ConnectFailed(conn, ConnectError::Session(error)) if *conn == connect => {
                    Some(*error)
                }
                // The client of TLS 1.3 is done before the server has seen its certificate.
                Event::Disconnect(conn, DisconnectReason::Session(error)) if *conn == connect => {
                    Some(*error)
                }
                _ => None,
            });
            failure.is_some() && b.handler().events.len() > 1
        });
        let there = failure.expect("it failed");
        assert_eq!(b.net().connection_count() + b.net().connecting_count(), 0);
        assert_eq!(b.net().metrics().handshakes_failed, 1);
        let events = &b.handler().events[..];
        let [
            Event::Start,
            Event::ConnectFailed(_, ConnectError::Session(here)),
        ] = events
        else {
            panic!("it is not told once: {events:?}");
        };
        use SessionError::{Refused, RefusedByPeer};
        let agree = matches!(
            (there, here),
            (Refused(_), RefusedByPeer(_)) | (RefusedByPeer(_), Refused(_))
        );
        assert!(agree, "{there}, and {here}");
        there
    }

    #[test]
    fn a_certificate_from_another_authority() {
        for versions in [ONLY_12, ONLY_13] {
            let ((_, own), other) = (authority(), Authority::new("another"));
            let error = refused(
                client_config(&other, versions),
                server_config(&own, versions),
            );
            let why = "its certificate is from an unknown authority";
            assert_eq!(error, SessionError::Refused(why));
        }
    }

    #[test]
    fn a_certificate_that_has_expired() {
        for versions in [ONLY_12, ONLY_13] {
            let (authority, _) = authority();
            let old = authority.issue_expired(NAME);
            let error = refused(
                client_config(&authority, versions),
                server_config(&old, versions),
            );
            assert_eq!(error, SessionError::Refused("its certificate has expired"));
        }
    }

    #[test]
    fn a_certificate_for_another_name() {
        for versions in [ONLY_12, ONLY_13] {
            let (authority, _) = authority();
            let other = authority.issue("other.example");
            let error = refused(
                client_config(&authority, versions),
                server_config(&other, versions),
            );
            assert_eq!(
                error,
                SessionError::Refused("its certificate is for another name")
            );
        }
    }

    #[test]
    fn a_client_without_a_certificate_where_one_is_asked_for() {
        for versions in [ONLY_12, ONLY_13] {
            let (authority, own) = authority();
            let here = strict_server_config(&authority, &own, versions);
            let error = refused(client_config(&authority, versions), here);
            assert_eq!(error, SessionError::RefusedByPeer("certificate required"));
        }
    }

    #[test]
    fn a_client_with_a_certificate_from_another_authority() {
        for versions in [ONLY_12, ONLY_13] {
            let ((authority, own), other) = (authority(), Authority::new("another"));
            let guest = other.issue("guest.example");
            let there = known_client_config(&authority, versions, &guest);
            let error = refused(there, strict_server_config(&authority, &own, versions));
            assert_eq!(error, SessionError::RefusedByPeer("unknown authority"));
        }
    }

    #[test]
    fn no_version_in_common() {
        let (authority, own) = authority();
        for (there, here) in [(ONLY_12, ONLY_13), (ONLY_13, ONLY_12)] {
            let error = refused(client_config(&authority, there), server_config(&own, here));
            assert_eq!(
                error,
                SessionError::RefusedByPeer("no TLS version in common")
            );
        }
    }

    #[test]
    fn no_application_protocol_in_common() {
        let (authority, own) = authority();
        let mut there = client_config(&authority, ONLY_13);
        let mut here = server_config(&own, ONLY_13);
        there.alpn_protocols = vec![b"one".to_vec()];
        here.alpn_protocols = vec![b"two".to_vec()];
        let why = "no application protocol in common";
        assert_eq!(refused(there, here), SessionError::RefusedByPeer(why));
    }

    /// It could be replayed, and no handler would know.
    #[test]
    fn a_configuration_with_early_data() {
        let (_, own) = authority();
        let mut config = server_config(&own, ONLY_13);
        config.max_early_data_size = 1024;
        let error = tls::server(Arc::new(config)).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

mod exhausted_keys {
    use super::*;

    /// The records that a key of these tests may seal. That of AES-GCM is 2^24.
    const RECORDS_MAX: usize = 100;

    /// A client of TLS 1.2 whose keys last for few records.
    fn short_lived_client(authority: &Authority) -> ClientConfig {
        let SupportedCipherSuite::Tls12(suite) = TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 else {
            panic!("a suite of TLS 1.2");
        };
        let short_lived = Tls12CipherSuite {
            common: CipherSuiteCommon {
                suite: suite.common.suite,
                hash_provider: suite.common.hash_provider,
                confidentiality_limit: RECORDS_MAX as u64,
            },
            prf_provider: suite.prf_provider,
            kx: suite.kx,
            sign: suite.sign,
            aead_alg: suite.aead_alg,
        };
        let mut provider = (*tls::provider()).clone();
        provider.cipher_suites = vec![SupportedCipherSuite::Tls12(Box::leak(Box::new(
            short_lived,
        )))];
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(ONLY_12)
            .expect("versions")
            .with_root_certificates(authority.roots())
            .with_no_client_auth()
    }

    /// A message is lost with the last record, and neither end takes that for a clean end, whatever its length.
    fn are_an_error_at_both_ends(len: usize) {
        let (authority, own) = authority();
        let (mut a, to_b, mut b, to_a) = pair(
            Config::default(),
            client(short_lived_client(&authority)),
            server(server_config(&own, ONLY_12)),
        );
        let mut token = 0;
        while a.handler().ended(to_b).is_none() {
            // Each flush is a record.
            if a.net().send_tracked(to_b, vec![5; len], token).is_ok() {
                token += 1;
            }
            let _ = crate::util::turn(&mut a, Some(Duration::ZERO));
            let _ = crate::util::turn(&mut b, Some(Duration::ZERO));
            assert!(token <= RECORDS_MAX as u64, "more than the key may seal");
        }
        let reasons = until_ended_both(&mut a, to_b, &mut b, to_a);
        assert_eq!(
            reasons,
            (
                DisconnectReason::Session(SessionError::Failed("the keys are exhausted")),
                DisconnectReason::Session(SessionError::Truncated)
            )
        );
        let handed_over = a
            .handler()
            .count(|event| matches!(event, Event::Sent(_, _, SendOutcome::HandedOver)));
        let lost = a
            .handler()
            .count(|event| matches!(event, Event::Sent(_, _, SendOutcome::Lost)));
        assert_eq!(b.handler().messages(to_a).len(), handed_over);
        assert_eq!((handed_over + lost) as u64, token);
        assert!(handed_over >= RECORDS_MAX / 2 && lost > 0);
    }

    #[test]
    fn of_tls_1_2_are_an_error_at_both_ends() {
        are_an_error_at_both_ends(16);
        are_an_error_at_both_ends(1000);
    }
}

mod missing_close_notify {
    use super::*;

    fn server(own: &Credentials) -> Recorder {
        let config = Arc::new(server_config(own, ONLY_13));
        Recorder {
            sessions: Box::new(move |_, _| {
                let session = tls::server(config.clone())?.allow_missing_close_notify();
                Ok(Some(Box::new(session)))
            }),
            ..Recorder::echo()
        }
    }

    /// A peer sends a record and FIN at once, and then reads to the end.
    fn ask(
        server: impl Fn(&Credentials) -> Recorder,
        half_open: bool,
        cut: usize,
    ) -> (Vec<u8>, TestNode, ConnId) {
        let (authority, own) = authority();
        let mut config = Config::default();
        config.connection.allow_half_open = half_open;
        let (mut b, addr) = listening(config, server(&own));
        let mut peer = Blocking::connect(&mut b, addr, client_config(&authority, ONLY_13));
        let to_peer = b.handler().connected()[0];
        let mut writer = peer.tls.conn.writer();
        writer.write_all(b"\0\0\0\x03ask").expect("no limit");
        let mut record = Vec::new();
        while peer.tls.conn.wants_write() {
            peer.tls.conn.write_tls(&mut record).expect("a vector");
        }
        let socket = &mut peer.tls.sock;
        socket
            .write_all(&record[..record.len() - cut])
            .expect("there is room");
        socket.shutdown(Shutdown::Write).expect("a connection");
        let mut answer = Vec::new();
        run_until([&mut b], |[b]| {
            let is_over = peer.step();
            let mut part = [0; 64];
            if let Ok(count) = peer.tls.conn.reader().read(&mut part) {
                answer.extend_from_slice(&part[..count]);
            }
            if half_open && answer.len() == 7 {
                b.net().close(to_peer);
            }
            is_over
        });
        (answer, b, to_peer)
    }

    #[test]
    fn drops_the_answer_by_default() {
        for half_open in [false, true] {
            let default = |own: &Credentials| super::server(server_config(own, ONLY_13));
            let (answer, mut b, to_peer) = ask(default, half_open, 0);
            assert_eq!(b.handler().messages(to_peer), [b"ask"]);
            assert!(answer.is_empty());
            let reason = until_ended(&mut b, to_peer);
            assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
        }
    }

    #[test]
    fn lets_the_answer_leave_if_it_is_allowed() {
        for half_open in [false, true] {
            let (answer, mut b, to_peer) = ask(server, half_open, 0);
            assert_eq!(answer, b"\0\0\0\x03ask", "half open: {half_open}");
            let expected = match half_open {
                // The test closes it.
                true => DisconnectReason::Local,
                false => DisconnectReason::PeerClosed,
            };
            assert_eq!(until_ended(&mut b, to_peer), expected);
        }
    }

    #[test]
    fn within_a_record_is_a_truncation_all_the_same() {
        let (answer, mut b, to_peer) = ask(server, false, 1);
        assert!(answer.is_empty() && b.handler().messages(to_peer).is_empty());
        let reason = until_ended(&mut b, to_peer);
        assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
    }
}

mod held_bytes {
    use super::*;

    /// A client hello that is spread over records, of which the last does not come, is held. What is complete is not.
    #[test]
    fn are_those_of_a_handshake_message_that_is_incomplete() {
        let (authority, own) = authority();
        let mut config = client_config(&authority, ONLY_13);
        // Of 20,000 bytes.
        config.alpn_protocols = vec![vec![7; 200]; 100];
        let mut a = End::client(&Arc::new(config), NAME);
        let mut b = End::server(&Arc::new(server_config(&own, ONLY_13)));
        let hello = a.said();
        let first = 5 + usize::from(u16::from_be_bytes([hello[3], hello[4]]));
        assert!(first > 16_000 && hello.len() > first, "several records");
        b.hear(&hello[..first]).expect("a part");
        let held = b.session.held_bytes();
        assert!((first..=first + 4096).contains(&held), "{held} of {first}");
        b.hear(&hello[first..]).expect("the rest");
        assert_eq!(b.session.held_bytes(), 0);
        talk(&mut a, &mut b).expect("they agree");
        assert_eq!(b.session.held_bytes(), 0);
        let sealed = b.seal(&[5; 100_000]);
        a.hear(&sealed).expect("a message");
        assert_eq!(a.session.held_bytes(), 0, "a message is behind the tickets");
    }
}
