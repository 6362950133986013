//! Start, names, metrics and the end of a node on several threads.

use super::*;

#[test]
fn invalid_options_are_errors() {
    for (shards, says) in [
        (0, "`shards` must not be zero"),
        (257, "`shards` is above 256"),
    ] {
        let started = Shards::start(Config::default(), in_turn(shards), |_, _| {
            Recorder::default()
        });
        let error = started.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
    let config = Config {
        commands: CommandQueueConfig {
            max_commands: 0,
            ..Default::default()
        },
        ..Config::default()
    };
    let started = Shards::start(config, in_turn(2), |_, _| Recorder::default());
    assert_eq!(
        started.map(|_| ()).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn maximum_number_of_shards_starts_and_stops() {
    let config = Config {
        read_buffer_bytes: 4096,
        commands: CommandQueueConfig {
            max_commands: 16,
            ..crowd_config(1000).commands
        },
        ..crowd_config(1000)
    };
    let (shards, addr) = listening(config, in_turn(256), Recorder::echo);
    let (mut peers, names) = one_each(&shards, addr);
    let last = names.len() - 1;
    assert_eq!(names[last].shard(), shard(255));
    peers[last].write_all(&frame(b"hello")).unwrap();
    assert_eq!(message(&mut peers[last]), b"hello");
    assert_eq!(stop(shards).len(), 256);
}

#[test]
fn ask_while_handlers_are_made_is_a_deadlock() {
    let mut kinds = Vec::new();
    let shards = Shards::start(crowd_config(1000), in_turn(2), |_, all| {
        let asked = all.ask_all(|_, net| net.shard());
        kinds.push(asked.map_err(|error| error.kind()));
        all.post_all(|_, _| ()).unwrap();
        Recorder::default()
    });
    assert_eq!(kinds, [Err(ErrorKind::Deadlock), Err(ErrorKind::Deadlock)]);
    let shards = shards.unwrap();
    assert_eq!(shards.handle().metrics().unwrap().commands, 6);
    stop(shards);
}

#[test]
fn name_with_a_nul_byte_is_accepted() {
    let config = Config {
        name: "a\0b".to_owned(),
        ..crowd_config(1000)
    };
    let (shards, _) = listening(config, in_turn(2), Recorder::default);
    let names = shards.handle().ask_all(|_, net| net.name().to_owned());
    assert_eq!(names.unwrap(), ["a\0b-shard-0", "a\0b-shard-1"]);
    stop(shards);
}

#[cfg(target_os = "linux")]
#[test]
fn threads_have_the_names_of_their_shards() {
    let config = Config {
        name: "called".to_owned(),
        ..crowd_config(1000)
    };
    let (shards, _) = listening(config, in_turn(3), Recorder::default);
    let names = shards
        .handle()
        .ask_all(|_, net| net.name().to_owned())
        .unwrap();
    assert_eq!(
        names,
        ["called-shard-0", "called-shard-1", "called-shard-2"]
    );
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let threads: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .collect();
    for name in names {
        assert!(threads.contains(&name), "{name} is not in {threads:?}");
    }
    stop(shards);
}

#[test]
fn metrics_are_sums_over_all_shards() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(3), Recorder::echo);
    let handle = shards.handle();
    let (mut peers, _) = one_each(&shards, addr);
    for (index, peer) in peers.iter_mut().enumerate() {
        for _ in 0..=index {
            peer.write_all(&frame(b"hello")).unwrap();
            assert_eq!(message(peer), b"hello");
        }
    }
    drop(peers);
    eventually(|| handle.metrics().unwrap().disconnected == 3);
    let each = handle
        .ask_all(|_, net| net.traffic().messages_received)
        .unwrap();
    assert_eq!(each, [1, 2, 3]);
    let sum = handle.traffic().unwrap();
    assert_eq!((sum.messages_received, sum.messages_sent), (6, 6));
    assert_eq!((sum.bytes_received, sum.bytes_sent), (54, 54));
    let metrics = handle.metrics().unwrap();
    assert_eq!((metrics.accepted, metrics.queued_bytes), (3, 0));
    assert!(metrics.max_queued_bytes >= 3 * 9 && metrics.turns > 3);
    stop(shards);
}

#[test]
fn shutdown_sends_queued_messages() {
    // A slow reader has all the time it needs.
    let config = Config {
        connection: ConnectionConfig {
            timeouts: Timeouts {
                linger: Some(PATIENCE),
                write_stall: None,
                ..Timeouts::default()
            },
            ..crowd_config(1000).connection
        },
        ..crowd_config(1000)
    };
    let (shards, addr) = listening(config, in_turn(3), Recorder::default);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    let narrow: Vec<TcpStream> = (0..3).map(|_| connect_narrow(addr)).collect();
    eventually(|| total(&handle) == 6);
    peers.extend(narrow);
    let body = Bytes::from(vec![b'x'; 10_000]);
    let all: Vec<ConnId> = connections(&handle)
        .into_iter()
        .map(|(_, conn)| conn)
        .collect();
    for _ in 0..30 {
        assert_eq!(
            handle.broadcast(all.iter().copied(), body.clone()).queued,
            6
        );
    }
    // One of them is enough.
    handle
        .ask(shard(1), |_, net| net.shutdown(PATIENCE))
        .unwrap();
    let readers: Vec<_> = peers
        .into_iter()
        .map(|mut peer| {
            thread::spawn(move || {
                for _ in 0..30 {
                    assert_eq!(message(&mut peer).len(), 10_000);
                }
                ends(&mut peer);
            })
        })
        .collect();
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
    let recorders = join(shards).unwrap();
    for (index, recorder) in recorders.iter().enumerate() {
        let mine = recorder.connected();
        assert_eq!(mine.len(), 2);
        assert!(mine.iter().all(|conn| conn.shard().index() == index));
        let is_told = |conn: &ConnId| recorder.ended(*conn) == Some(DisconnectReason::Shutdown);
        assert!(mine.iter().all(is_told));
    }
    assert_eq!(handle.send(names[0], body), Err(SendError::Closed));
    let gone = handle.metrics().unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::BrokenPipe);
    TcpStream::connect(addr).unwrap_err();
}

#[test]
fn connection_for_a_stopping_shard_is_rejected() {
    let mut config = crowd_config(1000);
    config.connection.timeouts.linger = None;
    let (shards, addr) = listening(config, in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (mut peers, _) = one_each(&shards, addr);
    // The first shard has the listener, and does not begin its shutdown yet.
    let stuck = Stuck::new(&handle, ShardId::FIRST);
    let grace = Duration::from_secs(3600);
    handle
        .ask(shard(1), move |_, net| net.shutdown(grace))
        .unwrap();
    ends(&mut peers[1]);
    // One for each shard.
    let mut late = [(); 2].map(|()| connect(addr));
    drop(stuck);
    late.iter_mut().for_each(ends);
    drop((peers, late));
    let recorders = join(shards).unwrap();
    let connected: Vec<usize> = recorders.iter().map(|it| it.connected().len()).collect();
    assert_eq!(connected, [2, 1]);
}

fn panicking() -> Recorder {
    Recorder::reacting(|_, event| {
        if let Event::Message(..) = event {
            panic!("on purpose");
        }
    })
}

#[test]
fn contained_panic_leaves_the_other_shards() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), panicking);
    let handle = shards.handle();
    let (mut peers, names) = one_each(&shards, addr);
    peers[1].write_all(&frame(b"!")).unwrap();
    ends(&mut peers[1]);
    handle.send(names[0], Bytes::from_static(b"on")).unwrap();
    assert_eq!(message(&mut peers[0]), b"on");
    assert_eq!(handle.metrics().unwrap().panics, 1);
    stop(shards);
}

#[test]
fn panic_that_unwinds_stops_all_shards() {
    let config = Config {
        on_panic: OnPanic::Unwind,
        ..crowd_config(1000)
    };
    let (shards, addr) = listening(config, in_turn(3), panicking);
    let handle = shards.handle();
    let (mut peers, _) = one_each(&shards, addr);
    peers[1].write_all(&frame(b"!")).unwrap();
    let error = join(shards).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    let text = error.to_string();
    assert!(text.contains("-shard-1 panicked: on purpose"), "{text}");
    peers.iter_mut().for_each(ends);
    handle.post(shard(0), |_, _| ()).unwrap_err();
    TcpStream::connect(addr).unwrap_err();
}

#[test]
fn drop_stops_all_shards() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(3), Recorder::default);
    let handle = shards.handle();
    let (mut peers, _) = one_each(&shards, addr);
    drop(shards);
    // It has waited for them.
    TcpStream::connect(addr).unwrap_err();
    handle.post(shard(2), |_, _| ()).unwrap_err();
    peers.iter_mut().for_each(ends);
}

#[test]
fn panic_while_handlers_are_made_starts_none() {
    let made = std::panic::catch_unwind(|| {
        Shards::start(crowd_config(1000), in_turn(2), |shard, _| {
            assert_eq!(shard, ShardId::FIRST, "on purpose");
            Recorder::default()
        })
    });
    made.map(|_| ()).unwrap_err();
}
