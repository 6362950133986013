//! Reaching a node from other threads: nothing is lost, nothing waits for ever, nothing is done twice.

mod queue;

use peerloop::config::{CommandQueueConfig, TurnBudget};
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::util::{Event, PATIENCE, Recorder, TestNode, listening, node, raw, run_until};
use peerloop::{Bytes, Config, ConnId, DisconnectReason, Handle, Net, SendError, Turn};

/// A node that runs in a thread of its own until it is shut down. The receiver has it then.
fn running(node: TestNode) -> (Handle<Recorder>, mpsc::Receiver<io::Result<TestNode>>) {
    let handle = node.handle();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut node = node;
        let result = node.run();
        // Nobody listens any more only if the test has failed.
        let _ = sender.send(result.map(|()| node));
    });
    (handle, receiver)
}

/// The node, which has been told to stop.
#[track_caller]
fn stopped(node: &mpsc::Receiver<io::Result<TestNode>>) -> TestNode {
    let result = node.recv_timeout(PATIENCE).expect("it stops");
    result.expect("nothing keeps it from waiting")
}

/// Asks again and again until the answer is yes.
#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "it did not come about");
        thread::yield_now();
    }
}

fn small_queue() -> Config {
    Config {
        commands: CommandQueueConfig {
            max_commands: 3,
            ..Default::default()
        },
        read_buffer_bytes: 4096,
        ..Config::default()
    }
}

fn nothing(_: &mut Recorder, _: &mut Net) {}

fn kind<T>(result: io::Result<T>) -> Result<(), ErrorKind> {
    result.map(|_| ()).map_err(|error| error.kind())
}

#[test]
fn several_threads_listen_connect_send_and_stop() {
    let (listener, listener_stopped) = running(node(Config::default(), Recorder::echo()));
    let (connector, connector_stopped) = running(node(Config::default(), Recorder::default()));
    let addr = listener
        .ask(|_, net| net.listen("127.0.0.1:0"))
        .unwrap()
        .unwrap()
        .addr;
    let conn = connector
        .ask(move |_, net| net.connect(addr))
        .unwrap()
        .unwrap();
    eventually(|| {
        connector
            .ask(|handler, _| handler.connected().len())
            .unwrap()
            == 1
    });
    let senders: Vec<JoinHandle<()>> = (0..4)
        .map(|_| {
            let connector = connector.clone();
            thread::spawn(move || connector.send(conn, Bytes::from_static(b"hello")).unwrap())
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    let messages = move |handler: &mut Recorder, _: &mut Net| handler.messages(conn).len();
    eventually(|| connector.ask(messages).unwrap() == 4);
    let stop = listener.clone();
    thread::spawn(move || stop.shutdown(PATIENCE));
    connector.shutdown(PATIENCE);
    let mut node = stopped(&connector_stopped);
    stopped(&listener_stopped);
    assert_eq!(node.handler().messages(conn), [b"hello"; 4]);
    assert_eq!(node.net().metrics().commands_lost, 0);
}

#[test]
fn a_full_queue_is_an_error_and_not_a_wait() {
    let mut node = node(small_queue(), Recorder::default());
    let (handle, conn) = (node.handle(), some_id(&mut node));
    for _ in 0..3 {
        handle.post(nothing).unwrap();
    }
    assert_eq!(kind(handle.post(nothing)), Err(ErrorKind::WouldBlock));
    assert_eq!(kind(handle.ask(nothing)), Err(ErrorKind::WouldBlock));
    let refused = handle.send(conn, Bytes::from_static(b"x"));
    assert_eq!(refused, Err(SendError::Full));
    raw::settle(&mut node);
    assert_eq!(node.net().metrics().commands, 3, "and no more than that");
    handle.post(nothing).unwrap();
}

/// The id of a connect that is over.
fn some_id(node: &mut TestNode) -> ConnId {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let conn = node.net().connect(nowhere).unwrap();
    node.net().abort(conn);
    raw::settle(node);
    conn
}

#[test]
fn a_dropped_node_is_an_error() {
    let mut node = node(Config::default(), Recorder::default());
    let (handle, conn) = (node.handle(), some_id(&mut node));
    drop(node);
    assert_eq!(kind(handle.ask(nothing)), Err(ErrorKind::BrokenPipe));
    assert_eq!(kind(handle.post(nothing)), Err(ErrorKind::BrokenPipe));
    let refused = handle.send(conn, Bytes::from_static(b"x"));
    assert_eq!(refused, Err(SendError::Closed));
    handle.shutdown(Duration::ZERO);
}

#[test]
fn a_question_that_waits_when_the_node_is_dropped_is_an_error() {
    let mut node = node(Config::default(), Recorder::default());
    raw::settle(&mut node);
    let handle = node.handle();
    let (sender, answer) = mpsc::channel();
    thread::spawn(move || sender.send(kind(handle.ask(nothing))));
    eventually(|| node.timeout().is_some());
    drop(node);
    let answer = answer.recv_timeout(PATIENCE);
    assert_eq!(answer.expect("no wait"), Err(ErrorKind::BrokenPipe));
}

#[test]
fn a_question_whose_call_panics_is_an_error() {
    let (handle, _node) = running(node(Config::default(), Recorder::default()));
    let answer = handle.ask(|_, _| {
        // Without the message and the trace, which belong to no failure.
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert_eq!(kind(answer), Err(ErrorKind::Other));
}

#[test]
fn to_ask_from_inside_a_callback_is_a_deadlock_and_says_so() {
    let own = Arc::new(OnceLock::<Handle<Recorder>>::new());
    let (inside, answers) = (Arc::clone(&own), Arc::new(Mutex::new(Vec::new())));
    let notes = Arc::clone(&answers);
    let handler = Recorder::reacting(move |net, event| {
        if let Event::Start = event {
            net.set_timer(Duration::ZERO, 0);
        }
        let handle = inside.get().expect("it is set before the first turn");
        notes.lock().unwrap().push(kind(handle.ask(nothing)));
    });
    let (mut node, _) = listening(Config::default(), handler);
    own.set(node.handle()).expect("it is empty");
    let handle = node.handle();
    let notes = Arc::clone(&answers);
    let from_a_command = move |_: &mut Recorder, _: &mut Net| {
        notes.lock().unwrap().push(kind(handle.ask(nothing)));
    };
    node.handle().post(from_a_command).unwrap();
    let addr = node.net().listeners().next().unwrap().addr;
    let (conn, peer) = raw::join(&mut node, addr);
    drop(peer);
    raw::until_ended(&mut node, conn);
    // From on_start, on_timer, on_connect, on_disconnect and the command.
    assert_eq!(*answers.lock().unwrap(), [Err(ErrorKind::Deadlock); 5]);
}

/// Two loops that ask each other would wait without an end.
#[test]
fn asking_another_node_in_a_callback_is_an_error() {
    let (other, other_stopped) = running(node(Config::default(), Recorder::default()));
    let (reply, replies) = mpsc::channel();
    let asked = other.clone();
    let handler = Recorder::reacting(move |_, event| {
        if let Event::Start = event {
            let error = asked.ask(|_, _| ()).map_err(|error| error.kind());
            assert_eq!(error, Err(ErrorKind::Deadlock));
            let reply = reply.clone();
            let posted = asked.post(move |_, net| {
                let _ = reply.send(net.name().to_owned());
            });
            posted.expect("there is room");
        }
    });
    let mut asking = node(Config::default(), handler);
    raw::settle(&mut asking);
    let name = replies.recv_timeout(PATIENCE).expect("a post is no wait");
    other.shutdown(Duration::ZERO);
    let mut other = stopped(&other_stopped);
    assert_eq!(name, other.net().name());
}

#[test]
fn a_command_given_in_a_command_waits_for_the_next_look() {
    let mut node = node(Config::default(), Recorder::default());
    let done = Arc::new(AtomicUsize::new(0));
    fn again(handle: Handle<Recorder>, done: Arc<AtomicUsize>) {
        let next = handle.clone();
        let call = move |_: &mut Recorder, _: &mut Net| {
            if done.fetch_add(1, Ordering::Relaxed) < 4999 {
                again(next, done);
            }
        };
        handle.post(call).expect("there is room");
    }
    again(node.handle(), Arc::clone(&done));
    // A turn takes no more of them than its budget, even if each asks for another.
    let _ = node.turn(None).unwrap();
    let in_one_turn = done.load(Ordering::Relaxed);
    assert!(in_one_turn <= node.net().config().budget.commands);
    while node.turn(Some(Duration::ZERO)).unwrap() == Turn::MoreWork {}
    assert_eq!(done.load(Ordering::Relaxed), 5000);
}

#[test]
fn no_question_waits_for_ever_while_nodes_come_to_their_end() {
    for _ in 0..200 {
        let (handle, _node) = running(node(Config::default(), Recorder::default()));
        let (sender, asked_enough) = mpsc::channel();
        let asking = handle.clone();
        thread::spawn(move || {
            while asking.ask(nothing).is_ok() {}
            sender.send(())
        });
        handle.shutdown(Duration::ZERO);
        asked_enough
            .recv_timeout(PATIENCE)
            .expect("the last one is refused");
    }
}

/// Repeats what a full queue refuses.
fn until_taken<T>(mut command: impl FnMut() -> io::Result<T>) {
    eventually(|| match command() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        result => result.map(|_| true).expect("the node is there"),
    });
}

#[test]
fn a_hundred_thousand_commands_arrive_once_each_and_in_each_threads_order() {
    const THREADS: usize = 4;
    const EACH: usize = 25_000;
    let config = Config {
        commands: CommandQueueConfig {
            max_commands: 100,
            ..Default::default()
        },
        budget: TurnBudget {
            commands: 30,
            ..Default::default()
        },
        ..Config::default()
    };
    let (handle, node) = running(node(config, Recorder::default()));
    let seen = Arc::new(Mutex::new([const { Vec::new() }; THREADS]));
    let threads: [JoinHandle<()>; THREADS] = std::array::from_fn(|thread| {
        let (handle, seen) = (handle.clone(), Arc::clone(&seen));
        thread::spawn(move || {
            for number in 0..EACH {
                until_taken(|| {
                    let seen = Arc::clone(&seen);
                    handle.post(move |_, _| seen.lock().unwrap()[thread].push(number))
                });
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    // Whatever was given before is done before this is answered.
    until_taken(|| handle.ask(nothing));
    let expected: Vec<usize> = (0..EACH).collect();
    assert!(seen.lock().unwrap().iter().all(|seen| *seen == expected));
    handle.shutdown(Duration::ZERO);
    let mut node = stopped(&node);
    assert_eq!(node.net().metrics().commands, (THREADS * EACH + 1) as u64);
}

#[test]
fn messages_and_calls_of_one_thread_keep_their_order() {
    let (node, addr) = listening(Config::default(), Recorder::default());
    let (handle, node) = running(node);
    let mut peer: TcpStream = raw::connect(addr);
    eventually(|| handle.ask(|_, net| net.connection_count()).unwrap() == 1);
    let find = |_: &mut Recorder, net: &mut Net| net.connections().next().map(|c| c.id());
    let conn = handle.ask(find).unwrap().unwrap();
    let mut expected = Vec::new();
    for number in 0..300_u16 {
        let body = number.to_be_bytes();
        expected.extend([0, 0, 0, 2].iter().chain(&body));
        if number % 3 == 0 {
            until_taken(|| handle.post(move |_, net| net.send(conn, &body).expect("room")));
        } else {
            let body = Bytes::copy_from_slice(&body);
            handle.send(conn, body).expect("the queue has room");
        }
    }
    let mut received = vec![0; expected.len()];
    peer.read_exact(&mut received).unwrap();
    assert_eq!(received, expected);
    handle.shutdown(Duration::ZERO);
    stopped(&node);
}

#[test]
fn every_command_wakes_a_sleeping_loop() {
    let (handle, node) = running(node(Config::default(), Recorder::default()));
    for round in 0..300 {
        // Now it is still awake, now it falls asleep, now it sleeps.
        thread::sleep(Duration::from_micros(10 * (round % 30)));
        let (sender, answer) = mpsc::channel();
        handle
            .post(move |_, _| sender.send(()).expect("somebody waits"))
            .unwrap();
        answer.recv_timeout(PATIENCE).expect("it wakes up");
    }
    handle.shutdown(Duration::ZERO);
    stopped(&node);
}

#[test]
fn shutdown_wakes_a_loop_that_was_just_woken_for_something_else() {
    let (run, nodes) = mpsc::channel::<TestNode>();
    let (stopped, stops) = mpsc::channel();
    thread::spawn(move || {
        for mut node in nodes {
            node.run().expect("nothing keeps it from waiting");
            stopped.send(()).expect("somebody waits");
        }
    });
    // So many, because it takes a shutdown at the very moment at which the loop looks at its commands.
    for round in 0..20_000 {
        let node = node(small_queue(), Recorder::default());
        let handle = node.handle();
        run.send(node).unwrap();
        for _ in 0..round % 50 * 10 {
            std::hint::spin_loop();
        }
        handle.post(nothing).unwrap();
        for _ in 0..round % 397 {
            std::hint::spin_loop();
        }
        handle.shutdown(Duration::ZERO);
        stops.recv_timeout(PATIENCE).expect("it stops");
    }
}

#[test]
fn shutdown_is_never_refused_by_a_full_queue() {
    let (mut node, conn, _peer) = raw::wire(small_queue(), Recorder::default());
    let handle = node.handle();
    for _ in 0..3 {
        handle.post(nothing).unwrap();
    }
    kind(handle.post(nothing)).unwrap_err();
    handle.shutdown(Duration::from_secs(3600));
    handle.shutdown(Duration::ZERO);
    handle.shutdown(Duration::from_secs(3600));
    node.run().unwrap();
    assert_eq!(node.handler().ended(conn), Some(DisconnectReason::Shutdown));
    handle.shutdown(Duration::ZERO);
    assert_eq!(kind(node.turn(None)), Err(ErrorKind::BrokenPipe));
}

#[test]
fn a_message_for_a_connection_that_is_gone_is_counted() {
    let (mut node, conn, peer) = raw::wire(Config::default(), Recorder::default());
    let handle = node.handle();
    handle.send(conn, Bytes::from_static(b"in time")).unwrap();
    raw::settle(&mut node);
    drop(peer);
    run_until([&mut node], |[node]| node.handler().ended(conn).is_some());
    handle.send(conn, Bytes::from_static(b"too late")).unwrap();
    raw::settle(&mut node);
    let metrics = node.net().metrics();
    assert_eq!((metrics.commands, metrics.commands_lost), (2, 1));
}

#[test]
fn a_handle_does_not_keep_a_node_alive() {
    let (node, addr) = listening(Config::default(), Recorder::default());
    let handle = node.handle();
    drop(node);
    std::net::TcpListener::bind(addr).expect("the port is free");
    drop(handle);
}
