//! Slowing down what is received, or ending it.

use super::*;

#[test]
fn received_messages_keep_to_the_rate() {
    let limits = RateLimits {
        receive_messages: rate(200, 20),
        ..RateLimits::default()
    };
    let (mut node, conn, mut peer) = wire(limited(limits), Recorder::default());
    let begun = Instant::now();
    peer.write_all(&frame(b"x").repeat(120)).expect("room");
    deliver(&mut node, conn, 120);
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert!(node.net().metrics().receive_rate_waits > 0);
}

#[test]
fn peer_is_stopped_by_flow_control() {
    let limits = RateLimits {
        receive_bytes: rate(1_000, 1_000),
        ..RateLimits::default()
    };
    let config = config_with(|config| {
        config.connection.rate = limits;
        config.sockets.receive_buffer_bytes = Some(16 * 1024);
    });
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    peer.set_nonblocking(true).expect("a socket");
    let message = frame(&[7; 60_000]);
    let mut written = 0;
    // The buffers of the kernels hold a few megabytes.
    while written < 256 << 20 {
        match peer.write(&message) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        let _ = turn(&mut node, Some(Duration::ZERO));
    }
    assert!(written < 64 << 20, "{written} bytes");
    assert_eq!(node.handler().messages(conn).len(), 0);
    let turns = node.handler().turns;
    let begun = Instant::now();
    run_until([&mut node], |_| {
        begun.elapsed() > Duration::from_millis(200)
    });
    // A turn of this loop takes a millisecond, unless an event ends its wait.
    let turns = node.handler().turns - turns;
    assert!(turns < 400, "{turns} turns");
    node.net()
        .set_rate(conn, RateLimits::default())
        .expect("valid");
    deliver(&mut node, conn, 1);
}

#[test]
fn wire_bytes_of_a_session_are_counted() {
    for cipher in ciphers() {
        let limits = RateLimits {
            receive_bytes: rate(100_000, 10_000),
            ..RateLimits::default()
        };
        let (mut node, addr) = listening(limited(limits), cipher.recorder(Recorder::default()));
        let mut client = node_of(cipher.recorder(Recorder::default()));
        let there = client.net().connect(addr).expect("a connect");
        run_until([&mut client, &mut node], |[client, node]| {
            !client.handler().connected().is_empty() && !node.handler().connected().is_empty()
        });
        let conn = node.handler().connected()[0];
        let begun = Instant::now();
        for _ in 0..60 {
            client.net().send(there, &[7; 996]).expect("room");
        }
        run_until([&mut client, &mut node], |[_, node]| {
            node.handler().messages(conn).len() == 60
        });
        let took = begun.elapsed();
        // 60,000 bytes with the framing.
        assert!(
            took >= Duration::from_millis(500),
            "{}: {took:?}",
            cipher.name
        );
    }
}

fn node_of(recorder: Recorder) -> TestNode {
    node(Config::default(), recorder)
}

#[test]
fn excess_ends_the_connection() {
    let limits = RateLimits {
        receive_messages: rate(1, 10),
        on_excess: OnExcess::Disconnect,
        ..RateLimits::default()
    };
    let (mut node, addr) = listening(limited(limits), Recorder::default());
    let (conn, mut peer) = join(&mut node, addr);
    let (other, mut honest) = join(&mut node, addr);
    peer.write_all(&frame(b"x").repeat(100)).expect("room");
    honest.write_all(&frame(b"x").repeat(10)).expect("room");
    let reason = until_ended(&mut node, conn);
    assert_eq!(reason, DisconnectReason::ReceiveRateExceeded);
    assert_eq!(node.handler().messages(conn).len(), 11);
    deliver(&mut node, other, 10);
    assert_eq!(node.handler().ended(other), None);
}

#[test]
fn handler_may_limit_in_on_connect() {
    let handler = Recorder::reacting(|net, event| {
        if let Event::Connect(conn) = event {
            let limits = RateLimits {
                receive_messages: rate(100, 1),
                ..RateLimits::default()
            };
            net.set_rate(*conn, limits).expect("valid");
        }
    });
    let (mut node, addr) = listening(Config::default(), handler);
    let mut peer = connect(addr);
    peer.write_all(&frame(b"x").repeat(51)).expect("room");
    let begun = Instant::now();
    let conn = accepted(&mut node);
    deliver(&mut node, conn, 51);
    assert!(begun.elapsed() >= Duration::from_millis(500));
}
