//! Connects that wait for their outcome.

use super::*;

#[test]
fn returns_after_on_connect() {
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
fn connection_ended_in_on_connect_is_an_error() {
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
fn every_address_is_tried() {
    let (listener, addr) = listening(strict(), Recorder::default());
    let listener = listener.spawn().unwrap();
    let connector = running(Recorder::default());
    let handle = connector.handle();
    let (_bound, refusing) = refusing();
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
fn each_address_has_its_share_of_the_time() {
    let (listener, addr) = listening(strict(), Recorder::default());
    let listener = listener.spawn().unwrap();
    let saturated = saturated();
    let connector = running(Recorder::default());
    let handle = connector.handle();
    let begun = Instant::now();
    let outcome = handle.connect_wait(saturated.addr, 2 * SHORT);
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
    let conn = handle.connect_wait(&[saturated.addr, addr][..], Duration::from_secs(2));
    let known = stop(connector).connected();
    assert_eq!(known, [conn.unwrap()]);
    stop(listener);
}

#[test]
fn late_connection_is_aborted() {
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
fn expired_wait_begins_nothing() {
    let mut idle = node(strict(), Recorder::default());
    let handle = idle.handle();
    let (_bound, addr) = refusing();
    let asking = thread::spawn(move || handle.connect_wait(addr, SHORT));
    assert_eq!(asking.join().unwrap(), Err(ConnectError::TimedOut));
    let _ = idle.run_for(SHORT).unwrap();
    assert_eq!(idle.handler().events, [Event::Start]);
    assert_eq!(idle.net().metrics().connects_started, 0);
}

#[test]
fn connect_returns_before_the_outcome() {
    let saturated = saturated();
    let connector = running(Recorder::default());
    let handle = connector.handle();
    let conn = handle.connect(saturated.addr).unwrap();
    let connecting = handle.ask(|_, net| net.connecting().map(|it| it.id()).collect::<Vec<_>>());
    assert_eq!(connecting.unwrap(), [conn]);
    let again = handle.connect(saturated.addr);
    assert_eq!(kind(again), Err(ErrorKind::AlreadyExists));
    stop(connector);
}
