//! Waits for an answer of the loop: each wait ends, and an expired call does not run.

use super::*;

#[test]
fn drop_ends_an_ask() {
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
fn ask_that_panics_is_an_error() {
    let node = node(Config::default(), Recorder::default());
    let running = node.spawn().unwrap();
    let answer = running.handle().ask(|_, _| {
        // Without the message and the trace, which belong to no failure.
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert_eq!(kind(answer), Err(ErrorKind::Other));
}

#[test]
fn expired_call_never_runs() {
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
fn begun_call_runs_to_its_end() {
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
fn drop_ends_every_wait() {
    let saturated = saturated();
    let mut node = node(strict(), Recorder::default());
    let handle = node.handle();
    let (begun, begin) = mpsc::channel();
    let connecting = {
        let handle = handle.clone();
        thread::spawn(move || handle.connect_wait(saturated.addr, PATIENCE))
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
    let late = handle.connect_wait(saturated.addr, PATIENCE);
    assert_eq!(late, Err(ConnectError::NodeStopped));
    let any = ConnId::from_bits(1 << 32).unwrap();
    let sent = handle.send_wait(any, "late", PATIENCE);
    assert_eq!(kind(sent), Err(ErrorKind::BrokenPipe));
    assert!(waits.elapsed() < PATIENCE);
}

#[test]
fn wait_for_a_full_queue_ends() {
    let mut config = strict();
    config.commands.max_commands = 1;
    let mut node = node(config, Recorder::default());
    let handle = node.handle();
    handle.post(|_, _| ()).unwrap();
    let (_bound, addr) = refusing();
    let outcome = handle.connect_wait(addr, SHORT);
    assert_eq!(outcome, Err(ConnectError::TimedOut));
    let asking = thread::spawn(move || handle.connect_wait(addr, PATIENCE));
    run_until([&mut node], |_| asking.is_finished());
    assert!(is_refused(asking.join().unwrap()));
}

#[test]
fn waiting_inside_a_callback_is_a_deadlock() {
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
    // The same holds while another node is used inside the call.
    let (outer, handle) = (Node::new(strict(), Recorder::default()), node.handle());
    let asked = node.with(|_, _| {
        let mut outer = outer.expect("a node");
        outer.with(|_, _| kind(handle.ask(|_, _| ())))
    });
    assert_eq!(asked, Err(ErrorKind::Deadlock));
}

/// Two loops that ask each other would wait forever.
#[test]
fn ask_of_another_node_is_a_deadlock() {
    let other = running(Recorder::default());
    let (reply, replies) = mpsc::channel();
    let asked = other.handle();
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
    let name = replies
        .recv_timeout(PATIENCE)
        .expect("a post does not wait");
    let expected = other.handle().ask(|_, net| net.name().to_owned());
    assert_eq!(name, expected.unwrap());
    stop(other);
}
