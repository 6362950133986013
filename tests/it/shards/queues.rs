//! Command queues between shards, and waits for another shard.

use peerloop::config::SendQueueConfig;

use super::*;

/// A full queue of another shard is an error for a message; a close waits for room.
#[test]
fn full_queue_is_an_error_for_a_message() {
    let config = Config {
        commands: CommandQueueConfig {
            max_commands: 4,
            ..crowd_config(1000).commands
        },
        ..crowd_config(1000)
    };
    let (shards, addr) = listening(config, in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    let conn = names[1];
    let stuck = Stuck::new(&handle, shard(1));
    let outside = handle.clone();
    let fill = move |_: &mut Recorder, net: &mut Net| {
        for _ in 0..4 {
            net.send(conn, b"taken").unwrap();
        }
        assert_eq!(net.send(conn, b"refused"), Err(SendError::Full));
        assert_eq!(net.broadcast([conn], b"refused").full, 1);
        assert_eq!(outside.send(conn, Bytes::new()), Err(SendError::Full));
        let refused = outside.post(shard(1), |_, _| ()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        net.close(conn);
        // Now the queue has room. The close still comes first: the peer does
        // not receive a later message.
        drop(stuck);
        let (seen, drained) = mpsc::channel();
        eventually(|| {
            let seen = seen.clone();
            let post = outside.post(shard(1), move |_, _| seen.send(()).unwrap());
            post.is_ok()
        });
        drained.recv_timeout(PATIENCE).unwrap();
        let _ = net.send(conn, b"overtakes");
    };
    handle.ask(shard(0), fill).unwrap();
    for _ in 0..4 {
        assert_eq!(message(&mut peers[1]), b"taken");
    }
    ends(&mut peers[1]);
    peers.remove(1);
    eventually(|| total(&handle) == 1);
    stop(shards);
}

/// A close waits for room in the queue of one shard. A later message to this
/// shard does not overtake it. A close on another shard is executed at once.
#[test]
fn waiting_close_delays_its_own_shard_only() {
    let config = Config {
        commands: CommandQueueConfig {
            max_commands: 4,
            ..crowd_config(1000).commands
        },
        ..crowd_config(1000)
    };
    let (shards, addr) = listening(config, in_turn(3), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    let (near, far) = (names[1], names[2]);
    let stuck = Stuck::new(&handle, shard(1));
    let mut elsewhere = peers.remove(2);
    let mut peer = peers.remove(1);
    let all = move |_: &mut Recorder, net: &mut Net| {
        for _ in 0..4 {
            net.send(near, b"taken").unwrap();
        }
        net.close_write(near);
        net.close(far);
        ends(&mut elsewhere);
        drop(stuck);
        for _ in 0..4 {
            assert_eq!(message(&mut peer), b"taken");
        }
        let _ = net.send(near, b"too late");
        ends(&mut peer);
    };
    handle.ask(shard(0), all).unwrap();
    stop(shards);
}

/// Two shards send to each other more than their queues hold. Both make
/// progress, and every message that was taken arrives.
#[test]
fn mutual_flood_makes_progress() {
    const MESSAGES: usize = 20_000;
    let config = Config {
        commands: CommandQueueConfig {
            max_commands: 16,
            ..crowd_config(1000).commands
        },
        ..crowd_config(1000)
    };
    let (shards, addr) = listening(config, in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    for (index, conn) in names.iter().enumerate() {
        let other = names[1 - index];
        let forward = move |recorder: &mut Recorder, _: &mut Net| {
            recorder.reaction = Box::new(move |net, event| {
                if let Event::Message(..) = event {
                    for _ in 0..20 {
                        let _ = net.send(other, b"flood");
                    }
                }
            });
        };
        handle.ask(conn.shard(), forward).unwrap();
    }
    let writers: Vec<_> = peers
        .iter()
        .map(|peer| {
            let mut peer = peer.try_clone().unwrap();
            thread::spawn(move || {
                let block = frame(b"go").repeat(100);
                (0..MESSAGES / 100).for_each(|_| peer.write_all(&block).unwrap());
                peer.shutdown(std::net::Shutdown::Write).unwrap();
            })
        })
        .collect();
    let readers: Vec<_> = peers
        .drain(..)
        .map(|mut peer| {
            thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                all.len() / frame(b"flood").len()
            })
        })
        .collect();
    writers
        .into_iter()
        .for_each(|writer| writer.join().unwrap());
    let arrived: usize = readers
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .sum();
    // The queues may still be full.
    let metrics = eventually_some(|| handle.metrics().ok());
    let traffic = eventually_some(|| handle.traffic().ok());
    let offered = 2 * MESSAGES as u64 * 20;
    assert_eq!(traffic.messages_received, 2 * MESSAGES as u64);
    assert_eq!(
        arrived as u64 + metrics.sends_refused + metrics.commands_lost,
        offered
    );
    stop(shards);
}

#[test]
fn waiting_inside_a_shard_is_a_deadlock() {
    let (shards, _) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let inside = handle.clone();
    let ask = move |_: &mut Recorder, _: &mut Net| {
        let kind = |error: io::Error| error.kind();
        let [a, b] = [0, 1].map(|i| inside.ask(shard(i), |_, _| ()).map_err(kind));
        let all = inside.metrics().map(|_| ()).map_err(kind);
        let listen = inside.listen("127.0.0.1:0").map(|_| ()).map_err(kind);
        let within = inside.ask_within(shard(1), PATIENCE, |_, _| ());
        let connected = inside.connect_wait("127.0.0.1:1", PATIENCE);
        let any = ConnId::from_bits(1 << 32).unwrap();
        let sent = inside.send_wait(any, "x", PATIENCE);
        let connected = connected.map(|_| ()).map_err(|error| kind(error.into()));
        let waits = [within.map_err(kind), connected, sent.map_err(kind)];
        ([a, b, all, listen], waits)
    };
    assert_eq!(
        handle.ask(shard(0), ask).unwrap(),
        ([Err(ErrorKind::Deadlock); 4], [Err(ErrorKind::Deadlock); 3])
    );
    let none = handle.ask(shard(7), |_, _| ()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    stop(shards);
}

#[test]
fn connect_wait_uses_the_least_loaded_shards() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(1), Recorder::default);
    let config = Config {
        allow_duplicates: true,
        ..crowd_config(1000)
    };
    let others = Shards::start(config, in_turn(3), |_, _| Recorder::default());
    let (others, mut made) = (others.unwrap(), HashSet::new());
    let handle = others.handle();
    for _ in 0..3 {
        let conn = handle.connect_wait(addr, PATIENCE).unwrap();
        let connected = handle.ask(conn.shard(), |handler, _| handler.connected());
        assert_eq!(connected.unwrap(), [conn], "on_connect has been called");
        made.insert(conn.shard());
    }
    assert_eq!(made.len(), 3);
    stop(others);
    stop(shards);
}

#[test]
fn send_wait_works_on_every_shard() {
    const BODY: usize = 8 * 1024;
    let mut config = crowd_config(1000);
    config.sockets.send_buffer_bytes = Some(BODY);
    config.connection.send_queue = SendQueueConfig {
        low_bytes: BODY,
        high_bytes: 4 * BODY,
        max_bytes: 4 * BODY,
        ..Default::default()
    };
    let (shards, addr) = listening(config, in_turn(2), Recorder::default);
    let handle = shards.handle();
    let mut peers = [connect_narrow(addr), connect_narrow(addr)];
    eventually(|| counts(&handle) == [1, 1]);
    let all = connections(&handle);
    for peer in &mut peers {
        let local = peer.local_addr().unwrap();
        let (_, conn) = *all.iter().find(|(of, _)| *of == local).unwrap();
        let sender = handle.clone();
        let sending = thread::spawn(move || {
            (0..50).try_for_each(|it| sender.send_wait(conn, vec![it; BODY], PATIENCE))
        });
        for number in 0..50 {
            assert_eq!(message(peer), vec![number; BODY]);
        }
        sending.join().unwrap().unwrap();
    }
    let metrics = handle.metrics().unwrap();
    assert_eq!(metrics.commands_lost, 0);
    stop(shards);
}

#[test]
fn ask_within_ends_in_time() {
    let (shards, _) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (go_on, wait) = mpsc::channel::<()>();
    let busy = move |_: &mut Recorder, _: &mut Net| {
        wait.recv_timeout(PATIENCE).expect("the test goes on");
    };
    handle.post(shard(1), busy).unwrap();
    let short = Duration::from_millis(20);
    let asked = handle.ask_within(shard(1), short, move |_, net| net.shutdown(short));
    assert_eq!(asked.unwrap_err().kind(), ErrorKind::TimedOut);
    handle.ask_within(shard(0), PATIENCE, |_, _| ()).unwrap();
    go_on.send(()).unwrap();
    assert_eq!(
        handle.ask(shard(1), |_, net| net.shard()).unwrap(),
        shard(1)
    );
    let none = handle.ask_within(shard(7), short, |_, _| ()).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    stop(shards);
}
