//! Handshakes that one end refuses.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use super::{client, server};
use crate::util::outcome::{assert_only_failures, failures};
use crate::util::session_peer::{StreamEnd, read_to_end};
use crate::util::tls::{
    Authority, EACH_VERSION, NAME, ONLY_12, ONLY_13, Versions, client_config, configs,
    known_client_config, server_config, strict_server_config,
};
use crate::util::{Event, listening, node, raw, run_until};
use peerloop::error::SessionError::{self, Malformed, Refused, RefusedByPeer};
use peerloop::tls::rustls::{ClientConfig, ServerConfig};
use peerloop::{Config, ConnectError, DisconnectReason, tls};

/// Asserts the error of each end.
#[track_caller]
fn assert_refused(configs: (ClientConfig, ServerConfig), expected: [SessionError; 2]) {
    let mut a = node(Config::default(), client(configs.0));
    let (mut b, addr) = listening(Config::default(), server(configs.1));
    let conn = a.net().connect(addr).expect("a connect");
    // A client of TLS 1.3 is connected before the server has its certificate.
    let error = |event: &Event| match event {
        Event::ConnectFailed(id, ConnectError::Session(error)) if *id == conn => Some(*error),
        Event::Disconnect(id, DisconnectReason::Session(error)) if *id == conn => Some(*error),
        _ => None,
    };
    run_until([&mut a, &mut b], |[a, b]| {
        let is_over = a
            .handler()
            .events
            .iter()
            .any(|event| error(event).is_some());
        is_over && !failures(b).is_empty()
    });
    let at_client = a.handler().events.iter().find_map(error);
    assert_eq!(at_client, Some(expected[0]));
    assert_only_failures(&mut b, &[ConnectError::Session(expected[1])]);
    assert_eq!(b.net().metrics().handshakes_failed, 1);
}

#[test]
fn certificate_of_unknown_authority_is_refused() {
    let unknown = Refused("its certificate is from an unknown authority");
    for versions in EACH_VERSION {
        let [authority, other] = ["one", "another"].map(Authority::new);
        let own = authority.issue(NAME);
        let of_server = (
            client_config(&other, versions),
            server_config(&own, versions),
        );
        assert_refused(of_server, [unknown, RefusedByPeer("unknown authority")]);
        let of_client = (
            known_client_config(&authority, versions, &other.issue("client.example")),
            strict_server_config(&authority, &own, versions),
        );
        assert_refused(of_client, [RefusedByPeer("unknown authority"), unknown]);
    }
}

#[test]
fn client_without_certificate_is_refused() {
    for versions in EACH_VERSION {
        let authority = Authority::new("the authority");
        let here = strict_server_config(&authority, &authority.issue(NAME), versions);
        assert_refused(
            (client_config(&authority, versions), here),
            [
                RefusedByPeer("certificate required"),
                Refused("it has no certificate"),
            ],
        );
    }
}

#[test]
fn no_common_version_or_protocol_is_refused() {
    let configs = |there: Versions, here: Versions| {
        let authority = Authority::new("the authority");
        let here = server_config(&authority.issue(NAME), here);
        (client_config(&authority, there), here)
    };
    for (there, here) in [(ONLY_12, ONLY_13), (ONLY_13, ONLY_12)] {
        let why = "no TLS version in common";
        assert_refused(configs(there, here), [RefusedByPeer(why), Refused(why)]);
    }
    let (mut there, mut here) = configs(ONLY_13, ONLY_13);
    there.alpn_protocols = vec![b"one".to_vec()];
    here.alpn_protocols = vec![b"two".to_vec()];
    let why = "no application protocol in common";
    assert_refused((there, here), [RefusedByPeer(why), Refused(why)]);
}

#[test]
fn plaintext_client_gets_alert_and_fin() {
    let (there, here) = configs(ONLY_13);
    let (mut node, addr) = listening(Config::default(), server(here));
    let mut peer = raw::connect(addr);
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("room");
    let (answer, end) = read_to_end(&mut node, &mut peer);
    assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{answer:?}");
    assert_eq!(end, StreamEnd::Fin);
    drop(peer);
    run_until([&mut node], |[node]| !failures(node).is_empty());
    let error = ConnectError::Session(Malformed("not a TLS record"));
    assert_only_failures(&mut node, &[error]);
    // The node serves others.
    let mut a = crate::util::node(Config::default(), client(there));
    let conn = a.net().connect(addr).expect("a connect");
    run_until([&mut a, &mut node], |[a, _]| {
        a.handler().connected() == [conn]
    });
}

/// Early data could be replayed.
#[test]
fn early_data_is_not_accepted() {
    let own = Authority::new("the authority").issue(NAME);
    let mut config = server_config(&own, ONLY_13);
    config.max_early_data_size = 1024;
    let error = tls::server(Arc::new(config)).expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
