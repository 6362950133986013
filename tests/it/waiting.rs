//! Waiting for a loop from another thread: each wait ends, and what was given up is
//! not done.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, raw, run_until};
use peerloop::config::{OnFull, OnPanic, SendQueueConfig};
use peerloop::{
    Config, ConnId, ConnectError, DisconnectReason, Handle, Handler, Net, Node, RunningNode,
};
use socket2::{Domain, Socket, Type};

/// Long enough to be sure that something has begun that needs no peer.
const SHORT: Duration = Duration::from_millis(50);

fn strict() -> Config {
    Config {
        on_panic: OnPanic::Unwind,
        ..Config::default()
    }
}

fn running(handler: Recorder) -> RunningNode<Recorder> {
    node(strict(), handler).spawn().expect("a thread")
}

fn kind<T>(result: io::Result<T>) -> Result<(), ErrorKind> {
    result.map(|_| ()).map_err(|error| error.kind())
}

fn is_refused(outcome: Result<ConnId, ConnectError>) -> bool {
    matches!(outcome, Err(ConnectError::Io(error)) if error.kind == ErrorKind::ConnectionRefused)
}

/// Stops the node, and returns its handler.
fn stop(node: RunningNode<Recorder>) -> Recorder {
    node.shutdown(Duration::ZERO);
    node.join().expect("it stops")
}

/// An address where attempts to connect are not answered, and the sockets that keep it
/// so.
fn silent() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    listener.bind(&any.into()).expect("an address");
    listener.listen(1).expect("a listener");
    let addr = listener.local_addr().expect("an address");
    let addr = addr.as_socket().expect("an address of IP");
    let mut sockets = vec![listener];
    for _ in 0..8 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let _ = socket.connect(&addr.into());
        sockets.push(socket);
    }
    (addr, sockets)
}

/// An address that refuses.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

mod connecting {
    use super::*;

    #[test]
    fn returns_after_on_connect_and_the_connection_carries_messages() {
        let (listener, addr) = listening(strict(), Recorder::echo());
        let listener = listener.spawn().unwrap();
        let connector = running(Recorder::default());
        let handle = connector.handle();
        for _ in 0..20 {
            let conn = handle
                .connect_wait(("127.0.0.1", addr.port()), PATIENCE)
                .unwrap();
            let known = handle.ask(|handler, _| handler.connected()).unwrap();
            assert!(known.contains(&conn), "on_connect has been called");
            handle.send(conn, "hello").unwrap();
            handle.ask(move |_, net| net.close(conn)).unwrap();
            let end = Instant::now() + PATIENCE;
            while handle.ask(move |it, _| it.ended(conn)).unwrap().is_none() {
                assert!(Instant::now() < end, "it is not closed");
            }
        }
        stop(connector);
        stop(listener);
    }

    /// A handler for which a connection ends inside `on_connect`.
    struct Fickle {
        panics: bool,
    }

    impl Handler for Fickle {
        fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
            assert!(!self.panics, "on purpose");
            net.abort(conn);
        }

        fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
    }

    #[test]
    fn is_an_error_for_a_connection_that_ended_in_on_connect() {
        let (listener, addr) = listening(strict(), Recorder::default());
        let listener = listener.spawn().unwrap();
        for (panics, error) in [
            (false, ConnectError::Cancelled),
            (true, ConnectError::HandlerPanicked),
        ] {
            let connector = Node::new(Config::default(), Fickle { panics }).unwrap();
            let connector = connector.spawn().unwrap();
            let outcome = connector.handle().connect_wait(addr, PATIENCE);
            assert_eq!(outcome, Err(error));
            connector.shutdown(Duration::ZERO);
            connector.join().unwrap();
        }
        stop(listener);
    }

    #[test]
    fn tries_every_address_and_says_why_the_last_failed() {
        let (listener, addr) = listening(strict(), Recorder::default());
        let listener = listener.spawn().unwrap();
        let connector = running(Recorder::default());
        let handle = connector.handle();
        let refusing = refusing();
        handle
            .connect_wait(&[refusing, addr][..], PATIENCE)
            .unwrap();
        let zero = SocketAddr::from(([127, 0, 0, 1], 0));
        let refused = handle.connect_wait(&[zero, refusing][..], PATIENCE);
        assert!(is_refused(refused));
        for (addrs, error) in [
            (vec![refusing, zero], ConnectError::InvalidAddress),
            (vec![], ConnectError::Unresolved),
        ] {
            assert_eq!(handle.connect_wait(&addrs[..], PATIENCE), Err(error));
        }
        let nonsense = handle.connect_wait("there is no port", PATIENCE);
        assert_eq!(nonsense, Err(ConnectError::Unresolved));
        let failed = |event: &Event| matches!(event, Event::ConnectFailed(..));
        assert_eq!(stop(connector).count(failed), 3, "and they were reported");
        stop(listener);
    }

    #[test]
    fn an_attempt_that_takes_too_long_is_aborted_and_the_next_address_has_its_share() {
        let (listener, addr) = listening(strict(), Recorder::default());
        let listener = listener.spawn().unwrap();
        let (silent, _sockets) = silent();
        let connector = running(Recorder::default());
        let handle = connector.handle();
        let begun = Instant::now();
        let outcome = handle.connect_wait(silent, 2 * SHORT);
        assert_eq!(outcome, Err(ConnectError::TimedOut));
        assert!(begun.elapsed() >= 2 * SHORT);
        let end = Instant::now() + PATIENCE;
        let cancelled = |handler: &mut Recorder, net: &mut Net| {
            let cancelled =
                |event: &Event| matches!(event, Event::ConnectFailed(_, ConnectError::Cancelled));
            handler.count(cancelled) == 1 && net.connecting_count() == 0
        };
        while !handle.ask(cancelled).unwrap() {
            assert!(Instant::now() < end, "it is not aborted");
        }
        // Half of the time is left for the second.
        let conn = handle.connect_wait(&[silent, addr][..], Duration::from_secs(2));
        let known = stop(connector).connected();
        assert_eq!(known, [conn.unwrap()]);
        stop(listener);
    }

    #[test]
    fn a_connection_that_is_established_too_late_is_aborted() {
        let (listener, addr) = listening(strict(), Recorder::default());
        let listener = listener.spawn().unwrap();
        let (go_on, wait) = mpsc::channel::<()>();
        let connector = running(Recorder::reacting(move |_, event| {
            if let Event::Connect(_) = event {
                wait.recv_timeout(PATIENCE).expect("the test goes on");
            }
        }));
        let handle = connector.handle();
        let outcome = handle.connect_wait(addr, 2 * SHORT);
        assert_eq!(outcome, Err(ConnectError::TimedOut));
        go_on.send(()).unwrap();
        let ends = |handler: &mut Recorder, _: &mut Net| {
            handler
                .connected()
                .first()
                .and_then(|it| handler.ended(*it))
        };
        let end = Instant::now() + PATIENCE;
        while handle.ask(ends).unwrap() != Some(DisconnectReason::Local) {
            assert!(Instant::now() < end, "it is not aborted");
        }
        stop(connector);
        stop(listener);
    }

    #[test]
    fn begins_nothing_on_a_node_that_was_not_run_in_time() {
        let mut idle = node(strict(), Recorder::default());
        let handle = idle.handle();
        let addr = refusing();
        let asking = thread::spawn(move || handle.connect_wait(addr, SHORT));
        assert_eq!(asking.join().unwrap(), Err(ConnectError::TimedOut));
        let _ = idle.run_for(SHORT).unwrap();
        assert_eq!(idle.handler().events, [Event::Start]);
        assert_eq!(idle.net().metrics().connects_started, 0);
    }

    #[test]
    fn connect_returns_the_id_before_the_outcome() {
        let (silent, _sockets) = silent();
        let connector = running(Recorder::default());
        let handle = connector.handle();
        let conn = handle.connect(silent).unwrap();
        let connecting =
            handle.ask(|_, net| net.connecting().map(|it| it.id()).collect::<Vec<_>>());
        assert_eq!(connecting.unwrap(), [conn]);
        let again = handle.connect(silent);
        assert_eq!(kind(again), Err(ErrorKind::AlreadyExists));
        stop(connector);
    }
}

mod sending {
    use super::*;

    const BODY: usize = 8 * 1024;

    /// A node whose queues are small, and a peer that does not read.
    fn narrow(on_full: OnFull) -> (RunningNode<Recorder>, ConnId, TcpStream) {
        narrow_with(strict(), on_full)
    }

    fn narrow_with(
        mut config: Config,
        on_full: OnFull,
    ) -> (RunningNode<Recorder>, ConnId, TcpStream) {
        config.sockets.send_buffer_bytes = Some(8 * 1024);
        config.connection.send_queue = SendQueueConfig {
            low_bytes: BODY,
            high_bytes: 4 * BODY,
            max_bytes: 4 * BODY,
            on_full,
        };
        let (mut node, addr) = listening(config, Recorder::default());
        let peer = raw::connect_narrow(addr);
        let conn = raw::accepted(&mut node);
        (node.spawn().unwrap(), conn, peer)
    }

    fn body(number: u8) -> Vec<u8> {
        vec![number; BODY]
    }

    /// Fills the queue by waiting sends; how many messages were taken.
    fn fill(handle: &Handle<Recorder>, conn: ConnId) -> u8 {
        let mut taken = 0;
        loop {
            match handle.send_wait(conn, body(taken), 2 * SHORT) {
                Ok(()) => taken += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                    return taken;
                }
            }
        }
    }

    /// A thread that sends, and whose command the loop has taken.
    fn waiting(
        handle: &Handle<Recorder>,
        conn: ConnId,
        body: Vec<u8>,
    ) -> JoinHandle<io::Result<()>> {
        let commands = || handle.ask(|_, net| net.metrics().commands).unwrap();
        let before = commands();
        let sender = handle.clone();
        let waiting = thread::spawn(move || sender.send_wait(conn, body, PATIENCE));
        let end = Instant::now() + PATIENCE;
        for asked in 1.. {
            if commands() > before + asked {
                break;
            }
            assert!(Instant::now() < end, "it does not ask");
            thread::yield_now();
        }
        waiting
    }

    fn read(peer: &mut TcpStream) -> u8 {
        let mut frame = vec![0; 4 + BODY];
        peer.read_exact(&mut frame).unwrap();
        assert!(frame[4..].iter().all(|byte| *byte == frame[4]));
        frame[4]
    }

    #[test]
    fn waits_for_room_and_sends_nothing_after_its_time() {
        for on_full in [OnFull::Refuse, OnFull::Disconnect] {
            let (node, conn, mut peer) = narrow(on_full);
            let handle = node.handle();
            let taken = fill(&handle, conn);
            assert!(taken >= 3, "{taken}");
            let sender = handle.clone();
            let waiting = thread::spawn(move || {
                (taken + 1..taken + 11)
                    .try_for_each(|it| sender.send_wait(conn, body(it), PATIENCE))
            });
            // The message that was not taken in time is the only one missing.
            for number in (0..taken + 11).filter(|number| *number != taken) {
                assert_eq!(read(&mut peer), number);
            }
            waiting.join().unwrap().unwrap();
            assert_eq!(stop(node).ended(conn), Some(DisconnectReason::Shutdown));
        }
    }

    #[test]
    fn several_threads_are_served_in_their_order() {
        let (node, conn, mut peer) = narrow(OnFull::Refuse);
        let handle = node.handle();
        let taken = fill(&handle, conn);
        let mut threads: Vec<_> = (taken..taken + 5)
            .map(|number| waiting(&handle, conn, body(number)))
            .collect();
        // There is room for this one, but it is not the first.
        threads.push(waiting(&handle, conn, b"last".to_vec()));
        let received: Vec<u8> = (0..taken + 5).map(|_| read(&mut peer)).collect();
        assert_eq!(received, (0..taken + 5).collect::<Vec<_>>());
        let mut frame = [0; 8];
        peer.read_exact(&mut frame).unwrap();
        assert_eq!(frame, *b"\0\0\0\x04last");
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
        stop(node);
    }

    #[test]
    fn is_refused_when_the_connection_takes_no_more() {
        let ends: [fn(&mut Net, ConnId); 4] =
            [Net::close, Net::close_write, Net::abort, |net, _| {
                net.shutdown(2 * PATIENCE)
            }];
        for (index, end) in ends.into_iter().enumerate() {
            let mut config = strict();
            // No timeout ends the connection before the wait is over.
            config.connection.timeouts.linger = None;
            config.connection.timeouts.write_stall = None;
            let (node, conn, _peer) = narrow_with(config, OnFull::Refuse);
            let handle = node.handle();
            fill(&handle, conn);
            // The kernels may take a message more. This one needs an empty queue.
            let waiting = waiting(&handle, conn, vec![0; 4 * BODY]);
            handle.ask(move |_, net| end(net, conn)).expect("an answer");
            let outcome = kind(waiting.join().unwrap());
            assert_eq!(outcome, Err(ErrorKind::NotConnected), "{index}");
            stop(node);
        }
    }

    #[test]
    fn ends_with_the_connection() {
        let (node, conn, _peer) = narrow(OnFull::Refuse);
        let handle = node.handle();
        fill(&handle, conn);
        let waiting = waiting(&handle, conn, vec![0; 4 * BODY]);
        handle.post(move |_, net| net.abort(conn)).unwrap();
        assert_eq!(kind(waiting.join().unwrap()), Err(ErrorKind::NotConnected));
        let late = handle.send_wait(conn, "more", PATIENCE);
        assert_eq!(kind(late), Err(ErrorKind::NotConnected));
        stop(node);
    }
}

#[test]
fn a_call_that_was_not_begun_in_time_never_runs() {
    let mut idle = node(strict(), Recorder::default());
    let runs = Arc::new(AtomicUsize::new(0));
    let (handle, counted) = (idle.handle(), Arc::clone(&runs));
    let asked = handle.ask_within(SHORT, move |_, _| counted.fetch_add(1, Ordering::Relaxed));
    assert_eq!(kind(asked), Err(ErrorKind::TimedOut));
    let _ = idle.run_for(SHORT).unwrap();
    assert_eq!(idle.net().metrics().commands, 1);
    assert_eq!(runs.load(Ordering::Relaxed), 0);
}

#[test]
fn a_call_that_was_begun_runs_to_its_end() {
    let running = running(Recorder::default());
    let (go_on, wait) = mpsc::channel::<()>();
    let (ended, end) = mpsc::channel();
    let asked = running.handle().ask_within(SHORT, move |_, _| {
        wait.recv_timeout(PATIENCE).expect("the test goes on");
        ended.send(()).expect("the test waits");
    });
    assert_eq!(kind(asked), Err(ErrorKind::TimedOut));
    go_on.send(()).unwrap();
    end.recv_timeout(PATIENCE).expect("it runs to its end");
    stop(running);
}

#[test]
fn every_wait_ends_when_the_node_is_dropped() {
    let (silent, _sockets) = silent();
    let mut node = node(strict(), Recorder::default());
    let handle = node.handle();
    let (begun, begin) = mpsc::channel();
    let connecting = {
        let handle = handle.clone();
        thread::spawn(move || handle.connect_wait(silent, PATIENCE))
    };
    run_until([&mut node], |[node]| node.net().connecting_count() == 1);
    let asking = {
        let handle = handle.clone();
        thread::spawn(move || {
            begun.send(()).expect("the test waits");
            handle.ask_within(PATIENCE, |_, _| ())
        })
    };
    begin.recv_timeout(PATIENCE).unwrap();
    let waits = Instant::now();
    drop(node);
    assert_eq!(connecting.join().unwrap(), Err(ConnectError::NodeStopped));
    assert_eq!(kind(asking.join().unwrap()), Err(ErrorKind::BrokenPipe));
    let late = handle.connect_wait(silent, PATIENCE);
    assert_eq!(late, Err(ConnectError::NodeStopped));
    let any = ConnId::from_bits(1 << 32).unwrap();
    let sent = handle.send_wait(any, "late", PATIENCE);
    assert_eq!(kind(sent), Err(ErrorKind::BrokenPipe));
    assert!(waits.elapsed() < PATIENCE);
}

#[test]
fn a_wait_for_a_full_command_queue_ends_in_time_and_with_room() {
    let mut config = strict();
    config.commands.max_commands = 1;
    let mut node = node(config, Recorder::default());
    let handle = node.handle();
    handle.post(|_, _| ()).unwrap();
    let addr = refusing();
    let outcome = handle.connect_wait(addr, SHORT);
    assert_eq!(outcome, Err(ConnectError::TimedOut));
    let asking = thread::spawn(move || handle.connect_wait(addr, PATIENCE));
    run_until([&mut node], |_| asking.is_finished());
    assert!(is_refused(asking.join().unwrap()));
}

#[test]
fn waiting_inside_a_callback_or_between_turns_is_an_error() {
    let own = Arc::new(OnceLock::<Handle<Recorder>>::new());
    let errors = Arc::new(Mutex::new(Vec::new()));
    let try_all = {
        let (own, errors) = (Arc::clone(&own), Arc::clone(&errors));
        move |conn: ConnId| {
            let handle = own.get().expect("it is set");
            let addr = SocketAddr::from(([127, 0, 0, 1], 1));
            let connected = handle.connect_wait(addr, PATIENCE).map_err(io::Error::from);
            errors.lock().unwrap().extend([
                kind(handle.ask(|_, _| ())),
                kind(handle.ask_within(PATIENCE, |_, _| ())),
                kind(handle.connect(addr)),
                kind(connected),
                kind(handle.send_wait(conn, "x", PATIENCE)),
            ]);
            handle.post(|_, _| ()).expect("it never waits");
        }
    };
    let inside = try_all.clone();
    let (mut node, addr): (TestNode, _) = listening(
        strict(),
        Recorder::reacting(move |_, event| {
            if let Event::Connect(conn) = event {
                inside(*conn);
            }
        }),
    );
    own.set(node.handle()).expect("it is empty");
    let (conn, _peer) = raw::join(&mut node, addr);
    node.with(|_, _| try_all(conn));
    let _ = node.run_until(Duration::ZERO, |_, _| {
        try_all(conn);
        true
    });
    assert_eq!(*errors.lock().unwrap(), [Err(ErrorKind::Deadlock); 15]);
    // A node inside of a callback of which another one is turned is meant too.
    let (outer, handle) = (Node::new(strict(), Recorder::default()), node.handle());
    let asked = node.with(|_, _| {
        let mut outer = outer.expect("a node");
        outer.with(|_, _| kind(handle.ask(|_, _| ())))
    });
    assert_eq!(asked, Err(ErrorKind::Deadlock));
}
