//! Commands arrive once, in order, and wake the loop.

use super::*;

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

/// The id of a connect that is over.
fn some_id(node: &mut TestNode) -> ConnId {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let conn = node.net().connect(nowhere).unwrap();
    node.net().abort(conn);
    raw::settle(node);
    conn
}

/// Repeats what a full queue refuses.
fn until_taken<T>(mut command: impl FnMut() -> io::Result<T>) {
    eventually(|| match command() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        result => result.map(|_| true).expect("the node is there"),
    });
}

#[test]
fn full_queue_is_an_error() {
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

#[test]
fn dropped_node_is_an_error() {
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
fn budget_bounds_the_commands_of_a_turn() {
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
fn commands_of_a_thread_keep_their_order() {
    const THREADS: usize = 4;
    const EACH: usize = 10_000;
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
    let running = node(config, Recorder::default()).spawn().unwrap();
    let handle = running.handle();
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
    // All earlier commands are executed before this one is answered.
    until_taken(|| handle.ask(nothing));
    let commands = handle.ask(|_, net| net.metrics().commands).unwrap();
    // The two questions are counted.
    assert_eq!(commands, (THREADS * EACH + 2) as u64);
    let expected: Vec<usize> = (0..EACH).collect();
    assert!(seen.lock().unwrap().iter().all(|seen| *seen == expected));
    stop(running);
}

#[test]
fn messages_and_calls_keep_their_order() {
    let (node, addr) = listening(Config::default(), Recorder::default());
    let running = node.spawn().unwrap();
    let handle = running.handle();
    let mut peer: TcpStream = raw::connect(addr);
    eventually(|| handle.ask(|_, net| net.connection_count()).unwrap() == 1);
    let find = |_: &mut Recorder, net: &mut Net| net.connections().next().map(|c| c.id());
    let conn = handle.ask(find).unwrap().unwrap();
    let mut expected: Vec<u8> = Vec::new();
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
    stop(running);
}

#[test]
fn command_wakes_a_sleeping_loop() {
    let running = running(Recorder::default());
    let handle = running.handle();
    for round in 0..300 {
        // The loop is awake in some rounds and asleep in others.
        thread::sleep(Duration::from_micros(10 * (round % 30)));
        let (sender, answer) = mpsc::channel();
        handle
            .post(move |_, _| sender.send(()).expect("the test waits"))
            .unwrap();
        answer.recv_timeout(PATIENCE).expect("it wakes up");
    }
    stop(running);
}

#[test]
fn shutdown_after_another_command_wakes() {
    let (run, nodes) = mpsc::channel::<TestNode>();
    let (stopped, stops) = mpsc::channel();
    thread::spawn(move || {
        for mut node in nodes {
            node.run().expect("nothing keeps it from waiting");
            stopped.send(()).expect("the test waits");
        }
    });
    // Many rounds, because the shutdown must arrive just when the loop looks at
    // its commands.
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
fn shutdown_passes_a_full_queue() {
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
fn send_to_an_ended_connection_is_counted() {
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
fn handle_does_not_keep_the_node_alive() {
    let (node, addr) = listening(Config::default(), Recorder::default());
    let handle = node.handle();
    drop(node);
    TcpListener::bind(addr).expect("the port is free");
    drop(handle);
}

#[test]
fn ask_during_shutdown_always_ends() {
    for _ in 0..200 {
        let mut node = node(Config::default(), Recorder::default());
        let (handle, (sender, refused)) = (node.handle(), mpsc::channel());
        // The node stops, and is not dropped.
        let (keep, _kept) = mpsc::channel();
        thread::spawn(move || {
            let result = node.run();
            keep.send((result, node)).is_ok()
        });
        let asking = handle.clone();
        thread::spawn(move || {
            while asking.ask(nothing).is_ok() {}
            sender.send(())
        });
        handle.shutdown(Duration::ZERO);
        refused
            .recv_timeout(PATIENCE)
            .expect("the last one is refused");
    }
}
