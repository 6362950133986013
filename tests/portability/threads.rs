//! Timers, handles and groups.

use super::*;

/// Timers fire in order and never early.
pub(crate) fn timers() {
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

/// Bounces messages until the flag is set, so that the loops make system calls all the time.
pub(crate) fn bouncing(quit: &Arc<AtomicBool>) -> impl FnMut(&mut Net, Event<'_>) + Send + use<> {
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
pub(crate) fn call_from_threads(handles: [Handle<Program>; 2]) {
    let (done, dones) = mpsc::channel();
    for thread in 0..4 {
        let (handle, done) = (handles[thread % 2].clone(), done.clone());
        thread::spawn(move || {
            for number in 0..1000 {
                assert_eq!(ask(&handle, move |_| number), number);
            }
            done.send(()).expect("the check waits");
        });
    }
    for _ in 0..4 {
        within(&dones, "all answers to a thread");
    }
}

pub(crate) fn handles() {
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
pub(crate) fn group() {
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
    // Wine needs some milliseconds for each.
    let rounds = if cfg!(windows) { 200 } else { 1500 };
    for number in 0..rounds {
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
