//! Sends that wait for room in the queue of a connection.

use super::*;

const BODY: usize = 8 * 1024;

/// A node whose queues are small, and a peer that does not read.
fn narrow(on_full: OnFull) -> (RunningNode<Recorder>, ConnId, TcpStream) {
    narrow_with(strict(), on_full)
}

fn narrow_with(mut config: Config, on_full: OnFull) -> (RunningNode<Recorder>, ConnId, TcpStream) {
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
                // On a loaded machine the loop may not have run meanwhile.
                let queued = move |_: &mut Recorder, net: &mut Net| {
                    net.connection(conn).map_or(0, |it| it.queued_bytes())
                };
                if handle.ask(queued).unwrap() + BODY > 4 * BODY {
                    return taken;
                }
            }
        }
    }
}

/// A thread that sends, and whose command the loop has taken.
fn waiting(handle: &Handle<Recorder>, conn: ConnId, body: Vec<u8>) -> JoinHandle<io::Result<()>> {
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
fn expired_message_is_not_sent() {
    for on_full in [OnFull::Refuse, OnFull::Disconnect] {
        let (node, conn, mut peer) = narrow(on_full);
        let handle = node.handle();
        let taken = fill(&handle, conn);
        assert!(taken >= 3, "{taken}");
        let sender = handle.clone();
        let waiting = thread::spawn(move || {
            (taken + 1..taken + 11).try_for_each(|it| sender.send_wait(conn, body(it), PATIENCE))
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
fn threads_are_served_in_order() {
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
fn closing_connection_ends_the_wait() {
    let ends: [fn(&mut Net, ConnId); 4] = [Net::close, Net::close_write, Net::abort, |net, _| {
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
        let late = handle.send_wait(conn, "more", PATIENCE);
        assert_eq!(kind(late), Err(ErrorKind::NotConnected), "{index}");
        stop(node);
    }
}
