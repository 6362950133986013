//! Slow links, pauses and callbacks are not errors.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, Node, RunEnd, TimerId,
};
use socket2::{Domain, Socket, Type};

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts messages and their bytes.
#[derive(Default)]
struct Counts {
    bytes: usize,
    end: Option<DisconnectReason>,
}

impl Handler for Counts {
    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.bytes += message.len();
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.end = Some(reason);
    }
}

/// 4 MiB at 100 KB a second take longer than the timeout of a partial message.
#[test]
#[ignore = "timed: .ci/run bounds"]
fn long_message_on_a_slow_link_arrives() {
    const LEN: usize = 4 << 20;
    let mut node = Node::new(Config::default(), Counts::default()).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let sender = thread::spawn(move || {
        let mut peer = TcpStream::connect(addr).expect("it listens");
        let header = u32::try_from(LEN).expect("a length").to_be_bytes();
        peer.write_all(&header).expect("an open connection");
        for piece in vec![1; LEN].chunks(10_000) {
            if peer.write_all(piece).is_err() {
                return;
            }
            thread::sleep(100 * MS);
        }
        let _ = peer.read(&mut [0; 1]);
    });
    let arrived = node.run_until(PATIENCE, |it, _| it.bytes == LEN || it.end.is_some());
    assert_eq!(arrived.expect("it runs"), RunEnd::Done);
    assert_eq!((node.handler().bytes, node.handler().end), (LEN, None));
    drop(node);
    sender.join().expect("no panic");
}

const MESSAGE: usize = 32 * 1024;
const MESSAGES: usize = 640;

/// Streams, or pauses first.
enum Stream {
    Source {
        left: usize,
    },
    Sink {
        conn: Option<ConnId>,
        messages: usize,
        ended: mpsc::Sender<(usize, DisconnectReason)>,
    },
}

impl Handler for Stream {
    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match self {
            Self::Source { .. } => self.on_drain(net, conn),
            Self::Sink { conn: paused, .. } => {
                *paused = Some(conn);
                net.pause(conn);
                net.set_timer(Duration::from_secs(25), 0);
            }
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        let Self::Source { left } = self else { return };
        while *left > 0 && net.is_writable(conn) {
            if net.send(conn, &[1; MESSAGE]).is_err() {
                return;
            }
            *left -= 1;
        }
        if *left == 0 {
            net.close(conn);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
        if let Self::Sink { messages, .. } = self {
            *messages += 1;
        }
    }

    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        if let Self::Sink {
            conn: Some(conn), ..
        } = self
        {
            net.resume(*conn);
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        if let Self::Sink {
            messages, ended, ..
        } = self
        {
            let _ = ended.send((*messages, reason));
        }
    }
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn pause_of_25_s_loses_nothing() {
    let (ended, ends) = mpsc::channel();
    let sink = Stream::Sink {
        conn: None,
        messages: 0,
        ended,
    };
    let mut sink = Node::new(Config::default(), sink).expect("a node");
    let addr = sink.net().listen("127.0.0.1:0").expect("a listener").addr;
    let source = Stream::Source { left: MESSAGES };
    let mut source = Node::new(Config::default(), source).expect("a node");
    source.net().connect(addr).expect("no limit is reached");
    let _nodes = [sink, source].map(|node| node.spawn().expect("a thread"));
    let end = ends.recv_timeout(PATIENCE).expect("the connection ends");
    assert_eq!(end, (MESSAGES, DisconnectReason::PeerClosed));
}

/// Connects in a callback that takes long.
struct Connects {
    to: SocketAddr,
    asked: Instant,
    outcome: Option<Result<Duration, ConnectError>>,
}

const LONG: Duration = Duration::from_secs(2);

impl Handler for Connects {
    fn on_start(&mut self, net: &mut Net) {
        net.connect(self.to).expect("no limit is reached");
        thread::sleep(LONG);
        self.asked = Instant::now();
    }

    fn on_connect(&mut self, _: &mut Net, _: ConnId) {
        self.outcome = Some(Ok(self.asked.elapsed()));
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.outcome = Some(Err(error));
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// The backlog of the listener is full until 300 ms after the connect. The
/// system sends the lost SYN again after a second, which is within the timeout.
#[test]
#[ignore = "timed: .ci/run bounds"]
fn connect_after_a_long_turn_has_its_timeout() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).expect("an address");
    listener.listen(0).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let addr = addr.as_socket().expect("an IP address");
    let fills = TcpStream::connect(addr).expect("it listens");
    let accepting = thread::spawn(move || {
        thread::sleep(LONG + 300 * MS);
        [listener.accept(), listener.accept()].map(|accepted| accepted.is_ok())
    });
    let mut config = Config::default();
    config.connection.timeouts.connect = Some(1800 * MS);
    let connects = Connects {
        to: addr,
        asked: Instant::now(),
        outcome: None,
    };
    let mut node = Node::new(config, connects).expect("a node");
    let done = node.run_until(PATIENCE, |it, _| it.outcome.is_some());
    assert_eq!(done.expect("it runs"), RunEnd::Done);
    assert!(
        matches!(node.handler().outcome, Some(Ok(_))),
        "{:?}",
        node.handler().outcome
    );
    assert_eq!(accepting.join().expect("no panic"), [true; 2]);
    drop(fills);
}

/// Answers much, closes, and takes long.
struct AnswersLate(Option<DisconnectReason>);

const ANSWERS: usize = 48;
const ANSWER: usize = 64 * 1024;

impl Handler for AnswersLate {
    fn on_message(&mut self, net: &mut Net, conn: ConnId, _: &[u8]) {
        for _ in 0..ANSWERS {
            net.send(conn, &[7; ANSWER]).expect("there is room");
        }
        net.close(conn);
        thread::sleep(1200 * MS);
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.0 = Some(reason);
    }
}

#[test]
#[ignore = "timed: .ci/run bounds"]
fn close_after_a_long_turn_has_its_linger() {
    let mut config = Config::default();
    config.connection.timeouts.linger = Some(Duration::from_secs(1));
    let mut node = Node::new(config, AnswersLate(None)).expect("a node");
    let addr = node.net().listen("127.0.0.1:0").expect("a listener").addr;
    let peer = thread::spawn(move || {
        let mut peer = TcpStream::connect(addr).expect("it listens");
        peer.write_all(&[0, 0, 0, 1, b'x'])
            .expect("an open connection");
        let mut bytes = Vec::new();
        let read = peer.read_to_end(&mut bytes);
        (read.is_ok(), bytes.len())
    });
    let ended = node.run_until(PATIENCE, |it, _| it.0.is_some());
    assert_eq!(ended.expect("it runs"), RunEnd::Done);
    assert_eq!(node.handler().0, Some(DisconnectReason::Local));
    let expected = (true, ANSWERS * (4 + ANSWER));
    assert_eq!(peer.join().expect("no panic"), expected);
}
