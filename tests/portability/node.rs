//! Nodes in threads, and raw peers.

use super::*;

pub(crate) enum Event<'a> {
    Connected(ConnId),
    Message(ConnId, &'a [u8]),
    Drain,
    ReadClosed(ConnId),
    Failed(ErrorKind),
    Ended(ConnId, DisconnectReason),
    Timer(u64),
}

/// A function that a check runs inside a callback.
pub(crate) type Reaction = Box<dyn FnMut(&mut Net, Event<'_>) + Send>;

pub(crate) struct Program(pub(crate) Reaction);

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
}

pub(crate) fn config() -> Config {
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

pub(crate) fn half_open() -> Config {
    Config {
        connection: ConnectionConfig {
            allow_half_open: true,
            ..config().connection
        },
        ..config()
    }
}

pub(crate) fn shut_down_write(net: &mut Net, conn: ConnId) {
    net.close_write(conn);
}

pub(crate) fn turns(net: &Net) -> u64 {
    net.metrics().turns
}

/// A node at work in a thread.
pub(crate) struct Running {
    pub(crate) handle: Handle<Program>,
    pub(crate) stopped: Receiver<()>,
}

pub(crate) fn start(reaction: impl FnMut(&mut Net, Event<'_>) + Send + 'static) -> Running {
    start_with(config(), reaction)
}

pub(crate) fn start_with(
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

pub(crate) fn echo() -> Running {
    start(|net, event| {
        if let Event::Message(conn, message) = event {
            net.send(conn, message).expect("the queue has room");
        }
    })
}

/// Has the loop of a node do something, and waits for the answer.
pub(crate) fn ask<R: Send + 'static>(
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
    pub(crate) fn ask<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Net) -> R + Send + 'static,
    ) -> R {
        ask(&self.handle, call)
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        self.ask(|net| net.listen("127.0.0.1:0"))
            .expect("a listener")
            .addr
    }

    pub(crate) fn connect(&self, addr: SocketAddr) -> ConnId {
        self.ask(move |net| net.connect(addr)).expect("an attempt")
    }

    pub(crate) fn stop(self) {
        self.handle.shutdown(Duration::ZERO);
        within(&self.stopped, "the end of the node");
    }
}

// Help for the checks.

#[track_caller]
pub(crate) fn within<T>(receiver: &Receiver<T>, what: &str) -> T {
    match receiver.recv_timeout(BOUND) {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// The message with this number.
pub(crate) fn body(number: u32, len: usize) -> Vec<u8> {
    let mut body = vec![number as u8; len.max(4)];
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

/// A message as it is on the wire.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short message");
    [&len.to_be_bytes()[..], body].concat()
}

/// A peer that is a blocking socket.
pub(crate) fn peer(addr: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect_timeout(&addr, BOUND).expect("the node listens");
    peer.set_read_timeout(Some(BOUND)).expect("a bound");
    peer.set_write_timeout(Some(BOUND)).expect("a bound");
    peer.set_nodelay(true).expect("an option");
    peer
}

pub(crate) fn read_to_end(peer: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).map(|_| all)
}

// The checks.
