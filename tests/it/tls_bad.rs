//! Bad input to TLS: each has one clear reason and ends one connection, and an honest one beside it lives on.

use peerloop::config::{ConnectionConfig, Limits, MinRate, Timeouts};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::util::raw::{connect, until_ended};
use crate::util::tls::{
    Authority, End, Failures, ONLY_12, ONLY_13, Versions, accepting_and_noting, client_config,
    connecting, server_config, server_name, talk,
};
use crate::util::{Event, Recorder, TestNode, listening, node, run_until};
use peerloop::error::{SessionError, TimeoutKind};
use peerloop::session::Stage;
use peerloop::tls::rustls::client::Resumption;
use peerloop::tls::rustls::{ClientConfig, ClientConnection, ServerConfig};
use peerloop::{Config, ConnId, ConnectError, DisconnectReason};
use proptest::prelude::{Strategy, any, prop, proptest};

const NAME: &str = "peer.example";

const NO_RECORD: SessionError = SessionError::Malformed("not a TLS record");
const LONG_RECORD: SessionError = SessionError::Malformed("a record that is too long");
const LONG_MESSAGE: SessionError = SessionError::Malformed("a handshake message that is too long");
const UNDECRYPTABLE: SessionError = SessionError::Malformed("a record that does not decrypt");
const OUT_OF_TURN: SessionError = SessionError::Malformed("a TLS message out of order");
const NOT_ALLOWED: SessionError = SessionError::Malformed("a violation of the TLS protocol");

/// Configurations that go together.
struct Parties {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Parties {
    fn new(versions: Versions) -> Self {
        let authority = Authority::new("the authority");
        let own = authority.issue(NAME);
        let mut client = client_config(&authority, versions);
        // Every handshake is to be a full one.
        client.resumption = Resumption::disabled();
        Self {
            client: Arc::new(client),
            server: Arc::new(server_config(&own, versions)),
        }
    }

    fn client(&self) -> End {
        End::client(&self.client, NAME)
    }

    fn server(&self) -> End {
        End::server(&self.server)
    }

    /// Two ends that have shaken hands.
    fn established(&self) -> (End, End) {
        let (mut client, mut server) = (self.client(), self.server());
        talk(&mut client, &mut server).expect("an honest handshake");
        assert_eq!(
            (client.stage(), server.stage()),
            (Stage::Established, Stage::Established)
        );
        (client, server)
    }
}

/// A node under attack, with an honest connection that must not notice.
struct Target {
    node: TestNode,
    addr: SocketAddr,
    failures: Failures,
    honest: TestNode,
    to_target: ConnId,
}

impl Target {
    fn new(parties: &Parties) -> Self {
        let (sessions, failures) = accepting_and_noting(parties.server.clone());
        let recorder = Recorder {
            sessions,
            ..Recorder::echo()
        };
        let config = Config {
            limits: Limits {
                max_connections_per_address: 2000,
                max_inbound_handshakes: 2000,
                ..Default::default()
            },
            connection: ConnectionConfig {
                allow_half_open: true,
                timeouts: Timeouts {
                    handshake: None,
                    ..Timeouts::default()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, recorder);
        let recorder = Recorder {
            sessions: connecting(parties.client.clone(), NAME),
            ..Recorder::default()
        };
        let mut honest = crate::util::node(Config::default(), recorder);
        let to_target = honest.net().connect(addr).expect("a connect");
        run_until([&mut node, &mut honest], |[node, honest]| {
            !node.handler().connected().is_empty() && !honest.handler().connected().is_empty()
        });
        Self {
            node,
            addr,
            failures,
            honest,
            to_target,
        }
    }

    /// The honest connection is as it was.
    #[track_caller]
    fn lives_on(&mut self) {
        let before = self.honest.handler().messages(self.to_target).len();
        self.honest
            .net()
            .send(self.to_target, b"still there?")
            .expect("there is room");
        run_until([&mut self.node, &mut self.honest], |[_, honest]| {
            honest.handler().messages(self.to_target).len() > before
        });
        assert_eq!(
            self.node
                .handler()
                .ended(self.node.handler().connected()[0]),
            None
        );
    }

    /// Runs the node until that many handshakes have failed, of each of which the handler is told once. The errors.
    #[track_caller]
    fn until_failed(&mut self, handshakes: usize) -> Vec<ConnectError> {
        let is_failure = |event: &Event| matches!(event, Event::ConnectFailed(..));
        run_until([&mut self.node], |[node]| {
            let failed = node.net().metrics().handshakes_failed as usize;
            assert!(failed <= handshakes, "one connection, one end");
            failed == handshakes && node.handler().count(is_failure) >= handshakes
        });
        assert_eq!(self.node.net().connecting().count(), 0);
        let events = self.node.handler().events.iter();
        let failed = events.filter_map(|event| match event {
            Event::ConnectFailed(conn, error) => Some((*conn, *error)),
            _ => None,
        });
        let failed: Vec<(ConnId, ConnectError)> = failed.collect();
        let ids: HashSet<ConnId> = failed.iter().map(|(conn, _)| *conn).collect();
        assert_eq!((failed.len(), ids.len()), (handshakes, handshakes));
        failed.into_iter().map(|(_, error)| error).collect()
    }
}

/// A peer that can do TLS, and then does not.
struct Attacker {
    end: End,
    socket: TcpStream,
    /// What the node has sent it, and whether that was all.
    heard: Vec<u8>,
    at_end: bool,
}

impl Attacker {
    fn new(parties: &Parties, addr: SocketAddr) -> Self {
        let socket = connect(addr);
        socket.set_nonblocking(true).expect("a socket");
        Self {
            end: parties.client(),
            socket,
            heard: Vec::new(),
            at_end: false,
        }
    }

    /// An attacker that has shaken hands, and its name at the node.
    fn established(parties: &Parties, target: &mut Target) -> (Self, ConnId) {
        Self::join(parties, &mut target.node, target.addr)
    }

    fn join(parties: &Parties, node: &mut TestNode, addr: SocketAddr) -> (Self, ConnId) {
        let mut attacker = Self::new(parties, addr);
        let before = node.handler().connected().len();
        run_until([&mut *node], |[node]| {
            attacker.listen();
            let said = attacker.end.said();
            attacker.socket.write_all(&said).expect("there is room");
            node.handler().connected().len() > before && attacker.end.stage() == Stage::Established
        });
        (attacker, node.handler().connected()[before])
    }

    /// Takes what has come.
    fn listen(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.socket.read(&mut bytes) {
                Ok(0) => return self.at_end = true,
                Ok(count) => {
                    self.heard.extend_from_slice(&bytes[..count]);
                    self.end.hear(&bytes[..count]).ok();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the node does not reset: {error}"),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("there is room");
    }
}

/// What a handshake fails with that the peer cut off.
fn stream_ended() -> ConnectError {
    ConnectError::Io(ErrorKind::UnexpectedEof.into())
}

/// Bytes that no pattern of TLS explains.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

mod after_the_handshake {
    use super::*;

    /// Sends what `attack` makes on a connection that is established, and expects this end of it.
    #[track_caller]
    fn attack(
        versions: Versions,
        expected: SessionError,
        messages: &[&[u8]],
        attack: impl Fn(&mut End) -> Vec<u8>,
    ) {
        let parties = Parties::new(versions);
        let mut target = Target::new(&parties);
        let (mut attacker, conn) = Attacker::established(&parties, &mut target);
        let bytes = attack(&mut attacker.end);
        attacker.heard.clear();
        attacker.send(&bytes);
        run_until([&mut target.node], |_| {
            attacker.listen();
            attacker.at_end
        });
        // A record of an alert, in the clear or not, came before the FIN.
        assert!(
            attacker.heard.len() >= 7,
            "it was told: {:?}",
            attacker.heard
        );
        drop(attacker);
        let reason = until_ended(&mut target.node, conn);
        assert_eq!(reason, DisconnectReason::Session(expected));
        assert_eq!(target.node.handler().messages(conn), messages);
        let ends = |event: &Event| matches!(event, Event::Disconnect(..));
        assert_eq!(target.node.handler().count(ends), 1);
        assert_eq!(*target.failures.lock().expect("no panic"), [expected]);
        target.lives_on();
    }

    fn frame(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), body].concat()
    }

    #[test]
    fn what_is_no_record() {
        for versions in [ONLY_12, ONLY_13] {
            attack(versions, NO_RECORD, &[], |_| {
                b"GET / HTTP/1.1\r\n\r\n".to_vec()
            });
        }
    }

    #[test]
    fn a_record_that_nobody_sealed() {
        for versions in [ONLY_12, ONLY_13] {
            attack(versions, UNDECRYPTABLE, &[], |_| {
                [&[23, 3, 3, 0, 64][..], &[0x55; 64]].concat()
            });
        }
    }

    #[test]
    fn a_record_with_one_bit_changed_and_what_came_before_it() {
        for versions in [ONLY_12, ONLY_13] {
            attack(versions, UNDECRYPTABLE, &[b"before"], |end| {
                let mut bytes = end.seal(&frame(b"before"));
                bytes.extend(end.seal(&frame(b"changed")));
                *bytes.last_mut().expect("a record") ^= 1;
                bytes
            });
        }
    }

    #[test]
    fn a_record_that_comes_again() {
        for versions in [ONLY_12, ONLY_13] {
            attack(versions, UNDECRYPTABLE, &[b"once"], |end| {
                end.seal(&frame(b"once")).repeat(2)
            });
        }
    }

    #[test]
    fn records_in_another_order() {
        for versions in [ONLY_12, ONLY_13] {
            attack(versions, UNDECRYPTABLE, &[], |end| {
                let first = end.seal(&frame(b"first"));
                [end.seal(&frame(b"second")), first].concat()
            });
        }
    }

    #[test]
    fn a_record_that_announces_too_much() {
        for versions in [ONLY_12, ONLY_13] {
            attack(versions, LONG_RECORD, &[], |_| vec![23, 3, 3, 0xff, 0xff]);
        }
    }

    #[test]
    fn an_alert_that_nobody_sealed() {
        for versions in [ONLY_12, ONLY_13] {
            attack(versions, UNDECRYPTABLE, &[], |_| vec![21, 3, 3, 0, 2, 1, 0]);
        }
    }

    /// Whatever it is, it is not for anybody any more.
    #[test]
    fn what_follows_a_close_notify() {
        for versions in [ONLY_12, ONLY_13] {
            for late in [
                &b"GET / HTTP/1.1\r\n\r\n"[..],
                &[23, 3, 3, 0xff, 0xff],
                &[0; 100_000],
            ] {
                let parties = Parties::new(versions);
                let mut target = Target::new(&parties);
                let (mut attacker, conn) = Attacker::established(&parties, &mut target);
                let mut bytes = attacker.end.seal(&frame(b"last"));
                bytes.extend(attacker.end.close_notify());
                bytes.extend(late);
                attacker.send(&bytes);
                attacker
                    .socket
                    .shutdown(Shutdown::Write)
                    .expect("a connection");
                run_until([&mut target.node], |[node]| {
                    node.handler().messages(conn) == [b"last"]
                });
                target.node.net().close(conn);
                let reason = until_ended(&mut target.node, conn);
                assert_eq!(reason, DisconnectReason::Local);
                assert!(target.failures.lock().expect("no panic").is_empty());
                target.lives_on();
            }
        }
    }

    /// A debug assertion of rustls's does not expect a failure after this side's close_notify; the loop contains it, and
    /// without debug assertions there is none.
    #[test]
    fn what_is_no_record_in_answer_to_a_close_notify() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let mut target = Target::new(&parties);
            let (mut attacker, conn) = Attacker::established(&parties, &mut target);
            target.node.net().close_write(conn);
            run_until([&mut target.node], |_| {
                attacker.listen();
                attacker.at_end
            });
            attacker.send(b"GET / HTTP/1.1\r\n\r\n");
            // The node is not to wait for it until the linger deadline.
            attacker
                .socket
                .shutdown(Shutdown::Write)
                .expect("a connection");
            let reason = until_ended(&mut target.node, conn);
            let expected = if cfg!(debug_assertions) {
                SessionError::Panicked
            } else {
                NO_RECORD
            };
            assert_eq!(reason, DisconnectReason::Session(expected));
            target.lives_on();
        }
    }

    /// A record that never ends costs what came of it, and has a deadline that no further byte puts off.
    #[test]
    fn a_record_that_drips() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let (sessions, failures) = accepting_and_noting(parties.server.clone());
            let config = Config {
                connection: ConnectionConfig {
                    timeouts: Timeouts {
                        partial_message: Some(Duration::from_millis(100)),
                        idle: None,
                        ..Timeouts::default()
                    },
                    min_rate: MinRate {
                        after: Duration::from_millis(200),
                        ..MinRate::default()
                    },
                    ..Default::default()
                },
                ..Config::default()
            };
            let recorder = Recorder {
                sessions,
                ..Recorder::default()
            };
            let (mut node, addr) = listening(config, recorder);
            let (mut attacker, conn) = Attacker::join(&parties, &mut node, addr);
            let record = attacker.end.seal(&[0; 16 * 1024]);
            let (mut drops, mut last) = (record.chunks(1), Instant::now());
            run_until([&mut node], |[node]| {
                if last.elapsed() > Duration::from_millis(4) {
                    let drop = drops.next().expect("the deadline comes long before");
                    // It may have come already.
                    attacker.socket.write_all(drop).ok();
                    last = Instant::now();
                }
                node.handler().ended(conn).is_some()
            });
            assert_eq!(
                node.handler().ended(conn),
                Some(DisconnectReason::Timeout(TimeoutKind::ReceiveRate))
            );
            assert!(failures.lock().expect("no panic").is_empty());
        }
    }

    #[test]
    fn more_requests_for_new_keys_than_anybody_needs() {
        let parties = Parties::new(ONLY_13);
        let mut server = parties.server();
        let mut client =
            ClientConnection::new(parties.client.clone(), server_name(NAME)).expect("a client");
        let mut bytes = Vec::new();
        while client.is_handshaking() || client.wants_write() {
            client.write_tls(&mut bytes).expect("a vector");
            server
                .hear(&std::mem::take(&mut bytes))
                .expect("an honest handshake");
            client
                .read_tls(&mut server.said().as_slice())
                .expect("a slice");
            client.process_new_packets().expect("an honest handshake");
        }
        for _ in 0..1000 {
            client.refresh_traffic_keys().expect("it is established");
            client.write_tls(&mut bytes).expect("a vector");
        }
        assert_eq!(server.hear(&bytes), Err(NOT_ALLOWED));
        assert!(
            server.wire.len() < 1000,
            "it does not answer each: {}",
            server.wire.len()
        );
    }

    proptest! {
        #[test]
        fn garbage_is_malformed_and_nothing_else(bytes in garbage()) {
            let parties = Parties::new(ONLY_13);
            let (_, mut server) = parties.established();
            if let Err(error) = server.hear(&bytes) {
                assert!(matches!(error, SessionError::Malformed(_)), "{error}");
            }
            assert!(server.plaintext.is_empty());
        }
    }
}

mod in_the_handshake {
    use super::*;

    /// What both sides say in an honest handshake, flight by flight, the client's first.
    fn recorded(parties: &Parties) -> Vec<Vec<u8>> {
        let (mut client, mut server) = (parties.client(), parties.server());
        let mut flights = Vec::new();
        while !client.wire.is_empty() || !server.wire.is_empty() {
            flights.push(client.said());
            server
                .hear(&flights[flights.len() - 1])
                .expect("an honest client");
            flights.push(server.said());
            client
                .hear(&flights[flights.len() - 1])
                .expect("an honest server");
        }
        flights
    }

    /// The records of a flight.
    fn records(mut flight: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while let Some(header) = flight.first_chunk::<5>() {
            let len = 5 + usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (record, rest) = flight.split_at(len);
            records.push(record.to_vec());
            flight = rest;
        }
        records
    }

    #[test]
    fn one_byte_at_a_time_is_as_good_as_all_at_once() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let (mut client, mut server) = (parties.client(), parties.server());
            while !client.wire.is_empty() || !server.wire.is_empty() {
                for byte in client.said() {
                    server.hear(&[byte]).expect("an honest handshake");
                }
                for byte in server.said() {
                    client.hear(&[byte]).expect("an honest handshake");
                }
            }
            let sealed = client.seal(&[7; 40_000]);
            for byte in sealed.into_iter().chain(client.close_notify()) {
                assert_eq!(server.stage(), Stage::Established);
                server.hear(&[byte]).expect("honest records");
            }
            assert_eq!(server.plaintext, [7; 40_000]);
            assert_eq!(server.stage(), Stage::Finished);
        }
    }

    /// As when the last flight, the first messages and the close notification arrive in one read.
    #[test]
    fn everything_that_comes_with_its_end_is_understood() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let (mut client, mut server) = (parties.client(), parties.server());
            let mut last = Vec::new();
            while client.stage() == Stage::Handshaking {
                server
                    .hear(&std::mem::take(&mut last))
                    .expect("an honest handshake");
                let said = server.said();
                client.hear(&said).expect("an honest handshake");
                last = client.said();
            }
            if versions == ONLY_13 {
                last.extend(client.seal(b"the first message"));
                last.extend(client.close_notify());
                server.hear(&last).expect("honest records");
                assert_eq!(server.plaintext, b"the first message");
                assert_eq!(server.stage(), Stage::Finished);
            }
            assert!(
                !server.said().is_empty() || versions == ONLY_12,
                "the tickets"
            );
        }
    }

    /// A client that stops after each byte of its part, by a FIN.
    #[test]
    fn a_client_may_stop_anywhere() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let mut target = Target::new(&parties);
            let flights = recorded(&parties);
            let own: usize = flights.iter().step_by(2).map(Vec::len).sum();
            // One handshake is not as long as the other: their signatures are not.
            for stop in 0..own - 8 {
                let mut attacker = Attacker::new(&parties, target.addr);
                let mut left = stop;
                run_until([&mut target.node], |_| {
                    attacker.listen();
                    let said = attacker.end.said();
                    let part = &said[..said.len().min(left)];
                    attacker.send(part);
                    left -= part.len();
                    left == 0
                });
                attacker
                    .socket
                    .shutdown(Shutdown::Write)
                    .expect("a connection");
                let errors = target.until_failed(stop + 1);
                assert_eq!(errors.last(), Some(&stream_ended()), "after {stop} bytes");
            }
            assert!(
                target.failures.lock().expect("no panic").is_empty(),
                "nothing is wrong with it"
            );
            assert_eq!(target.node.handler().connected().len(), 1, "the honest one");
            target.lives_on();
        }
    }

    /// A server that stops after each byte of its part, by a FIN.
    #[test]
    fn a_server_may_stop_anywhere() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.set_nonblocking(true).expect("a socket");
            let addr = listener.local_addr().expect("it has one");
            let first = recorded(&parties)[1].len();
            let recorder = Recorder {
                sessions: connecting(parties.client.clone(), NAME),
                ..Recorder::default()
            };
            let mut connector = node(Config::default(), recorder);
            for stop in 0..first - 8 {
                // Connects that follow a failed one are delayed otherwise.
                let mut options = connector.connect_options();
                options.delay = Some(Duration::ZERO);
                let connect = connector.net().connect_with(addr, options);
                let connect = connect.expect("a connect");
                let mut server = parties.server();
                let (mut socket, mut bytes) = (None, [0; 4096]);
                run_until([&mut connector], |_| {
                    let Some(socket) = &mut socket else {
                        socket = listener.accept().ok().map(|(socket, _)| {
                            socket.set_nonblocking(true).expect("a socket");
                            socket
                        });
                        return false;
                    };
                    if let Ok(count) = socket.read(&mut bytes) {
                        server.hear(&bytes[..count]).expect("an honest client");
                    }
                    server.wire.len() >= stop
                });
                let mut socket = socket.expect("it connected");
                socket
                    .write_all(&server.wire[..stop])
                    .expect("there is room");
                socket.shutdown(Shutdown::Write).expect("a connection");
                let expected = Event::ConnectFailed(connect, stream_ended());
                run_until([&mut connector], |[connector]| {
                    connector.handler().events.len() == stop + 2
                });
                assert_eq!(
                    connector.handler().events.last(),
                    Some(&expected),
                    "after {stop} bytes"
                );
            }
        }
    }

    /// One connection after another that says this first, and the reason for each.
    #[track_caller]
    fn begins_with(parties: &Parties, first: &[u8], expected: SessionError) {
        let mut target = Target::new(parties);
        let mut attacker = Attacker::new(parties, target.addr);
        attacker.send(first);
        run_until([&mut target.node], |_| {
            attacker.listen();
            attacker.at_end
        });
        drop(attacker);
        assert_eq!(target.until_failed(1), [ConnectError::Session(expected)]);
        assert_eq!(*target.failures.lock().expect("no panic"), [expected]);
        assert_eq!(target.node.handler().connected().len(), 1, "the honest one");
        target.lives_on();
    }

    #[test]
    fn messages_and_records_that_announce_too_much() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            begins_with(&parties, &[22, 3, 1, 0xff, 0xff], LONG_RECORD);
            begins_with(
                &parties,
                &[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
                LONG_MESSAGE,
            );
            // A certificate may be longer than a record, but not without an end.
            let piece = [&[22, 3, 1, 0x40, 0][..], &[1; 0x4000]].concat();
            let endless = [&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff][..], &piece.repeat(5)].concat();
            let mut server = parties.server();
            assert!(matches!(
                server.hear(&endless),
                Err(SessionError::Malformed(_))
            ));
        }
    }

    #[test]
    fn what_is_no_handshake() {
        let parties = Parties::new(ONLY_13);
        begins_with(&parties, b"\x00\x00\x00\x05hello", NO_RECORD);
        begins_with(&parties, &[23, 3, 3, 0, 4, 1, 2, 3, 4], OUT_OF_TURN);
    }

    /// All that a client once said, said again by somebody who only listened.
    #[test]
    fn a_recorded_handshake_opens_nothing() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let said: Vec<u8> = recorded(&parties)
                .into_iter()
                .step_by(2)
                .flatten()
                .collect();
            let mut server = parties.server();
            let error = server.hear(&said).expect_err("it has another key");
            assert!(matches!(error, SessionError::Malformed(_)), "{error}");
            assert_eq!(server.stage(), Stage::Handshaking);
            begins_with(&parties, &said, error);
        }
    }

    #[test]
    fn the_first_message_twice() {
        let hello = |parties: &Parties| recorded(parties)[0].repeat(2);
        let parties = Parties::new(ONLY_12);
        begins_with(&parties, &hello(&parties), OUT_OF_TURN);
        let parties = Parties::new(ONLY_13);
        begins_with(&parties, &hello(&parties), UNDECRYPTABLE);
    }

    /// Each two neighbouring records of the server's part, changed round.
    #[test]
    fn records_in_another_order() {
        for versions in [ONLY_12, ONLY_13] {
            let mut parties = Parties::new(versions);
            // TLS 1.2 has the whole part in one record otherwise.
            Arc::make_mut(&mut parties.server).max_fragment_size = Some(200);
            let count = records(&recorded(&parties)[1]).len();
            assert!(count > 1, "there is something to change");
            for at in 1..count {
                let (mut client, mut server) = (parties.client(), parties.server());
                let hello = client.said();
                server.hear(&hello).expect("an honest client");
                let mut records = records(&server.said());
                records.swap(at - 1, at);
                let outcome = client.hear(&records.concat());
                // A change_cipher_spec of TLS 1.3 means nothing and may be anywhere.
                let is_nothing =
                    versions == ONLY_13 && records[at - 1..=at].iter().any(|r| r[0] == 20);
                match outcome {
                    Err(SessionError::Malformed(_)) => {}
                    Ok(()) if is_nothing => {}
                    other => panic!("record {at}: {other:?}"),
                }
            }
        }
    }

    /// One byte of the server's part is another: whatever that does, it lets nobody in who should not be.
    #[test]
    fn a_changed_byte_anywhere_has_a_reason() {
        for versions in [ONLY_12, ONLY_13] {
            let parties = Parties::new(versions);
            let len = recorded(&parties)[1].len();
            for at in (0..len - 8).step_by(3) {
                let (mut client, mut server) = (parties.client(), parties.server());
                let hello = client.said();
                server.hear(&hello).expect("an honest client");
                let mut flight = server.said();
                flight[at] ^= 0x21;
                // It may also wait for the rest of a record that became longer.
                let outcome = client
                    .hear(&flight)
                    .and_then(|()| talk(&mut client, &mut server));
                if let Err(error) = outcome {
                    use SessionError::{Malformed, Refused, RefusedByPeer};
                    let has_reason = matches!(error, Malformed(_) | Refused(_) | RefusedByPeer(_));
                    assert!(has_reason, "byte {at}: {error}");
                    continue;
                }
                // The version in the header of a record is the one thing that means nothing.
                let established = [client.stage(), server.stage()] == [Stage::Established; 2];
                if established {
                    let sealed = client.seal(b"the same keys");
                    server
                        .hear(&sealed)
                        .expect("nothing was changed that matters");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_is_malformed_and_nothing_else(bytes in garbage(), kind in 20_u8..24) {
            let parties = Parties::new(ONLY_13);
            let len = (bytes.len() as u16).to_be_bytes();
            let record = [&[kind, 3, 1][..], &len, &bytes].concat();
            for (first, mut end) in [(&bytes, parties.server()), (&record, parties.server()), (&record, parties.client())] {
                let outcome = end.hear(first);
                assert_eq!(end.stage(), Stage::Handshaking);
                match outcome {
                    Ok(()) | Err(SessionError::Malformed(_) | SessionError::Refused(_) | SessionError::RefusedByPeer(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}

/// Many who begin and do not go on, while an honest peer asks and is answered.
#[test]
fn a_thousand_half_handshakes_disturb_nobody() {
    const ATTACKERS: usize = 1000;
    let parties = Parties::new(ONLY_13);
    let mut target = Target::new(&parties);
    let hello = parties.client().said();
    let mut attackers = Vec::new();
    for number in 0..ATTACKERS {
        let mut socket = connect(target.addr);
        // Some say half of the first message, some all of it and then nothing.
        let part = if number % 2 == 0 {
            hello.len() / 2
        } else {
            hello.len()
        };
        socket.write_all(&hello[..part]).expect("there is room");
        attackers.push(socket);
        if number % 10 == 0 {
            target.lives_on();
        }
    }
    run_until([&mut target.node], |[node]| {
        node.net().connecting().count() == ATTACKERS
    });
    target.lives_on();
    drop(attackers);
    for error in target.until_failed(ATTACKERS) {
        // Those that did not read the answer reset the connection.
        let reset = ConnectError::Io(ErrorKind::ConnectionReset.into());
        assert!([stream_ended(), reset].contains(&error), "{error}");
    }
    target.lives_on();
    assert!(target.failures.lock().expect("no panic").is_empty());
}
