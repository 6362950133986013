//! Refused connects, half-closes and resets.

use super::*;

pub(crate) fn refused() {
    let (report, reports) = mpsc::channel();
    let node = start(move |_, event| match event {
        Event::Failed(kind) => report.send(Some(kind)).expect("the check waits"),
        Event::Connected(_) => report.send(None).expect("the check waits"),
        _ => {}
    });
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a listener");
    let listeners: Vec<TcpListener> = (0..20).map(|_| bind()).collect();
    let addrs: Vec<SocketAddr> = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("an address"))
        .collect();
    drop(listeners);
    for addr in &addrs {
        node.connect(*addr);
    }
    for _ in &addrs {
        let kind = within(&reports, "the outcome of an attempt");
        assert_eq!(kind, Some(ErrorKind::ConnectionRefused));
    }
    let listener = bind();
    node.connect(listener.local_addr().expect("an address"));
    assert_eq!(within(&reports, "the outcome of an attempt"), None);
    node.stop();
}

/// The end of the stream follows the messages at once. All of them are
/// delivered first, and the answer is sent.
pub(crate) fn peer_half_close() {
    let (end, ends) = mpsc::channel();
    let mut received = HashMap::new();
    let node = start_with(half_open(), move |net, event| match event {
        Event::Message(conn, message) => *received.entry(conn).or_insert(0) += message.len(),
        Event::ReadClosed(conn) => {
            let sum = received.remove(&conn).unwrap_or(0) as u32;
            net.send(conn, &sum.to_be_bytes()).expect("room");
            net.close(conn);
        }
        Event::Ended(_, reason) => end.send(reason).expect("the check waits"),
        _ => {}
    });
    let addr = node.listen();
    // Around the sizes of the read buffer and of the read budget too.
    let sizes = [
        0, 1, 4092, 65_532, 262_139, 262_140, 262_141, 524_280, 700_000,
    ];
    for len in sizes.repeat(3) {
        let mut peer = peer(addr);
        if len > 0 {
            peer.write_all(&frame(&vec![7; len]))
                .expect("the node reads");
        }
        peer.shutdown(Shutdown::Write).expect("a connection");
        let answer = read_to_end(&mut peer).expect("an answer");
        assert_eq!(answer, frame(&(len as u32).to_be_bytes()));
        assert_eq!(within(&ends, "the end"), DisconnectReason::Local);
    }
    node.stop();
}

/// The node ends its side first, and still receives.
pub(crate) fn own_half_close() {
    let (report, reports) = mpsc::channel();
    let node = start(move |net, event| match event {
        Event::Connected(conn) => {
            net.send(conn, b"last").expect("room");
            shut_down_write(net, conn);
        }
        Event::Message(_, message) => report.send(message.len()).expect("the check waits"),
        Event::Ended(_, reason) => {
            assert_eq!(reason, DisconnectReason::PeerClosed);
            report.send(0).expect("the check waits");
        }
        _ => {}
    });
    let addr = node.listen();
    for _ in 0..20 {
        let mut peer = peer(addr);
        assert_eq!(read_to_end(&mut peer).expect("a message"), frame(b"last"));
        for len in [10, 100_000] {
            peer.write_all(&frame(&vec![1; len])).expect("room");
            assert_eq!(within(&reports, "a message after the end"), len);
        }
        drop(peer);
        assert_eq!(within(&reports, "the end"), 0);
    }
    node.stop();
}

pub(crate) fn resets() {
    let (connect, connects) = mpsc::channel();
    let (close, closes) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let node = start_with(half_open(), move |_, event| match event {
        Event::Connected(conn) => connect.send(conn).expect("the check waits"),
        Event::ReadClosed(conn) => close.send(conn).expect("the check waits"),
        Event::Ended(_, reason) => end.send(reason).expect("the check waits"),
        _ => {}
    });
    let (other, others) = mpsc::channel();
    let client = start(move |_, event| {
        if let Event::Connected(conn) = event {
            other.send(conn).expect("the check waits");
        }
    });
    let addr = node.listen();
    for (is_paused, is_half_closed) in [(false, false), (true, false), (false, true)] {
        client.connect(addr);
        let here = within(&connects, "a connection");
        let there = within(&others, "a connection");
        if is_paused {
            node.ask(move |net| net.pause(here));
        }
        if is_half_closed {
            client.ask(move |net| shut_down_write(net, there));
            assert_eq!(within(&closes, "the end of the stream"), here);
        }
        client.ask(move |net| net.abort(there));
        let reason = within(&ends, "the end after a reset");
        assert_eq!(reason, DisconnectReason::Reset);
    }
    // The node is blocked in writing to a peer that reads nothing and closes.
    let mut silent = peer(addr);
    let conn = within(&connects, "a connection");
    node.ask(move |net| while net.send(conn, &[0; 50_000]).is_ok() {});
    silent.read_exact(&mut [0]).expect("something arrives");
    drop(silent);
    assert_eq!(within(&ends, "the end"), DisconnectReason::Reset);
    // The node resets.
    let mut last = peer(addr);
    let conn = within(&connects, "a connection");
    node.ask(move |net| net.abort(conn));
    assert_eq!(within(&ends, "the end"), DisconnectReason::Local);
    let kind = last.read(&mut [0]).expect_err("a reset").kind();
    assert!(matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    ));
    client.stop();
    node.stop();
}
