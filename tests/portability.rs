//! Checks that the library works on this operating system and selector.
//!
//! A program without a test harness, which needs the library and std alone. It
//! ends with 0 when all checks pass, and otherwise names the check that failed.
//! Arguments that name checks run only those. Each node has its own thread and
//! waits without a timeout, so that the next turn does not make up for a lost
//! event. Each wait has a bound.
//!
//! It is one file, so that it can be copied into a package by itself and run on
//! another system.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

use peerloop::config::{ConnectionConfig, Limits, OnPanic, SendQueueConfig, Timeouts};
use peerloop::group::Group;
use peerloop::mio::{self, Interest};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handle, Handler, Net, Node,
    Readiness, SendError, SourceId, TimerId, UdpId, UdpOptions,
};

/// The bound of each wait. Far more than needed, because the machine may be
/// busy. Under Wine each system call waits for the one thread of its server, so
/// a busy machine makes it slower by far.
const BOUND: Duration = Duration::from_secs(if cfg!(windows) { 60 } else { 20 });

/// Set for a child process: the address to which it connects, and how often.
const CHILD: &str = "PEERLOOP_TEST_PORTABILITY";

const CHECKS: &[(&str, fn())] = &[
    ("round trips", round_trips),
    ("messages in order with pauses both ways", pauses),
    ("pauses while idle", idle_pauses),
    ("large transfers under backpressure both ways", bulk),
    ("refused connects", refused),
    ("half-close by the peer", peer_half_close),
    ("half-close by the node", own_half_close),
    ("resets", resets),
    ("timers", timers),
    ("datagrams", datagrams),
    ("a source of the program", source),
    ("a handle from other threads", handles),
    ("a group and its handles", group),
    ("a thousand connections", thousand),
];

fn main() {
    static CHECK: Mutex<&str> = Mutex::new("start");
    panic::set_hook(Box::new(|info| {
        let check = CHECK.lock().map_or("?", |check| *check);
        eprintln!("portability: FAILED {check}: {info}");
        process::exit(1);
    }));
    if let Ok(order) = env::var(CHILD) {
        *CHECK.lock().unwrap() = "a thousand connections, in the child";
        return child(&order);
    }
    let chosen: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for (name, check) in CHECKS {
        if chosen.is_empty() || chosen.iter().any(|chosen| name.contains(chosen.as_str())) {
            *CHECK.lock().unwrap() = name;
            let begun = Instant::now();
            check();
            println!(
                "portability: {name}: ok, {} ms",
                begun.elapsed().as_millis()
            );
        }
    }
}

// Nodes in threads, and raw peers.

enum Event<'a> {
    Connected(ConnId),
    Message(ConnId, &'a [u8]),
    Drain,
    ReadClosed(ConnId),
    Failed(ErrorKind),
    Ended(ConnId, DisconnectReason),
    Timer(u64),
    Datagram(UdpId, SocketAddr, &'a [u8]),
    Ready,
}

/// A function that a check runs inside a callback.
type Reaction = Box<dyn FnMut(&mut Net, Event<'_>) + Send>;

struct Program(Reaction);

impl Handler for Program {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        (self.0)(net, Event::Connected(conn));
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        (self.0)(net, Event::Message(conn, message));
    }

    fn on_drain(&mut self, net: &mut Net, _: ConnId) {
        (self.0)(net, Event::Drain);
    }

    fn on_read_closed(&mut self, net: &mut Net, conn: ConnId) {
        (self.0)(net, Event::ReadClosed(conn));
    }

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        let kind = match error {
            ConnectError::Io(error) => error.kind,
            ConnectError::TimedOut => ErrorKind::TimedOut,
            _ => ErrorKind::Other,
        };
        (self.0)(net, Event::Failed(kind));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        (self.0)(net, Event::Ended(conn, reason));
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, key: u64) {
        (self.0)(net, Event::Timer(key));
    }

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        (self.0)(net, Event::Datagram(udp, from, datagram));
    }

    fn on_ready(&mut self, net: &mut Net, _: SourceId, _: Readiness) {
        (self.0)(net, Event::Ready);
    }
}

fn config() -> Config {
    Config {
        limits: Limits {
            max_connections_per_address: 2000,
            max_outbound_connecting: 2000,
            ..Default::default()
        },
        allow_duplicates: true,
        on_panic: OnPanic::Unwind,
        connection: ConnectionConfig {
            send_queue: SendQueueConfig {
                max_bytes: 512 * 1024,
                ..Default::default()
            }, // No deadline wakes a loop that waits for an event which does not come.
            timeouts: Timeouts {
                connect: Some(BOUND),
                idle: None,
                partial_message: None,
                write_stall: None,
                ..Timeouts::default()
            },
            ..Default::default()
        },
        ..Config::default()
    }
}

fn half_open() -> Config {
    Config {
        connection: ConnectionConfig {
            allow_half_open: true,
            ..config().connection
        },
        ..config()
    }
}

fn shut_down_write(net: &mut Net, conn: ConnId) {
    net.close_write(conn);
}

fn turns(net: &Net) -> u64 {
    net.metrics().turns
}

/// A node at work in a thread.
struct Running {
    handle: Handle<Program>,
    stopped: Receiver<()>,
}

fn start(reaction: impl FnMut(&mut Net, Event<'_>) + Send + 'static) -> Running {
    start_with(config(), reaction)
}

fn start_with(
    config: Config,
    reaction: impl FnMut(&mut Net, Event<'_>) + Send + 'static,
) -> Running {
    let mut node = Node::new(config, Program(Box::new(reaction))).expect("a node");
    let handle = node.handle();
    let (stop, stopped) = mpsc::channel();
    thread::spawn(move || {
        node.run().expect("the node runs");
        drop(node);
        let _ = stop.send(());
    });
    Running { handle, stopped }
}

fn echo() -> Running {
    start(|net, event| {
        if let Event::Message(conn, message) = event {
            net.send(conn, message).expect("the queue has room");
        }
    })
}

/// Has the loop of a node do something, and waits for the answer.
fn ask<R: Send + 'static>(
    handle: &Handle<Program>,
    call: impl FnOnce(&mut Net) -> R + Send + 'static,
) -> R {
    let (answer, answers) = mpsc::channel();
    handle
        .post(move |_, net| answer.send(call(net)).expect("the asker waits"))
        .expect("the command queue has room");
    within(&answers, "an answer of the loop")
}

impl Running {
    fn ask<R: Send + 'static>(&self, call: impl FnOnce(&mut Net) -> R + Send + 'static) -> R {
        ask(&self.handle, call)
    }

    fn listen(&self) -> SocketAddr {
        self.ask(|net| net.listen("127.0.0.1:0"))
            .expect("a listener")
            .addr
    }

    fn connect(&self, addr: SocketAddr) -> ConnId {
        self.ask(move |net| net.connect(addr)).expect("an attempt")
    }

    fn stop(self) {
        self.handle.shutdown(Duration::ZERO);
        within(&self.stopped, "the end of the node");
    }
}

// Help for the checks.

/// Whether this is Wine, which has a program that Windows lacks.
fn is_wine() -> bool {
    cfg!(windows) && Path::new(r"C:\windows\system32\winecfg.exe").exists()
}

/// The number of rounds of a check: fewer under Wine, for its server. A lost
/// event stops any round.
fn rounds(count: u32) -> u32 {
    if is_wine() { count / 8 } else { count }
}

#[track_caller]
fn within<T>(receiver: &Receiver<T>, what: &str) -> T {
    match receiver.recv_timeout(BOUND) {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// The message with this number.
fn body(number: u32, len: usize) -> Vec<u8> {
    let mut body = vec![number as u8; len.max(4)];
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

/// A message as it is on the wire.
fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short message");
    [&len.to_be_bytes()[..], body].concat()
}

/// A peer that is a blocking socket.
fn peer(addr: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect_timeout(&addr, BOUND).expect("the node listens");
    peer.set_read_timeout(Some(BOUND)).expect("a bound");
    peer.set_write_timeout(Some(BOUND)).expect("a bound");
    peer.set_nodelay(true).expect("an option");
    peer
}

fn read_to_end(peer: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).map(|_| all)
}

// The checks.

// Messages, pauses and large transfers.

/// Several connections, each with one message under way: both loops sleep between any two.
fn round_trips() {
    const CONNECTIONS: u32 = 8;
    let last_round = rounds(150);
    let len = |round: u32| (round as usize * 977) % 60_000;
    let (done, dones) = mpsc::channel();
    let (server, mut rounds_of) = (echo(), HashMap::new());
    let client = start(move |net, event| match event {
        Event::Connected(conn) => net.send(conn, body(0, len(0))).expect("room"),
        Event::Message(conn, message) => {
            let round = rounds_of.entry(conn).or_insert(0);
            assert!(message == body(*round, len(*round)), "another message");
            *round += 1;
            if *round == last_round {
                return done.send(()).expect("the check waits");
            }
            net.send(conn, body(*round, len(*round))).expect("room");
        }
        Event::Ended(_, reason) => assert_eq!(reason, DisconnectReason::Shutdown),
        _ => {}
    });
    let addr = server.listen();
    for _ in 0..CONNECTIONS {
        client.connect(addr);
    }
    for _ in 0..CONNECTIONS {
        within(&dones, "all answers of a connection");
    }
    client.stop();
    server.stop();
}

/// Sends numbered messages in bursts, pauses inside `on_message` now and then, resumes by a timer.
fn pausing(done: Sender<()>) -> impl FnMut(&mut Net, Event<'_>) + Send + 'static {
    const SEND: u64 = 0;
    const RESUME: u64 = 1;
    let messages = rounds(1500);
    let len = |number: u32| (number as usize * 131) % 4000;
    let (mut partner, mut sent, mut received) = (None, 0, 0);
    move |net, event| match (event, partner) {
        (Event::Connected(conn), _) => {
            partner = Some(conn);
            net.set_timer(Duration::ZERO, SEND);
        }
        (Event::Message(conn, message), _) => {
            assert!(message == body(received, len(received)), "out of order");
            received += 1;
            if received % 7 == 3 {
                net.pause(conn);
                net.set_timer(Duration::from_millis(1), RESUME);
            }
            if received == messages {
                done.send(()).expect("the check waits");
            }
        }
        (Event::Timer(SEND), Some(conn)) => {
            for _ in 0..20.min(messages - sent) {
                net.send(conn, body(sent, len(sent))).expect("room");
                sent += 1;
            }
            if sent < messages {
                net.set_timer(Duration::from_millis(1), SEND);
            }
        }
        (Event::Timer(_), Some(conn)) => net.resume(conn),
        _ => {}
    }
}

fn pauses() {
    let (done, dones) = mpsc::channel();
    let (a, b) = (start(pausing(done.clone())), start(pausing(done)));
    b.connect(a.listen());
    within(&dones, "all messages of one side");
    within(&dones, "all messages of the other side");
    a.stop();
    b.stop();
}

/// Bytes and the end of the stream that arrive during a pause are delivered
/// after it.
fn idle_pauses() {
    let (report, reports) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let (connect, connects) = mpsc::channel();
    let node = start(move |_, event| match event {
        Event::Connected(conn) => connect.send(conn).expect("the check waits"),
        Event::Message(conn, message) => report
            .send((conn, message.to_vec()))
            .expect("the check waits"),
        Event::Ended(conn, _) => end.send(conn).expect("the check waits"),
        _ => {}
    });
    let addr = node.listen();
    let mut paused = peer(addr);
    let conn = within(&connects, "a connection");
    let mut other = peer(addr);
    let marker = within(&connects, "a connection");
    for number in 0..30 {
        node.ask(move |net| net.pause(conn));
        // A whole message, or one in two pieces around the pause.
        let wire = frame(&body(number, 100));
        let now = if number % 2 == 0 { wire.len() } else { 50 };
        paused.write_all(&wire[..now]).expect("room");
        // When this one is there, the one before has arrived too, and the loop has seen it.
        other.write_all(&frame(b"seen")).expect("room");
        assert_eq!(within(&reports, "a marker").0, marker);
        node.ask(move |net| net.resume(conn));
        paused.write_all(&wire[now..]).expect("room");
        let (from, message) = within(&reports, "what arrived in a pause");
        assert!(from == conn && message == body(number, 100));
    }
    node.ask(move |net| net.pause(conn));
    drop(paused);
    assert_eq!(within(&ends, "the end in a pause"), conn);
    node.stop();
}

/// Sends more than the sockets hold while the other side is paused, and then at its own pace.
fn pushing(
    total: u32,
    full: Sender<ConnId>,
    done: Sender<()>,
) -> impl FnMut(&mut Net, Event<'_>) + Send + 'static {
    const LEN: usize = 60_000;
    let (mut partner, mut sent, mut received) = (None, 0, 0);
    let mut is_full = false;
    move |net, event| {
        match event {
            Event::Connected(conn) => {
                partner = Some(conn);
                net.pause(conn);
            }
            Event::Message(conn, message) => {
                assert!(message == body(received, LEN), "out of order");
                received += 1;
                if received % 50 == 0 {
                    net.pause(conn);
                    net.set_timer(Duration::from_millis(1), 0);
                }
                if received == total {
                    done.send(()).expect("the check waits");
                }
                return;
            }
            Event::Timer(_) => return partner.into_iter().for_each(|conn| net.resume(conn)),
            Event::Drain => {}
            _ => return,
        }
        let Some(conn) = partner else { return };
        while sent < total {
            match net.send(conn, body(sent, LEN)) {
                Ok(()) => sent += 1,
                Err(SendError::Full) if !is_full => {
                    is_full = true;
                    return full.send(conn).expect("the check waits");
                }
                Err(SendError::Full) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn bulk() {
    // 30 MB: more than the buffers of both sockets grow to.
    const TOTAL: u32 = 500;
    let (done, dones) = mpsc::channel();
    let ((full_a, a_full), (full_b, b_full)) = (mpsc::channel(), mpsc::channel());
    let a = start(pushing(TOTAL, full_a, done.clone()));
    let b = start(pushing(TOTAL, full_b, done));
    b.connect(a.listen());
    let at_a = within(&a_full, "backpressure on one side");
    let at_b = within(&b_full, "backpressure on the other side");
    a.ask(move |net| net.resume(at_a));
    b.ask(move |net| net.resume(at_b));
    within(&dones, "all that one side sent");
    within(&dones, "all that the other side sent");
    a.stop();
    b.stop();
}

// Refused connects, half-closes and resets.

fn refused() {
    let (report, reports) = mpsc::channel();
    let node = start(move |_, event| match event {
        Event::Failed(kind) => report.send(Some(kind)).expect("the check waits"),
        Event::Connected(_) => report.send(None).expect("the check waits"),
        _ => {}
    });
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a listener");
    let listeners: Vec<TcpListener> = (0..20).map(|_| bind()).collect();
    let addrs: Vec<SocketAddr> = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("an address"))
        .collect();
    drop(listeners);
    for addr in &addrs {
        node.connect(*addr);
    }
    for _ in &addrs {
        let kind = within(&reports, "the outcome of an attempt");
        assert_eq!(kind, Some(ErrorKind::ConnectionRefused));
    }
    let listener = bind();
    node.connect(listener.local_addr().expect("an address"));
    assert_eq!(within(&reports, "the outcome of an attempt"), None);
    node.stop();
}

/// The end of the stream follows the messages at once. All of them are
/// delivered first, and the answer is sent.
fn peer_half_close() {
    let (end, ends) = mpsc::channel();
    let mut received = HashMap::new();
    let node = start_with(half_open(), move |net, event| match event {
        Event::Message(conn, message) => *received.entry(conn).or_insert(0) += message.len(),
        Event::ReadClosed(conn) => {
            let sum = received.remove(&conn).unwrap_or(0) as u32;
            net.send(conn, &sum.to_be_bytes()).expect("room");
            net.close(conn);
        }
        Event::Ended(_, reason) => end.send(reason).expect("the check waits"),
        _ => {}
    });
    let addr = node.listen();
    // Around the sizes of the read buffer and of the read budget too.
    let sizes = [
        0, 1, 4092, 65_532, 262_139, 262_140, 262_141, 524_280, 700_000,
    ];
    for len in sizes.repeat(3) {
        let mut peer = peer(addr);
        if len > 0 {
            peer.write_all(&frame(&vec![7; len]))
                .expect("the node reads");
        }
        peer.shutdown(Shutdown::Write).expect("a connection");
        let answer = read_to_end(&mut peer).expect("an answer");
        assert_eq!(answer, frame(&(len as u32).to_be_bytes()));
        assert_eq!(within(&ends, "the end"), DisconnectReason::Local);
    }
    node.stop();
}

/// The node ends its side first, and still receives.
fn own_half_close() {
    let (report, reports) = mpsc::channel();
    let node = start(move |net, event| match event {
        Event::Connected(conn) => {
            net.send(conn, b"last").expect("room");
            shut_down_write(net, conn);
        }
        Event::Message(_, message) => report.send(message.len()).expect("the check waits"),
        Event::Ended(_, reason) => {
            assert_eq!(reason, DisconnectReason::PeerClosed);
            report.send(0).expect("the check waits");
        }
        _ => {}
    });
    let addr = node.listen();
    for _ in 0..20 {
        let mut peer = peer(addr);
        assert_eq!(read_to_end(&mut peer).expect("a message"), frame(b"last"));
        for len in [10, 100_000] {
            peer.write_all(&frame(&vec![1; len])).expect("room");
            assert_eq!(within(&reports, "a message after the end"), len);
        }
        drop(peer);
        assert_eq!(within(&reports, "the end"), 0);
    }
    node.stop();
}

fn resets() {
    let (connect, connects) = mpsc::channel();
    let (close, closes) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let node = start_with(half_open(), move |_, event| match event {
        Event::Connected(conn) => connect.send(conn).expect("the check waits"),
        Event::ReadClosed(conn) => close.send(conn).expect("the check waits"),
        Event::Ended(_, reason) => end.send(reason).expect("the check waits"),
        _ => {}
    });
    let (other, others) = mpsc::channel();
    let client = start(move |_, event| {
        if let Event::Connected(conn) = event {
            other.send(conn).expect("the check waits");
        }
    });
    let addr = node.listen();
    for (is_paused, is_half_closed) in [(false, false), (true, false), (false, true)] {
        client.connect(addr);
        let here = within(&connects, "a connection");
        let there = within(&others, "a connection");
        if is_paused {
            node.ask(move |net| net.pause(here));
        }
        if is_half_closed {
            client.ask(move |net| shut_down_write(net, there));
            assert_eq!(within(&closes, "the end of the stream"), here);
        }
        client.ask(move |net| net.abort(there));
        let reason = within(&ends, "the end after a reset");
        assert_eq!(reason, DisconnectReason::Reset);
    }
    // The node is blocked in writing to a peer that reads nothing and closes.
    let mut silent = peer(addr);
    let conn = within(&connects, "a connection");
    node.ask(move |net| while net.send(conn, &[0; 50_000]).is_ok() {});
    silent.read_exact(&mut [0]).expect("something arrives");
    drop(silent);
    assert_eq!(within(&ends, "the end"), DisconnectReason::Reset);
    // The node resets.
    let mut last = peer(addr);
    let conn = within(&connects, "a connection");
    node.ask(move |net| net.abort(conn));
    assert_eq!(within(&ends, "the end"), DisconnectReason::Local);
    let kind = last.read(&mut [0]).expect_err("a reset").kind();
    assert!(matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    ));
    client.stop();
    node.stop();
}

// Timers, sources, handles and groups.

/// Timers fire in order and never early.
fn timers() {
    let (report, reports) = mpsc::channel();
    let node = start(move |_, event| {
        if let Event::Timer(key) = event {
            report.send((key, Instant::now())).expect("the check waits");
        }
    });
    let times = [40, 10, 30, 0, 20, 25];
    let begun = node.ask(move |net| {
        for millis in times {
            net.set_timer(Duration::from_millis(millis), millis);
        }
        net.now()
    });
    let mut sorted = times;
    sorted.sort_unstable();
    for millis in sorted {
        let (key, at) = within(&reports, "a timer");
        assert_eq!(key, millis);
        assert!(at >= begun + Duration::from_millis(millis), "too early");
    }
    node.stop();
}

/// Each datagram wakes the loop. One that is too long, and one to a port where
/// no program receives, disturb nothing.
fn datagrams() {
    let node = start(|net, event| {
        if let Event::Datagram(udp, from, datagram) = event {
            net.send_to(udp, datagram, from).expect("the ring has room");
        }
    });
    let options = UdpOptions {
        max_datagram_len: 100,
        ..Default::default()
    };
    let udp = node.ask(move |net| net.bind_udp("127.0.0.1:0", options));
    let udp = udp.expect("a port");
    let addr = node.ask(move |net| net.udp_addr(udp)).expect("it is open");
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    peer.set_read_timeout(Some(BOUND)).expect("not zero");
    let closed = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let closed = closed.local_addr().expect("an address");
    let mut buffer = [0; 200];
    for number in 0..50 {
        let to_closed = node.ask(move |net| net.send_to(udp, b"lost", closed));
        to_closed.expect("the ring has room");
        peer.send_to(&[number; 101], addr).expect("room");
        peer.send_to(&[number; 100], addr).expect("room");
        let received = peer.recv_from(&mut buffer).expect("an answer");
        assert_eq!((received, buffer[0]), ((100, addr), number));
    }
    let traffic = node.ask(move |net| net.udp_traffic(udp));
    let traffic = traffic.expect("it is open");
    assert_eq!((traffic.datagrams_received, traffic.too_long), (50, 50));
    node.ask(move |net| net.close_udp(udp));
    UdpSocket::bind(addr).expect("the port is free");
    node.stop();
}

/// A socket of the program wakes the loop for each datagram.
fn source() {
    let (report, reports) = mpsc::channel();
    let any = "127.0.0.1:0".parse().expect("an address");
    let source = mio::net::UdpSocket::bind(any).expect("a socket");
    let addr = source.local_addr().expect("an address");
    let source = Arc::new(Mutex::new(source));
    let reader = Arc::clone(&source);
    let node = start(move |_, event| {
        let Event::Ready = event else { return };
        let (source, mut buffer) = (reader.lock().unwrap(), [0; 10]);
        loop {
            match source.recv(&mut buffer) {
                Ok(len) => report
                    .send(buffer[..len].to_vec())
                    .expect("the check waits"),
                Err(error) => return assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    });
    let registered = Arc::clone(&source);
    let register = move |net: &mut Net| {
        let source = &mut *registered.lock().unwrap();
        net.register(source, Interest::READABLE)
    };
    let id = node.ask(register).expect("a registration");
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for number in 0..50 {
        peer.send_to(&[number], addr).expect("room");
        assert_eq!(within(&reports, "a datagram"), [number]);
    }
    let deregister = move |net: &mut Net| net.deregister(id, &mut *source.lock().unwrap());
    node.ask(deregister).expect("it is registered");
    node.stop();
}

/// Bounces messages until the flag is set, so that the loops make system calls all the time.
fn bouncing(quit: &Arc<AtomicBool>) -> impl FnMut(&mut Net, Event<'_>) + Send + use<> {
    let quit = Arc::clone(quit);
    move |net, event| match event {
        Event::Connected(conn) => net.send(conn, b"ball").expect("room"),
        Event::Message(conn, message) if !quit.load(Ordering::Relaxed) => {
            net.send(conn, message).expect("room");
        }
        _ => {}
    }
}

/// Threads that call loops at work, and wait for each answer.
fn call_from_threads(handles: [Handle<Program>; 2]) {
    let (done, dones) = mpsc::channel();
    for thread in 0..4 {
        let (handle, done) = (handles[thread % 2].clone(), done.clone());
        thread::spawn(move || {
            for number in 0..rounds(1000) {
                assert_eq!(ask(&handle, move |_| number), number);
            }
            done.send(()).expect("the check waits");
        });
    }
    for _ in 0..4 {
        within(&dones, "all answers to a thread");
    }
}

fn handles() {
    let quit = Arc::new(AtomicBool::new(false));
    let (server, client) = (start(bouncing(&quit)), start(bouncing(&quit)));
    let addr = server.listen();
    for _ in 0..3 {
        client.connect(addr);
    }
    call_from_threads([server.handle.clone(), client.handle.clone()]);
    quit.store(true, Ordering::Relaxed);
    client.stop();
    server.stop();
}

/// Calls a member that has nothing else to do while another closes a connection: they
/// share one wake.
fn group() {
    let (connect, connects) = mpsc::channel();
    let mut group = Group::new().expect("a group");
    let mut add = |reaction: Reaction| {
        let member = group.add(config(), Program(reaction)).expect("a member");
        group.handle(member).expect("it was just added")
    };
    let server = add(Box::new(move |_, event| {
        if let Event::Connected(conn) = event {
            connect.send(conn).expect("the check waits");
        }
    }));
    let idle = add(Box::new(|_, _| {}));
    let (stop, stopped) = mpsc::channel();
    thread::spawn(move || {
        group.run().expect("the group runs");
        let _ = stop.send(());
    });
    let listening = ask(&server, |net| net.listen("127.0.0.1:0"));
    let addr = listening.expect("a listener").addr;
    for number in 0..u64::from(rounds(1500)) {
        let peer = peer(addr);
        within(&connects, "a connection");
        drop(peer);
        // The call comes at another moment of the closing each time.
        let then = Instant::now() + Duration::from_micros(number % 100);
        while Instant::now() < then {}
        assert_eq!(ask(&idle, move |_| number), number);
    }
    for handle in [server, idle] {
        handle.shutdown(Duration::ZERO);
    }
    within(&stopped, "the end of the group");
}

// A thousand connections to another process.

/// How many sockets this process may open; not more than asked for.
fn sockets(wanted: usize) -> usize {
    // Wine's server looks at all polled sockets for each event of one, and n
    // connections take time in proportion to n cubed: 0.5 s for 100, 2.3 s for
    // 200, 19 s for 400 (Wine 10.0, idle machine).
    if is_wine() {
        return wanted.min(100);
    }
    // Windows has no limit that matters.
    if cfg!(windows) {
        return wanted;
    }
    let open = || UdpSocket::bind("127.0.0.1:0").ok();
    // Descriptors that the node and the child need besides.
    let spare = 20;
    let all: Vec<UdpSocket> = std::iter::from_fn(open).take(wanted + spare).collect();
    all.len().saturating_sub(spare)
}

/// A thousand connections at once to another process, so that each process has
/// the sockets of one side.
fn thousand() {
    const LOOKS: u64 = 200;
    let count = sockets(1000);
    let (report, reports) = mpsc::channel();
    let mut members = Vec::new();
    let mut turns_before = 0;
    let server = start(move |net, event| match event {
        Event::Message(conn, message) => {
            net.send(conn, message).expect("room");
            members.push(conn);
            if members.len() == count {
                net.set_timer(Duration::from_millis(100), 0);
            }
        }
        // All are idle now: no turn is due.
        Event::Timer(0) => {
            turns_before = turns(net);
            net.set_timer(Duration::from_millis(100), 1);
        }
        Event::Timer(_) => {
            let taken = turns(net) - turns_before;
            assert!(taken < LOOKS, "{taken} turns with idle connections");
            for conn in &members {
                net.send(*conn, b"enough").expect("room");
            }
        }
        Event::Ended(_, reason) => report.send(reason).expect("the check waits"),
        _ => {}
    });
    let order = format!("{} {count}", server.listen());
    let program = env::current_exe().expect("a path");
    let mut child = Command::new(program)
        .env(CHILD, order)
        .spawn()
        .expect("a child process");
    for _ in 0..count {
        within(&reports, "the end of a connection");
    }
    let (exit, exits) = mpsc::channel();
    thread::spawn(move || exit.send(child.wait()));
    let status = within(&exits, "the end of the child").expect("a status");
    assert!(status.success(), "the child: {status}");
    println!("portability: {count} connections at once");
    server.stop();
}

fn child(order: &str) {
    let (addr, count) = order.split_once(' ').expect("two words");
    let addr: SocketAddr = addr.parse().expect("an address");
    let count: u32 = count.parse().expect("a number");
    let (done, dones) = mpsc::channel();
    let mut next = 0;
    let client = start(move |net, event| match event {
        Event::Connected(conn) => {
            net.send(conn, body(next, 50)).expect("room");
            next += 1;
        }
        Event::Message(_, b"enough") => done.send(()).expect("the check waits"),
        Event::Message(_, message) => assert_eq!(message.len(), 50),
        Event::Failed(kind) => panic!("an attempt failed: {kind}"),
        _ => {}
    });
    client.ask(move |net| {
        for _ in 0..count {
            net.connect(addr).expect("an attempt");
        }
    });
    for _ in 0..count {
        within(&dones, "the last message of a connection");
    }
    client.stop();
}
