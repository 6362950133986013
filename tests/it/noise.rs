//! Noise sessions: between nodes, and with a program that uses snow directly.
#![cfg(feature = "noise")]

#[allow(dead_code, reason = "it has a `main` of its own")]
#[path = "../../examples/noise.rs"]
mod example;

use peerloop::config::ConnectionConfig;
use std::io::{self, Write};
use std::net::{Shutdown, TcpListener};
use std::num::NonZeroU64;

use crate::util::snow_peer::{Deal, SnowPeer, beside, framed};
use crate::util::{Event, Recorder, TestNode, listening, node, raw, run_until, unlimited_time};
use peerloop::error::SessionError;
use peerloop::noise::{Cipher, Hash, Noise, PAYLOAD_MAX, Pattern, Rekey, StaticKey};
use peerloop::session::{Identity, Role};
use peerloop::{Config, ConnId, ConnectError, DisconnectReason, SendError};

const PATTERNS: [(Pattern, &str); 30] = [
    (Pattern::NN, "Noise_NN_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::NK, "Noise_NK_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::NX, "Noise_NX_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::XN, "Noise_XN_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::XK, "Noise_XK_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::XX, "Noise_XX_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::KN, "Noise_KN_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::KK, "Noise_KK_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::KX, "Noise_KX_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::IN, "Noise_IN_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::IK, "Noise_IK_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::IX, "Noise_IX_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::NK1, "Noise_NK1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::NX1, "Noise_NX1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::XK1, "Noise_XK1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::XX1, "Noise_XX1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::K1N, "Noise_K1N_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::K1K, "Noise_K1K_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::KK1, "Noise_KK1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::K1K1, "Noise_K1K1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::K1X, "Noise_K1X_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::KX1, "Noise_KX1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::K1X1, "Noise_K1X1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::I1N, "Noise_I1N_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::I1K, "Noise_I1K_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::IK1, "Noise_IK1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::I1K1, "Noise_I1K1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::I1X, "Noise_I1X_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::IX1, "Noise_IX1_25519_ChaChaPoly_BLAKE2s"),
    (Pattern::I1X1, "Noise_I1X1_25519_ChaChaPoly_BLAKE2s"),
];

/// Every pattern, and psks in every place of XX.
fn deals() -> Vec<Deal> {
    let plain = PATTERNS.map(|(pattern, name)| Deal::new(pattern, name));
    let mut deals = plain.to_vec();
    for (place, name) in [
        (0, "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s"),
        (1, "Noise_XXpsk1_25519_ChaChaPoly_BLAKE2s"),
        (2, "Noise_XXpsk2_25519_ChaChaPoly_BLAKE2s"),
        (3, "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s"),
    ] {
        deals.push(Deal::new(Pattern::XX, name).psk(place));
    }
    deals.push(Deal::new(Pattern::NN, "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s").psk(0));
    deals.push(Deal::new(Pattern::IK, "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s").psk(2));
    deals
}

/// The four that most programs use.
fn main_deals() -> [Deal; 4] {
    [Deal::xx(), Deal::ik(), Deal::nn(), Deal::xx_psk3()]
}

/// A handler that has this deal's sessions.
fn speaking(deal: &Deal, mut recorder: Recorder) -> Recorder {
    recorder.sessions = deal.sessions();
    recorder
}

fn pair(a: Recorder, b: Recorder) -> (TestNode, ConnId, TestNode, ConnId) {
    crate::util::pair(Config::default(), a, b)
}

/// What a node is to know about a side.
fn expected(deal: &Deal, side: Role) -> Identity {
    let mut identity = Identity::default();
    if deal.letter(side) != b'N' {
        identity.public_key = Some(deal.key(side).public().to_vec());
    }
    identity.payload = deal.payload(side).to_vec();
    identity
}

fn identity(node: &mut TestNode, conn: ConnId) -> Option<Identity> {
    let connection = node.net().connection(conn).expect("it is open");
    connection.identity().cloned()
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

const SIZES: [usize; 9] = [1, 2, 255, 4096, 65_514, 65_515, 65_516, 131_072, 1 << 20];

/// Connects with a node; the connection, and a blocking peer that has accepted it.
fn connect_snow(node: &mut TestNode, deal: &Deal) -> (ConnId, SnowPeer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let conn = node
        .net()
        .connect(listener.local_addr().unwrap())
        .expect("a connect");
    let deal = deal.clone();
    let peer = beside(node, move || {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(crate::util::PATIENCE))
            .unwrap();
        SnowPeer::shake(stream, &deal, Role::Responder).expect("a handshake")
    });
    run_until([node], |[node]| node.handler().connected().contains(&conn));
    (conn, peer)
}

/// A blocking peer that has connected to a node.
fn accept_snow(node: &mut TestNode, deal: &Deal) -> (ConnId, SnowPeer) {
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let before = node.handler().connected().len();
    let deal = deal.clone();
    let peer = beside(node, move || {
        SnowPeer::shake(raw::connect(addr), &deal, Role::Initiator).expect("a handshake")
    });
    run_until([node], |[node]| node.handler().connected().len() > before);
    (node.handler().connected()[before], peer)
}

fn snow_pair(node: &mut TestNode, deal: &Deal, side: Role) -> (ConnId, SnowPeer) {
    match side {
        Role::Initiator => connect_snow(node, deal),
        Role::Responder => accept_snow(node, deal),
    }
}

const SIDES: [Role; 2] = [Role::Initiator, Role::Responder];

#[test]
fn nodes_agree_on_every_pattern_and_know_each_other() {
    for deal in deals() {
        let (mut a, there, mut b, here) = pair(
            speaking(&deal, Recorder::default()),
            speaking(&deal, Recorder::echo()),
        );
        assert_eq!(
            identity(&mut a, there),
            Some(expected(&deal, Role::Responder)),
            "{}",
            deal.name
        );
        assert_eq!(
            identity(&mut b, here),
            Some(expected(&deal, Role::Initiator)),
            "{}",
            deal.name
        );
        assert_eq!(deal.noise(Role::Initiator).protocol_name(), deal.name);
        a.net().send(there, b"a question").unwrap();
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().messages(there) == [b"a question"]
        });
    }
}

#[test]
fn messages_of_all_sizes_travel_both_ways() {
    for deal in main_deals() {
        let (mut a, there, mut b, here) = pair(
            speaking(&deal, Recorder::default()),
            speaking(&deal, Recorder::default()),
        );
        for size in SIZES {
            a.net().send(there, body(size)).unwrap();
            b.net().send(here, body(size)).unwrap();
        }
        run_until([&mut a, &mut b], |nodes| {
            nodes[0].handler().messages(there).len() == SIZES.len()
                && nodes[1].handler().messages(here).len() == SIZES.len()
        });
        for (received, size) in a.handler().messages(there).into_iter().zip(SIZES) {
            assert!(received == body(size), "{}: {size} bytes", deal.name);
        }
        for (received, size) in b.handler().messages(here).into_iter().zip(SIZES) {
            assert!(received == body(size), "{}: {size} bytes", deal.name);
        }
    }
}

#[test]
fn a_program_that_uses_snow_understands_every_pattern_in_both_roles() {
    for deal in deals() {
        for side in SIDES {
            let mut node = node(Config::default(), speaking(&deal, Recorder::echo()));
            let (conn, mut peer) = snow_pair(&mut node, &deal, side);
            let known = identity(&mut node, conn);
            assert_eq!(known, Some(expected(&deal, !side)), "{}", deal.name);
            let said = peer.payloads.last().expect("a message");
            assert_eq!(said, deal.payload(side), "{}", deal.name);
            beside(&mut node, move || {
                peer.say(b"echo this");
                assert_eq!(peer.hear(), b"echo this");
            });
        }
    }
}

#[test]
fn a_program_that_uses_snow_gets_every_size_back() {
    for deal in main_deals() {
        for side in SIDES {
            let mut node = node(Config::default(), speaking(&deal, Recorder::echo()));
            let (conn, mut peer) = snow_pair(&mut node, &deal, side);
            beside(&mut node, move || {
                for size in SIZES {
                    peer.say(&body(size));
                    assert!(peer.hear() == body(size), "{size} bytes");
                }
                peer.send_close_notify();
                peer.finish();
                peer.expect_close_notify();
            });
            let reason = raw::until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::PeerClosed);
        }
    }
}

#[test]
fn other_ciphers_and_hashes_are_spoken_too() {
    for (cipher, hash, name) in [
        (
            Cipher::ChaChaPoly,
            Hash::Sha256,
            "Noise_XX_25519_ChaChaPoly_SHA256",
        ),
        (Cipher::AesGcm, Hash::Sha512, "Noise_XX_25519_AESGCM_SHA512"),
        (
            Cipher::AesGcm,
            Hash::Blake2b,
            "Noise_XX_25519_AESGCM_BLAKE2b",
        ),
    ] {
        let deal = Deal::new(Pattern::XX, name);
        let ours = deal.clone();
        let mut recorder = Recorder::echo();
        recorder.sessions = Box::new(move |net, conn| {
            let side = Role::from(net.connection(conn).expect("it is there").info().direction);
            let noise = ours.noise(side).cipher(cipher).hash(hash);
            assert_eq!(noise.protocol_name(), name);
            Ok(Some(Box::new(noise.build()?)))
        });
        let mut node = node(Config::default(), recorder);
        let (_, mut peer) = accept_snow(&mut node, &deal);
        beside(&mut node, move || {
            peer.say(b"echo this");
            assert_eq!(peer.hear(), b"echo this");
        });
    }
}

/// What becomes of a connection between two nodes that do not agree, on both sides.
fn quarrel(connecting: &Deal, accepting: &Deal) -> (Vec<Event>, Vec<Event>) {
    let mut a = node(Config::default(), speaking(connecting, Recorder::default()));
    let (mut b, addr) = listening(Config::default(), speaking(accepting, Recorder::default()));
    a.net().connect(addr).expect("a connect");
    run_until([&mut a, &mut b], |nodes| {
        let over =
            |event: &Event| matches!(event, Event::ConnectFailed(..) | Event::Disconnect(..));
        nodes.iter().all(|node| node.handler().count(over) == 1)
    });
    let rest = |node: &TestNode| {
        let events = node.handler().events.iter().cloned();
        events.filter(|event| *event != Event::Start).collect()
    };
    assert_eq!(b.net().connecting_count() + b.net().connection_count(), 0);
    (rest(&a), rest(&b))
}

/// A side cannot know more than that the peer has gone.
#[track_caller]
fn assert_left(events: &[Event]) {
    match events {
        [Event::ConnectFailed(_, ConnectError::Io(error))] => {
            assert!(
                matches!(
                    error.kind,
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ),
                "{error}"
            );
        }
        // Its own part of the handshake was over.
        [Event::Connect(_), Event::Disconnect(_, reason)] => assert!(
            matches!(
                reason,
                DisconnectReason::Session(SessionError::Truncated) | DisconnectReason::Reset
            ),
            "{reason}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_that_do_not_agree_do_not_connect() {
    let mut other_psk = Deal::xx_psk3();
    other_psk.psk = Some((3, [8; 32]));
    let mut other_early_psk =
        Deal::new(Pattern::NN, "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s").psk(0);
    let early_psk = other_early_psk.clone();
    other_early_psk.psk = Some((0, [8; 32]));
    let mut other_prologue = Deal::xx();
    other_prologue.prologue = b"another prologue";
    let mut other_key = Deal::ik();
    other_key.keys[Role::Responder as usize] = StaticKey::from_secret([7; 32]);
    for (connecting, accepting) in [
        (Deal::xx_psk3(), other_psk),
        (early_psk, other_early_psk),
        (Deal::ik(), other_key),
        (Deal::nn(), Deal::ik()),
        (Deal::xx_psk3(), Deal::xx()),
    ] {
        let (connected, accepted) = quarrel(&connecting, &accepting);
        assert_left(&connected);
        // The node that refuses is told once, and with the reason.
        assert!(
            matches!(
                accepted[..],
                [Event::ConnectFailed(
                    _,
                    ConnectError::Session(SessionError::Malformed(_))
                )]
            ),
            "{} and {}: {accepted:?}",
            connecting.name,
            accepting.name
        );
    }
    // In these it is the connector that finds out.
    for (connecting, accepting) in [
        (Deal::xx(), other_prologue),
        (Deal::xx(), Deal::nn()),
        (Deal::ik(), Deal::nn()),
    ] {
        let (connected, accepted) = quarrel(&connecting, &accepting);
        assert!(
            matches!(
                connected[..],
                [Event::ConnectFailed(
                    _,
                    ConnectError::Session(SessionError::Malformed(_))
                )]
            ),
            "{connected:?}"
        );
        assert_left(&accepted);
    }
}

#[test]
fn a_peer_with_another_key_than_expected_is_refused_before_it_learns_ours() {
    let deal = Deal::xx();
    let ours = deal.clone();
    let recorder = Recorder {
        sessions: Box::new(move |_, _| {
            let noise = ours.noise(Role::Initiator).remote_key(&[77; 32]);
            Ok(Some(Box::new(noise.build()?)))
        }),
        ..Recorder::default()
    };
    let mut a = node(Config::default(), recorder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    a.net().connect(listener.local_addr().unwrap()).unwrap();
    let outcome = beside(&mut a, move || {
        let (stream, _) = listener.accept().unwrap();
        SnowPeer::shake(stream, &deal, Role::Responder).map(drop)
    });
    // The third message, with the connector's key, has not come.
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    run_until([&mut a], |[a]| {
        a.handler().events.iter().any(|event| {
            matches!(
                event,
                Event::ConnectFailed(_, ConnectError::Session(SessionError::Refused(_)))
            )
        })
    });
}

#[test]
fn plaintext_is_split_at_65_519_bytes() {
    let deal = Deal::xx();
    for (len, pieces) in [
        (65_518, &[65_518][..]),
        (65_519, &[65_519]),
        (65_520, &[65_519, 1]),
    ] {
        let mut node = node(Config::default(), speaking(&deal, Recorder::default()));
        let (conn, mut peer) = accept_snow(&mut node, &deal);
        node.net().send(conn, body(len - 4)).unwrap();
        let peer = beside(&mut node, move || {
            assert!(peer.hear() == body(len - 4));
            peer
        });
        assert_eq!(peer.pieces, pieces);
    }
}

#[test]
fn it_does_not_matter_where_plaintext_is_split() {
    let deal = Deal::xx();
    let mut node = node(Config::default(), speaking(&deal, Recorder::echo()));
    let (_, mut peer) = accept_snow(&mut node, &deal);
    beside(&mut node, move || {
        for (size, piece) in [
            (10, 1),
            (10, 3),
            (70_000, 65_519),
            (65_515, 65_519),
            (200_000, 997),
        ] {
            peer.say_in_pieces(&framed(&body(size)), piece);
            assert!(
                peer.hear() == body(size),
                "{size} bytes in pieces of {piece}"
            );
        }
    });
}

#[test]
fn many_small_messages_share_a_noise_message() {
    let deal = Deal::xx();
    let mut node = node(Config::default(), speaking(&deal, Recorder::default()));
    let (conn, mut peer) = accept_snow(&mut node, &deal);
    for _ in 0..1000 {
        node.net().send(conn, b"small").unwrap();
    }
    let peer = beside(&mut node, move || {
        for _ in 0..1000 {
            assert_eq!(peer.hear(), b"small");
        }
        peer
    });
    assert_eq!(peer.pieces, [9000]);
}

#[test]
fn keys_change_when_both_sides_count_to_it() {
    let mut deal = Deal::xx();
    deal.rekey = Some(Rekey::Messages(NonZeroU64::new(3).unwrap()));
    for side in SIDES {
        let mut node = node(Config::default(), speaking(&deal, Recorder::echo()));
        let (conn, mut peer) = snow_pair(&mut node, &deal, side);
        beside(&mut node, move || {
            peer.rekey_every = Some(3);
            for size in 1..=10 {
                peer.say(&body(size));
                assert_eq!(peer.hear(), body(size));
            }
            // Four Noise messages each way.
            peer.say(&body(200_000));
            assert!(peer.hear() == body(200_000));
            peer.send_close_notify();
            peer.expect_close_notify();
        });
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::PeerClosed);
    }
}

#[test]
fn keys_change_after_so_many_bytes() {
    let mut deal = Deal::xx();
    deal.rekey = Some(Rekey::Bytes(NonZeroU64::new(100).unwrap()));
    let mut node = node(Config::default(), speaking(&deal, Recorder::echo()));
    let (_, mut peer) = accept_snow(&mut node, &deal);
    beside(&mut node, move || {
        // 54 bytes of plaintext each: the second message of each pair passes the hundred.
        for _ in 0..5 {
            for last in [false, true] {
                peer.say(&body(50));
                if last {
                    peer.state.rekey_outgoing();
                }
                assert_eq!(peer.hear(), body(50));
                if last {
                    peer.state.rekey_incoming();
                }
            }
        }
    });
}

#[test]
fn nodes_that_rekey_understand_each_other_and_only_each_other() {
    for rekey in [
        Rekey::Messages(NonZeroU64::MIN),
        Rekey::Messages(NonZeroU64::new(2).unwrap()),
        Rekey::Bytes(NonZeroU64::new(65_519).unwrap()),
    ] {
        let mut deal = Deal::nn();
        deal.rekey = Some(rekey);
        let (mut a, there, mut b, _) = pair(
            speaking(&deal, Recorder::default()),
            speaking(&deal, Recorder::echo()),
        );
        for size in SIZES {
            a.net().send(there, body(size)).unwrap();
        }
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().messages(there).len() == SIZES.len()
        });
        for (echo, size) in a.handler().messages(there).into_iter().zip(SIZES) {
            assert!(echo == body(size), "{rekey:?}: {size} bytes");
        }

        let mut other = Deal::nn();
        other.rekey = Some(Rekey::Messages(NonZeroU64::new(1 << 40).unwrap()));
        let (mut a, there, mut b, here) = pair(
            speaking(&deal, Recorder::default()),
            speaking(&other, Recorder::default()),
        );
        for _ in 0..4 {
            a.net().send(there, body(65_515)).unwrap();
        }
        run_until([&mut a, &mut b], |[_, b]| b.handler().ended(here).is_some());
        assert!(
            matches!(
                b.handler().ended(here),
                Some(DisconnectReason::Session(SessionError::Malformed(_)))
            ),
            "{rekey:?}"
        );
    }
}

#[test]
fn a_close_sends_close_notify_and_is_heard_as_one() {
    let deal = Deal::xx();
    let (mut a, there, mut b, here) = pair(
        speaking(&deal, Recorder::default()),
        speaking(&deal, Recorder::default()),
    );
    a.net().send(there, b"last words").unwrap();
    a.net().close(there);
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().ended(there).is_some() && b.handler().ended(here).is_some()
    });
    assert_eq!(b.handler().messages(here), [b"last words"]);
    assert_eq!(a.handler().ended(there), Some(DisconnectReason::Local));
    assert_eq!(b.handler().ended(here), Some(DisconnectReason::PeerClosed));
}

#[test]
fn a_stream_without_a_close_notify_was_cut_off() {
    let deal = Deal::xx();
    for side in SIDES {
        let mut node = node(Config::default(), speaking(&deal, Recorder::default()));
        let (conn, mut peer) = snow_pair(&mut node, &deal, side);
        peer.say(b"this arrives");
        peer.stream.shutdown(Shutdown::Write).unwrap();
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
        assert_eq!(node.handler().messages(conn), [b"this arrives"]);
    }
}

#[test]
fn a_side_that_has_sent_close_notify_can_still_listen() {
    let deal = Deal::xx();
    let config = Config {
        connection: ConnectionConfig {
            allow_half_open: true,
            ..Default::default()
        },
        ..Config::default()
    };
    let (mut a, there, mut b, here) = crate::util::pair(
        config,
        speaking(&deal, Recorder::default()),
        speaking(&deal, Recorder::default()),
    );
    a.net().send(there, b"a question").unwrap();
    a.net().close_write(there);
    run_until([&mut a, &mut b], |[_, b]| {
        b.handler().messages(here).len() == 1
    });
    assert_eq!(a.net().send(there, b"more"), Err(SendError::Closed));
    b.net().send(here, body(100_000)).unwrap();
    run_until([&mut a, &mut b], |[a, _]| {
        a.handler().messages(there).len() == 1
    });
    b.net().close(here);
    run_until([&mut a, &mut b], |[a, b]| {
        a.handler().ended(there).is_some() && b.handler().ended(here).is_some()
    });
    assert_eq!(a.handler().ended(there), Some(DisconnectReason::PeerClosed));
    assert_eq!(b.handler().ended(here), Some(DisconnectReason::Local));
}

#[test]
fn the_longest_payloads_arrive_and_longer_ones_are_not_built() {
    let longest: &'static [u8] = body(PAYLOAD_MAX).leak();
    for mut deal in main_deals() {
        deal.payloads = [longest; 2];
        deal.max_payload = Some(PAYLOAD_MAX);
        let (mut a, there, mut b, here) = pair(
            speaking(&deal, Recorder::default()),
            speaking(&deal, Recorder::default()),
        );
        for identity in [identity(&mut a, there), identity(&mut b, here)] {
            assert!(identity.unwrap().payload == longest, "{}", deal.name);
        }
    }
    let too_long = vec![0; PAYLOAD_MAX + 1];
    let new = || Noise::new(Pattern::NN, Role::Initiator);
    for noise in [new().payload(&too_long), new().max_payload(PAYLOAD_MAX + 1)] {
        let error = noise.build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

/// A node refuses a payload that is longer than its maximum, which is 1 KiB by default, on the header.
#[test]
fn a_payload_above_the_maximum_is_refused() {
    let refusal = SessionError::Refused("a payload that is longer than `max_payload`");
    for (max, default_max) in [(1024, None), (3, Some(3)), (0, Some(0))] {
        for mut deal in main_deals() {
            deal.max_payload = default_max;
            let [allowed, longer]: [&'static [u8]; 2] =
                [max, max + 1].map(|len| &*body(len).leak());
            deal.payloads = [allowed; 2];
            let (mut a, there, mut b, here) = pair(
                speaking(&deal, Recorder::default()),
                speaking(&deal, Recorder::default()),
            );
            let (there, here) = (identity(&mut a, there), identity(&mut b, here));
            assert_eq!(there.map_or(0, |it| it.payload.len()), max);
            assert_eq!(here.map_or(0, |it| it.payload.len()), max);

            // The answer of the listening node is too long for the connecting one.
            deal.payloads = [allowed, longer];
            let mut a = node(Config::default(), speaking(&deal, Recorder::default()));
            let (mut b, addr) = listening(Config::default(), speaking(&deal, Recorder::default()));
            let conn = a.net().connect(addr).expect("a connect");
            let failed = |a: &TestNode| {
                a.handler().events.iter().find_map(|event| match event {
                    Event::ConnectFailed(failed, error) if *failed == conn => Some(*error),
                    _ => None,
                })
            };
            run_until([&mut a, &mut b], |[a, _]| failed(a).is_some());
            assert_eq!(failed(&a), Some(ConnectError::Session(refusal)), "{max}");
        }
    }
}

/// What a peer that sends a request and FIN, and no close notification, gets: the answer, if that is allowed.
#[test]
fn a_missing_close_notify_can_be_allowed() {
    let mut deal = Deal::xx();
    for allowed in [false, true] {
        deal.allow_missing_close_notify = allowed;
        for half_open in [false, true] {
            let mut config = Config {
                budget: unlimited_time(),
                ..Config::default()
            };
            config.connection.allow_half_open = half_open;
            let mut node = node(config, speaking(&deal, Recorder::echo()));
            let (conn, mut peer) = snow_pair(&mut node, &deal, Role::Responder);
            let request = peer.record(&framed(b"the request"));
            // Both come at once, so that the answer is queued when the end is seen.
            peer.stream.write_all(&request).unwrap();
            peer.stream.shutdown(Shutdown::Write).unwrap();
            let answer = beside(&mut node, move || peer.hear_piece().ok());
            assert_eq!(node.handler().messages(conn), [b"the request"]);
            if !allowed {
                let reason = raw::until_ended(&mut node, conn);
                assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
                assert_eq!(answer, None, "what was queued is dropped");
                continue;
            }
            assert_eq!(answer, Some(framed(b"the request")));
            let mut expected = DisconnectReason::PeerClosed;
            if half_open {
                assert_eq!(node.handler().ended(conn), None);
                node.net().close(conn);
                expected = DisconnectReason::Local;
            }
            assert_eq!(raw::until_ended(&mut node, conn), expected);
        }
    }
}

#[test]
fn a_message_that_is_cut_off_is_no_end_that_can_be_allowed() {
    let mut deal = Deal::xx();
    deal.allow_missing_close_notify = true;
    let mut node = node(Config::default(), speaking(&deal, Recorder::default()));
    let (conn, mut peer) = snow_pair(&mut node, &deal, Role::Responder);
    let message = peer.record(&framed(b"cut off"));
    peer.stream
        .write_all(&message[..message.len() - 1])
        .unwrap();
    peer.stream.shutdown(Shutdown::Write).unwrap();
    let reason = raw::until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
}

#[test]
fn nothing_is_known_where_nothing_was_said() {
    let mut deal = Deal::nn();
    deal.payloads = [b""; 2];
    let (mut a, there, mut b, here) = pair(
        speaking(&deal, Recorder::default()),
        speaking(&deal, Recorder::default()),
    );
    assert_eq!(identity(&mut a, there), None);
    assert_eq!(identity(&mut b, here), None);
}

#[test]
fn settings_that_cannot_work_are_not_built() {
    let key = StaticKey::generate().unwrap();
    let psk = [1; 32];
    let new = |pattern| Noise::new(pattern, Role::Initiator);
    for (noise, problem) in [
        (new(Pattern::XX), "requires a key of this end"),
        (new(Pattern::IK).local_key(&key), "requires the peer's key"),
        (
            new(Pattern::NN).remote_key(key.public()),
            "the peer has no key",
        ),
        (new(Pattern::NN).psk(3, &psk), "no such position"),
        (new(Pattern::NN).psk(200, &psk), "no such position"),
        (
            new(Pattern::NN).psk(1, &psk).psk(1, &psk),
            "at one position",
        ),
    ] {
        let error = noise.build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(problem), "{error}");
    }
    let noise = new(Pattern::NN).psk(2, &psk).psk(0, &psk);
    assert_eq!(
        noise.protocol_name(),
        "Noise_NNpsk0+psk2_25519_ChaChaPoly_BLAKE2s"
    );
    noise.build().unwrap();
}

#[test]
fn keys_are_new_and_secrets_are_not_shown() {
    let (one, other) = (
        StaticKey::generate().unwrap(),
        StaticKey::generate().unwrap(),
    );
    assert_ne!(one, other);
    let key = StaticKey::from_secret([0xab; 32]);
    let psk = [0xcd; 32];
    let noise = Noise::new(Pattern::XX, Role::Initiator)
        .local_key(&key)
        .psk(3, &psk)
        .payload(&[0xef; 4]);
    let shown = format!("{key:?} {noise:?} {:?}", noise.clone().build().unwrap());
    for secret in ["171, 171", "205, 205", "239, 239"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_example_tells_who_is_who_and_ends() {
    let mut told = Vec::new();
    example::run(&mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    for line in [
        "alice: connected with bob, key ",
        "bob: connected with alice, key ",
        "alice: hears \"hello from bob\"",
        "bob: hears \"hello from alice\"",
        "bob: the connection is over: closed by the peer",
    ] {
        assert!(told.contains(line), "{told}");
    }
}
