//! The guarantees of the design's second section, a module for each: what every program may rely on.

use peerloop::config::{ConnectionConfig, Limits, SendQueueConfig, SocketConfig, TurnBudget};
use peerloop::{Config, ConnId, ConnInfo};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::util::child::{self, test_path};
use crate::util::{Event, Recorder, TestNode, listening, raw, run_until, unlimited_time};

/// One frame of the default framing.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// Where a node listens.
fn own_addr(node: &mut TestNode) -> SocketAddr {
    let listening = node.net().listeners().next();
    listening.expect("it listens").addr
}

/// What is queued on a connection.
fn queued(node: &mut TestNode, conn: ConnId) -> usize {
    let connection = node.net().connection(conn);
    connection.map_or(0, |connection| connection.queued_bytes())
}

/// SplitMix64: the same seed gives the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Tells which seed a failing test ran with. `PEERLOOP_SEED` runs that one alone.
struct Seed(u64);

impl Seed {
    fn each(count: u64, run: impl Fn(u64)) {
        let chosen = std::env::var("PEERLOOP_SEED").ok();
        let seeds = match chosen.and_then(|seed| seed.parse().ok()) {
            Some(seed) => seed..seed + 1,
            None => 0..count,
        };
        for seed in seeds {
            let _told = Self(seed);
            run(seed);
        }
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with PEERLOOP_SEED={}", self.0);
        }
    }
}

/// A handler that makes every call there is from every callback, and notices what must not be.
mod every_call {
    use peerloop::config::{ConnectionConfig, Limits, RetryRate, SendQueueConfig};
    use peerloop::{
        Admission, Body, Bytes, Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler,
        Net, Node, SendOutcome, TimerId, Turn,
    };
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::IoSlice;
    use std::net::SocketAddr;
    use std::time::{Duration, Instant};

    use crate::util::PATIENCE;

    pub(crate) const CALLBACKS: [&str; 11] = [
        "on_start",
        "on_accept",
        "on_connect",
        "on_message",
        "on_drain",
        "on_sent",
        "on_connect_failed",
        "on_disconnect",
        "on_timer",
        "on_turn",
        "command",
    ];

    /// Calls after which a connection is no longer what it was; made now and then.
    const ENDINGS: [&str; 5] = [
        "close",
        "abort",
        "close_write",
        "send_and_close",
        "abort_with_reason",
    ];

    /// All other calls, but for `shutdown`, which is the last.
    const CALLS: [&str; 15] = [
        "send",
        "send shared bytes",
        "send parts",
        "send_tracked",
        "broadcast",
        "broadcast_all",
        "flush",
        "pause",
        "resume",
        "connect",
        "connect_with",
        "listen",
        "close_listener",
        "set_timer",
        "cancel_timer",
    ];

    #[derive(Default)]
    pub(crate) struct EveryCall {
        pub(crate) other: Option<SocketAddr>,
        /// Where a call to `shutdown` is to be made.
        pub(crate) shutdown_in: Option<&'static str>,
        /// The call being made right now.
        inside: Option<&'static str>,
        entered: BTreeMap<&'static str, usize>,
        made: BTreeSet<(&'static str, &'static str)>,
        timer: Option<TimerId>,
        /// The time in each callback of this turn.
        pub(crate) times: Vec<Instant>,
        pub(crate) violations: Vec<String>,
    }

    impl EveryCall {
        fn enter(&mut self, callback: &'static str, net: &mut Net, conn: Option<ConnId>) {
            if let Some(call) = self.inside {
                let violation = format!("{callback} was called from inside {call}");
                self.violations.push(violation);
            }
            self.times.push(net.now());
            let entered = self.entered.entry(callback).or_default();
            *entered += 1;
            let turn_for_an_ending = *entered % 8 == 0 || callback == "on_start";
            let ending = ENDINGS[*entered / 8 % ENDINGS.len()];
            let conn = conn.or_else(|| net.connections().next().map(|c| c.id()));
            let conn = conn.or_else(|| net.connecting().next().map(|c| c.id()));
            if let Some(conn) = conn {
                self.talk(callback, net, conn);
                if turn_for_an_ending {
                    self.end(callback, net, conn, ending);
                }
            }
            self.look_around(callback, net);
            if self.shutdown_in == Some(callback) {
                let grace = Duration::from_millis(20);
                self.make(callback, "shutdown", || net.shutdown(grace));
            }
        }

        fn make<R>(
            &mut self,
            callback: &'static str,
            name: &'static str,
            call: impl FnOnce() -> R,
        ) -> R {
            self.inside = Some(name);
            let result = call();
            self.inside = None;
            self.made.insert((callback, name));
            result
        }

        fn talk(&mut self, callback: &'static str, net: &mut Net, conn: ConnId) {
            let parts = [IoSlice::new(b"head"), IoSlice::new(&[7; 300])];
            let _ = self.make(callback, "send", || net.send(conn, &[1; 100]));
            let large = Bytes::from_static(&[2; 20_000]);
            let _ = self.make(callback, "send shared bytes", || net.send(conn, large));
            let _ = self.make(callback, "send parts", || {
                net.send(conn, Body::parts(&parts))
            });
            let _ = self.make(callback, "send_tracked", || {
                net.send_tracked(conn, b"tracked", 1)
            });
            let all: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
            let _ = self.make(callback, "broadcast", || net.broadcast(all, b"to all"));
            let _ = self.make(callback, "broadcast_all", || {
                net.broadcast_all(b"to the others", Some(conn))
            });
            self.make(callback, "flush", || net.flush(conn));
            self.make(callback, "pause", || net.pause(conn));
            self.make(callback, "resume", || net.resume(conn));
        }

        fn end(
            &mut self,
            callback: &'static str,
            net: &mut Net,
            conn: ConnId,
            ending: &'static str,
        ) {
            self.make(callback, ending, || match ending {
                "close" => net.close(conn),
                "abort" => net.abort(conn),
                "close_write" => net.close_write(conn),
                "send_and_close" => drop(net.send_and_close(conn, b"the last")),
                "abort_with_reason" => net.abort_with_reason(conn, "a test"),
                _ => unreachable!("{ending} is none of them"),
            });
        }

        fn look_around(&mut self, callback: &'static str, net: &mut Net) {
            // More connects would only meet the limit on both sides; a port of zero is refused at once.
            let free = net.connecting_count() == 0 && net.connection_count() < 3;
            let nobody = SocketAddr::from(([127, 0, 0, 1], u16::from(free)));
            let other = self.other.filter(|_| free).unwrap_or(nobody);
            let _ = self.make(callback, "connect", || net.connect(other));
            let _ = self.make(callback, "connect_with", || {
                net.connect_with(nobody, net.connect_options())
            });
            let options = net.listen_options();
            let listening = self.make(callback, "listen", || {
                net.listen_with("127.0.0.1:0", options)
            });
            if let Ok(listening) = listening {
                self.make(callback, "close_listener", || {
                    net.close_listener(listening.id);
                });
            }
            let timer = self.make(callback, "set_timer", || net.set_timer(Duration::ZERO, 1));
            if callback == "on_turn" {
                // One that is not cancelled before the next turn.
                net.set_timer(Duration::ZERO, 2);
            }
            if let Some(old) = self.timer.replace(timer) {
                let _ = self.make(callback, "cancel_timer", || net.cancel_timer(old));
            }
        }

        /// What has not been called from where yet.
        fn missing(&self) -> Vec<(&'static str, &'static str)> {
            let calls = CALLS.into_iter().chain(ENDINGS);
            let pairs = calls.flat_map(|call| CALLBACKS.map(|callback| (callback, call)));
            pairs
                // It is called only once, and more than one ending would end nothing.
                .filter(|(callback, call)| *callback != "on_start" || !ENDINGS.contains(call))
                .filter(|pair| !self.made.contains(pair))
                .collect()
        }
    }

    impl Handler for EveryCall {
        fn on_start(&mut self, net: &mut Net) {
            self.look_around("on_start", net);
            self.enter("on_start", net, None);
        }

        fn on_accept(&mut self, net: &mut Net, _: &ConnInfo) -> Admission {
            self.enter("on_accept", net, None);
            Admission::Admit
        }

        fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
            self.enter("on_connect", net, Some(conn));
        }

        fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
            self.enter("on_message", net, Some(conn));
        }

        fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
            self.enter("on_drain", net, Some(conn));
        }

        fn on_sent(&mut self, net: &mut Net, conn: ConnId, _: u64, _: SendOutcome) {
            self.enter("on_sent", net, Some(conn));
        }

        fn on_connect_failed(
            &mut self,
            net: &mut Net,
            conn: ConnId,
            _: &ConnInfo,
            _: ConnectError,
        ) {
            self.enter("on_connect_failed", net, Some(conn));
        }

        fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
            self.enter("on_disconnect", net, Some(conn));
        }

        fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
            self.enter("on_timer", net, None);
        }

        fn on_turn(&mut self, net: &mut Net) {
            self.enter("on_turn", net, None);
        }
    }

    /// Two nodes that do all this to each other.
    pub(crate) fn two_nodes() -> [Node<EveryCall>; 2] {
        let config = Config {
            limits: Limits {
                max_connections: 8,
                // Most attempts fail, and each failure would delay the next one.
                connect_retry_rate: RetryRate {
                    per_second: 1_000_000,
                    burst: 1_000_000,
                },
                ..Default::default()
            },
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    high_bytes: 20_000,
                    low_bytes: 10_000,
                    max_bytes: 50_000,
                    ..Default::default()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let mut nodes =
            [(); 2].map(|()| Node::new(config.clone(), EveryCall::default()).expect("a node"));
        let addrs = nodes
            .each_mut()
            .map(|node| node.net().listen("127.0.0.1:0").expect("a listener").addr);
        nodes[0].handler_mut().other = Some(addrs[1]);
        nodes[1].handler_mut().other = Some(addrs[0]);
        nodes
    }

    /// Runs both, and a command in each turn, until the first has stopped or has made every call from everywhere.
    pub(crate) fn run(
        nodes: &mut [Node<EveryCall>; 2],
        mut after_turn: impl FnMut(&mut EveryCall),
    ) {
        let end = Instant::now() + PATIENCE;
        loop {
            for node in nodes.iter_mut() {
                node.handle()
                    .post(|handler: &mut EveryCall, net| handler.enter("command", net, None))
                    .expect("the queue has room");
                let turn = node.turn(Some(Duration::from_millis(1))).expect("a turn");
                after_turn(node.handler_mut());
                if turn == Turn::Stopped {
                    return;
                }
            }
            let first = nodes[0].handler();
            if first.shutdown_in.is_none() && first.missing().is_empty() {
                return;
            }
            assert!(Instant::now() < end, "never called: {:?}", first.missing());
        }
    }
}

/// 1. No callback is ever invoked from inside a `net.*` call.
mod no_callback_from_inside_a_call {
    use super::every_call::{CALLBACKS, run, two_nodes};

    #[test]
    fn whatever_is_called_from_whichever_callback() {
        let mut nodes = two_nodes();
        run(&mut nodes, |_| {});
        for node in &nodes {
            assert_eq!(node.handler().violations, [""; 0]);
        }
    }

    #[test]
    fn not_even_when_it_is_shutdown() {
        for callback in CALLBACKS {
            let mut nodes = two_nodes();
            nodes[0].handler_mut().shutdown_in = Some(callback);
            run(&mut nodes, |_| {});
            assert_eq!(nodes[0].handler().violations, [""; 0], "in {callback}");
        }
    }
}

/// 12. Nothing reads the clock but the loop, once per turn.
mod one_clock {
    use std::time::{Duration, Instant};

    use peerloop::{Config, ConnId, Handler, Net, Node};

    use super::every_call::{run, two_nodes};

    #[test]
    fn all_callbacks_of_a_turn_see_the_same_time() {
        let mut turns_with_several = 0;
        run(&mut two_nodes(), |handler| {
            let times = std::mem::take(&mut handler.times);
            turns_with_several += usize::from(times.len() > 1);
            assert!(times.iter().all(|time| *time == times[0]));
        });
        assert!(turns_with_several > 10, "only {turns_with_several}");
    }

    /// Takes its time in every callback.
    #[derive(Default)]
    struct Slow(Vec<Instant>);

    impl Handler for Slow {
        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

        fn on_turn(&mut self, net: &mut Net) {
            self.0.push(net.now());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_time_goes_on_from_turn_to_turn_and_never_back() {
        let mut node = Node::new(Config::default(), Slow::default()).expect("a node");
        for _ in 0..20 {
            let between = node.net().now();
            let _ = node.turn(Some(Duration::ZERO)).expect("a turn");
            let during = *node.handler().0.last().expect("there was a turn");
            assert!(during >= between && node.net().now() > during);
        }
        let pairs = node.handler().0.windows(2);
        assert!(pairs.into_iter().all(|pair| pair[0] < pair[1]));
    }
}

/// 3. After `close` or `abort` of an id there is no further `on_message` for it, even for frames already read.
mod nothing_after_a_close {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use peerloop::Net;

    use super::*;

    type Ending = fn(&mut Net, ConnId);

    const ENDINGS: [(&str, Ending); 2] = [("close", Net::close), ("abort", Net::abort)];

    /// Messages of one connection that came after it had been ended inside a callback.
    fn late(node: &TestNode, ended: &BTreeSet<ConnId>, first: usize) -> usize {
        let rest = &node.handler().events[first..];
        let is_late =
            |event: &&Event| matches!(event, Event::Message(conn, _) if ended.contains(conn));
        rest.iter().filter(is_late).count()
    }

    #[test]
    fn for_frames_of_the_same_read() {
        for (name, end) in ENDINGS {
            let handler = Recorder::reacting(move |net, event| {
                if let Event::Message(conn, _) = event {
                    end(net, *conn);
                }
            });
            let (mut node, conn, mut peer) = raw::wire(Config::default(), handler);
            peer.write_all(&frame(b"x").repeat(100)).unwrap();
            run_until([&mut node], |[node]| {
                node.handler().messages(conn).len() == 1
            });
            drop(peer);
            raw::until_ended(&mut node, conn);
            assert_eq!(node.handler().messages(conn).len(), 1, "after {name}");
        }
    }

    #[test]
    fn when_the_callback_of_another_connection_ends_it() {
        for (name, end) in ENDINGS {
            let ended = Arc::new(Mutex::new((BTreeSet::new(), 0)));
            let shared = Arc::clone(&ended);
            let mut seen = 0;
            let handler = Recorder::reacting(move |net, event| {
                seen += 1;
                if let Event::Message(conn, _) = event {
                    let mut ids = net.connections().map(|c| c.id());
                    let other = ids.find(|other| other != conn);
                    let mut ended = shared.lock().unwrap();
                    if let (Some(other), true) = (other, ended.0.is_empty()) {
                        end(net, other);
                        ended.0.insert(other);
                        ended.1 = seen;
                    }
                }
            });
            let (mut node, first, mut first_peer) = raw::wire(Config::default(), handler);
            let addr = own_addr(&mut node);
            let (second, mut second_peer) = raw::join(&mut node, addr);
            // Both are readable in the same turn.
            first_peer.write_all(&frame(b"x").repeat(100)).unwrap();
            second_peer.write_all(&frame(b"x").repeat(100)).unwrap();
            drop((first_peer, second_peer));
            run_until([&mut node], |[node]| {
                let handler = node.handler();
                handler.ended(first).is_some() && handler.ended(second).is_some()
            });
            let (ended, at) = &*ended.lock().unwrap();
            assert_eq!(ended.len(), 1);
            assert_eq!(late(&node, ended, *at), 0, "after {name}");
        }
    }

    #[test]
    fn for_frames_that_a_pause_had_kept() {
        for (name, end) in ENDINGS {
            let handler = Recorder::reacting(move |net, event| {
                if let Event::Message(conn, _) = event {
                    net.pause(*conn);
                }
            });
            let (mut node, conn, mut peer) = raw::wire(Config::default(), handler);
            raw::feed(&mut node, &mut peer, &frame(b"x").repeat(100));
            assert_eq!(node.handler().messages(conn).len(), 1);
            end(node.net(), conn);
            node.net().resume(conn);
            drop(peer);
            raw::until_ended(&mut node, conn);
            assert_eq!(node.handler().messages(conn).len(), 1, "after {name}");
        }
    }

    #[test]
    fn when_it_was_ended_between_two_turns() {
        for (name, end) in ENDINGS {
            let (mut node, conn, mut peer) = raw::wire(Config::default(), Recorder::default());
            peer.write_all(&frame(b"x").repeat(100)).unwrap();
            end(node.net(), conn);
            drop(peer);
            raw::until_ended(&mut node, conn);
            assert_eq!(node.handler().messages(conn).len(), 0, "after {name}");
        }
    }
}

/// 4. A stale id is an ordinary miss. Slots are reused only after the turn.
mod stale_ids {
    use std::collections::BTreeSet;
    use std::io::{IoSlice, Read, Write};
    use std::sync::{Arc, Mutex};

    use peerloop::{Body, BroadcastOutcome, Bytes, SendError};

    use super::*;

    /// The first half of an id's name.
    fn slot(conn: ConnId) -> String {
        let name = conn.to_string();
        let (slot, _) = name.split_once('.').expect("slot and generation");
        slot.to_owned()
    }

    /// A node whose only slot is in use for the second time: the stale id, the new one, and the new peer.
    fn reused_slot() -> (TestNode, ConnId, ConnId, TcpStream) {
        let (mut node, stale, peer) = raw::wire(Config::default(), Recorder::default());
        drop(peer);
        raw::until_ended(&mut node, stale);
        let addr = own_addr(&mut node);
        let (fresh, peer) = raw::join(&mut node, addr);
        assert_eq!(slot(stale), slot(fresh), "the slot is used again");
        assert_ne!(stale, fresh);
        (node, stale, fresh, peer)
    }

    #[test]
    fn every_call_with_one_misses_and_the_new_peer_gets_nothing() {
        let (mut node, stale, fresh, mut peer) = reused_slot();
        let net = node.net();
        let parts = [IoSlice::new(b"no"), IoSlice::new(b"body")];
        assert_eq!(net.send(stale, b"no"), Err(SendError::Closed));
        let large = Bytes::from(vec![0; 100_000]);
        assert_eq!(net.send(stale, large), Err(SendError::Closed));
        let body = Body::parts(&parts);
        assert_eq!(net.send(stale, body), Err(SendError::Closed));
        assert_eq!(net.send_and_close(stale, b"no"), Err(SendError::Closed));
        assert_eq!(net.send_tracked(stale, b"no", 1), Err(SendError::Closed));
        let mut closed = BroadcastOutcome::default();
        closed.closed = 1;
        assert_eq!(net.broadcast([stale], b"no"), closed);
        net.flush(stale);
        net.pause(stale);
        net.close_write(stale);
        net.close(stale);
        net.abort(stale);
        net.abort_with_reason(stale, "no");
        assert!(net.connection(stale).is_none() && !net.is_writable(stale));
        node.handle()
            .send(stale, Bytes::from_static(b"no"))
            .unwrap();
        peer.write_all(&frame(b"still read")).unwrap();
        run_until([&mut node], |[node]| {
            node.handler().messages(fresh) == [b"still read"]
        });
        node.net().send(fresh, b"yes").unwrap();
        node.net().close(fresh);
        raw::settle(&mut node);
        let mut received = Vec::new();
        peer.read_to_end(&mut received).unwrap();
        assert_eq!(received, frame(b"yes"), "and nothing else");
        assert_eq!(node.net().metrics().commands_lost, 1);
        assert_eq!(
            node.handler()
                .count(|event| matches!(event, Event::Sent(..))),
            0
        );
    }

    #[test]
    fn resuming_one_does_not_resume_the_new_connection() {
        let (mut node, stale, fresh, mut peer) = reused_slot();
        node.net().pause(fresh);
        node.net().resume(stale);
        raw::feed(&mut node, &mut peer, &frame(b"later"));
        assert_eq!(node.handler().messages(fresh).len(), 0);
        node.net().resume(fresh);
        run_until([&mut node], |[node]| {
            node.handler().messages(fresh).len() == 1
        });
    }

    #[test]
    fn a_slot_is_not_used_again_in_the_turn_in_which_it_was_freed() {
        let (_other, addr) = listening(Config::default(), Recorder::default());
        let connected = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&connected);
        let handler = Recorder::reacting(move |net, event| {
            if let Event::Disconnect(..) | Event::ConnectFailed(..) = event {
                let mut connected = shared.lock().unwrap();
                if connected.len() < 8 {
                    let conn = net.connect(addr).expect("there is room");
                    // Half of them end in this very turn too.
                    if connected.len() % 2 == 0 {
                        net.close(conn);
                    }
                    connected.push(conn);
                }
            }
        });
        let config = Config {
            allow_duplicates: true,
            ..Config::default()
        };
        let (mut node, first, _first_peer) = raw::wire(config, handler);
        let own = own_addr(&mut node);
        let (second, _second_peer) = raw::join(&mut node, own);
        let (third, _third_peer) = raw::join(&mut node, own);
        let ended = [first, second, third];
        for conn in ended {
            node.net().abort(conn);
        }
        let _ = node.turn(Some(Duration::ZERO)).unwrap();
        let connected = connected.lock().unwrap();
        assert!(connected.len() > 3, "in the same turn");
        let slots: BTreeSet<String> = ended
            .iter()
            .chain(&*connected)
            .map(|id| slot(*id))
            .collect();
        assert_eq!(slots.len(), ended.len() + connected.len());
    }
}

/// 2. `on_connect`, then messages in order, then `on_disconnect`, each exactly once; or `on_connect_failed` alone.
mod order_and_exactly_once {
    use std::collections::{BTreeMap, VecDeque};
    use std::net::SocketAddr;
    use std::time::Instant;

    use peerloop::config::Timeouts;
    use peerloop::{
        Admission, Bytes, ConnectError, ConnectionState, DisconnectReason, Handler, Net, Node,
        SendError, SendOutcome, TimerId, Turn,
    };

    use super::*;

    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Phase {
        Connecting,
        Open,
        Over,
    }

    /// What must be true of one connection.
    #[derive(Debug)]
    struct Expected {
        phase: Phase,
        /// This end closed or aborted it: no message may come.
        silent: bool,
        paused: bool,
        send_shut: bool,
        /// Messages accepted for sending, and messages that came.
        sent: u64,
        received: u64,
        /// Tracked sends without an answer.
        tracked: VecDeque<u64>,
        lost: bool,
        /// The other end, as its messages name it: the node and its id there.
        partner: Option<(usize, String)>,
        reason: Option<DisconnectReason>,
    }

    impl Expected {
        fn new(phase: Phase) -> Self {
            Self {
                phase,
                silent: false,
                paused: false,
                send_shut: false,
                sent: 0,
                received: 0,
                tracked: VecDeque::new(),
                lost: false,
                partner: None,
                reason: None,
            }
        }
    }

    /// Does anything at random, and checks every callback and every answer against what must be true.
    struct Model {
        number: usize,
        random: Random,
        targets: Vec<SocketAddr>,
        expected: BTreeMap<ConnId, Expected>,
        /// In the order in which they came to be.
        ids: Vec<ConnId>,
        /// How many calls are left to make.
        calls_left: usize,
        violations: Vec<String>,
    }

    impl Model {
        fn new(number: usize, seed: u64) -> Self {
            Self {
                number,
                random: Random(seed * 3 + number as u64),
                targets: Vec::new(),
                expected: BTreeMap::new(),
                ids: Vec::new(),
                calls_left: 1500,
                violations: Vec::new(),
            }
        }

        fn check(&mut self, holds: bool, conn: ConnId, what: &str) {
            if !holds {
                let state = self.expected.get(&conn);
                self.violations.push(format!("{conn}: {what}: {state:?}"));
            }
        }

        /// A callback for a connection that is to be in this phase.
        fn in_phase(&mut self, conn: ConnId, phase: Phase, callback: &str) -> &mut Expected {
            let found = self.expected.get(&conn).map(|expected| expected.phase);
            self.check(found == Some(phase), conn, callback);
            self.expected
                .entry(conn)
                .or_insert_with(|| Expected::new(phase))
        }

        /// One of the last connections, or of those long gone.
        fn any(&mut self) -> Option<ConnId> {
            let recent = self.ids.len().saturating_sub(12);
            let from = if self.random.below(8) > 0 { recent } else { 0 };
            let pick = from + self.random.below((self.ids.len() - from).max(1));
            self.ids.get(pick).copied()
        }

        /// One random call, most of the time.
        fn act(&mut self, net: &mut Net) {
            if self.calls_left == 0 || self.random.below(3) == 0 {
                return;
            }
            self.calls_left -= 1;
            let Some(conn) = self.any().filter(|_| self.random.below(12) > 0) else {
                return self.connect(net);
            };
            let now_or_later = Duration::from_millis(self.random.below(3) as u64);
            let expected = self.expected.get_mut(&conn).expect("it is one of them");
            let live = expected.phase != Phase::Over;
            let state = net.connection(conn).map(|c| c.state());
            // A connect that has failed already, and has not been told of yet, is not given up any more.
            let ends = live
                && (expected.phase == Phase::Open || state == Some(ConnectionState::Connecting));
            match self.random.below(40) {
                0 => {
                    expected.silent |= ends;
                    net.close(conn);
                }
                1 => {
                    expected.silent |= ends;
                    net.abort(conn);
                }
                2 => {
                    expected.send_shut |= state == Some(ConnectionState::Connected);
                    net.close_write(conn);
                }
                3..6 => {
                    expected.paused = live;
                    net.pause(conn);
                }
                6..12 => {
                    expected.paused = false;
                    net.resume(conn);
                }
                12 => net.flush(conn),
                13 => {
                    net.set_timer(now_or_later, 0);
                }
                _ => self.send(net, conn),
            }
        }

        fn connect(&mut self, net: &mut Net) {
            let target = self.targets[self.random.below(self.targets.len())];
            if let Ok(conn) = net.connect(target) {
                let before = self.expected.insert(conn, Expected::new(Phase::Connecting));
                self.check(before.is_none(), conn, "an id was given twice");
                self.ids.push(conn);
            }
        }

        fn send(&mut self, net: &mut Net, conn: ConnId) {
            let expected = &self.expected[&conn];
            let mut body = format!("{}|{conn}|{}|", self.number, expected.sent).into_bytes();
            let sizes = [0, 10, 1000, 20_000];
            let size = sizes[self.random.below(sizes.len())];
            body.resize(body.len() + self.random.below(size + 1), b'.');
            let (connected, token) = (
                net.connection(conn)
                    .is_some_and(|c| c.state() == ConnectionState::Connected),
                expected.sent,
            );
            let may = expected.phase == Phase::Open && !expected.silent && !expected.send_shut;
            let way = self.random.below(3);
            let result = match way {
                0 => net.send(conn, &body),
                1 => net.send(conn, Bytes::from(body)),
                _ => net.send_tracked(conn, Bytes::from(body), token),
            };
            let is_closed = result == Err(SendError::Closed);
            self.check(may || is_closed, conn, "a send that had to be refused");
            let had_to_be_closed = !may || !connected;
            self.check(is_closed == had_to_be_closed, conn, "open or closed");
            let expected = self.expected.get_mut(&conn).expect("it is one of them");
            if result.is_ok() {
                expected.sent += 1;
                expected.tracked.extend((way == 2).then_some(token));
            }
        }

        /// What the views say must be what the callbacks said.
        fn check_views(&mut self, net: &Net) {
            let open: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
            let connecting: Vec<ConnId> = net.connecting().map(|c| c.id()).collect();
            let counts = (net.connection_count(), net.connecting_count());
            if counts != (open.len(), connecting.len()) {
                let violation = format!("{counts:?} for {open:?} and {connecting:?}");
                self.violations.push(violation);
            }
            for conn in open {
                let expected = self.in_phase(conn, Phase::Open, "listed as open");
                let silent = expected.silent;
                self.check(!silent, conn, "listed after a close");
            }
            for conn in connecting {
                self.in_phase(conn, Phase::Connecting, "listed as connecting");
            }
            let stale: Vec<ConnId> = self.ids.iter().rev().take(20).copied().collect();
            for conn in stale {
                let over = self.expected[&conn].phase == Phase::Over;
                let known = net.connection(conn).is_some();
                self.check(known != over, conn, "known exactly while it lives");
            }
        }
    }

    impl Handler for Model {
        fn on_accept(&mut self, net: &mut Net, _: &ConnInfo) -> Admission {
            self.act(net);
            if self.random.below(10) == 0 {
                Admission::Refuse
            } else {
                Admission::Admit
            }
        }

        fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
            if !self.ids.contains(&conn) {
                self.ids.push(conn);
                self.expected.insert(conn, Expected::new(Phase::Connecting));
            }
            let expected = self.in_phase(conn, Phase::Connecting, "on_connect");
            expected.phase = Phase::Open;
            let silent = expected.silent;
            self.check(!silent, conn, "connected after it was given up");
            self.act(net);
        }

        fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
            let expected = self.in_phase(conn, Phase::Open, "on_message");
            let quiet = expected.silent || expected.paused;
            let text = String::from_utf8_lossy(message);
            let mut words = text.split('|');
            let node = words.next().and_then(|word| word.parse().ok());
            let partner = node.zip(words.next().map(str::to_owned));
            let number = words.next().and_then(|word| word.parse().ok());
            let in_order = number == Some(expected.received);
            let same = expected.partner.is_none() || expected.partner == partner;
            expected.received += 1;
            expected.partner = partner;
            self.check(!quiet, conn, "a message after a close or a pause");
            self.check(in_order && same, conn, &format!("not in order: {number:?}"));
            self.act(net);
            self.act(net);
        }

        fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
            let expected = self.in_phase(conn, Phase::Open, "on_drain");
            let closed = expected.silent || expected.send_shut;
            self.check(!closed, conn, "a drain after a close");
            self.act(net);
        }

        fn on_sent(&mut self, net: &mut Net, conn: ConnId, token: u64, outcome: SendOutcome) {
            let expected = self.in_phase(conn, Phase::Open, "on_sent");
            let in_order = expected.tracked.pop_front() == Some(token);
            let turned = expected.lost && outcome == SendOutcome::HandedOver;
            expected.lost |= outcome == SendOutcome::Lost;
            self.check(in_order, conn, "a tracked send out of order");
            self.check(!turned, conn, "handed over behind one that was lost");
            self.act(net);
        }

        fn on_connect_failed(
            &mut self,
            net: &mut Net,
            conn: ConnId,
            _: &ConnInfo,
            error: ConnectError,
        ) {
            let expected = self.in_phase(conn, Phase::Connecting, "on_connect_failed");
            expected.phase = Phase::Over;
            let cancelled = expected.silent;
            let says_so = error == ConnectError::Cancelled;
            self.check(cancelled == says_so, conn, &format!("failed with {error}"));
            // While it is being told, the id is still known.
            self.check(
                net.connection(conn).is_some(),
                conn,
                "unknown while it ends",
            );
            self.act(net);
        }

        fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
            let expected = self.in_phase(conn, Phase::Open, "on_disconnect");
            expected.phase = Phase::Over;
            expected.reason = Some(reason);
            let answered = expected.tracked.is_empty();
            self.check(answered, conn, "tracked sends without an answer");
            self.act(net);
        }

        fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
            self.act(net);
        }

        fn on_turn(&mut self, net: &mut Net) {
            self.act(net);
        }
    }

    fn config() -> Config {
        Config {
            limits: Limits {
                max_connections: 12,
                loop_send_bytes: 60_000,
                ..Default::default()
            },
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    high_bytes: 8_000,
                    low_bytes: 2_000,
                    max_bytes: 30_000,
                    ..Default::default()
                },
                timeouts: Timeouts {
                    linger: Some(Duration::from_millis(100)),
                    ..Timeouts::default()
                },
                ..Default::default()
            },
            budget: TurnBudget {
                read_bytes: 700,
                write_bytes: 500,
                accepts: 1,
                ..Default::default()
            },
            sockets: SocketConfig {
                send_buffer_bytes: Some(4096),
                receive_buffer_bytes: Some(4096),
                ..Default::default()
            },
            ..Config::default()
        }
    }

    fn nodes(seed: u64) -> [Node<Model>; 3] {
        let make = |number| Node::new(config(), Model::new(number, seed)).expect("a node");
        let mut nodes = [0, 1, 2].map(make);
        let mut targets: Vec<SocketAddr> = nodes
            .iter_mut()
            .map(|node| node.net().listen("127.0.0.1:0").expect("a listener").addr)
            .collect();
        targets.push(SocketAddr::from(([127, 0, 0, 1], 1)));
        for node in &mut nodes {
            let own = node.net().listeners().next().map(|own| own.addr);
            let others = targets.iter().copied().filter(|addr| Some(*addr) != own);
            node.handler_mut().targets = others.collect();
        }
        nodes
    }

    /// Lets the nodes do what they like, then shuts them down.
    fn run(nodes: &mut [Node<Model>; 3]) {
        let end = Instant::now() + crate::util::PATIENCE;
        let mut order = Random(1);
        let mut stopping = false;
        loop {
            let node = &mut nodes[order.below(3)];
            let turn = crate::util::turn(node, Some(Duration::ZERO));
            if turn != Turn::Stopped {
                // The handler is lent what it works with by the node, so it is called as a command.
                let act = |model: &mut Model, net: &mut Net| {
                    model.act(net);
                    model.check_views(net);
                };
                node.handle().post(act).expect("the queue has room");
            }
            let finished = nodes.iter().all(|node| node.handler().calls_left == 0);
            if finished && !std::mem::replace(&mut stopping, finished) {
                for node in nodes.iter_mut() {
                    node.net().shutdown(Duration::from_millis(50));
                }
            }
            let stopped = |node: &mut Node<Model>| {
                crate::util::turn(node, Some(Duration::ZERO)) == Turn::Stopped
            };
            if stopping && nodes.iter_mut().all(stopped) {
                return;
            }
            assert!(Instant::now() < end, "{stopping}");
        }
    }

    /// Everything that one end sent arrived, if that end closed in order and the other did not turn away.
    fn check_deliveries(nodes: &[Node<Model>; 3]) -> u64 {
        let mut compared = 0;
        for receiver in nodes {
            for (conn, end) in &receiver.handler().expected {
                let (Some(DisconnectReason::PeerClosed), Some((node, name))) =
                    (end.reason, &end.partner)
                else {
                    continue;
                };
                let sender = &nodes[*node].handler().expected;
                let other = sender.iter().find(|(conn, _)| conn.to_string() == *name);
                let (_, other) = other.expect("the other end");
                let in_order = [DisconnectReason::Local, DisconnectReason::PeerClosed];
                if other
                    .reason
                    .is_some_and(|reason| in_order.contains(&reason))
                {
                    assert_eq!(end.received, other.sent, "{conn}: {end:?} {other:?}");
                    compared += 1;
                }
            }
        }
        compared
    }

    #[test]
    fn whatever_three_nodes_do_to_each_other() {
        Seed::each(4, |seed| {
            let mut nodes = nodes(seed);
            run(&mut nodes);
            for node in &mut nodes {
                let (counts, queued) = (
                    (node.net().connection_count(), node.net().connecting_count()),
                    node.net().metrics().queued_bytes,
                );
                assert_eq!((counts, queued), ((0, 0), 0));
                let model = node.handler();
                assert_eq!(model.violations, [""; 0]);
                let open = model
                    .expected
                    .iter()
                    .filter(|(_, end)| end.phase != Phase::Over);
                assert_eq!(open.count(), 0, "connections without an end");
            }
            assert!(check_deliveries(&nodes) > 0, "nothing was compared");
        });
    }
}

/// 6. One hot peer cannot starve the others.
mod one_hot_peer {
    use std::io::{ErrorKind, Read, Write};
    use std::time::Instant;

    use peerloop::Bytes;

    use super::*;

    const BUDGET: usize = 16 * 1024;

    /// Turns that a message may take. One would do if the kernel never took its time.
    const FEW: usize = 5;

    /// Writes as much as the sockets hold. Zeros are empty frames, wherever a write ends.
    fn flood(mut peer: &TcpStream) {
        loop {
            match peer.write(&[0; 64 * 1024]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads whatever is there; how many bytes it was.
    fn drink(mut peer: &TcpStream) -> usize {
        let mut drunk = 0;
        let mut buffer = [0; 64 * 1024];
        loop {
            match peer.read(&mut buffer) {
                Ok(0) => panic!("the connection ended"),
                Ok(count) => drunk += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return drunk,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn messages_since(node: &TestNode, first: usize, conn: ConnId) -> usize {
        let events = &node.handler().events[first..];
        let is_one = |event: &&Event| matches!(event, Event::Message(from, _) if *from == conn);
        events.iter().filter(is_one).count()
    }

    #[test]
    fn that_floods_does_not_delay_a_small_message() {
        let config = Config {
            budget: TurnBudget {
                read_bytes: BUDGET,
                ..unlimited_time()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let hot = [(); 4].map(|()| raw::join(&mut node, addr));
        let (quiet, mut quiet_peer) = raw::join(&mut node, addr);
        for (_, peer) in &hot {
            peer.set_nonblocking(true).unwrap();
        }
        for _ in 0..20 {
            quiet_peer.write_all(&frame(b"excuse me")).unwrap();
            let mut turns = 0;
            let mut delivered = false;
            while !delivered {
                hot.iter().for_each(|(_, peer)| flood(peer));
                let first = node.handler().events.len();
                let _ = node.turn(Some(Duration::ZERO)).unwrap();
                for (conn, _) in &hot {
                    // What is left over of a frame may complete with the budget's first bytes.
                    assert!(messages_since(&node, first, *conn) <= BUDGET / 4 + 1);
                }
                delivered = messages_since(&node, first, quiet) > 0;
                turns += 1;
                assert!(turns <= FEW, "still not delivered");
            }
        }
        for (conn, _) in hot {
            assert!(
                node.handler().messages(conn).len() > BUDGET / 4,
                "it did flood"
            );
        }
    }

    #[test]
    fn with_a_long_queue_does_not_delay_a_write_to_another() {
        let config = Config {
            budget: TurnBudget {
                write_bytes: BUDGET,
                ..Default::default()
            },
            connection: ConnectionConfig {
                send_queue: SendQueueConfig {
                    max_bytes: 64 << 20,
                    ..Default::default()
                },
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let (hot, mut hot_peer) = raw::join(&mut node, addr);
        let (quiet, mut quiet_peer) = raw::join(&mut node, addr);
        hot_peer.set_nonblocking(true).unwrap();
        let body = Bytes::from(vec![1; 1 << 20]);
        for _ in 0..4 {
            node.net().send(hot, body.clone()).unwrap();
            node.net().send(hot, &body).unwrap();
        }
        let mut drunk = 0;
        while queued(&mut node, hot) > 0 {
            node.net().send(quiet, b"excuse me").unwrap();
            let before = queued(&mut node, hot);
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            assert!(before - queued(&mut node, hot) <= BUDGET);
            assert_eq!(queued(&mut node, quiet), 0, "it left in the same turn");
            let mut received = [0; 13];
            quiet_peer.read_exact(&mut received).unwrap();
            assert_eq!(received[..], frame(b"excuse me"));
            // A reader that always keeps up.
            drunk += drink(&hot_peer);
        }
        hot_peer.set_nonblocking(false).unwrap();
        let mut rest = vec![0; 8 * (4 + body.len()) - drunk];
        hot_peer.read_exact(&mut rest).unwrap();
    }

    #[test]
    fn that_has_every_answer_flushed_at_once_keeps_to_its_budget_all_the_same() {
        let config = Config {
            budget: TurnBudget {
                write_bytes: BUDGET,
                ..Default::default()
            },
            ..Config::default()
        };
        let handler = Recorder::reacting(|net, event| {
            if let Event::Message(conn, _) = event {
                net.send(*conn, &[1; 10_000]).expect("there is room");
                net.flush(*conn);
            }
        });
        let (mut node, conn, mut peer) = raw::wire(config, handler);
        peer.write_all(&frame(b"").repeat(20)).unwrap();
        peer.set_nonblocking(true).unwrap();
        let (mut left, mut drunk) = (0, 0);
        let end = Instant::now() + crate::util::PATIENCE;
        while drunk < 20 * 10_004 {
            assert!(Instant::now() < end, "{drunk} bytes came");
            let _ = node.turn(Some(Duration::from_millis(1))).unwrap();
            drunk += drink(&peer);
            let so_far = node.net().traffic().bytes_sent as usize - queued(&mut node, conn);
            assert!(so_far - left <= BUDGET, "{} in one turn", so_far - left);
            left = so_far;
        }
    }

    #[test]
    fn that_is_accepted_in_crowds_does_not_delay_a_small_message() {
        let config = Config {
            budget: TurnBudget {
                accepts: 2,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let (quiet, mut quiet_peer) = raw::join(&mut node, addr);
        let crowd: Vec<TcpStream> = (0..40).map(|_| raw::connect(addr)).collect();
        quiet_peer.write_all(&frame(b"excuse me")).unwrap();
        let mut turns = 0;
        while node.handler().messages(quiet).is_empty() {
            let before = node.net().connection_count();
            let _ = node.turn(Some(Duration::ZERO)).unwrap();
            assert!(node.net().connection_count() <= before + 2);
            turns += 1;
            assert!(turns <= FEW, "still not delivered");
        }
        drop(crowd);
    }
}

/// 7. A pause, a full backlog, EMFILE or a budget never loses an edge.
mod stopping_early {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::SocketAddr;
    use std::process::{Child, Stdio};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use peerloop::{DisconnectReason, Turn};

    use super::*;

    /// Bodies of different lengths that say which one they are.
    fn bodies(count: usize, longest: usize) -> Vec<Vec<u8>> {
        let mut random = Random(7);
        let body = |number: usize| {
            let mut body = (number as u32).to_be_bytes().to_vec();
            body.resize(4 + random.below(longest), number as u8);
            body
        };
        (0..count).map(body).collect()
    }

    fn all_frames(bodies: &[Vec<u8>]) -> Vec<u8> {
        bodies.iter().flat_map(|body| frame(body)).collect()
    }

    /// Has a node with this configuration receive, and checks that all of it comes, and then the end.
    fn receives_everything(config: Config, handler: Recorder) {
        let bodies = bodies(100, 300);
        let (mut node, conn, mut peer) = raw::wire(config, handler);
        let wire = all_frames(&bodies);
        // In a thread, in case it is more than the sockets hold; the end follows at once.
        std::thread::spawn(move || peer.write_all(&wire).expect("the node reads"));
        assert_eq!(
            raw::until_ended(&mut node, conn),
            DisconnectReason::PeerClosed
        );
        assert!(node.handler().messages(conn).iter().eq(bodies.iter()));
    }

    #[test]
    fn for_want_of_a_read_budget_loses_nothing() {
        for read_budget in [1, 2, 3, 7, 100, 4096] {
            let config = Config {
                budget: TurnBudget {
                    read_bytes: read_budget,
                    ..Default::default()
                },
                ..Config::default()
            };
            receives_everything(config, Recorder::default());
        }
    }

    #[test]
    fn for_want_of_a_write_budget_loses_nothing() {
        for write_budget in [1, 2, 3, 7, 100, 4096] {
            let config = Config {
                budget: TurnBudget {
                    write_bytes: write_budget,
                    ..Default::default()
                },
                ..Config::default()
            };
            let (mut node, conn, mut peer) = raw::wire(config, Recorder::default());
            let bodies = bodies(20, 400);
            for body in &bodies {
                node.net().send(conn, body).unwrap();
            }
            node.net().close(conn);
            // No event is needed: as long as there is something to write, the node says so.
            while node.turn(Some(Duration::ZERO)).unwrap() == Turn::MoreWork {}
            assert_eq!(queued(&mut node, conn), 0);
            raw::settle(&mut node);
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            assert!(
                received == all_frames(&bodies),
                "with a budget of {write_budget}"
            );
        }
    }

    #[test]
    fn to_pause_in_every_message_loses_nothing() {
        let handler = Recorder::reacting(|net, event| match event {
            Event::Message(conn, message) => {
                net.pause(*conn);
                // Now at once, now in the next turn, now a little later.
                match message.len() % 3 {
                    0 => net.resume(*conn),
                    odd => {
                        net.set_timer(Duration::from_micros(50 * (odd as u64 - 1)), 0);
                    }
                }
            }
            Event::Timer(..) => {
                let all: Vec<ConnId> = net.connections().map(|c| c.id()).collect();
                all.into_iter().for_each(|conn| net.resume(conn));
            }
            _ => {}
        });
        receives_everything(Config::default(), handler);
    }

    #[test]
    fn to_pause_at_random_loses_nothing() {
        Seed::each(5, |seed| {
            let mut random = Random(seed);
            let config = Config {
                budget: TurnBudget {
                    read_bytes: 1 + random.below(1000),
                    ..Default::default()
                },
                ..Config::default()
            };
            let (mut node, conn, mut peer) = raw::wire(config, Recorder::default());
            let bodies = bodies(1000, 200);
            let mut wire = all_frames(&bodies);
            let end = Instant::now() + crate::util::PATIENCE;
            // After the start and the connection there are only messages.
            while node.handler().events.len() < 2 + bodies.len() {
                let some = wire.len().min(random.below(2000));
                peer.write_all(&wire.drain(..some).collect::<Vec<u8>>())
                    .unwrap();
                match random.below(3) {
                    0 => node.net().pause(conn),
                    _ => node.net().resume(conn),
                }
                let before = node.handler().events.len();
                let paused = random.below(2) == 0;
                if paused {
                    node.net().pause(conn);
                }
                let _ = node.turn(Some(Duration::ZERO)).unwrap();
                let after = node.handler().events.len();
                assert!(!paused || before == after, "a message in spite of a pause");
                assert!(Instant::now() < end, "{after} callbacks");
            }
            assert!(node.handler().messages(conn).iter().eq(bodies.iter()));
            drop(peer);
        });
    }

    #[test]
    fn an_end_that_came_during_a_pause_is_seen_after_it() {
        let (mut node, conn, mut peer) = raw::wire(Config::default(), Recorder::default());
        node.net().pause(conn);
        peer.write_all(&frame(b"last")).unwrap();
        drop(peer);
        crate::util::run_for(Duration::from_millis(20), [&mut node]);
        assert_eq!(node.handler().ended(conn), None);
        node.net().resume(conn);
        assert_eq!(
            raw::until_ended(&mut node, conn),
            DisconnectReason::PeerClosed
        );
        assert_eq!(node.handler().messages(conn), [b"last"]);
    }

    #[test]
    fn for_want_of_an_accept_budget_loses_no_connection() {
        let config = Config {
            budget: TurnBudget {
                accepts: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let peers: Vec<TcpStream> = (0..50).map(|_| raw::connect(addr)).collect();
        for accepted in 1..=50 {
            run_until([&mut node], |[node]| {
                node.handler().connected().len() >= accepted
            });
            // One at a time, and no event is needed for the next.
            assert_eq!(node.handler().connected().len(), accepted);
        }
        drop(peers);
    }

    #[test]
    fn within_a_budget_of_commands_loses_none() {
        let config = Config {
            budget: TurnBudget {
                commands: 1,
                ..Default::default()
            },
            ..Config::default()
        };
        let mut node = crate::util::node(config, Recorder::default());
        let called = Arc::new(AtomicUsize::new(0));
        for _ in 0..500 {
            let called = Arc::clone(&called);
            let call = move |_: &mut Recorder, _: &mut peerloop::Net| {
                called.fetch_add(1, Ordering::Relaxed);
            };
            node.handle().post(call).unwrap();
        }
        for turn in 1..500 {
            assert_eq!(node.turn(None).unwrap(), Turn::MoreWork);
            assert_eq!(called.load(Ordering::Relaxed), turn);
        }
        assert_eq!(node.turn(None).unwrap(), Turn::Waiting);
        assert_eq!(called.load(Ordering::Relaxed), 500);
    }

    const LISTENS_ON: &str = "listens on ";

    /// A test of this file, run again in a process of its own that has few descriptors.
    struct Limited {
        child: Child,
        addr: SocketAddr,
    }

    impl Limited {
        /// Begins it, and waits until it says where it listens.
        fn run(test: &str) -> Self {
            let child = child::command(test, Some(DESCRIPTORS))
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let addr = SocketAddr::from(([0; 4], 0));
            let mut limited = Self { child, addr };
            let output = limited.child.stdout.take().expect("it is piped");
            let mut lines = BufReader::new(output).lines();
            let mut said = lines.by_ref().map(|line| line.expect("text"));
            let addr = said.find_map(|line| Some(line.split_once(LISTENS_ON)?.1.to_owned()));
            limited.addr = addr.expect("it listens").parse().expect("an address");
            // Read on, so that the child never waits for a reader.
            std::thread::spawn(move || lines.count());
            limited
        }

        /// Tells it to stop, and hears whether it has found everything as it should be.
        fn stop(mut self) {
            raw::connect(self.addr).write_all(&frame(b"stop")).unwrap();
            assert!(self.child.wait().unwrap().success());
        }
    }

    impl Drop for Limited {
        fn drop(&mut self) {
            // In case the test has failed; otherwise it is gone already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Few, but enough for a process with a node in it and some connections.
    const DESCRIPTORS: usize = 24;

    /// The node in the child: it answers every message, and stops when it is told to.
    fn echo_until_told(config: Config) -> TestNode {
        let handler = Recorder::reacting(|net, event| {
            if let Event::Message(conn, message) = event {
                match message.as_slice() {
                    b"stop" => net.shutdown(Duration::ZERO),
                    message => net.send(*conn, message).expect("the queue has room"),
                }
            }
        });
        let (node, addr) = listening(config, handler);
        println!("{LISTENS_ON}{addr}");
        node
    }

    fn echoes(mut peer: &TcpStream, body: &[u8]) {
        let mut answer = vec![0; 4 + body.len()];
        peer.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, frame(body));
    }

    #[test]
    fn for_want_of_descriptors_loses_no_connection() {
        if child::is_child() {
            // Only the end of a connection can end the pause in time.
            let mut node = echo_until_told(Config {
                accept_backoff: Duration::from_secs(600),
                ..Config::default()
            });
            node.run().unwrap();
            let metrics = node.net().metrics();
            assert!(metrics.accept_backoffs > 0 && metrics.accept_errors > 0);
            assert_eq!(node.handler().connected().len(), 61);
            return;
        }
        let limited = Limited::run(test_path!(for_want_of_descriptors_loses_no_connection));
        let peers: Vec<TcpStream> = (0..60).map(|_| raw::connect(limited.addr)).collect();
        for (number, mut peer) in peers.iter().enumerate() {
            peer.write_all(&frame(number.to_string().as_bytes()))
                .unwrap();
        }
        for (number, peer) in peers.into_iter().enumerate() {
            echoes(&peer, number.to_string().as_bytes());
        }
        limited.stop();
    }

    #[test]
    fn for_want_of_descriptors_ends_by_itself() {
        if child::is_child() {
            let mut node = echo_until_told(Config {
                accept_backoff: Duration::from_millis(5),
                ..Config::default()
            });
            let ballast: Vec<std::fs::File> =
                std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            assert!(!ballast.is_empty());
            run_until([&mut node], |[node]| {
                node.net().metrics().accept_backoffs >= 3
            });
            // No connection ends; there are descriptors again all the same.
            drop(ballast);
            node.run().unwrap();
            assert_eq!(node.handler().connected().len(), 4);
            return;
        }
        let limited = Limited::run(test_path!(for_want_of_descriptors_ends_by_itself));
        let peers = [(); 3].map(|()| raw::connect(limited.addr));
        for mut peer in &peers {
            peer.write_all(&frame(b"anybody?")).unwrap();
        }
        for peer in &peers {
            echoes(peer, b"anybody?");
        }
        limited.stop();
    }
}

/// 10. Every end releases everything.
mod every_end_releases_everything {
    use std::io::Write;
    use std::net::SocketAddr;

    use peerloop::config::Timeouts;
    use peerloop::error::TimeoutKind;
    use peerloop::{ConnectError, DisconnectReason, Net};
    use socket2::{Domain, Socket, Type};

    use super::*;

    const LIMIT: usize = 12;

    fn config(linger: Duration) -> Config {
        Config {
            limits: Limits {
                max_connections: LIMIT,
                reserved_outbound: Some(0),
                ..Default::default()
            },
            allow_duplicates: true,
            sockets: SocketConfig {
                // Small, so that something is still queued when the end comes.
                send_buffer_bytes: Some(4096),
                ..Default::default()
            },
            connection: ConnectionConfig {
                timeouts: Timeouts {
                    connect: Some(Duration::from_millis(50)),
                    linger: Some(linger),
                    ..Timeouts::default()
                },
                ..Default::default()
            },
            ..Config::default()
        }
    }

    fn is_end(event: &Event) -> bool {
        matches!(event, Event::Disconnect(..) | Event::ConnectFailed(..))
    }

    fn assert_nothing_is_held(node: &mut TestNode) {
        raw::settle(node);
        let net = node.net();
        assert_eq!((net.connection_count(), net.connecting_count()), (0, 0));
        assert_eq!(net.connections().count() + net.connecting().count(), 0);
        assert_eq!(net.metrics().queued_bytes, 0);
        assert_eq!(node.timeout(), None, "a deadline was left behind");
    }

    /// A full house, with something queued for everybody, tracked and not.
    fn full_house(linger: Duration) -> (TestNode, SocketAddr, Vec<(ConnId, TcpStream)>) {
        let (mut node, addr) = listening(config(linger), Recorder::default());
        let peers: Vec<(ConnId, TcpStream)> = (0..LIMIT)
            .map(|_| {
                let peer = raw::connect_narrow(addr);
                (raw::accepted(&mut node), peer)
            })
            .collect();
        for (conn, _) in &peers {
            node.net().send(*conn, &[1; 100_000]).unwrap();
            node.net().send_tracked(*conn, &[2; 20_000], 7).unwrap();
            node.net().send_tracked(*conn, b"small", 8).unwrap();
        }
        raw::settle(&mut node);
        assert!(node.net().metrics().queued_bytes > LIMIT * 20_000);
        (node, addr, peers)
    }

    /// Ends a full house, and has the same number in again: no more, and no less.
    fn after(
        reason: DisconnectReason,
        end: impl FnOnce(&mut TestNode, Vec<(ConnId, TcpStream)>) -> Vec<TcpStream>,
    ) {
        let linger = match reason {
            DisconnectReason::Timeout(TimeoutKind::Linger) => Duration::from_millis(20),
            _ => crate::util::PATIENCE,
        };
        let (mut node, addr, peers) = full_house(linger);
        let ids: Vec<ConnId> = peers.iter().map(|(conn, _)| *conn).collect();
        let kept = end(&mut node, peers);
        run_until([&mut node], |[node]| node.handler().count(is_end) == LIMIT);
        for conn in ids {
            assert_eq!(node.handler().ended(conn), Some(reason));
            let is_answer = |event: &Event| matches!(event, Event::Sent(from, ..) if *from == conn);
            assert_eq!(node.handler().count(is_answer), 2);
        }
        assert_nothing_is_held(&mut node);
        drop(kept);
        comes_in_again(&mut node, addr);
    }

    fn comes_in_again(node: &mut TestNode, addr: SocketAddr) {
        let refused = node.net().metrics().refused_by_total;
        let peers: Vec<TcpStream> = (0..LIMIT + 3).map(|_| raw::connect(addr)).collect();
        run_until([node], |[node]| {
            node.net().metrics().refused_by_total == refused + 3
        });
        assert_eq!(node.net().connection_count(), LIMIT);
        drop(peers);
    }

    /// What is read on the other side, so that everything can leave.
    fn read_away(peers: Vec<(ConnId, TcpStream)>) {
        for (_, mut peer) in peers {
            std::thread::spawn(move || std::io::copy(&mut peer, &mut std::io::sink()));
        }
    }

    fn each(node: &mut TestNode, peers: &[(ConnId, TcpStream)], call: fn(&mut Net, ConnId)) {
        peers.iter().for_each(|(conn, _)| call(node.net(), *conn));
    }

    #[test]
    fn a_close() {
        after(DisconnectReason::Local, |node, peers| {
            each(node, &peers, Net::close);
            read_away(peers);
            Vec::new()
        });
    }

    #[test]
    fn an_abort() {
        after(DisconnectReason::Local, |node, peers| {
            each(node, &peers, Net::abort);
            Vec::new()
        });
    }

    #[test]
    fn an_abort_while_it_lingers() {
        after(DisconnectReason::Local, |node, peers| {
            each(node, &peers, Net::close);
            raw::settle(node);
            each(node, &peers, Net::abort);
            Vec::new()
        });
    }

    #[test]
    fn a_linger_that_ran_out() {
        after(
            DisconnectReason::Timeout(TimeoutKind::Linger),
            |node, peers| {
                each(node, &peers, Net::close);
                peers.into_iter().map(|(_, peer)| peer).collect()
            },
        );
    }

    #[test]
    fn a_peer_that_closes() {
        after(DisconnectReason::PeerClosed, |_, peers| {
            for (_, peer) in &peers {
                peer.shutdown(std::net::Shutdown::Write).unwrap();
            }
            read_away(peers);
            Vec::new()
        });
    }

    #[test]
    fn a_peer_that_resets() {
        after(DisconnectReason::Reset, |_, peers| {
            peers.into_iter().for_each(|(_, peer)| raw::reset(peer));
            Vec::new()
        });
    }

    #[test]
    fn a_peer_that_breaks_the_framing() {
        let (len, max) = (
            u64::from(u32::MAX),
            Config::default().connection.max_message_len,
        );
        let reason = DisconnectReason::MessageTooLarge { len, max };
        after(reason, |_, mut peers| {
            for (_, peer) in &mut peers {
                peer.write_all(&[255; 4]).unwrap();
            }
            peers.into_iter().map(|(_, peer)| peer).collect()
        });
    }

    #[test]
    fn a_shutdown() {
        for grace in [Duration::ZERO, Duration::from_millis(20)] {
            let (mut node, addr, peers) = full_house(crate::util::PATIENCE);
            node.net().shutdown(grace);
            node.run().unwrap();
            assert_eq!(node.handler().count(is_end), LIMIT);
            assert_eq!(node.net().metrics().queued_bytes, 0);
            assert_eq!(node.net().connection_count(), 0);
            std::net::TcpListener::bind(addr).expect("the port is free");
            drop(peers);
        }
    }

    /// Connects as often as the limit allows, twice, after the first round has come to nothing.
    fn after_connects(addr: SocketAddr, end: impl Fn(&mut TestNode, &[ConnId])) {
        let mut node = crate::util::node(config(crate::util::PATIENCE), Recorder::default());
        for round in 1..=2 {
            let connects: Vec<ConnId> = (0..LIMIT)
                .map(|_| node.net().connect(addr).expect("there is room"))
                .collect();
            let error = node.net().connect(addr).expect_err("there is no more");
            assert_eq!(error, ConnectError::TooManyConnections);
            assert_eq!(node.net().connecting_count(), LIMIT);
            end(&mut node, &connects);
            run_until([&mut node], |[node]| {
                node.handler().count(is_end) == round * LIMIT
            });
            assert_nothing_is_held(&mut node);
        }
    }

    /// An address where nobody listens, kept free by a socket that is bound to it.
    fn nobody() -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, addr)
    }

    #[test]
    fn a_connect_that_is_refused() {
        let (_bound, addr) = nobody();
        after_connects(addr, |_, _| {});
    }

    #[test]
    fn a_connect_that_is_cancelled() {
        let (_listener, addr) = listening(Config::default(), Recorder::default());
        after_connects(addr, |node, connects| {
            for (number, conn) in connects.iter().enumerate() {
                match number % 2 {
                    0 => node.net().close(*conn),
                    _ => node.net().abort(*conn),
                }
            }
        });
    }
}
