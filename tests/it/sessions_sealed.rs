//! Connections behind a session that stays: what it seals and opens, and how it ends.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::util::sessions::{
    End, HELLO_LEN, Kind, Script, SealFault, Xor, frame, listen_to_end, listen_until, with_sessions,
};
use crate::util::{Event, Recorder, TestNode, listening, pair, raw, run_for, run_until};
use bytes::Bytes;
use peerloop::config::{ConnectionConfig, SocketConfig, Timeouts};
use peerloop::error::{SessionError, TimeoutKind};
use peerloop::framing::Framing;
use peerloop::session::Stage;
use peerloop::{Config, ConnId, Direction, DisconnectReason, SendError, SendOutcome, Turn};
use socket2::SockRef;

const CUT_OFF: DisconnectReason = DisconnectReason::Session(SessionError::Truncated);

fn sealed(recorder: Recorder) -> Recorder {
    with_sessions(recorder, Xor::new)
}

/// A node and a raw peer that has agreed on the keys with it.
fn sealed_wire(config: Config, recorder: Recorder) -> (TestNode, ConnId, TcpStream, Script) {
    let (mut node, addr) = listening(config, sealed(recorder));
    let (conn, peer, script) = join(&mut node, addr);
    (node, conn, peer, script)
}

fn join(node: &mut TestNode, addr: SocketAddr) -> (ConnId, TcpStream, Script) {
    join_with(node, raw::connect(addr))
}

fn join_with(node: &mut TestNode, mut peer: TcpStream) -> (ConnId, TcpStream, Script) {
    let mut script = Script::new(Direction::Outbound);
    peer.write_all(&script.hello()).unwrap();
    let conn = raw::accepted(node);
    let mut answer = [0; HELLO_LEN];
    peer.read_exact(&mut answer).unwrap();
    script.hear(&answer).unwrap();
    assert_eq!(script.stage(), Stage::Established);
    (conn, peer, script)
}

/// No deadline at all.
fn untimed() -> Timeouts {
    Timeouts {
        connect: None,
        handshake: None,
        idle: None,
        partial_message: None,
        write_stall: None,
        linger: None,
    }
}

/// Bytes queued on a connection that has not ended.
fn queued(node: &mut TestNode, conn: ConnId) -> usize {
    node.net().connection(conn).unwrap().queued_bytes()
}

fn untimed_config() -> Config {
    Config {
        connection: ConnectionConfig {
            timeouts: untimed(),
            ..Default::default()
        },
        ..Config::default()
    }
}

/// Pauses at the first message.
fn pausing() -> Recorder {
    let mut paused = false;
    Recorder::reacting(move |net, event| {
        if let Event::Message(conn, _) = event {
            if !std::mem::replace(&mut paused, true) {
                net.pause(*conn);
            }
        }
    })
}

mod ending {
    use super::*;

    #[test]
    fn a_close_flushes_sends_close_notify_and_ends_the_stream_and_is_local() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        node.net().send(conn, &[7; 100_000]).unwrap();
        node.net().close(conn);
        let (bytes, end) = listen_to_end(&mut node, &mut peer);
        script.hear(&bytes).unwrap();
        assert_eq!((script.stage(), end), (Stage::Finished, End::Fin));
        assert_eq!(script.heard, frame(&[7; 100_000]));
        assert_eq!(node.handler().ended(conn), None, "the peer has not ended");
        peer.write_all(&script.record(Kind::CloseNotify, b""))
            .unwrap();
        drop(peer);
        assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Local);
        assert_eq!(node.net().metrics().session_errors, 0);
    }

    #[test]
    fn a_close_is_local_here_and_by_the_peer_there() {
        let (mut a, to_b, mut b, to_a) = pair(
            untimed_config(),
            sealed(Recorder::default()),
            sealed(Recorder::default()),
        );
        a.net().send(to_b, b"last words").unwrap();
        a.net().close(to_b);
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
        });
        assert_eq!(a.handler().ended(to_b), Some(DisconnectReason::Local));
        assert_eq!(b.handler().ended(to_a), Some(DisconnectReason::PeerClosed));
        assert_eq!(b.handler().messages(to_a), [b"last words"]);
    }

    #[test]
    fn a_close_of_both_at_once_is_local_on_both() {
        let (mut a, to_b, mut b, to_a) = pair(
            untimed_config(),
            sealed(Recorder::default()),
            sealed(Recorder::default()),
        );
        a.net().close(to_b);
        b.net().close(to_a);
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
        });
        assert_eq!(a.handler().ended(to_b), Some(DisconnectReason::Local));
        assert_eq!(b.handler().ended(to_a), Some(DisconnectReason::Local));
    }

    #[test]
    fn a_shutdown_sends_close_notify_within_its_grace_and_has_that_reason() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        node.net().send(conn, b"last words").unwrap();
        node.net().shutdown(Duration::from_secs(20));
        let (bytes, end) = listen_to_end(&mut node, &mut peer);
        script.hear(&bytes).unwrap();
        assert_eq!((script.stage(), end), (Stage::Finished, End::Fin));
        assert_eq!(script.heard, frame(b"last words"));
        peer.write_all(&script.record(Kind::CloseNotify, b""))
            .unwrap();
        drop(peer);
        assert_eq!(
            raw::until_ended(&mut node, conn),
            DisconnectReason::Shutdown
        );
        assert_eq!(crate::util::turn(&mut node, None), Turn::Stopped);
    }

    #[test]
    fn an_abort_resets_without_a_close_notify() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        node.net().send_tracked(conn, &b"never"[..], 1).unwrap();
        node.net().abort(conn);
        assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Local);
        let (bytes, end) = listen_to_end(&mut node, &mut peer);
        script.hear(&bytes).unwrap();
        assert_eq!((script.stage(), end), (Stage::Established, End::Reset));
        assert!(script.heard.is_empty());
        let lost = Event::Sent(conn, 1, SendOutcome::Lost);
        assert_eq!(node.handler().count(|event| *event == lost), 1);
    }

    #[test]
    fn the_peers_close_notify_is_its_close_with_and_without_a_fin_and_is_answered() {
        for fin in [true, false] {
            let (mut node, conn, mut peer, mut script) =
                sealed_wire(untimed_config(), Recorder::default());
            let bytes = [
                script.sealed_frame(b"one"),
                script.record(Kind::CloseNotify, b""),
            ];
            peer.write_all(&bytes.concat()).unwrap();
            if fin {
                peer.shutdown(Shutdown::Write).unwrap();
            }
            assert_eq!(
                raw::until_ended(&mut node, conn),
                DisconnectReason::PeerClosed
            );
            assert_eq!(node.handler().messages(conn), [b"one"]);
            let (bytes, end) = listen_to_end(&mut node, &mut peer);
            script.session = Script::new(Direction::Outbound).agreed().session;
            script.hear(&bytes).unwrap();
            assert_eq!((script.stage(), end), (Stage::Finished, End::Fin));
        }
    }

    #[test]
    fn an_end_without_a_close_notify_is_cut_off_and_what_came_before_is_delivered() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        let mut bytes = script.sealed_frame(b"one");
        bytes.extend(&script.sealed_frame(b"two")[..5]);
        peer.write_all(&bytes).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(raw::until_ended(&mut node, conn), CUT_OFF);
        assert_eq!(node.handler().messages(conn), [b"one"]);
        assert_eq!(node.net().metrics().session_errors, 1);
    }

    #[test]
    fn a_close_notify_inside_a_frame_is_a_truncated_frame() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        peer.write_all(&script.record(Kind::Data, &frame(b"one")[..6]))
            .unwrap();
        peer.write_all(&script.record(Kind::CloseNotify, b""))
            .unwrap();
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::Truncated { bytes: 6 });
    }

    #[test]
    fn a_reset_is_a_reset() {
        let (mut node, conn, peer, _) = sealed_wire(untimed_config(), Recorder::default());
        raw::reset(peer);
        assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Reset);
    }

    #[test]
    fn whatever_follows_the_close_notify_is_ignored_however_much_it_is() {
        for len in [1, 1000, 200_000] {
            let (mut node, conn, mut peer, mut script) =
                sealed_wire(untimed_config(), Recorder::default());
            let bytes = [
                script.sealed_frame(b"one"),
                script.record(Kind::CloseNotify, b""),
                vec![0xff; len],
            ];
            // All of it lies in the socket before the node looks.
            peer.write_all(&bytes.concat()).unwrap();
            assert_eq!(
                raw::until_ended(&mut node, conn),
                DisconnectReason::PeerClosed,
                "{len} bytes"
            );
            assert_eq!(node.handler().messages(conn), [b"one"]);
            let _ = peer.shutdown(Shutdown::Both);
        }
    }

    #[test]
    fn half_open_whatever_follows_the_close_notify_is_no_partial_frame() {
        let config = Config {
            connection: ConnectionConfig {
                allow_half_open: true,
                timeouts: Timeouts {
                    partial_message: Some(Duration::from_millis(50)),
                    ..untimed()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, conn, mut peer, mut script) = sealed_wire(config, Recorder::default());
        let bytes = [
            script.sealed_frame(b"one"),
            script.record(Kind::CloseNotify, b""),
            vec![0xff; 100],
        ];
        raw::feed(&mut node, &mut peer, &bytes.concat());
        run_for(Duration::from_millis(200), [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
        node.net().send(conn, b"still here").unwrap();
        node.net().close(conn);
        let (bytes, _) = listen_to_end(&mut node, &mut peer);
        script.session = Script::new(Direction::Outbound).agreed().session;
        script.hear(&bytes).unwrap();
        assert_eq!(script.heard, frame(b"still here"));
    }

    #[test]
    fn after_close_write_the_peer_is_still_heard_and_its_questions_go_unanswered() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        node.net().send(conn, b"all").unwrap();
        node.net().close_write(conn);
        assert_eq!(node.net().send(conn, b"no"), Err(SendError::Closed));
        let (bytes, end) = listen_to_end(&mut node, &mut peer);
        script.hear(&bytes).unwrap();
        assert_eq!((script.stage(), end), (Stage::Finished, End::Fin));
        assert_eq!(script.heard, frame(b"all"));
        for number in 0..3 {
            let bytes = [
                script.record(Kind::Ping, b""),
                script.sealed_frame(&[number]),
            ];
            raw::feed(&mut node, &mut peer, &bytes.concat());
        }
        peer.write_all(&script.record(Kind::CloseNotify, b""))
            .unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(node.handler().messages(conn), [[0], [1], [2]]);
        assert_eq!(reason, DisconnectReason::PeerClosed);
    }

    #[test]
    fn half_open_both_ways_everything_arrives_in_both_orders() {
        let config = Config {
            connection: ConnectionConfig {
                allow_half_open: true,
                ..untimed_config().connection
            },
            ..untimed_config()
        };
        let (mut a, to_b, mut b, to_a) = pair(
            config,
            sealed(Recorder::default()),
            sealed(Recorder::default()),
        );
        a.net().send(to_b, b"question").unwrap();
        a.net().close_write(to_b);
        run_until([&mut a, &mut b], |[_, b]| {
            b.handler().messages(to_a).len() == 1
        });
        run_for(Duration::from_millis(20), [&mut a, &mut b]);
        b.net().send(to_a, b"answer").unwrap();
        b.net().close(to_a);
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
        });
        assert_eq!(a.handler().messages(to_b), [b"answer"]);
        assert_eq!(a.handler().ended(to_b), Some(DisconnectReason::PeerClosed));
        assert_eq!(b.handler().ended(to_a), Some(DisconnectReason::Local));
    }
}

mod pausing {
    use super::*;

    /// Three messages and what ends them arrive in one read; the first one pauses.
    fn paused_before(last: fn(&mut Script) -> Vec<u8>) -> (DisconnectReason, usize, usize) {
        let (mut node, conn, mut peer, mut script) = sealed_wire(untimed_config(), pausing());
        let mut bytes = Vec::new();
        for body in [b"one", b"two", b"six"] {
            bytes.extend(script.sealed_frame(body));
        }
        bytes.extend(last(&mut script));
        raw::feed(&mut node, &mut peer, &bytes);
        peer.shutdown(Shutdown::Write).unwrap();
        run_for(Duration::from_millis(10), [&mut node]);
        let before = node.handler().messages(conn).len();
        assert_eq!(node.handler().ended(conn), None, "there is more to deliver");
        node.net().resume(conn);
        let reason = raw::until_ended(&mut node, conn);
        (reason, before, node.handler().messages(conn).len())
    }

    #[test]
    fn a_close_notify_waits_for_the_messages_that_a_pause_holds_back() {
        let outcome = paused_before(|script| script.record(Kind::CloseNotify, b""));
        assert_eq!(outcome, (DisconnectReason::PeerClosed, 1, 3));
    }

    #[test]
    fn a_cut_waits_for_the_messages_that_a_pause_holds_back() {
        assert_eq!(paused_before(|_| Vec::new()), (CUT_OFF, 1, 3));
    }

    #[test]
    fn a_forged_record_waits_for_the_messages_that_a_pause_holds_back() {
        let outcome = paused_before(|_| vec![0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let forged = DisconnectReason::Session(SessionError::Malformed("checksum"));
        assert_eq!(outcome, (forged, 1, 3));
    }

    #[test]
    fn a_close_notify_is_noticed_during_a_pause_when_nothing_is_held_back() {
        let (mut node, conn, mut peer, mut script) = sealed_wire(untimed_config(), pausing());
        let bytes = [
            script.sealed_frame(b"one"),
            script.record(Kind::CloseNotify, b""),
        ];
        peer.write_all(&bytes.concat()).unwrap();
        assert_eq!(
            raw::until_ended(&mut node, conn),
            DisconnectReason::PeerClosed
        );
        assert_eq!(node.handler().messages(conn), [b"one"]);
    }

    #[test]
    fn a_paused_stream_of_records_comes_whole_and_in_order_after_it() {
        let (mut a, to_b, mut b, to_a) = pair(
            untimed_config(),
            sealed(Recorder::default()),
            sealed(pausing()),
        );
        for number in 0..1000_u32 {
            a.net().send(to_b, number.to_be_bytes().repeat(50)).unwrap();
        }
        run_for(Duration::from_millis(20), [&mut a, &mut b]);
        assert_eq!(b.handler().messages(to_a).len(), 1);
        b.net().resume(to_a);
        run_until([&mut a, &mut b], |[_, b]| {
            b.handler().messages(to_a).len() == 1000
        });
        for (number, message) in (0_u32..).zip(b.handler().messages(to_a)) {
            assert_eq!(message, number.to_be_bytes().repeat(50));
        }
    }
}

mod faults {
    use super::*;

    #[test]
    fn messages_before_a_forged_record_are_delivered_and_the_alert_leaves_before_the_end() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        let mut bytes = [script.sealed_frame(b"one"), script.sealed_frame(b"two")].concat();
        bytes.extend([0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        bytes.extend(vec![0; 10_000]);
        peer.write_all(&bytes).unwrap();
        let (answer, end) = listen_to_end(&mut node, &mut peer);
        let refused = script.hear(&answer);
        assert_eq!(refused, Err(SessionError::RefusedByPeer("alert")));
        assert_eq!(end, End::Fin);
        drop(peer);
        let forged = DisconnectReason::Session(SessionError::Malformed("checksum"));
        assert_eq!(raw::until_ended(&mut node, conn), forged);
        assert_eq!(node.handler().messages(conn), [b"one", b"two"]);
        let metrics = node.net().metrics();
        assert_eq!((metrics.session_errors, metrics.disconnected), (1, 1));
        assert_eq!(metrics.handshakes_failed, 0);
    }

    #[test]
    fn both_nodes_learn_of_a_refused_record() {
        let forger = with_sessions(Recorder::default(), |side| {
            let mut session = Xor::new(side);
            session.record(Kind::Data, b"", &mut Vec::new());
            session
        });
        let (mut a, to_b, mut b, to_a) =
            pair(untimed_config(), forger, sealed(Recorder::default()));
        a.net().send(to_b, b"out of step").unwrap();
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().ended(to_b).is_some() && b.handler().ended(to_a).is_some()
        });
        let session = |error| Some(DisconnectReason::Session(error));
        assert_eq!(
            b.handler().ended(to_a),
            session(SessionError::Malformed("checksum"))
        );
        assert_eq!(
            a.handler().ended(to_b),
            session(SessionError::RefusedByPeer("alert"))
        );
    }

    /// What the handler and the peer see of a fault while sealing.
    fn seal_fault(fault: SealFault) -> (DisconnectReason, Result<(), SessionError>, u64) {
        let recorder = with_sessions(Recorder::default(), move |side| {
            let mut session = Xor::new(side);
            session.seal_fails = Some(fault);
            session
        });
        let (mut node, addr) = listening(untimed_config(), recorder);
        let (conn, mut peer, mut script) = join(&mut node, addr);
        node.net().send_tracked(conn, &b"never"[..], 3).unwrap();
        let (bytes, end) = listen_to_end(&mut node, &mut peer);
        assert_eq!(end, End::Fin);
        let heard = script.hear(&bytes);
        drop(peer);
        let reason = raw::until_ended(&mut node, conn);
        let lost = Event::Sent(conn, 3, SendOutcome::Lost);
        assert_eq!(node.handler().count(|event| *event == lost), 1);
        assert_eq!(node.net().metrics().queued_bytes, 0);
        (reason, heard, node.net().metrics().panics)
    }

    #[test]
    fn an_error_in_seal_ends_the_connection_after_its_alert() {
        let (reason, heard, panics) = seal_fault(SealFault::Error);
        let failed = SessionError::Failed("as the test wants it");
        assert_eq!(reason, DisconnectReason::Session(failed));
        assert_eq!(heard, Err(SessionError::RefusedByPeer("alert")));
        assert_eq!(panics, 0);
    }

    #[test]
    fn a_panic_in_seal_ends_the_connection_and_is_counted() {
        let (reason, heard, panics) = seal_fault(SealFault::Panic);
        let panicked = DisconnectReason::Session(SessionError::Panicked);
        assert_eq!((reason, heard, panics), (panicked, Ok(()), 1));
    }

    #[test]
    fn a_session_that_seals_nothing_ends_the_connection_and_does_not_spin() {
        let (reason, heard, _) = seal_fault(SealFault::Nothing);
        assert!(
            matches!(reason, DisconnectReason::Session(SessionError::Failed(_))),
            "{reason}"
        );
        assert_eq!(heard, Ok(()));
    }

    #[test]
    fn half_a_record_is_a_partial_frame() {
        let config = Config {
            connection: ConnectionConfig {
                timeouts: Timeouts {
                    partial_message: Some(Duration::from_millis(50)),
                    ..untimed()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, conn, mut peer, mut script) = sealed_wire(config, Recorder::default());
        let record = script.sealed_frame(b"never whole");
        raw::feed(&mut node, &mut peer, &record[..7]);
        let reason = raw::until_ended(&mut node, conn);
        assert_eq!(
            reason,
            DisconnectReason::Timeout(TimeoutKind::PartialMessage)
        );
    }
}

mod floods {
    use super::*;

    const PONG_LEN: usize = 1024;

    /// A node whose session answers every ping with a KiB, and a peer that asks and does not read until the node
    /// takes no more from it; how many pings were sent, and what is left of one more.
    fn flooded() -> (TestNode, ConnId, TcpStream, Script, (usize, Vec<u8>)) {
        let config = Config {
            read_buffer_bytes: 4096,
            sockets: SocketConfig {
                send_buffer_bytes: Some(4096),
                receive_buffer_bytes: Some(4096),
                ..untimed_config().sockets
            },
            ..untimed_config()
        };
        let recorder = with_sessions(Recorder::default(), |side| {
            let mut session = Xor::new(side);
            session.pong_len = PONG_LEN;
            session
        });
        let (mut node, addr) = listening(config, recorder);
        let (conn, mut peer, mut script) = join_with(&mut node, raw::connect_narrow(addr));
        // Whatever the peer's kernel keeps, and it would keep MiB, has to be answered a hundredfold through a narrow pipe.
        SockRef::from(&peer).set_send_buffer_size(4096).unwrap();
        peer.set_nonblocking(true).unwrap();
        let (mut sent, mut idle) = (0, 0);
        let mut ping = script.record(Kind::Ping, b"");
        while idle < 50 {
            match peer.write(&ping) {
                Ok(count) => {
                    idle = 0;
                    ping.drain(..count);
                }
                Err(_) => idle += 1,
            }
            if ping.is_empty() {
                sent += 1;
                ping = script.record(Kind::Ping, b"");
            }
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            assert!(sent < 10_000, "the node takes everything");
        }
        (node, conn, peer, script, (sent, ping))
    }

    #[test]
    fn a_peer_that_asks_and_does_not_read_is_held_and_served_once_it_reads() {
        let (mut node, conn, mut peer, mut script, (sent, mut rest)) = flooded();
        assert_eq!(node.handler().ended(conn), None);
        rest.extend(script.sealed_frame(b"done"));
        // Each pong is a record of its own.
        let wanted = (sent + 1) * (2 + 1 + PONG_LEN + 4);
        let mut heard = 0;
        while heard < wanted {
            peer.set_nonblocking(true).unwrap();
            if let Ok(count) = peer.write(&rest) {
                rest.drain(..count);
            }
            let (bytes, end) = listen_until(&mut node, &mut peer, |heard, end| {
                end.is_some() || !heard.is_empty()
            });
            assert_eq!(end, None);
            script.hear(&bytes).unwrap();
            heard += bytes.len();
        }
        assert_eq!(heard, wanted);
        peer.write_all(&rest).unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(conn) == [b"done"]
        });
    }

    #[test]
    fn a_held_peer_that_resets_is_gone_at_once_without_any_deadline() {
        let (mut node, conn, peer, _, _) = flooded();
        raw::reset(peer);
        assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Reset);
    }

    #[test]
    fn a_held_peer_can_be_closed_and_aborted() {
        let (mut node, conn, peer, _, _) = flooded();
        node.net().close(conn);
        node.net().abort(conn);
        assert_eq!(raw::until_ended(&mut node, conn), DisconnectReason::Local);
        drop(peer);
    }
}

mod sending {
    use super::*;

    /// Bodies of all sizes, each of its own content, some 8 MiB of them.
    fn bodies(seed: u32) -> Vec<Vec<u8>> {
        let sizes = [
            1,
            2,
            63,
            1000,
            4096,
            16_384,
            65_535,
            65_536,
            300_000,
            1 << 20,
        ];
        let mut all = Vec::new();
        let (mut total, mut state) = (0, seed);
        while total < 8 << 20 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = sizes[(state >> 16) as usize % sizes.len()];
            total += len;
            all.push((0..len).map(|at| (at as u32 ^ state) as u8).collect());
        }
        all
    }

    /// Sends all of the list, as fast as the connection takes it.
    fn sender(bodies: Vec<Vec<u8>>, slow: bool) -> Recorder {
        let (mut next, mut seen) = (0, 0);
        Recorder::reacting(move |net, event| match event {
            Event::Connect(conn) | Event::Drain(conn) => {
                while next < bodies.len() && net.is_writable(*conn) {
                    let body = Bytes::copy_from_slice(&bodies[next]);
                    net.send_tracked(*conn, body, next as u64).unwrap();
                    next += 1;
                }
            }
            Event::Message(conn, _) if slow => {
                seen += 1;
                if seen % 7 == 0 {
                    net.pause(*conn);
                    net.set_timer(Duration::from_millis(1), 0);
                }
            }
            Event::Timer(..) => {
                let conn = net.connections().next().map(|it| it.id());
                conn.into_iter().for_each(|conn| net.resume(conn));
            }
            _ => {}
        })
    }

    #[test]
    fn eight_mebibytes_each_way_at_once_arrive_whole_and_in_order() {
        let config = Config {
            sockets: SocketConfig {
                send_buffer_bytes: Some(16 * 1024),
                ..untimed_config().sockets
            },
            ..untimed_config()
        };
        let (ours, theirs) = (bodies(1), bodies(2));
        let (mut a, to_b, mut b, to_a) = pair(
            config,
            sealed(sender(ours.clone(), false)),
            sealed(sender(theirs.clone(), true)),
        );
        run_until([&mut a, &mut b], |[a, b]| {
            let sent = |node: &&mut TestNode| {
                node.handler()
                    .count(|event| matches!(event, Event::Sent(..)))
            };
            a.handler().messages(to_b).len() == theirs.len()
                && b.handler().messages(to_a).len() == ours.len()
                && (sent(a), sent(b)) == (ours.len(), theirs.len())
        });
        assert!(a.handler().messages(to_b) == theirs, "content or order");
        assert!(b.handler().messages(to_a) == ours, "content or order");
        for (node, conn, count) in [(&mut a, to_b, ours.len()), (&mut b, to_a, theirs.len())] {
            let tokens = node
                .handler()
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::Sent(_, token, SendOutcome::HandedOver) => Some(*token),
                    _ => None,
                });
            assert!(tokens.eq(0..count as u64), "each once and in order");
            assert_eq!(queued(node, conn), 0);
            assert_eq!(node.net().metrics().queued_bytes, 0);
            assert!(node.net().metrics().drains > 0);
        }
    }

    /// Sealed bytes that wait are no reason not to read: with the sockets full both ways, both would wait for ever.
    #[test]
    fn two_whose_sockets_are_full_do_not_wait_for_each_other_however_long_what_they_seal_becomes() {
        let config = Config {
            sockets: SocketConfig {
                send_buffer_bytes: Some(4096),
                receive_buffer_bytes: Some(4096),
                ..untimed_config().sockets
            },
            ..untimed_config()
        };
        let quiet = || {
            with_sessions(Recorder::default(), |side| {
                let mut session = Xor::new(side);
                session.data_max = 2;
                session
            })
        };
        let (mut a, to_b, mut b, to_a) = pair(config, quiet(), quiet());
        for (node, conn) in [(&mut a, to_b), (&mut b, to_a)] {
            for _ in 0..16 {
                node.net().send(conn, &[7; 60_000]).unwrap();
            }
        }
        run_until([&mut a, &mut b], |[a, b]| {
            a.handler().messages(to_b).len() == 16 && b.handler().messages(to_a).len() == 16
        });
    }

    #[test]
    fn what_is_sealed_and_not_written_still_counts_as_queued_and_is_not_called_sent() {
        let config = Config {
            sockets: SocketConfig {
                send_buffer_bytes: Some(4096),
                ..untimed_config().sockets
            },
            ..untimed_config()
        };
        let (mut node, addr) = listening(config, sealed(Recorder::default()));
        let (conn, mut peer, mut script) = join_with(&mut node, raw::connect_narrow(addr));
        for token in 0..8 {
            let body = vec![token as u8; 60_000];
            node.net().send_tracked(conn, &body[..], token).unwrap();
        }
        run_for(Duration::from_millis(20), [&mut node]);
        let sent = |node: &TestNode| {
            node.handler()
                .count(|event| matches!(event, Event::Sent(..)))
        };
        let left = queued(&mut node, conn);
        assert!(left > 64 * 1024, "{left}");
        let (told, gone) = (sent(&node), (8 * 60_004 - left) / 60_004);
        assert_eq!(told, gone, "exactly those that left the queue");
        let (mut total, mut end) = (0, None);
        while total < 8 * 60_004 {
            let told = sent(&node);
            let (bytes, ended) = listen_until(&mut node, &mut peer, |heard, end| {
                !heard.is_empty() || end.is_some()
            });
            script.hear(&bytes).unwrap();
            (total, end) = (script.heard.len(), end.or(ended));
            assert!(told * 60_004 <= 8 * 60_004);
        }
        assert_eq!(end, None);
        run_until([&mut node], |[node]| sent(node) == 8);
        assert_eq!(queued(&mut node, conn), 0);
    }

    #[test]
    fn a_flush_has_a_record_leave_before_the_turn_ends() {
        let recorder = Recorder::reacting(|net, event| {
            if let Event::Message(conn, message) = event {
                net.send(*conn, message).unwrap();
                net.flush(*conn);
            }
        });
        let (mut node, conn, mut peer, mut script) = sealed_wire(untimed_config(), recorder);
        let mut bytes = Vec::new();
        for number in 0..5 {
            bytes.extend(script.sealed_frame(&[number]));
        }
        raw::feed(&mut node, &mut peer, &bytes);
        let wanted: Vec<u8> = (0..5).flat_map(|number| frame(&[number])).collect();
        // One record each: they were not gathered at the end of the turn.
        let record_len = 2 + 1 + 5 + 4;
        let (bytes, _) = listen_until(&mut node, &mut peer, |heard, _| {
            heard.len() >= 5 * record_len
        });
        assert_eq!(bytes.len(), 5 * record_len);
        script.hear(&bytes).unwrap();
        assert_eq!(script.heard, wanted);
        assert_eq!(queued(&mut node, conn), 0);
    }

    #[test]
    fn a_broadcast_reaches_plain_and_sealed_peers_alike() {
        let mut number = 0;
        let sessions: crate::util::Sessions = Box::new(move |net, conn| {
            number += 1;
            let side = net.connection(conn).expect("it is there").info().direction;
            Ok((number % 2 == 0).then(|| Box::new(Xor::new(side)) as _))
        });
        let recorder = Recorder {
            sessions,
            ..Recorder::default()
        };
        let (mut node, addr) = listening(untimed_config(), recorder);
        let (_, mut plain) = raw::join(&mut node, addr);
        let (_, mut peer, mut script) = join(&mut node, addr);
        for body in [vec![1; 10], vec![2; 100_000]] {
            let outcome = node.net().broadcast_all(Bytes::from(body), None);
            assert_eq!((outcome.queued, outcome.full, outcome.closed), (2, 0, 0));
        }
        let wanted = [frame(&[1; 10]), frame(&[2; 100_000])].concat();
        let (bytes, _) = listen_until(&mut node, &mut plain, |heard, _| {
            heard.len() >= wanted.len()
        });
        assert!(bytes == wanted);
        while script.heard.len() < wanted.len() {
            let (bytes, end) = listen_until(&mut node, &mut peer, |heard, end| {
                !heard.is_empty() || end.is_some()
            });
            assert_eq!(end, None);
            script.hear(&bytes).unwrap();
        }
        assert!(script.heard == wanted);
    }

    #[test]
    fn raw_framing_carries_a_stream_through_a_session() {
        let config = Config {
            connection: ConnectionConfig {
                framing: Framing::Raw,
                ..untimed_config().connection
            },
            ..untimed_config()
        };
        let (mut a, to_b, mut b, to_a) = pair(
            config,
            sealed(Recorder::default()),
            sealed(Recorder::echo()),
        );
        let stream: Vec<u8> = (0..200_000_u32).map(|at| (at / 7) as u8).collect();
        for piece in stream.chunks(10_000) {
            a.net().send(to_b, piece).unwrap();
        }
        run_until([&mut a, &mut b], |[a, _]| {
            a.handler().messages(to_b).concat().len() == stream.len()
        });
        assert!(a.handler().messages(to_b).concat() == stream);
        assert!(b.handler().messages(to_a).concat() == stream);
    }

    #[test]
    fn one_read_of_a_thousand_records_is_one_step_of_the_session() {
        let receives = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = receives.clone();
        let recorder = with_sessions(Recorder::default(), move |side| {
            let mut session = Xor::new(side);
            session.receives = count.clone();
            session
        });
        let (mut node, addr) = listening(untimed_config(), recorder);
        let (conn, mut peer, mut script) = join(&mut node, addr);
        let before = receives.load(Ordering::Relaxed);
        let bytes: Vec<u8> = (0..1000).flat_map(|_| script.sealed_frame(b"x")).collect();
        raw::feed(&mut node, &mut peer, &bytes);
        run_until([&mut node], |[node]| {
            node.handler().messages(conn).len() == 1000
        });
        let steps = receives.load(Ordering::Relaxed) - before;
        assert!(steps <= 3, "{steps}");
    }

    #[test]
    fn a_record_may_come_in_any_pieces() {
        let (mut node, conn, mut peer, mut script) =
            sealed_wire(untimed_config(), Recorder::default());
        let long: Vec<u8> = (0..100_u8).collect();
        let bytes = [script.sealed_frame(b"short"), script.sealed_frame(&long)].concat();
        for byte in bytes.chunks(1) {
            raw::feed(&mut node, &mut peer, byte);
        }
        assert_eq!(node.handler().messages(conn), [b"short", &long[..]]);
    }
}
