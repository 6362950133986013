//! The close notification, and streams that end without one.

use std::sync::Arc;
use std::time::Duration;

use super::{TRUNCATED, client, connected, server, with_raw_client};
use crate::util::outcome::{CLOSED, until_both_ended};
use crate::util::raw::until_ended;
use crate::util::session_peer::{SessionPeer, StreamEnd};
use crate::util::tls::{
    Authority, EACH_VERSION, NAME, ONLY_12, ONLY_13, Versions, configs, server_config,
};
use crate::util::{Event, Recorder, frame, listening, pair, run_until, turn, unlimited_time};
use peerloop::error::SessionError;
use peerloop::session::Stage;
use peerloop::tls::Tls;
use peerloop::tls::rustls::crypto::CipherSuiteCommon;
use peerloop::tls::rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
use peerloop::tls::rustls::{ClientConfig, SupportedCipherSuite, Tls12CipherSuite};
use peerloop::{Config, ConnId, DisconnectReason, SendOutcome, tls};

use crate::util::TestNode;

fn half_open() -> Config {
    let mut config = Config::default();
    config.connection.allow_half_open = true;
    config
}

#[test]
fn close_sends_notification_and_fin() {
    for versions in EACH_VERSION {
        let (mut node, conn, mut peer) = with_raw_client(Config::default(), versions);
        node.net().send(conn, b"last words").expect("room");
        node.net().close(conn);
        assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
        assert_eq!(peer.end.plaintext, frame(b"last words"));
        assert_eq!(peer.end.stage(), Stage::Finished);
        drop(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
    }
}

#[test]
fn peers_notification_ends_and_is_answered() {
    for versions in EACH_VERSION {
        let (mut node, conn, mut peer) = with_raw_client(Config::default(), versions);
        let bytes = [peer.end.frame(b"bye"), peer.end.close_notify()].concat();
        peer.write(&bytes);
        // The node does not wait for a FIN.
        assert_eq!(peer.until_stream_end(&mut node), StreamEnd::Fin);
        assert_eq!(peer.end.plaintext, frame(b"bye"));
        assert_eq!(peer.end.stage(), Stage::Finished);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    }
}

#[test]
fn fin_without_notification_is_truncation() {
    for versions in EACH_VERSION {
        let (mut node, conn, mut peer) = with_raw_client(Config::default(), versions);
        let bytes = [peer.end.frame(b"whole"), peer.end.frame(b"cut off")].concat();
        peer.write(&bytes[..bytes.len() - 1]);
        peer.finish();
        assert_eq!(until_ended(&mut node, conn), TRUNCATED);
        assert_eq!(node.handler().messages(conn), [b"whole"]);
    }
}

#[test]
fn close_write_leaves_other_half_open() {
    for versions in EACH_VERSION {
        let (mut a, to_b, mut b, to_a) = connected(half_open(), versions);
        a.net().send(to_b, b"a question").expect("room");
        a.net().close_write(to_b);
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().messages(to_b).len() == 1
        });
        b.net().send(to_a, b"one more").expect("an open half");
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().messages(to_b).len() == 2
        });
        b.net().close(to_a);
        let [at_a, at_b] = until_both_ended(&mut a, to_b, &mut b, to_a);
        assert_eq!([at_b, at_a], CLOSED);
    }
}

mod missing_close_notify {
    use super::*;

    /// A peer sends a record without its last bytes and a FIN at once, and reads to
    /// the end of the stream. Returns the plaintext.
    fn answer(allowed: bool, half_open: bool, cut: usize) -> (Vec<u8>, TestNode, ConnId) {
        let (there, here) = configs(ONLY_13);
        let mut recorder = Recorder::echo();
        recorder.sessions = Box::new(move |_, _| {
            let session = tls::server(here.clone())?;
            Ok(Some(Box::new(match allowed {
                true => session.allow_missing_close_notify(),
                false => session,
            })))
        });
        let mut config = Config {
            budget: unlimited_time(),
            ..Config::default()
        };
        config.connection.allow_half_open = half_open;
        let (mut node, addr) = listening(config, recorder);
        let session = crate::util::tls::client(&there);
        let (conn, mut peer): (_, SessionPeer<Tls>) =
            SessionPeer::connect(&mut node, addr, session);
        let record = peer.end.frame(b"ask");
        peer.write(&record[..record.len() - cut]);
        peer.finish();
        peer.run_until(&mut node, |peer, node| {
            if half_open && peer.end.plaintext.len() == 7 {
                node.net().close(conn);
            }
            peer.stream_end.is_some()
        });
        (peer.end.plaintext, node, conn)
    }

    #[test]
    fn answer_is_dropped_by_default() {
        for half_open in [false, true] {
            let (answer, mut node, conn) = answer(false, half_open, 0);
            assert_eq!(node.handler().messages(conn), [b"ask"]);
            assert!(answer.is_empty());
            assert_eq!(until_ended(&mut node, conn), TRUNCATED);
        }
    }

    #[test]
    fn answer_is_sent_if_allowed() {
        for (half_open, reason) in [
            (false, DisconnectReason::PeerClosed),
            (true, DisconnectReason::Local),
        ] {
            let (answer, mut node, conn) = answer(true, half_open, 0);
            assert_eq!(answer, frame(b"ask"), "half open: {half_open}");
            assert_eq!(until_ended(&mut node, conn), reason);
        }
    }

    #[test]
    fn end_within_record_is_always_truncation() {
        let (answer, mut node, conn) = answer(true, false, 1);
        assert!(answer.is_empty() && node.handler().messages(conn).is_empty());
        assert_eq!(until_ended(&mut node, conn), TRUNCATED);
    }
}

/// Maximum number of records of a key in the test below. That of AES-GCM is 2^24.
const RECORDS_MAX: usize = 100;

/// A client of TLS 1.2 with keys for few records.
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
    let suite = SupportedCipherSuite::Tls12(Box::leak(Box::new(short_lived)));
    provider.cipher_suites = vec![suite];
    let versions: Versions = ONLY_12;
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(authority.roots())
        .with_no_client_auth()
}

/// Whatever the length of the message that is lost, neither end takes this for a
/// clean end.
#[test]
fn exhausted_keys_are_an_error_at_both_ends() {
    for len in [16, 1000] {
        let authority = Authority::new("the authority");
        let here = server_config(&authority.issue(NAME), ONLY_12);
        let (mut a, to_b, mut b, to_a) = pair(
            Config::default(),
            client(short_lived_client(&authority)),
            server(here),
        );
        let mut token = 0;
        while a.handler().ended(to_b).is_none() {
            // Each flush is a record.
            if a.net().send_tracked(to_b, vec![5; len], token).is_ok() {
                token += 1;
            }
            let _ = turn(&mut a, Some(Duration::ZERO));
            let _ = turn(&mut b, Some(Duration::ZERO));
            assert!(token <= RECORDS_MAX as u64, "more records than allowed");
        }
        let [at_a, at_b] = until_both_ended(&mut a, to_b, &mut b, to_a);
        let exhausted = SessionError::Failed("the keys are exhausted");
        assert_eq!(at_a, DisconnectReason::Session(exhausted));
        assert_eq!(at_b, TRUNCATED);
        let count = |outcome| {
            a.handler()
                .count(|event| matches!(event, Event::Sent(_, _, it) if *it == outcome))
        };
        let (handed_over, lost) = (count(SendOutcome::HandedOver), count(SendOutcome::Lost));
        assert_eq!(b.handler().messages(to_a).len(), handed_over);
        assert_eq!((handed_over + lost) as u64, token);
        assert!(handed_over >= RECORDS_MAX / 2 && lost > 0);
    }
}
