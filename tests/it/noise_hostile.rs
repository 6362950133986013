//! Noise sessions and peers that do not keep to it: one clear reason, one closed connection, and nothing else.
#![cfg(feature = "noise")]

use peerloop::config::{ConnectionConfig, Limits};
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::util::snow_peer::{Deal, SnowPeer, beside, framed, read_message};
use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, raw, run_until};
use peerloop::error::SessionError;
use peerloop::noise::PAYLOAD_MAX;
use peerloop::session::Role;
use peerloop::{Config, ConnId, ConnectError, DisconnectReason, Turn};

/// Handshake bytes of the connecting end, headers included and without a payload, by the documented lengths.
const XX_CONNECTLER: usize = 2 + 32 + 2 + 64;
const XX_PSK3_CONNECTLER: usize = 2 + 48 + 2 + 64;
const IK_CONNECTLER: usize = 2 + 96;
/// The same of who accepts.
const XX_ACCEPTOR: usize = 2 + 96;

/// A node that echoes, and an honest peer whose connection must outlive whatever a test does to the node.
struct Scene {
    node: TestNode,
    addr: SocketAddr,
    honest: Option<SnowPeer>,
    honest_conn: ConnId,
}

impl Scene {
    fn new(deal: &Deal) -> Self {
        Self::with(Config::default(), deal)
    }

    fn with(config: Config, deal: &Deal) -> Self {
        let mut recorder = Recorder::echo();
        recorder.sessions = deal.sessions();
        let (mut node, addr) = listening(config, recorder);
        let (honest_conn, honest) = join(&mut node, addr, deal);
        Self {
            node,
            addr,
            honest: Some(honest),
            honest_conn,
        }
    }

    fn join(&mut self, deal: &Deal) -> (ConnId, SnowPeer) {
        join(&mut self.node, self.addr, deal)
    }

    /// The honest peer's words come back, and nobody else is there.
    #[track_caller]
    fn assert_alive(&mut self) {
        let mut peer = self.honest.take().expect("it is here between checks");
        let peer = beside(&mut self.node, move || {
            peer.say(b"still there?");
            assert_eq!(peer.hear(), b"still there?");
            peer
        });
        self.honest = Some(peer);
        assert_eq!(self.node.handler().ended(self.honest_conn), None);
        assert_eq!(self.node.net().connection_count(), 1);
        assert_eq!(self.node.net().connecting_count(), 0);
    }

    /// Waits until so many accepted handshakes have failed, of each of which the handler is told once. The error of the
    /// last.
    #[track_caller]
    fn await_failures(&mut self, count: usize) -> ConnectError {
        let is_failure = |event: &Event| matches!(event, Event::ConnectFailed(..));
        run_until([&mut self.node], |[node]| {
            node.handler().count(is_failure) >= count
        });
        let failed = self
            .node
            .handler()
            .events
            .iter()
            .filter_map(|event| match event {
                Event::ConnectFailed(conn, error) => Some((*conn, *error)),
                _ => None,
            });
        let failed: Vec<(ConnId, ConnectError)> = failed.collect();
        let ids: HashSet<ConnId> = failed.iter().map(|(conn, _)| *conn).collect();
        assert_eq!((failed.len(), ids.len()), (count, count));
        let metrics = self.node.net().metrics();
        assert_eq!(metrics.handshakes_failed, count as u64);
        failed[count - 1].1
    }

    /// Waits for the end of a connection, which must come of a malformed message. What had arrived is `messages`.
    #[track_caller]
    fn assert_malformed(&mut self, conn: ConnId, messages: &[&[u8]]) {
        let reason = raw::until_ended(&mut self.node, conn);
        assert!(
            matches!(
                reason,
                DisconnectReason::Session(SessionError::Malformed(_))
            ),
            "{reason}"
        );
        assert_eq!(self.node.handler().messages(conn), messages);
        let ends = |event: &Event| matches!(event, Event::Disconnect(which, _) if *which == conn);
        assert_eq!(self.node.handler().count(ends), 1);
    }
}

/// A connection past its handshake.
fn join(node: &mut TestNode, addr: SocketAddr, deal: &Deal) -> (ConnId, SnowPeer) {
    let before = node.handler().connected().len();
    let deal = deal.clone();
    let peer = beside(node, move || {
        SnowPeer::shake(raw::connect(addr), &deal, Role::Initiator).expect("a handshake")
    });
    run_until([node], |[node]| node.handler().connected().len() > before);
    (node.handler().connected()[before], peer)
}

/// Shakes hands, but what it says goes through `alter`, message by message, which also says whether to go on. Then it
/// ends its side, and waits until the other has hung up. What it said, and whether the other side agreed to it.
fn shake_altered(
    mut stream: TcpStream,
    deal: &Deal,
    side: Role,
    mut alter: impl FnMut(&mut Vec<u8>) -> bool,
) -> Vec<u8> {
    let mut state = deal.state(side);
    let mut buffer = vec![0; 65_535];
    let mut said = Vec::new();
    while !state.is_handshake_finished() {
        if !state.is_my_turn() {
            let heard = read_message(&mut stream).map_err(drop);
            let heard = heard.and_then(|it| state.read_message(&it, &mut buffer).map_err(drop));
            if heard.is_err() {
                break;
            }
            continue;
        }
        let len = state.write_message(b"", &mut buffer).expect("it fits");
        let mut message = Vec::new();
        crate::util::snow_peer::append_message(&mut message, &buffer[..len]);
        let goes_on = alter(&mut message);
        said.extend(&message);
        if stream.write_all(&message).is_err() || !goes_on {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    hung_up(&mut stream);
    said
}

/// Lets through so many bytes, and nothing after that.
fn cut_off(len: usize) -> impl FnMut(&mut Vec<u8>) -> bool {
    let mut left = len;
    move |message| {
        let whole = message.len() <= left;
        message.truncate(left);
        left -= message.len();
        whole
    }
}

/// What a handshake fails with that the peer cut off.
fn stream_ended() -> ConnectError {
    ConnectError::Io(io::ErrorKind::UnexpectedEof.into())
}

/// Turns one bit over, and goes no further than that message.
fn flip(position: usize) -> impl FnMut(&mut Vec<u8>) -> bool {
    let mut before = 0;
    move |message| {
        let at = position - before;
        before += message.len();
        message.get_mut(at).map(|byte| *byte ^= 1).is_none()
    }
}

/// Reads to the end, which may be a reset: the node did not want what was sent.
fn hung_up(stream: &mut TcpStream) {
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

/// A stranger writes this, and the node hangs up.
fn assert_refused(scene: &mut Scene, failures: usize, bytes: &[u8]) {
    let mut stranger = raw::connect(scene.addr);
    stranger.write_all(bytes).unwrap();
    beside(&mut scene.node, move || hung_up(&mut stranger));
    let error = scene.await_failures(failures);
    assert_malformed(error);
}

#[track_caller]
fn assert_malformed(error: ConnectError) {
    let is_malformed = matches!(error, ConnectError::Session(SessionError::Malformed(_)));
    assert!(is_malformed, "{error}");
}

#[test]
fn what_is_no_handshake_is_refused_on_its_header() {
    for (deal, strangers) in [
        (
            Deal::xx(),
            &[
                &b"GET / HTTP/1.1\r\n"[..],
                b"\0\0",
                b"\0\x1f",
                b"\0\x21",
                b"\xff\xff",
                b"\x16\x03\x01\x02\x00\x01",
            ][..],
        ),
        (Deal::xx_psk3(), &[b"\0\x20", b"\0\x31", b"SSH-2.0-"]),
        (Deal::ik(), &[b"\0\0", b"\0\x5f", b"\0\x20"]),
        (Deal::nn(), &[b"\0\x1f"]),
    ] {
        let mut scene = Scene::new(&deal);
        for (number, stranger) in strangers.iter().enumerate() {
            assert_refused(&mut scene, number + 1, stranger);
        }
        scene.assert_alive();
    }
}

#[test]
fn garbage_of_the_right_length_is_refused() {
    for (mut deal, len) in [
        (Deal::xx_psk3(), 48),
        (Deal::ik(), 96),
        (Deal::ik(), 65_535),
    ] {
        // No length that the pattern allows is refused for being too long.
        deal.max_payload = Some(PAYLOAD_MAX);
        let mut scene = Scene::new(&deal);
        let garbage = [&(len as u16).to_be_bytes(), &vec![0x5a; len][..]].concat();
        assert_refused(&mut scene, 1, &garbage);
        scene.assert_alive();
    }
}

#[test]
fn a_connector_that_stops_after_any_byte_is_one_closed_connection() {
    for (deal, total) in [
        (Deal::xx_psk3(), XX_PSK3_CONNECTLER),
        (Deal::ik(), IK_CONNECTLER),
    ] {
        let mut scene = Scene::new(&deal);
        for stop in 0..total {
            let (addr, deal) = (scene.addr, deal.clone());
            let said = beside(&mut scene.node, move || {
                shake_altered(raw::connect(addr), &deal, Role::Initiator, cut_off(stop))
            });
            assert_eq!(said.len(), stop);
            let error = scene.await_failures(stop + 1);
            assert_eq!(error, stream_ended());
        }
        assert_eq!(scene.node.handler().connected().len(), 1);
        scene.assert_alive();
    }
}

#[test]
fn a_connector_with_one_wrong_bit_is_one_closed_connection() {
    // A wrong bit of a header announces more than comes. The first message of XX is not authenticated, so that the node
    // waits for the third one.
    for (deal, total, found_from) in [
        (Deal::xx(), XX_CONNECTLER, 2 + 32 + 2),
        (Deal::ik(), IK_CONNECTLER, 2),
    ] {
        let mut scene = Scene::new(&deal);
        for position in 0..total {
            let (addr, deal) = (scene.addr, deal.clone());
            beside(&mut scene.node, move || {
                shake_altered(raw::connect(addr), &deal, Role::Initiator, flip(position))
            });
            let error = scene.await_failures(position + 1);
            if position >= found_from || error != stream_ended() {
                assert_malformed(error);
            }
        }
        assert_eq!(scene.node.handler().connected().len(), 1);
        scene.assert_alive();
    }
}

/// What comes of a node's connect to an acceptor with something wrong.
fn connect_altered(alter: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> ConnectError {
    let deal = Deal::xx();
    let recorder = Recorder {
        sessions: deal.sessions(),
        ..Recorder::default()
    };
    let mut node = node(Config::default(), recorder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let conn = node.net().connect(listener.local_addr().unwrap()).unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        shake_altered(stream, &deal, Role::Responder, alter)
    });
    run_until([&mut node], |[node]| {
        node.handler().events.len() == 2 && thread.is_finished()
    });
    thread.join().unwrap();
    match node.handler().events[1] {
        Event::ConnectFailed(which, error) if which == conn => error,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn an_acceptor_that_stops_after_any_byte_is_one_failed_connect() {
    for stop in 0..XX_ACCEPTOR {
        let error = connect_altered(cut_off(stop));
        assert_eq!(error, stream_ended(), "{stop}");
    }
}

#[test]
fn an_acceptor_with_one_wrong_bit_is_one_failed_connect() {
    for position in 0..XX_ACCEPTOR {
        let error = connect_altered(flip(position));
        // A wrong bit of the header announces more than comes.
        if position >= 2 || error != stream_ended() {
            assert_malformed(error);
        }
    }
}

#[test]
fn a_handshake_that_is_replayed_reordered_or_repeated_is_refused() {
    let deal = Deal::xx();
    let mut scene = Scene::new(&deal);
    let addr = scene.addr;
    // What an honest connector has said; it ends after that without a close notification.
    let said = beside(&mut scene.node, move || {
        shake_altered(raw::connect(addr), &deal, Role::Initiator, |_| true)
    });
    assert_eq!(said.len(), XX_CONNECTLER);
    let conn = scene.node.handler().connected()[1];
    let reason = raw::until_ended(&mut scene.node, conn);
    assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
    let (first, third) = said.split_at(2 + 32);
    assert_refused(&mut scene, 1, &said);
    assert_refused(&mut scene, 2, third);
    assert_refused(&mut scene, 3, &[first, first].concat());
    let mut longer = said.clone();
    longer[35] += 1;
    longer.push(0);
    assert_refused(&mut scene, 4, &longer);
    assert_eq!(scene.node.handler().connected().len(), 2);
    scene.assert_alive();
}

#[test]
fn who_replays_the_only_message_of_a_connector_cannot_say_anything() {
    let deal = Deal::ik();
    let mut scene = Scene::new(&deal);
    let addr = scene.addr;
    let mut said = beside(&mut scene.node, move || {
        shake_altered(raw::connect(addr), &deal, Role::Initiator, |_| true)
    });
    let conn = scene.node.handler().connected()[1];
    raw::until_ended(&mut scene.node, conn);
    said.extend(b"\0\x20");
    said.extend([0; 32]);
    let mut stranger = raw::connect(scene.addr);
    stranger.write_all(&said).unwrap();
    run_until([&mut scene.node], |[node]| {
        node.handler().connected().len() == 3
    });
    let conn = scene.node.handler().connected()[2];
    beside(&mut scene.node, move || hung_up(&mut stranger));
    scene.assert_malformed(conn, &[]);
    scene.assert_alive();
}

#[test]
fn a_record_that_is_not_the_next_or_not_authentic_ends_the_connection() {
    type Alteration = fn(&mut SnowPeer) -> Vec<u8>;
    let alterations: [(&str, Alteration); 9] = [
        ("garbage", |_| b"GET / HTTP/1.1\r\n".repeat(2000)),
        ("empty", |_| b"\0\0".to_vec()),
        ("shorter than a tag", |_| b"\0\x0f".to_vec()),
        ("nothing but zeros", |_| [&b"\0\x10"[..], &[0; 16]].concat()),
        ("twice the same", |peer| {
            let record = peer.record(&framed(b"second"));
            [&record[..], &record].concat()
        }),
        ("in the wrong order", |peer| {
            let second = peer.record(&framed(b"second"));
            let third = peer.record(&framed(b"third"));
            [third, second].concat()
        }),
        ("one left out", |peer| {
            peer.record(&framed(b"second"));
            peer.record(&framed(b"third"))
        }),
        ("changed at its end", |peer| {
            let mut record = peer.record(&framed(b"second"));
            *record.last_mut().unwrap() ^= 1;
            record
        }),
        ("longer than it was", |peer| {
            let mut record = peer.record(&framed(b"second"));
            record[1] += 1;
            record.push(0);
            record
        }),
    ];
    let deal = Deal::xx();
    let mut scene = Scene::new(&deal);
    for (what, alteration) in alterations {
        let (conn, mut peer) = scene.join(&deal);
        peer.say(b"first");
        let bytes = alteration(&mut peer);
        // The node may have hung up before all of it is written.
        let _ = peer.stream.write_all(&bytes);
        let expected: &[&[u8]] = if what == "twice the same" {
            &[b"first", b"second"]
        } else {
            &[b"first"]
        };
        beside(&mut scene.node, move || hung_up(&mut peer.stream));
        scene.assert_malformed(conn, expected);
        scene.assert_alive();
    }
}

#[test]
fn what_arrives_with_the_end_of_the_handshake_is_delivered_before_the_error_behind_it() {
    let deal = Deal::xx();
    let mut scene = Scene::new(&deal);
    let mut state = deal.state(Role::Initiator);
    let mut stream = raw::connect(scene.addr);
    let mut buffer = [0; 256];
    let len = state.write_message(b"", &mut buffer).unwrap();
    crate::util::snow_peer::write_message(&mut stream, &buffer[..len]).unwrap();
    let mut other = stream.try_clone().unwrap();
    let message = beside(&mut scene.node, move || read_message(&mut other).unwrap());
    state.read_message(&message, &mut buffer).unwrap();
    let mut bytes = Vec::new();
    let len = state.write_message(b"", &mut buffer).unwrap();
    crate::util::snow_peer::append_message(&mut bytes, &buffer[..len]);
    let mut state = state.into_transport_mode().unwrap();
    let len = state.write_message(&framed(b"first"), &mut buffer).unwrap();
    crate::util::snow_peer::append_message(&mut bytes, &buffer[..len]);
    bytes.extend(b"\0\0");
    raw::feed(&mut scene.node, &mut stream, &bytes);
    let conn = scene.node.handler().connected()[1];
    drop(stream);
    scene.assert_malformed(conn, &[b"first"]);
    scene.assert_alive();
}

#[test]
fn a_record_that_breaks_off_anywhere_is_a_stream_cut_off() {
    let deal = Deal::xx();
    let mut scene = Scene::new(&deal);
    let len = 2 + 4 + 6 + 16;
    for stop in 0..len {
        let (conn, mut peer) = scene.join(&deal);
        peer.say(b"first");
        let record = peer.record(&framed(b"second"));
        assert_eq!(record.len(), len);
        peer.stream.write_all(&record[..stop]).unwrap();
        peer.finish();
        let reason = raw::until_ended(&mut scene.node, conn);
        assert_eq!(reason, DisconnectReason::Session(SessionError::Truncated));
        assert_eq!(scene.node.handler().messages(conn), [b"first"]);
    }
    scene.assert_alive();
}

#[test]
fn a_frame_over_the_limit_is_refused_inside_a_session_too() {
    let deal = Deal::xx();
    let config = Config {
        connection: ConnectionConfig {
            max_message_len: 1000,
            ..Default::default()
        },
        ..Config::default()
    };
    let mut scene = Scene::with(config, &deal);
    let (conn, mut peer) = scene.join(&deal);
    let record = peer.record(&1001_u32.to_be_bytes());
    peer.stream.write_all(&record).unwrap();
    let reason = raw::until_ended(&mut scene.node, conn);
    let expected = DisconnectReason::MessageTooLarge {
        len: 1001,
        max: 1000,
    };
    assert_eq!(reason, expected);
    scene.assert_alive();
}

#[test]
fn what_comes_after_the_close_notify_is_not_looked_at() {
    let deal = Deal::xx();
    let config = Config {
        connection: ConnectionConfig {
            allow_half_open: true,
            ..Default::default()
        },
        ..Config::default()
    };
    for config in [Config::default(), config] {
        let mut scene = Scene::with(config, &deal);
        for together in [true, false] {
            let (conn, mut peer) = scene.join(&deal);
            let first = peer.record(&framed(b"first"));
            let close_notify = peer.record(b"");
            let after = [peer.record(&framed(b"after")), b"\0\0garbage".to_vec()].concat();
            peer.stream.write_all(&first).unwrap();
            if together {
                peer.stream
                    .write_all(&[close_notify, after].concat())
                    .unwrap();
            } else {
                peer.stream.write_all(&close_notify).unwrap();
                run_until([&mut scene.node], |[node]| {
                    node.handler().messages(conn).len() == 1
                });
                // The node may have hung up at the close notification.
                let _ = peer.stream.write_all(&after);
            }
            let _ = peer.stream.shutdown(Shutdown::Write);
            run_until([&mut scene.node], |[node]| {
                node.handler().messages(conn).len() == 1
            });
            raw::settle(&mut scene.node);
            scene.node.net().close(conn);
            let reason = raw::until_ended(&mut scene.node, conn);
            assert!(
                matches!(
                    reason,
                    DisconnectReason::PeerClosed | DisconnectReason::Local
                ),
                "{reason}"
            );
            assert_eq!(scene.node.handler().messages(conn), [b"first"]);
        }
        scene.assert_alive();
    }
}

#[test]
fn a_conversation_of_single_bytes_is_understood() {
    let deal = Deal::xx();
    let mut scene = Scene::new(&deal);
    let mut state = deal.state(Role::Initiator);
    let mut stream = raw::connect(scene.addr);
    let mut buffer = vec![0; 65_535];
    while !state.is_handshake_finished() {
        if state.is_my_turn() {
            let len = state.write_message(b"", &mut buffer).unwrap();
            let message = [&(len as u16).to_be_bytes(), &buffer[..len]].concat();
            drip(&mut scene.node, &mut stream, &message);
        } else {
            let mut other = stream.try_clone().unwrap();
            let message = beside(&mut scene.node, move || read_message(&mut other).unwrap());
            state.read_message(&message, &mut buffer).unwrap();
        }
    }
    run_until([&mut scene.node], |[node]| {
        node.handler().connected().len() == 2
    });
    let conn = scene.node.handler().connected()[1];
    let mut state = state.into_transport_mode().unwrap();
    for text in [&b"one"[..], b"", b"three"] {
        let len = state.write_message(&framed(text), &mut buffer).unwrap();
        let message = [&(len as u16).to_be_bytes(), &buffer[..len]].concat();
        drip(&mut scene.node, &mut stream, &message);
    }
    let len = state.write_message(b"", &mut buffer).unwrap();
    let close_notify = [&(len as u16).to_be_bytes(), &buffer[..len]].concat();
    drip(&mut scene.node, &mut stream, &close_notify);
    let reason = raw::until_ended(&mut scene.node, conn);
    assert_eq!(reason, DisconnectReason::PeerClosed);
    let expected: [&[u8]; 3] = [b"one", b"", b"three"];
    assert_eq!(scene.node.handler().messages(conn), expected);
    scene.assert_alive();
}

/// Writes byte by byte, and has the node read each on its own.
fn drip(node: &mut TestNode, stream: &mut TcpStream, bytes: &[u8]) {
    raw::settle(node);
    for byte in bytes {
        stream.write_all(&[*byte]).expect("the node reads");
        while node.turn(Some(PATIENCE)).expect("a turn") == Turn::MoreWork {}
    }
}

#[test]
fn a_thousand_half_handshakes_hold_up_nobody() {
    const WAVES: usize = 4;
    const WAVE: usize = 250;
    let deal = Deal::xx();
    let config = Config {
        limits: Limits {
            max_connections_per_address: 1000,
            ..Default::default()
        },
        ..Config::default()
    };
    let mut scene = Scene::with(config, &deal);
    let mut state = deal.state(Role::Initiator);
    let mut buffer = [0; 64];
    let len = state.write_message(b"", &mut buffer).unwrap();
    let first = [&(len as u16).to_be_bytes(), &buffer[..len]].concat();
    for wave in 1..=WAVES {
        // Some say nothing, some begin to, and some have the node do its part of the handshake.
        let half: Vec<TcpStream> = (0..WAVE)
            .map(|number| {
                let mut stream = raw::connect(scene.addr);
                let said = [0, 1, first.len() - 1, first.len()][number % 4];
                stream.write_all(&first[..said]).unwrap();
                stream
            })
            .collect();
        let mut peer = scene.honest.take().expect("it is here between waves");
        let peer = beside(&mut scene.node, move || {
            for number in 0..WAVE {
                let text = format!("wave {wave}, {number}");
                peer.say(text.as_bytes());
                assert_eq!(peer.hear(), text.as_bytes());
            }
            peer
        });
        scene.honest = Some(peer);
        run_until([&mut scene.node], |[node]| {
            node.net().connecting_count() == WAVE
        });
        drop(half);
        scene.await_failures(wave * WAVE);
    }
    scene.assert_alive();
    assert_eq!(scene.node.handler().connected().len(), 1);
}
