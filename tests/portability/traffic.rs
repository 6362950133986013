//! Messages, pauses and large transfers.

use super::*;

/// Several connections, each with one message under way: both loops sleep between any two.
pub(crate) fn round_trips() {
    const CONNECTIONS: u32 = 8;
    const ROUNDS: u32 = 150;
    let len = |round: u32| (round as usize * 977) % 60_000;
    let (done, dones) = mpsc::channel();
    let (server, mut rounds) = (echo(), HashMap::new());
    let client = start(move |net, event| match event {
        Event::Connected(conn) => net.send(conn, body(0, len(0))).expect("room"),
        Event::Message(conn, message) => {
            let round = rounds.entry(conn).or_insert(0);
            assert!(message == body(*round, len(*round)), "another message");
            *round += 1;
            match *round {
                ROUNDS => done.send(()).expect("the check waits"),
                round => net.send(conn, body(round, len(round))).expect("room"),
            }
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
pub(crate) fn pausing(done: Sender<()>) -> impl FnMut(&mut Net, Event<'_>) + Send + 'static {
    const MESSAGES: u32 = 1500;
    const SEND: u64 = 0;
    const RESUME: u64 = 1;
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
            if received == MESSAGES {
                done.send(()).expect("the check waits");
            }
        }
        (Event::Timer(SEND), Some(conn)) => {
            for _ in 0..20.min(MESSAGES - sent) {
                net.send(conn, body(sent, len(sent))).expect("room");
                sent += 1;
            }
            if sent < MESSAGES {
                net.set_timer(Duration::from_millis(1), SEND);
            }
        }
        (Event::Timer(_), Some(conn)) => net.resume(conn),
        _ => {}
    }
}

pub(crate) fn pauses() {
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
pub(crate) fn idle_pauses() {
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
pub(crate) fn pushing(
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

pub(crate) fn bulk() {
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
