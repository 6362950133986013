//! Handshakes that come to nothing: refused, cut off, stalled, or broken by the user's own code.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::util::sessions::{
    ALERT, End, Greeting, MAGIC, Manner, Script, Xor, frame, listen_to_end, with_sessions,
};
use crate::util::{Event, Recorder, TestNode, listening, node, raw, run_until};
use peerloop::config::{ConnectionConfig, Limits, Timeouts};
use peerloop::error::{SessionError, TransportError};
use peerloop::{Config, ConnectError, Direction};

fn mannered(manner: Manner) -> Recorder {
    with_sessions(Recorder::default(), move |_| Greeting::new(manner))
}

fn patient() -> Config {
    timed(None)
}

fn timed(handshake: Option<Duration>) -> Config {
    Config {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                handshake,
                ..Timeouts::default()
            },
            ..Default::default()
        },
        ..Config::default()
    }
}

/// The errors of the connections that were not established, each reported once.
fn failures(node: &TestNode) -> Vec<ConnectError> {
    let mut seen = Vec::new();
    let failure = |event: &Event| match *event {
        Event::ConnectFailed(conn, error) => {
            assert!(!seen.contains(&conn), "{conn} failed twice");
            seen.push(conn);
            Some(error)
        }
        _ => None,
    };
    node.handler().events.iter().filter_map(failure).collect()
}

/// Nothing of these handshakes is left, and each failed with its error. No other callback
/// was made.
#[track_caller]
fn assert_clean(node: &mut TestNode, errors: &[ConnectError]) {
    assert_eq!(failures(node), errors);
    let events = &node.handler().events;
    assert_eq!(events[0], Event::Start);
    assert_eq!(events.len(), 1 + errors.len(), "{events:?}");
    assert_eq!(node.net().connecting_count(), 0);
    assert_eq!(node.net().connection_count(), 0);
    assert_eq!(node.net().metrics().disconnected, 0);
}

/// The end of the stream, or its reset, during a handshake.
fn io(kind: ErrorKind) -> ConnectError {
    ConnectError::Io(kind.into())
}

/// How a client with a greeting fares with a server of this manner.
fn connect(manner: Manner, config: Config) -> (TestNode, TestNode, ConnectError) {
    let mut client = node(config.clone(), mannered(Manner::Agrees));
    let (mut server, addr) = listening(config, mannered(manner));
    let conn = client.net().connect(addr).unwrap();
    run_until([&mut client, &mut server], |[client, server]| {
        client.net().metrics().connects_failed == 1
            && server.net().metrics().handshakes_failed == 1
            && server.net().connecting_count() == 0
            && failures(server).len() == 1
    });
    let [Event::Start, Event::ConnectFailed(failed, error)] = client.handler().events[..] else {
        panic!("{:?}", client.handler().events);
    };
    assert_eq!(failed, conn);
    assert_eq!(client.net().metrics().handshakes_failed, 1);
    (client, server, error)
}

mod refusals {
    use super::*;

    #[test]
    fn both_handlers_are_told() {
        let (client, mut server, error) = connect(Manner::Rejects, patient());
        let refused = SessionError::RefusedByPeer("greeting");
        assert_eq!(error, ConnectError::Session(refused));
        run_until([&mut server], |[server]| {
            server.net().traffic().messages_sent == 0
        });
        drop(client);
        let refused = SessionError::Refused("greeting");
        assert_clean(&mut server, &[ConnectError::Session(refused)]);
    }

    #[test]
    fn the_alert_leaves_and_a_frame_sent_with_the_magic_is_never_heard() {
        let (mut node, addr) = listening(patient(), mannered(Manner::Rejects));
        let mut peer = raw::connect(addr);
        let bytes = [&MAGIC[..], &frame(&[7; 50_000])].concat();
        peer.write_all(&bytes).unwrap();
        let (heard, end) = listen_to_end(&mut node, &mut peer);
        assert_eq!((heard, end), (ALERT.to_vec(), End::Fin));
        drop(peer);
        run_until([&mut node], |[node]| failures(node).len() == 1);
        assert_eq!(node.net().metrics().handshakes_failed, 1);
        assert_eq!(node.net().traffic().messages_received, 0);
        let refused = SessionError::Refused("greeting");
        assert_clean(&mut node, &[ConnectError::Session(refused)]);
    }

    #[test]
    fn an_error_of_the_handler_fails_both_directions() {
        let refusing = || {
            let mut recorder = Recorder::reacting(|_, _| {});
            recorder.sessions = Box::new(|_, _| Err(ErrorKind::InvalidInput.into()));
            recorder
        };
        let (mut node, addr) = listening(patient(), refusing());
        let error = ConnectError::Transport(TransportError::Handler);
        let mut peer = raw::connect(addr);
        assert_eq!(listen_to_end(&mut node, &mut peer).0, b"");
        assert_clean(&mut node, &[error]);
        let (mut other, elsewhere) = listening(patient(), Recorder::default());
        let conn = node.net().connect(elsewhere).unwrap();
        let failed = Event::ConnectFailed(conn, error);
        run_until([&mut node, &mut other], |[node, _]| {
            node.handler().events.contains(&failed)
        });
    }
}

mod cuts {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Cut {
        Fin,
        Reset,
        Silence,
    }

    /// Stops a handshake after each of its bytes. One place in all shows that each gives its own back.
    fn stop_after_each_byte(cut: Cut) {
        let config = Config {
            limits: Limits {
                max_connections: 1,
                max_inbound_handshakes: 1,
                ..Limits::default()
            },
            ..timed(matches!(cut, Cut::Silence).then(|| Duration::from_millis(20)))
        };
        let error = match cut {
            Cut::Fin => io(ErrorKind::UnexpectedEof),
            Cut::Reset => io(ErrorKind::ConnectionReset),
            Cut::Silence => ConnectError::HandshakeTimedOut,
        };
        let recorder = with_sessions(Recorder::default(), Xor::new);
        let (mut node, addr) = listening(config, recorder);
        let hello = Script::new(Direction::Outbound).hello();
        for len in 0..hello.len() {
            let mut peer = raw::connect(addr);
            run_until([&mut node], |[node]| node.net().connecting_count() == 1);
            raw::settle(&mut node);
            for byte in hello[..len].chunks(1) {
                peer.write_all(byte).unwrap();
                let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
            }
            match cut {
                Cut::Fin => peer.shutdown(Shutdown::Write).unwrap(),
                Cut::Reset => raw::reset(peer),
                Cut::Silence => assert_eq!(listen_to_end(&mut node, &mut peer).0, b""),
            }
            run_until([&mut node], |[node]| node.net().connecting_count() == 0);
            let metrics = node.net().metrics();
            assert_eq!(metrics.handshakes_failed, 1 + len as u64, "{cut:?} {len}");
            assert_eq!((metrics.refused_by_total, metrics.accept_errors), (0, 0));
            let timeouts = u64::from(matches!(cut, Cut::Silence)) * (1 + len as u64);
            assert_eq!(metrics.handshake_timeouts, timeouts);
            assert_clean(&mut node, &vec![error; 1 + len]);
        }
    }

    #[test]
    fn a_fin_after_each_byte() {
        stop_after_each_byte(Cut::Fin);
    }

    #[test]
    fn a_reset_after_each_byte() {
        stop_after_each_byte(Cut::Reset);
    }

    #[test]
    fn silence_after_each_byte() {
        stop_after_each_byte(Cut::Silence);
    }
}

mod deadlines {
    use super::*;

    #[test]
    fn a_handshake_times_out_on_both_sides() {
        let config = timed(Some(Duration::from_millis(50)));
        let (mut client, mut server, error) = connect(Manner::Silent, config);
        // Whose deadline comes first ends the other's stream.
        let ends = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].map(io);
        let errors = [error, failures(&server)[0]];
        let timed_out = |error: &ConnectError| *error == ConnectError::HandshakeTimedOut;
        assert!(errors.iter().any(timed_out), "{errors:?}");
        let is_legal = |error: &ConnectError| timed_out(error) || ends.contains(error);
        assert!(errors.iter().all(is_legal), "{errors:?}");
        let timeouts =
            [&mut client, &mut server].map(|node| node.net().metrics().handshake_timeouts);
        assert!(timeouts.iter().sum::<u64>() >= 1, "{timeouts:?}");
        assert_clean(&mut server, &errors[1..]);
    }

    #[test]
    fn a_handshake_that_drips_gets_no_more_time_for_it() {
        let config = timed(Some(Duration::from_millis(50)));
        let (mut node, addr) = listening(config, mannered(Manner::Silent));
        let mut peer = raw::connect(addr);
        let mut last = Instant::now();
        run_until([&mut node], |[node]| {
            if last.elapsed() > Duration::from_millis(4) {
                // The end may have come already.
                let _ = peer.write_all(b"x");
                last = Instant::now();
            }
            node.net().metrics().handshake_timeouts == 1
        });
        assert_eq!(node.net().metrics().partial_message_timeouts, 0);
        run_until([&mut node], |[node]| node.net().connecting_count() == 0);
        assert_clean(&mut node, &[ConnectError::HandshakeTimedOut]);
    }

    #[test]
    fn a_connect_whose_peer_never_answers_times_out() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = timed(Some(Duration::from_millis(50)));
        let mut node = node(config, mannered(Manner::Agrees));
        let conn = node.net().connect(server.local_addr().unwrap()).unwrap();
        let failed = Event::ConnectFailed(conn, ConnectError::HandshakeTimedOut);
        run_until([&mut node], |[node]| {
            node.handler().events.contains(&failed)
        });
        let metrics = node.net().metrics();
        assert_eq!(
            (metrics.handshake_timeouts, metrics.connect_timeouts),
            (1, 0)
        );
    }

    #[test]
    fn a_hundred_stalled_clients_all_time_out_and_are_counted() {
        let config = timed(Some(Duration::from_millis(300)));
        let (mut node, addr) = listening(config, mannered(Manner::Agrees));
        let crowd: Vec<_> = (0..100).map(|_| raw::connect(addr)).collect();
        run_until([&mut node], |[node]| {
            node.net().metrics().handshake_timeouts == 100
        });
        assert_eq!(node.net().metrics().handshakes_failed, 100);
        assert_clean(&mut node, &[ConnectError::HandshakeTimedOut; 100]);
        drop(crowd);
    }
}

mod panics {
    use super::*;

    /// Two peers run into the fault, a third one is served.
    fn lives_on(manner: Manner) {
        let mut left = 2;
        let recorder = with_sessions(Recorder::echo(), move |_| {
            let now = if left > 0 { manner } else { Manner::Agrees };
            left -= i32::from(left > 0);
            Greeting::new(now)
        });
        let (mut node, addr) = listening(patient(), recorder);
        for round in 1..=2 {
            let mut peer = raw::connect(addr);
            peer.write_all(&MAGIC).unwrap();
            let _ = listen_to_end(&mut node, &mut peer);
            drop(peer);
            run_until([&mut node], |[node]| node.net().metrics().panics == round);
            assert_eq!(node.net().metrics().handshakes_failed, round);
        }
        let panicked = ConnectError::Session(SessionError::Panicked);
        assert_clean(&mut node, &[panicked; 2]);
        let mut peer = raw::connect(addr);
        peer.write_all(&MAGIC).unwrap();
        let conn = raw::accepted(&mut node);
        raw::feed(&mut node, &mut peer, &frame(b"lucky"));
        assert_eq!(node.handler().messages(conn), [b"lucky"]);
    }

    #[test]
    fn in_start() {
        lives_on(Manner::PanicsInStart);
    }

    #[test]
    fn in_receive() {
        lives_on(Manner::PanicsInReceive);
    }

    #[test]
    fn in_identity() {
        lives_on(Manner::PanicsInIdentity);
    }

    #[test]
    fn in_the_handlers_transport_method() {
        let mut left = 2;
        let mut recorder = Recorder::reacting(|_, _| {});
        recorder.sessions = Box::new(move |_, _| {
            left -= 1;
            assert!(left < 0, "as the test wants it");
            Ok(None)
        });
        let (mut node, addr) = listening(patient(), recorder);
        for _ in 0..2 {
            let mut peer = raw::connect(addr);
            assert_eq!(listen_to_end(&mut node, &mut peer).0, b"");
        }
        assert_clean(&mut node, &[ConnectError::HandlerPanicked; 2]);
        assert_eq!(node.net().metrics().panics, 2);
        raw::join(&mut node, addr);
    }

    #[test]
    fn of_a_client_fails_its_connect() {
        for manner in [
            Manner::PanicsInStart,
            Manner::PanicsInReceive,
            Manner::PanicsInIdentity,
        ] {
            let mut client = node(patient(), mannered(manner));
            let (mut server, addr) = listening(patient(), mannered(Manner::Agrees));
            let conn = client.net().connect(addr).unwrap();
            let panicked = ConnectError::Session(SessionError::Panicked);
            let failed = Event::ConnectFailed(conn, panicked);
            run_until([&mut client, &mut server], |[client, _]| {
                client.handler().events.contains(&failed)
            });
            assert_eq!(client.handler().connected(), [], "{manner:?}");
        }
    }
}
