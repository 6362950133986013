//! A handler that makes every call from every callback. No call enters a callback,
//! and all callbacks of a turn have the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::util::{PATIENCE, config_with};
use peerloop::config::{Rate, RateLimits};
use peerloop::{
    Admission, Body, Bytes, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node,
    SendOutcome, TimerId, Turn,
};

const CALLBACKS: [&str; 11] = [
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

type NodeCall = fn(&mut Net, SocketAddr);

/// They are made first, so that there is a connection to call with.
const NODE_CALLS: [(&str, NodeCall); 4] = [
    ("connect", |net, addr| {
        // More connects would only meet the limit. Port 0 is refused at once.
        let has_room = net.connecting_count() == 0 && net.connection_count() < 3;
        let port = if has_room { addr.port() } else { 0 };
        let _ = net.connect((addr.ip(), port));
    }),
    ("connect_with", |net, addr| {
        let _ = net.connect_with((addr.ip(), 1), net.connect_options());
    }),
    ("listen, close_listener", |net, addr| {
        if let Ok(listening) = net.listen((addr.ip(), 0)) {
            net.close_listener(listening.id);
        }
    }),
    ("set_timer, cancel_timer", |net, _| {
        let timer = net.set_timer(Duration::ZERO, 1);
        net.cancel_timer(timer);
    }),
];

type ConnCall = fn(&mut Net, ConnId);

const CONN_CALLS: [(&str, ConnCall); 11] = [
    ("send", |net, conn| {
        let _ = net.send(conn, &[1; 100]);
    }),
    ("send of shared bytes", |net, conn| {
        let _ = net.send(conn, Bytes::from_static(&[2; 20_000]));
    }),
    ("send of parts", |net, conn| {
        let parts = [IoSlice::new(b"head"), IoSlice::new(&[7; 300])];
        let _ = net.send(conn, Body::parts(&parts));
    }),
    ("send_tracked", |net, conn| {
        let _ = net.send_tracked(conn, b"tracked", 1);
    }),
    ("broadcast", |net, _| {
        let all: Vec<ConnId> = net.connections().map(|conn| conn.id()).collect();
        let _ = net.broadcast(all, b"to all");
    }),
    ("broadcast_all", |net, conn| {
        let _ = net.broadcast_all(b"to the others", Some(conn));
    }),
    ("conn timers", |net, conn| {
        net.set_conn_timer(conn, Duration::ZERO, 3);
        net.cancel_conn_timer(conn, 3);
    }),
    ("flush", Net::flush),
    ("set_rate", |net, conn| {
        let rate = Some(Rate {
            per_second: 1_000,
            burst: 100,
        });
        let limits = RateLimits {
            receive_messages: rate,
            send_messages: rate,
            ..RateLimits::default()
        };
        net.set_rate(conn, limits).expect("valid");
    }),
    ("pause", Net::pause),
    ("resume", Net::resume),
];

/// Made in every eighth callback of each kind, because they end a connection.
const ENDINGS: [(&str, ConnCall); 5] = [
    ("close", Net::close),
    ("abort", Net::abort),
    ("close_write", Net::close_write),
    ("send_and_close", |net, conn| {
        let _ = net.send_and_close(conn, b"the last");
    }),
    ("abort_with_reason", |net, conn| {
        net.abort_with_reason(conn, "a test");
    }),
];

struct EveryCall {
    other: SocketAddr,
    /// The callback in which `shutdown` is called.
    shutdown_in: Option<&'static str>,
    /// The call being made.
    inside: Option<&'static str>,
    entered: BTreeMap<&'static str, usize>,
    made: BTreeSet<(&'static str, &'static str)>,
    /// The time of the callbacks of this turn.
    time: Option<Instant>,
    turns_with_several: usize,
    violations: Vec<String>,
}

impl EveryCall {
    fn enter(&mut self, callback: &'static str, net: &mut Net, conn: Option<ConnId>) {
        if let Some(call) = self.inside {
            let violation = format!("{callback} was entered inside {call}");
            self.violations.push(violation);
        }
        match self.time.replace(net.now()) {
            Some(time) if time != net.now() => {
                self.violations.push(format!("{callback} has another time"));
            }
            time => self.turns_with_several += usize::from(time.is_some()),
        }
        let other = self.other;
        for (name, call) in NODE_CALLS {
            self.make(callback, name, || call(net, other));
        }
        let live = |net: &Net| {
            net.connections()
                .chain(net.connecting())
                .next()
                .map(|c| c.id())
        };
        if let Some(conn) = conn.or_else(|| live(net)) {
            for (name, call) in CONN_CALLS {
                self.make(callback, name, || call(net, conn));
            }
            let entered = self.entered.entry(callback).or_default();
            *entered += 1;
            let (name, ending) = ENDINGS[*entered / 8 % ENDINGS.len()];
            if *entered % 8 == 0 || callback == "on_start" {
                self.make(callback, name, || ending(net, conn));
            }
        }
        if self.shutdown_in == Some(callback) {
            let grace = Duration::from_millis(20);
            self.make(callback, "shutdown", || net.shutdown(grace));
        }
    }

    fn make(&mut self, callback: &'static str, name: &'static str, call: impl FnOnce()) {
        self.inside = Some(name);
        call();
        self.inside = None;
        self.made.insert((callback, name));
    }

    /// Pairs of a callback and a call in it that have not occurred.
    fn missing(&self) -> Vec<(&'static str, &'static str)> {
        let names = NODE_CALLS.iter().map(|call| call.0);
        let names = names.chain(CONN_CALLS.iter().chain(&ENDINGS).map(|call| call.0));
        let pairs = names.flat_map(|call| CALLBACKS.map(|callback| (callback, call)));
        // `on_start` is called once and has made one of the endings.
        let is_ending = |call| ENDINGS.iter().any(|ending| ending.0 == call);
        pairs
            .filter(|(callback, call)| *callback != "on_start" || !is_ending(*call))
            .filter(|pair| !self.made.contains(pair))
            .collect()
    }
}

impl Handler for EveryCall {
    fn on_start(&mut self, net: &mut Net) {
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

    fn on_connect_failed(&mut self, net: &mut Net, conn: ConnId, _: &ConnInfo, _: ConnectError) {
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
        net.set_timer(Duration::ZERO, 2);
    }
}

/// Returns two nodes, each with the address of the other.
fn two_nodes(shutdown_in: Option<&'static str>) -> [Node<EveryCall>; 2] {
    let config = config_with(|config| {
        config.limits.max_connections = 8;
        // Most attempts fail, and each failure would delay the next one.
        config.limits.connect_retry_rate = Rate {
            per_second: 1_000_000,
            burst: 1_000_000,
        };
        config.connection.send_queue.high_bytes = 20_000;
        config.connection.send_queue.low_bytes = 10_000;
        config.connection.send_queue.max_bytes = 50_000;
    });
    let handler = |shutdown_in| EveryCall {
        other: SocketAddr::from(([127, 0, 0, 1], 0)),
        shutdown_in,
        inside: None,
        entered: BTreeMap::new(),
        made: BTreeSet::new(),
        time: None,
        turns_with_several: 0,
        violations: Vec::new(),
    };
    let mut nodes = [shutdown_in, None]
        .map(|shutdown_in| Node::new(config.clone(), handler(shutdown_in)).expect("a node"));
    let [first, second] = nodes
        .each_mut()
        .map(|node| node.net().listen("127.0.0.1:0").expect("a listener").addr);
    nodes[0].handler_mut().other = second;
    nodes[1].handler_mut().other = first;
    nodes
}

/// Runs both nodes, with a command in each turn, until one has stopped or the first
/// has made every call from every callback.
fn run(nodes: &mut [Node<EveryCall>; 2]) {
    let end = Instant::now() + PATIENCE;
    loop {
        for node in nodes.iter_mut() {
            node.handle()
                .post(|handler: &mut EveryCall, net| handler.enter("command", net, None))
                .expect("the queue has room");
            let turn = node.turn(Some(Duration::from_millis(1))).expect("a turn");
            assert_eq!(node.handler().violations, [""; 0]);
            node.handler_mut().time = None;
            if turn == Turn::Stopped {
                return;
            }
        }
        let first = nodes[0].handler();
        let missing = first.missing();
        if first.shutdown_in.is_none() && missing.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "never called: {missing:?}");
    }
}

#[test]
fn no_call_enters_a_callback() {
    let mut nodes = two_nodes(None);
    run(&mut nodes);
    assert!(nodes[0].handler().turns_with_several > 10);
}

#[test]
fn shutdown_enters_no_callback() {
    for callback in CALLBACKS {
        run(&mut two_nodes(Some(callback)));
    }
}
