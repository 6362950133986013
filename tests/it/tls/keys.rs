//! Keys of TLS 1.2, which last for a number of records.

use std::sync::Arc;
use std::time::Duration;

use super::{client, server};
use crate::util::outcome::until_both_ended;
use crate::util::tls::{Authority, NAME, ONLY_12, server_config};
use crate::util::{Event, pair, turn};
use peerloop::error::SessionError;
use peerloop::tls::rustls::crypto::CipherSuiteCommon;
use peerloop::tls::rustls::crypto::ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
use peerloop::tls::rustls::{ClientConfig, SupportedCipherSuite, Tls12CipherSuite};
use peerloop::{Config, DisconnectReason, SendOutcome, tls};

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
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(ONLY_12)
        .expect("versions")
        .with_root_certificates(authority.roots())
        .with_no_client_auth()
}

/// For any length of the message that is lost, neither end takes this for a
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
        let truncated = DisconnectReason::Session(SessionError::Truncated);
        assert_eq!(at_b, truncated);
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
