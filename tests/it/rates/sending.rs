//! Slowing down what is sent.

use super::*;

/// Reads this many bytes from a raw peer while the node runs.
fn read_len(node: &mut TestNode, peer: &mut TcpStream, len: usize) {
    peer.set_nonblocking(true).expect("a socket");
    let (mut read, mut buffer) = (0, vec![0; 64 * 1024]);
    run_until([node], |_| {
        match peer.read(&mut buffer) {
            Ok(count) => read += count,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        read >= len
    });
}

#[test]
fn sent_bytes_keep_to_the_rate() {
    let limits = RateLimits {
        send_bytes: rate(1_000_000, 100_000),
        ..RateLimits::default()
    };
    let (mut node, conn, mut peer) = wire(limited(limits), Recorder::default());
    let begun = Instant::now();
    node.net().send(conn, vec![7; 599_996]).expect("room");
    read_len(&mut node, &mut peer, 600_000);
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert!(node.net().metrics().send_rate_waits > 0);
}

#[test]
fn sent_messages_keep_to_the_rate() {
    for cipher in ciphers() {
        let limits = RateLimits {
            send_messages: rate(100, 10),
            ..RateLimits::default()
        };
        let (mut to, addr) = listening(Config::default(), cipher.recorder(Recorder::default()));
        let mut from = node(limited(limits), cipher.recorder(Recorder::default()));
        let there = from.net().connect(addr).expect("a connect");
        run_until([&mut from, &mut to], |[from, to]| {
            !from.handler().connected().is_empty() && !to.handler().connected().is_empty()
        });
        let conn = to.handler().connected()[0];
        let begun = Instant::now();
        for len in 0..60 {
            from.net().send(there, vec![7; len * 40]).expect("room");
        }
        from.net().close(there);
        run_until([&mut from, &mut to], |[_, to]| {
            to.handler().ended(conn).is_some()
        });
        assert!(
            begun.elapsed() >= Duration::from_millis(500),
            "{}",
            cipher.name
        );
        let lens: Vec<usize> = to
            .handler()
            .messages(conn)
            .iter()
            .map(|it| it.len())
            .collect();
        assert_eq!(
            lens,
            (0..60).map(|len| len * 40).collect::<Vec<_>>(),
            "{}",
            cipher.name
        );
        assert_eq!(to.handler().ended(conn), Some(DisconnectReason::PeerClosed));
    }
}

#[test]
fn full_queue_drains_at_the_rate() {
    let config = config_with(|config| {
        config.connection.rate.send_bytes = rate(1_000_000, 10_000);
        config.connection.send_queue.low_bytes = 10_000;
        config.connection.send_queue.high_bytes = 100_000;
    });
    let (mut node, conn, mut peer) = wire(config, Recorder::default());
    while node.net().is_writable(conn) {
        node.net().send(conn, &[7; 996]).expect("room");
    }
    let begun = Instant::now();
    read_len(&mut node, &mut peer, 90_000);
    run_until([&mut node], |[node]| {
        node.handler()
            .count(|event| matches!(event, Event::Drain(_)))
            == 1
    });
    assert!(begun.elapsed() >= Duration::from_millis(80));
}

/// A full socket and missing tokens take turns.
#[test]
fn rate_and_slow_reader_lose_nothing() {
    let config = config_with(|config| {
        config.connection.rate.send_bytes = rate(20_000_000, 50_000);
        config.connection.rate.send_messages = rate(20_000, 50);
        config.sockets.send_buffer_bytes = Some(8 * 1024);
        config.connection.send_queue.max_bytes = 16 << 20;
    });
    let (mut from, there, mut to, here) = pair(config, Recorder::default(), Recorder::default());
    for number in 0..2_000_u32 {
        let body = number.to_be_bytes().repeat(1 + number as usize % 500);
        from.net().send(there, &body).expect("room");
        if number % 100 == 0 {
            to.net().pause(here);
            let _ = turn(&mut from, Some(Duration::ZERO));
            let _ = turn(&mut to, Some(Duration::ZERO));
            to.net().resume(here);
        }
    }
    run_until([&mut from, &mut to], |[_, to]| {
        to.handler().messages(here).len() == 2_000
    });
    for (number, message) in to.handler().messages(here).iter().enumerate() {
        assert_eq!(message[..4], (number as u32).to_be_bytes());
    }
}
