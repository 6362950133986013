//! `Connection::identity` after full and resumed handshakes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::alerts::Verifier;
use super::{client, server};
use crate::util::outcome::{CLOSED, until_both_ended};
use crate::util::tls::{
    Authority, Credentials, EACH_VERSION, NAME, ONLY_13, client_config, configs,
    known_client_config, server_config, strict_server_config,
};
use crate::util::{TestNode, listening, node, pair, run_until};
use peerloop::session::Identity;
use peerloop::{Config, ConnId};

fn identity(node: &mut TestNode, conn: ConnId) -> Option<Identity> {
    let connection = node.net().connection(conn).expect("an open connection");
    connection.identity().cloned()
}

/// The identity of the holder of a certificate.
fn expected(credentials: &Credentials, protocol: Option<&[u8]>) -> Option<Identity> {
    let mut identity = Identity::default();
    identity.requested_server_name = Some(NAME.to_owned());
    identity.public_key = Some(credentials.public_key());
    identity.certificates = vec![credentials.chain()[0].to_vec()];
    identity.protocol = protocol.map(<[u8]>::to_vec);
    Some(identity)
}

#[test]
fn identity_has_certificate_name_and_protocol() {
    for versions in EACH_VERSION {
        let authority = Authority::new("the authority");
        let [own, theirs] = [NAME, "client.example"].map(|name| authority.issue(name));
        let mut there = known_client_config(&authority, versions, &theirs);
        let mut here = strict_server_config(&authority, &own, versions);
        there.alpn_protocols = vec![b"old".to_vec(), b"new".to_vec()];
        here.alpn_protocols = vec![b"new".to_vec()];
        let (mut a, to_b, mut b, to_a) = pair(Config::default(), client(there), server(here));
        assert_eq!(identity(&mut a, to_b), expected(&own, Some(b"new")));
        assert_eq!(identity(&mut b, to_a), expected(&theirs, Some(b"new")));
    }
}

#[test]
fn client_without_certificate_has_requested_name() {
    let (there, here) = configs(ONLY_13);
    let (_a, _, mut b, to_a) = pair(Config::default(), client(there), server(here));
    let mut expected = Identity::default();
    expected.requested_server_name = Some(NAME.to_owned());
    assert_eq!(identity(&mut b, to_a), Some(expected));
}

#[test]
fn client_that_sends_no_name_has_no_identity() {
    let authority = Authority::new("the authority");
    let mut there = client_config(&authority, ONLY_13);
    there.enable_sni = false;
    let here = server_config(&authority.issue(NAME), ONLY_13);
    let (_a, _, mut b, to_a) = pair(Config::default(), client(there), server(here));
    assert_eq!(identity(&mut b, to_a), None);
}

#[test]
fn resumed_session_keeps_both_identities() {
    for versions in EACH_VERSION {
        let authority = Authority::new("the authority");
        let [own, theirs] = [NAME, "client.example"].map(|name| authority.issue(name));
        let mut there = known_client_config(&authority, versions, &theirs);
        let verifier = Arc::new(Verifier::default());
        let mut dangerous = there.dangerous();
        dangerous.set_certificate_verifier(verifier.clone());
        let here = strict_server_config(&authority, &own, versions);
        let mut a = node(Config::default(), client(there));
        let (mut b, addr) = listening(Config::default(), server(here));
        for round in 0..3 {
            let to_b = a.net().connect(addr).expect("a connect");
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().connected().contains(&to_b)
            });
            // The tickets arrive before the echo.
            a.net().send(to_b, b"hello").expect("room");
            run_until([&mut a, &mut b], |[a, _]| {
                a.handler().messages(to_b).len() == 1
            });
            let to_a = b.handler().connected()[round];
            assert_eq!(identity(&mut a, to_b), expected(&own, None));
            assert_eq!(identity(&mut b, to_a), expected(&theirs, None));
            a.net().close(to_b);
            assert_eq!(until_both_ended(&mut a, to_b, &mut b, to_a), CLOSED);
        }
        let asked = verifier.asked.load(Ordering::Relaxed);
        assert_eq!(asked, 1, "only the first handshake is a full one");
    }
}
