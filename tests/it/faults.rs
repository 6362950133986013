//! Faults of the user's own code, and what else a connection survives or ends by: panics, slow turns, overflowing
//! queues, half-open connections, paused peers that hang up, and a full queue of commands.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::PATIENCE;
use crate::util::raw::{connect, reset};
use peerloop::config::{CommandQueueConfig, ConnectionConfig, OnFull, OnPanic, SendQueueConfig};
use peerloop::error::FramingError;
use peerloop::framing::{Decoded, Framer, Framing};
use peerloop::{
    Admission, Bytes, Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node,
    SendError, SendOutcome, TimerId,
};
use socket2::{Domain, Socket, Type};

/// What every panic of these tests says.
const ON_PURPOSE: &str = "on purpose";

/// Panics, without a word on the standard error.
fn stumble() -> ! {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() != Some(&ON_PURPOSE) {
                loud(info);
            }
        }));
    });
    panic::panic_any(ON_PURPOSE)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Callback {
    Start,
    Accept,
    Connect,
    Message,
    Drain,
    Sent,
    ReadClosed,
    ConnectFailed,
    Disconnect,
    Timer,
    Turn,
}

/// Echoes messages, writes every call down, and panics in one of them as often as it is told.
#[derive(Default)]
struct Clumsy {
    panics_in: Option<Callback>,
    /// A connection that nothing goes wrong for.
    spared: Option<ConnId>,
    calls: Vec<(Callback, Option<ConnId>)>,
    messages: Vec<(ConnId, Vec<u8>)>,
    ends: Vec<(ConnId, DisconnectReason)>,
}

impl Clumsy {
    fn enter(&mut self, callback: Callback, conn: Option<ConnId>) {
        // Turns are too many to write down.
        if callback != Callback::Turn {
            self.calls.push((callback, conn));
        }
        let spared = conn.is_some() && conn == self.spared;
        if self.panics_in == Some(callback) && !spared {
            self.panics_in = None;
            stumble();
        }
    }

    fn count(&self, callback: Callback) -> usize {
        let same = |(called, _): &&(Callback, _)| *called == callback;
        self.calls.iter().filter(same).count()
    }

    /// Every call for this connection.
    fn calls_for(&self, conn: ConnId) -> Vec<Callback> {
        let calls = self.calls.iter();
        let own = calls.filter(|(_, called_for)| *called_for == Some(conn));
        own.map(|(callback, _)| *callback).collect()
    }

    fn connected(&self) -> Vec<ConnId> {
        let calls = self.calls.iter();
        let connects = calls.filter(|(callback, _)| *callback == Callback::Connect);
        connects.filter_map(|(_, conn)| *conn).collect()
    }

    fn ended(&self, conn: ConnId) -> Option<DisconnectReason> {
        let mut own = self.ends.iter().filter(|(ended, _)| *ended == conn);
        own.next().map(|(_, reason)| *reason)
    }
}

impl Handler for Clumsy {
    fn on_start(&mut self, _: &mut Net) {
        self.enter(Callback::Start, None);
    }

    fn on_accept(&mut self, _: &mut Net, _: &ConnInfo) -> Admission {
        self.enter(Callback::Accept, None);
        Admission::Admit
    }

    fn on_connect(&mut self, _: &mut Net, conn: ConnId) {
        self.enter(Callback::Connect, Some(conn));
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages.push((conn, message.to_vec()));
        self.enter(Callback::Message, Some(conn));
        // Some peers are gone before they are answered.
        let _ = net.send(conn, message);
    }

    fn on_drain(&mut self, _: &mut Net, conn: ConnId) {
        self.enter(Callback::Drain, Some(conn));
    }

    fn on_sent(&mut self, _: &mut Net, conn: ConnId, _: u64, _: SendOutcome) {
        self.enter(Callback::Sent, Some(conn));
    }

    fn on_read_closed(&mut self, _: &mut Net, conn: ConnId) {
        self.enter(Callback::ReadClosed, Some(conn));
    }

    fn on_connect_failed(&mut self, _: &mut Net, conn: ConnId, _: &ConnInfo, _: ConnectError) {
        self.enter(Callback::ConnectFailed, Some(conn));
    }

    fn on_disconnect(&mut self, _: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.ends.push((conn, reason));
        self.enter(Callback::Disconnect, Some(conn));
    }

    fn on_timer(&mut self, _: &mut Net, _: TimerId, _: u64) {
        self.enter(Callback::Timer, None);
    }

    fn on_turn(&mut self, _: &mut Net) {
        self.enter(Callback::Turn, None);
    }
}

type ClumsyNode = Node<Clumsy>;

fn listening(config: Config) -> (ClumsyNode, SocketAddr) {
    let mut node = Node::new(config, Clumsy::default()).unwrap();
    let addr = node.net().listen("127.0.0.1:0").unwrap().addr;
    (node, addr)
}

#[track_caller]
fn run_until(node: &mut ClumsyNode, mut condition: impl FnMut(&mut ClumsyNode) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition(node) {
        let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
        let calls = &node.handler().calls;
        assert!(Instant::now() < end, "it did not come about: {calls:?}");
    }
}

fn run_for(node: &mut ClumsyNode, time: Duration) {
    let end = Instant::now() + time;
    run_until(node, |_| Instant::now() >= end);
}

fn join(node: &mut ClumsyNode, addr: SocketAddr) -> (ConnId, TcpStream) {
    let before = node.handler().connected().len();
    let peer = connect(addr);
    run_until(node, |node| node.handler().connected().len() > before);
    (node.handler().connected()[before], peer)
}

fn wire(config: Config) -> (ClumsyNode, ConnId, TcpStream) {
    let (mut node, addr) = listening(config);
    let (conn, peer) = join(&mut node, addr);
    (node, conn, peer)
}

#[track_caller]
fn until_ended(node: &mut ClumsyNode, conn: ConnId) -> DisconnectReason {
    run_until(node, |node| node.handler().ended(conn).is_some());
    node.handler().ended(conn).unwrap()
}

/// A message as the default framing has it on the wire.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

/// Has the node answer this peer.
#[track_caller]
fn assert_served(node: &mut ClumsyNode, peer: &mut TcpStream) {
    let before = node.handler().messages.len();
    peer.write_all(&frame(b"hello")).unwrap();
    run_until(node, |node| node.handler().messages.len() > before);
    let mut answer = [0; 9];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *frame(b"hello"));
}

/// Whether the node has ended the connection, after whatever it sent before.
fn is_closed(peer: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

mod a_panic {
    use super::*;

    /// What makes the callback be called: of the connection that it is given, if the callback is one of a connection.
    type Provoke = fn(&mut ClumsyNode, ConnId, &mut TcpStream);

    fn config() -> Config {
        Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    low_bytes: 512,
                    high_bytes: 1024,
                    ..Default::default()
                },
                allow_half_open: true,
                ..Default::default()
            },
            ..Config::default()
        }
    }

    /// A node with an honest peer, for whom nothing goes wrong.
    fn with_honest_peer() -> (ClumsyNode, SocketAddr, TcpStream) {
        let (mut node, addr) = listening(config());
        let (honest, mut peer) = join(&mut node, addr);
        node.handler_mut().spared = Some(honest);
        assert_served(&mut node, &mut peer);
        (node, addr, peer)
    }

    /// Lets a callback of a connection panic, twice in a row on one node. The connection ends, everything else goes on.
    #[track_caller]
    fn ends_its_connection(callback: Callback, provoke: Provoke) {
        let (mut node, addr, mut honest) = with_honest_peer();
        for times in 1..=2 {
            let (conn, mut peer) = join(&mut node, addr);
            node.handler_mut().panics_in = Some(callback);
            provoke(&mut node, conn, &mut peer);
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::HandlerPanicked);
            assert!(is_closed(&mut peer));
            run_for(&mut node, Duration::from_millis(5));
            let calls = node.handler().calls_for(conn);
            assert_eq!(calls.first(), Some(&Callback::Connect));
            assert_eq!(calls.last(), Some(&Callback::Disconnect));
            let ends = calls.iter().filter(|call| **call == Callback::Disconnect);
            assert_eq!(ends.count(), 1);
            assert_eq!(node.net().metrics().panics, times);
            assert_served(&mut node, &mut honest);
            assert_eq!(node.net().connection_count(), 1);
        }
    }

    /// Lets a callback panic that belongs to no open connection, twice in a row on one node. Nothing ends by it.
    #[track_caller]
    fn ends_nothing(callback: Callback, provoke: fn(&mut ClumsyNode, SocketAddr)) {
        let (mut node, addr, mut honest) = with_honest_peer();
        for times in 1..=2 {
            node.handler_mut().panics_in = Some(callback);
            provoke(&mut node, addr);
            run_until(&mut node, |node| node.net().metrics().panics == times);
            run_for(&mut node, Duration::from_millis(5));
            assert_eq!(node.net().metrics().panics, times);
            assert_served(&mut node, &mut honest);
            assert_eq!(node.net().connection_count(), 1);
            assert_eq!(node.net().connecting_count(), 0);
        }
    }

    #[test]
    fn in_on_start_does_not_keep_the_node_from_running() {
        let (mut node, addr) = listening(config());
        node.handler_mut().panics_in = Some(Callback::Start);
        let (_, mut peer) = join(&mut node, addr);
        assert_served(&mut node, &mut peer);
        assert_eq!(node.handler().count(Callback::Start), 1);
        assert_eq!(node.net().metrics().panics, 1);
    }

    #[test]
    fn in_on_accept_turns_the_newcomer_away() {
        ends_nothing(Callback::Accept, |node, addr| {
            let before = node.handler().connected().len();
            let mut peer = connect(addr);
            run_until(node, |node| node.handler().panics_in.is_none());
            assert!(is_closed(&mut peer));
            assert_eq!(node.handler().connected().len(), before);
        });
    }

    #[test]
    fn in_on_connect_ends_the_connection_without_a_message() {
        let (mut node, addr, mut honest) = with_honest_peer();
        for times in 1..=2 {
            node.handler_mut().panics_in = Some(Callback::Connect);
            let mut peer = connect(addr);
            peer.write_all(&frame(b"too late")).unwrap();
            run_until(&mut node, |node| node.handler().ends.len() == times);
            let (conn, reason) = node.handler().ends[times - 1];
            assert_eq!(reason, DisconnectReason::HandlerPanicked);
            assert!(is_closed(&mut peer));
            let calls = node.handler().calls_for(conn);
            assert_eq!(calls, [Callback::Connect, Callback::Disconnect]);
            assert_served(&mut node, &mut honest);
        }
        assert_eq!(node.net().metrics().panics, 2);
    }

    #[test]
    fn in_on_connect_of_a_connect_ends_it_as_a_connection() {
        let (mut node, _, mut honest) = with_honest_peer();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        for times in 1..=2 {
            node.handler_mut().panics_in = Some(Callback::Connect);
            let conn = node.net().connect(other.local_addr().unwrap()).unwrap();
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::HandlerPanicked);
            let calls = node.handler().calls_for(conn);
            assert_eq!(calls, [Callback::Connect, Callback::Disconnect]);
            assert_eq!(node.net().metrics().panics, times);
            assert_served(&mut node, &mut honest);
        }
    }

    #[test]
    fn in_on_message_ends_the_connection_and_no_further_message_is_delivered() {
        ends_its_connection(Callback::Message, |node, conn, peer| {
            let before = node.handler().messages.len();
            peer.write_all(&[frame(b"one"), frame(b"two")].concat())
                .unwrap();
            until_ended(node, conn);
            assert_eq!(node.handler().messages[before..], [(conn, b"one".to_vec())]);
        });
    }

    #[test]
    fn in_on_message_after_a_pause_ends_the_connection_too() {
        ends_its_connection(Callback::Message, |node, conn, peer| {
            node.net().pause(conn);
            peer.write_all(&[frame(b"one"), frame(b"two")].concat())
                .unwrap();
            run_for(node, Duration::from_millis(5));
            node.net().resume(conn);
        });
    }

    #[test]
    fn in_on_drain_ends_the_connection() {
        ends_its_connection(Callback::Drain, |node, conn, _| {
            node.net().send(conn, &[7; 2048]).unwrap();
        });
    }

    #[test]
    fn in_on_sent_ends_the_connection() {
        ends_its_connection(Callback::Sent, |node, conn, _| {
            node.net().send_tracked(conn, b"x", 1).unwrap();
        });
    }

    #[test]
    fn in_on_read_closed_ends_the_connection() {
        ends_its_connection(Callback::ReadClosed, |_, _, peer| {
            peer.shutdown(Shutdown::Write).unwrap();
        });
    }

    #[test]
    fn in_on_sent_does_not_keep_the_other_answers_back() {
        let (mut node, addr, mut honest) = with_honest_peer();
        let (conn, _peer) = join(&mut node, addr);
        node.handler_mut().panics_in = Some(Callback::Sent);
        for token in 0..3 {
            node.net().send_tracked(conn, b"x", token).unwrap();
        }
        let reason = until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::HandlerPanicked);
        assert_eq!(node.handler().count(Callback::Sent), 3);
        assert_served(&mut node, &mut honest);
    }

    /// A connect to an address without a listener.
    fn connect_nobody(node: &mut ClumsyNode, _: SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        node.net().connect(addr).unwrap();
        run_until(node, |node| node.handler().panics_in.is_none());
    }

    #[test]
    fn in_on_connect_failed_ends_nothing() {
        ends_nothing(Callback::ConnectFailed, connect_nobody);
    }

    #[test]
    fn in_on_disconnect_is_the_last_callback_all_the_same() {
        ends_nothing(Callback::Disconnect, |node, addr| {
            let (conn, peer) = join(node, addr);
            drop(peer);
            // Half open it stays until it is closed here too.
            run_until(node, |node| node.handler().calls_for(conn).len() == 2);
            node.net().close(conn);
            assert_eq!(until_ended(node, conn), DisconnectReason::Local);
            run_for(node, Duration::from_millis(5));
            let calls = node.handler().calls_for(conn);
            let all = [
                Callback::Connect,
                Callback::ReadClosed,
                Callback::Disconnect,
            ];
            assert_eq!(calls, all);
        });
    }

    #[test]
    fn in_on_timer_ends_that_timer_only() {
        ends_nothing(Callback::Timer, |node, _| {
            let before = node.handler().count(Callback::Timer);
            for key in 0..3 {
                let _ = node.net().set_timer(Duration::ZERO, key);
            }
            run_until(node, |node| {
                node.handler().count(Callback::Timer) == before + 3
            });
        });
    }

    #[test]
    fn in_on_turn_ends_nothing() {
        ends_nothing(Callback::Turn, |_, _| {});
    }

    #[test]
    fn in_a_posted_call_ends_nothing() {
        let (mut node, _, mut honest) = with_honest_peer();
        let handle = node.handle();
        for _ in 0..2 {
            handle.post(|_, _| stumble()).unwrap();
        }
        run_until(&mut node, |node| node.net().metrics().panics == 2);
        assert_served(&mut node, &mut honest);
    }

    #[test]
    fn is_contained_whichever_half_of_a_framer_it_comes_from() {
        for body in [b"decode", b"encode"] {
            let mut config = config();
            config.connection.framing = Framing::custom(|| ClumsyFramer);
            let (mut node, addr) = listening(config);
            let (honest, mut honest_peer) = join(&mut node, addr);
            for times in 1..=2 {
                let (conn, mut peer) = join(&mut node, addr);
                // In two pieces, so that one is decoded from what was kept.
                peer.write_all(&frame(body)[..7]).unwrap();
                run_for(&mut node, Duration::from_millis(5));
                peer.write_all(&frame(body)[7..]).unwrap();
                let reason = until_ended(&mut node, conn);
                assert_eq!(reason, DisconnectReason::HandlerPanicked);
                assert!(is_closed(&mut peer));
                assert_eq!(node.handler().ends.len(), times);
                assert_eq!(node.net().metrics().panics, times as u64);
                assert_served(&mut node, &mut honest_peer);
            }
            assert_eq!(node.handler().ended(honest), None);
        }
    }

    /// It belongs to one connection; who sends may serve another one, or be another thread.
    #[test]
    fn in_a_framers_encode_ends_its_own_connection_whoever_sends() {
        let mut config = config();
        config.connection.framing = Framing::custom(|| ClumsyFramer);
        let (mut node, addr) = listening(config);
        let (honest, mut honest_peer) = join(&mut node, addr);
        let handle = node.handle();
        let (first, _peer) = join(&mut node, addr);
        handle.send(first, Bytes::from_static(b"encode")).unwrap();
        let reason = until_ended(&mut node, first);
        assert_eq!(reason, DisconnectReason::HandlerPanicked);
        let (second, _peer) = join(&mut node, addr);
        let both = handle.post(move |_, net| {
            assert_eq!(net.send(second, b"encode"), Err(SendError::Closed));
            net.send(honest, b"to go on").unwrap();
        });
        both.unwrap();
        let reason = until_ended(&mut node, second);
        assert_eq!(reason, DisconnectReason::HandlerPanicked);
        assert_eq!(node.net().metrics().panics, 2);
        let mut message = [0; 12];
        honest_peer.read_exact(&mut message).unwrap();
        assert_eq!(message, *frame(b"to go on"));
        assert_served(&mut node, &mut honest_peer);
    }

    /// The default framing, but for two bodies.
    struct ClumsyFramer;

    impl Framer for ClumsyFramer {
        fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
            let Some(header) = bytes.first_chunk() else {
                return Ok(Decoded::Incomplete { at_least: 4 });
            };
            let end = 4 + u32::from_be_bytes(*header) as usize;
            match bytes.get(4..end) {
                Some(b"decode") => stumble(),
                Some(_) => Ok(Decoded::Frame {
                    body: 4..end,
                    consumed: end,
                }),
                None => Ok(Decoded::Incomplete { at_least: end }),
            }
        }

        fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
            wire.extend_from_slice(&frame(body)[..4]);
            if body == b"encode" {
                stumble();
            }
            wire.extend_from_slice(body);
            Ok(())
        }
    }

    #[test]
    fn unwinds_out_of_the_turn_if_that_is_wanted() {
        let provocations: [(Callback, Provoke); 4] = [
            (Callback::Message, |_, _, peer| {
                peer.write_all(&frame(b"x")).unwrap();
            }),
            (Callback::Timer, |node, _, _| {
                let _ = node.net().set_timer(Duration::ZERO, 0);
            }),
            (Callback::Disconnect, |node, conn, _| node.net().abort(conn)),
            (Callback::ConnectFailed, |node, _, _| {
                let conn = node.net().connect(SocketAddr::from(([127, 0, 0, 1], 1)));
                node.net().close(conn.unwrap());
            }),
        ];
        for (callback, provoke) in provocations {
            let config = Config {
                on_panic: OnPanic::Unwind,
                ..config()
            };
            let (mut node, conn, mut peer) = wire(config);
            node.handler_mut().panics_in = Some(callback);
            provoke(&mut node, conn, &mut peer);
            let run = || run_until(&mut node, |_| false);
            let payload = panic::catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&ON_PURPOSE), "{callback:?}");
            drop(node);
            assert!(is_closed(&mut peer));
        }
    }
}

mod a_slow_turn {
    use super::*;

    /// How many were counted after so many calls, each of which takes this long.
    fn counted(slow_turn: Option<Duration>, calls: u64, takes: Duration) -> u64 {
        let config = Config {
            slow_turn,
            ..Config::default()
        };
        let (mut node, _) = listening(config);
        let handle = node.handle();
        let before = node.net().metrics();
        for _ in 0..calls {
            handle.post(move |_, _| thread::sleep(takes)).unwrap();
        }
        run_until(&mut node, |node| node.net().metrics().commands == calls);
        node.net().metrics().slow_turns - before.slow_turns
    }

    #[test]
    fn is_counted() {
        // Others may be slow too while this machine has other things to do.
        let limit = Duration::from_millis(1);
        assert!(counted(Some(limit), 1, Duration::from_millis(5)) >= 1);
    }

    #[test]
    fn is_what_many_short_callbacks_make() {
        let limit = Duration::from_millis(40);
        assert!(counted(Some(limit), 10, Duration::from_millis(5)) >= 1);
    }

    /// The time for which a turn waits for events is not its work.
    #[test]
    fn is_not_one_that_waits_for_events() {
        let config = Config {
            slow_turn: Some(Duration::from_millis(40)),
            ..Config::default()
        };
        let (mut node, _) = listening(config);
        run_for(&mut node, Duration::from_millis(5));
        let mut is_slow = || {
            let before = node.net().metrics().slow_turns;
            let _ = node.turn(Some(Duration::from_millis(50))).unwrap();
            node.net().metrics().slow_turns > before
        };
        // Any of them may be slow while this machine has other things to do, but not all.
        assert!((0..10).any(|_| !is_slow()));
    }

    #[test]
    fn is_one_that_takes_longer_than_the_limit() {
        assert_eq!(counted(Some(PATIENCE), 1, Duration::from_millis(5)), 0);
    }

    #[test]
    fn is_not_counted_when_nobody_asks() {
        assert_eq!(counted(None, 1, Duration::from_millis(5)), 0);
    }
}

mod an_overflowing_queue {
    use super::*;

    fn config(on_full: OnFull) -> Config {
        Config {
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    low_bytes: 1024,
                    high_bytes: 4096,
                    max_bytes: 8192,
                    on_full,
                },
                ..Default::default()
            },
            ..Config::default()
        }
    }

    /// Sends until a send is refused, then twice more.
    fn overflow(net: &mut Net, conn: ConnId) -> [SendError; 3] {
        let refusal = (0..100).find_map(|_| net.send(conn, &[7; 1000]).err());
        let again = [(); 2].map(|()| net.send(conn, &[7; 1000]).unwrap_err());
        [refusal.expect("there is a limit"), again[0], again[1]]
    }

    #[test]
    fn ends_the_connection_once_where_that_is_wanted() {
        let (mut node, conn, mut peer) = wire(config(OnFull::Disconnect));
        let (other, mut other_peer) = {
            let addr = node.net().listeners().next().unwrap().addr;
            join(&mut node, addr)
        };
        let errors = overflow(node.net(), conn);
        assert_eq!(
            errors,
            [SendError::Full, SendError::Closed, SendError::Closed]
        );
        let reason = until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::SendQueueFull);
        assert!(is_closed(&mut peer));
        run_for(&mut node, Duration::from_millis(5));
        assert_eq!(node.handler().ends.len(), 1);
        let metrics = node.net().metrics();
        assert_eq!(
            (metrics.send_queue_overflows, metrics.sends_refused),
            (1, 1)
        );
        assert_eq!(metrics.queued_bytes, 0);
        assert!(metrics.bytes_lost > 0);
        assert_served(&mut node, &mut other_peer);
        assert_eq!(node.handler().ended(other), None);
    }

    #[test]
    fn ends_a_connection_that_a_broadcast_overflows() {
        let (mut node, conn, _peer) = wire(config(OnFull::Disconnect));
        for _ in 0..100 {
            let _ = node.net().broadcast([conn], &[7; 1000]);
        }
        let reason = until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::SendQueueFull);
        assert_eq!(node.net().metrics().send_queue_overflows, 1);
    }

    #[test]
    fn is_not_what_one_long_message_makes() {
        let (mut node, conn, mut peer) = wire(config(OnFull::Disconnect));
        node.net().send(conn, &[7; 20_000]).unwrap();
        run_until(&mut node, |node| {
            node.net().connection(conn).unwrap().queued_bytes() == 0
        });
        peer.read_exact(&mut [0; 20_004]).unwrap();
        assert_served(&mut node, &mut peer);
    }

    #[test]
    fn is_only_refused_by_default() {
        let (mut node, conn, mut peer) = wire(config(OnFull::Refuse));
        assert_eq!(overflow(node.net(), conn), [SendError::Full; 3]);
        run_until(&mut node, |node| node.handler().count(Callback::Drain) == 1);
        let sent = node.net().connection(conn).unwrap().traffic().bytes_sent;
        peer.read_exact(&mut vec![0; sent as usize]).unwrap();
        assert_served(&mut node, &mut peer);
        assert_eq!(node.net().metrics().send_queue_overflows, 0);
    }

    #[test]
    fn is_judged_by_what_the_listener_or_the_connect_says() {
        let (mut node, _) = listening(config(OnFull::Refuse));
        let mut options = node.net().listen_options();
        options.connection_mut().send_queue.on_full = OnFull::Disconnect;
        let strict = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
        let (accepted, _peer) = join(&mut node, strict);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = node.net().connect_options();
        options.connection_mut().send_queue.on_full = OnFull::Disconnect;
        let to = other.local_addr().unwrap();
        let connected = node.net().connect_with(to, options).unwrap();
        run_until(&mut node, |node| {
            node.handler().connected().contains(&connected)
        });
        for conn in [accepted, connected] {
            overflow(node.net(), conn);
            let reason = until_ended(&mut node, conn);
            assert_eq!(reason, DisconnectReason::SendQueueFull);
        }
    }
}

mod a_half_open_connection {
    use super::*;

    fn allowing() -> Config {
        Config {
            connection: ConnectionConfig {
                allow_half_open: true,
                ..Default::default()
            },
            ..Config::default()
        }
    }

    /// A connection whose peer has ended its side after a message.
    fn half_open() -> (ClumsyNode, ConnId, TcpStream) {
        let (mut node, conn, mut peer) = wire(allowing());
        peer.write_all(&frame(b"last")).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        run_until(&mut node, |node| {
            node.handler().count(Callback::ReadClosed) > 0
        });
        assert_eq!(node.handler().messages, [(conn, b"last".to_vec())]);
        peer.read_exact(&mut [0; 8]).unwrap();
        (node, conn, peer)
    }

    #[test]
    fn is_announced_once_and_sends_on_until_it_is_closed() {
        let (mut node, conn, mut peer) = half_open();
        // More than the sockets hold, so that the socket is reported ready again and again.
        let body = vec![7; 1 << 20];
        for _ in 0..10 {
            node.net().send(conn, &body).unwrap();
            let mut reader = peer.try_clone().unwrap();
            let reading = thread::spawn(move || reader.read_exact(&mut vec![0; 4 + (1 << 20)]));
            run_until(&mut node, |_| reading.is_finished());
            reading.join().unwrap().unwrap();
        }
        assert_eq!(node.handler().count(Callback::ReadClosed), 1);
        assert_eq!(node.handler().ended(conn), None);
        node.net().send(conn, b"bye").unwrap();
        node.net().close(conn);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Local);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, frame(b"bye"));
        assert_eq!(node.handler().ends.len(), 1);
    }

    #[test]
    fn ends_when_its_other_half_is_ended_too() {
        let (mut node, conn, mut peer) = half_open();
        node.net().send(conn, b"bye").unwrap();
        node.net().close_write(conn);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, frame(b"bye"));
    }

    #[test]
    fn of_our_own_making_ends_with_the_peers_end() {
        let (mut node, conn, mut peer) = wire(allowing());
        node.net().close_write(conn);
        run_for(&mut node, Duration::from_millis(5));
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        peer.write_all(&frame(b"still here")).unwrap();
        drop(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        let all = [Callback::Connect, Callback::Message, Callback::Disconnect];
        assert_eq!(node.handler().calls_for(conn), all);
    }

    #[test]
    fn ends_when_the_peer_is_gone_altogether() {
        let (mut node, conn, peer) = half_open();
        reset(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
    }

    #[test]
    fn ends_when_the_reset_comes_with_the_end_of_the_stream() {
        let (mut node, conn, peer) = wire(allowing());
        peer.shutdown(Shutdown::Write).unwrap();
        // Both are there before the node looks, and make one event.
        reset(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
    }

    #[test]
    fn does_not_come_of_an_end_in_the_middle_of_a_message() {
        let (mut node, conn, mut peer) = wire(allowing());
        peer.write_all(&frame(b"cut")[..6]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let reason = until_ended(&mut node, conn);
        assert_eq!(reason, DisconnectReason::Truncated { bytes: 6 });
        assert_eq!(node.handler().count(Callback::ReadClosed), 0);
    }

    #[test]
    fn does_not_exist_by_default() {
        let (mut node, conn, mut peer) = wire(Config::default());
        peer.write_all(&frame(b"last")).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
        let all = [Callback::Connect, Callback::Message, Callback::Disconnect];
        assert_eq!(node.handler().calls_for(conn), all);
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, frame(b"last"));
    }

    #[test]
    fn is_what_a_listener_or_a_connect_may_allow() {
        let (mut node, _) = listening(Config::default());
        let mut options = node.net().listen_options();
        options.connection_mut().allow_half_open = true;
        let tolerant = node.net().listen_with("127.0.0.1:0", options).unwrap().addr;
        let (accepted, peer) = join(&mut node, tolerant);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = node.net().connect_options();
        options.connection_mut().allow_half_open = true;
        let to = other.local_addr().unwrap();
        let connected = node.net().connect_with(to, options).unwrap();
        run_until(&mut node, |node| {
            node.handler().connected().contains(&connected)
        });
        let (other_peer, _) = other.accept().unwrap();
        for peer in [&peer, &other_peer] {
            peer.shutdown(Shutdown::Write).unwrap();
        }
        run_until(&mut node, |node| {
            node.handler().count(Callback::ReadClosed) == 2
        });
        assert_eq!(node.handler().ended(accepted), None);
        assert_eq!(node.handler().ended(connected), None);
    }
}

mod a_paused_peer {
    use super::*;

    /// A paused connection, about which everything that the poller had to say was said.
    fn paused() -> (ClumsyNode, ConnId, TcpStream) {
        let (mut node, conn, mut peer) = wire(Config::default());
        assert_served(&mut node, &mut peer);
        node.net().pause(conn);
        run_for(&mut node, Duration::from_millis(5));
        (node, conn, peer)
    }

    #[test]
    fn that_ends_with_nothing_left_is_noticed() {
        let (mut node, conn, peer) = paused();
        drop(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::PeerClosed);
    }

    #[test]
    fn that_resets_is_noticed() {
        let (mut node, conn, peer) = paused();
        reset(peer);
        assert_eq!(until_ended(&mut node, conn), DisconnectReason::Reset);
        assert_eq!(node.net().metrics().resets, 1);
    }

    #[test]
    fn that_leaves_a_message_behind_is_heard_after_the_pause() {
        let (mut node, conn, mut peer) = paused();
        peer.write_all(&frame(b"last")).unwrap();
        drop(peer);
        run_for(&mut node, Duration::from_millis(20));
        assert_eq!(node.handler().ended(conn), None);
        node.net().resume(conn);
        // The answer may be refused by the peer, which is gone.
        let reason = until_ended(&mut node, conn);
        assert!(
            matches!(
                reason,
                DisconnectReason::PeerClosed | DisconnectReason::Reset
            ),
            "{reason}"
        );
        assert_eq!(
            node.handler().messages.last(),
            Some(&(conn, b"last".to_vec()))
        );
    }
}

mod the_bytes_of_commands {
    use super::*;

    fn config() -> Config {
        Config {
            commands: CommandQueueConfig {
                max_commands: 3,
                max_bytes: 1000,
            },
            ..Config::default()
        }
    }

    fn body(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    #[test]
    fn have_a_limit_and_are_given_back_when_they_are_carried_out() {
        let (mut node, conn, mut peer) = wire(config());
        let handle = node.handle();
        for _ in 0..3 {
            handle.send(conn, body(600)).unwrap();
            assert_eq!(handle.send(conn, body(401)), Err(SendError::Full));
            handle.send(conn, body(400)).unwrap();
            assert_eq!(handle.send(conn, body(1)), Err(SendError::Full));
            // Calls have no bytes, and there is room for one more command.
            handle.post(|_, _| {}).unwrap();
            let before = node.net().metrics().commands;
            run_until(&mut node, |node| {
                node.net().metrics().commands == before + 3
            });
            peer.read_exact(&mut [0; 1008]).unwrap();
        }
        assert_eq!(node.net().metrics().commands_lost, 0);
    }

    #[test]
    fn of_one_message_may_be_more_than_all() {
        let (mut node, conn, mut peer) = wire(config());
        let handle = node.handle();
        for _ in 0..2 {
            handle.send(conn, body(5000)).unwrap();
            assert_eq!(handle.send(conn, body(1)), Err(SendError::Full));
            let before = node.net().metrics().commands;
            run_until(&mut node, |node| node.net().metrics().commands > before);
            peer.read_exact(&mut [0; 5004]).unwrap();
        }
    }

    #[test]
    fn are_given_back_by_a_message_that_was_refused_or_lost() {
        let (mut node, conn, _peer) = wire(config());
        let handle = node.handle();
        for _ in 0..3 {
            handle.send(conn, body(1)).unwrap();
        }
        // For the number of commands, not for the bytes.
        assert_eq!(handle.send(conn, body(900)), Err(SendError::Full));
        run_until(&mut node, |node| node.net().metrics().commands == 3);
        node.net().abort(conn);
        until_ended(&mut node, conn);
        handle.send(conn, body(1)).unwrap();
        handle.send(conn, body(999)).unwrap();
        run_until(&mut node, |node| node.net().metrics().commands == 5);
        assert_eq!(node.net().metrics().commands_lost, 2);
        handle.send(conn, body(1)).unwrap();
        handle.send(conn, body(999)).unwrap();
    }
}
