//! The assignment of connections to shards.

use super::*;

/// The number of connections on their way to a shard is bounded, because it may
/// be busy. Further connections stay on the shard that accepts.
#[test]
fn busy_shard_gets_a_bounded_number() {
    let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
    let handle = shards.handle();
    let (release, released) = mpsc::channel::<()>();
    let wait = move |_: &mut Recorder, _: &mut Net| {
        released.recv_timeout(PATIENCE).unwrap();
    };
    handle.post(shard(1), wait).unwrap();
    let _peers: Vec<TcpStream> = (0..600).map(|_| connect(addr)).collect();
    let of_first = || {
        let count = |_: &mut Recorder, net: &mut Net| net.connection_count();
        handle.ask(shard(0), count).unwrap()
    };
    eventually(|| of_first() == 600 - 256);
    release.send(()).unwrap();
    eventually(|| total(&handle) == 600);
    assert_eq!(counts(&handle), [600 - 256, 256]);
    // They were counted off again.
    let _more: Vec<TcpStream> = (0..300).map(|_| connect(addr)).collect();
    eventually(|| total(&handle) == 900);
    assert_eq!(counts(&handle), [600 - 256 + 150, 256 + 150]);
    stop(shards);
}

#[test]
fn fewest_connections_balances_the_shards() {
    let each = options(4, Placement::FewestConnections);
    let (shards, addr) = listening(crowd_config(1000), each, Recorder::default);
    let handle = shards.handle();
    let peers: Vec<TcpStream> = (0..80).map(|_| connect(addr)).collect();
    eventually(|| total(&handle) == 80);
    assert_eq!(counts(&handle), [20; 4]);
    // The peers of two shards disconnect. New connections are assigned to these
    // two shards.
    let gone = [shard(1), shard(2)];
    let is_gone = |peer: &TcpStream| {
        let addr = peer.local_addr().unwrap();
        let all = connections(&handle);
        all.iter()
            .any(|(of, conn)| *of == addr && gone.contains(&conn.shard()))
    };
    let (leaving, staying): (Vec<_>, Vec<_>) = peers.into_iter().partition(is_gone);
    drop(leaving);
    eventually(|| counts(&handle) == [20, 0, 0, 20]);
    let quiet = |_: &mut Recorder, net: &mut Net| net.now();
    handle.ask_all(quiet).unwrap();
    let _more: Vec<TcpStream> = (0..40).map(|_| connect(addr)).collect();
    eventually(|| total(&handle) == 80);
    assert_eq!(counts(&handle), [20; 4]);
    drop(staying);
    stop(shards);
}

#[test]
fn outbound_connections_are_balanced_too() {
    let each = options(3, Placement::FewestConnections);
    let (shards, addr) = listening(crowd_config(1000), each, Recorder::default);
    let handle = shards.handle();
    let (other, there) = listening(crowd_config(1000), in_turn(1), Recorder::default);
    let another = || other.listen("127.0.0.1:0").unwrap().addr;
    let there = [there, another()];
    for addr in there {
        // Both from the second shard.
        let conn = handle.ask(shard(1), move |_, net| net.connect(addr));
        assert_eq!(conn.unwrap().unwrap().shard(), shard(1));
    }
    let _peers: Vec<TcpStream> = (0..4).map(|_| connect(addr)).collect();
    eventually(|| counts(&handle) == [2, 2, 2]);
    let conn = handle.connect(another()).unwrap();
    assert_eq!(conn.shard(), ShardId::FIRST);
    let conn = handle.connect(another()).unwrap();
    assert_eq!(conn.shard(), shard(1));
    stop(shards);
    stop(other);
}

#[cfg(target_os = "linux")]
#[test]
fn reuse_port_gives_each_shard_some() {
    let each = options(4, Placement::ReusePort);
    let (shards, addr) = listening(crowd_config(1000), each, Recorder::default);
    let handle = shards.handle();
    let listeners = handle.ask_all(|_, net| net.listeners().collect::<Vec<_>>());
    let listeners = listeners.unwrap().concat();
    let listening = listeners[0];
    assert_eq!(listening.addr, addr);
    assert_eq!(listeners, [listening; 4]);
    let _peers: Vec<TcpStream> = (0..200).map(|_| connect(addr)).collect();
    eventually(|| total(&handle) == 200);
    assert!(counts(&handle).iter().all(|count| *count > 0));
    handle.close_listener(listening.id).unwrap();
    TcpStream::connect(addr).unwrap_err();
    // A stale id is an ordinary miss.
    handle.close_listener(listening.id).unwrap();
    assert_eq!(total(&handle), 200);
    stop(shards);
}

#[test]
fn listener_of_one_shard_accepts_for_all() {
    let (shards, _) = listening(crowd_config(1000), in_turn(3), Recorder::default);
    let handle = shards.handle();
    let listen = |_: &mut Recorder, net: &mut Net| net.listen("127.0.0.1:0");
    let addr = handle.ask(shard(2), listen).unwrap().unwrap().addr;
    let _peers: Vec<TcpStream> = (0..30).map(|_| connect(addr)).collect();
    eventually(|| total(&handle) == 30);
    assert_eq!(counts(&handle), [10; 3]);
    stop(shards);
}

/// A shard that is stuck and whose queue is full gets no further connections.
/// Accepting goes on.
#[test]
fn full_command_queue_is_passed_over() {
    let config = Config {
        commands: CommandQueueConfig {
            max_commands: 2,
            ..crowd_config(1000).commands
        },
        ..crowd_config(1000)
    };
    let (shards, addr) = listening(config, in_turn(2), Recorder::default);
    let handle = shards.handle();
    let stuck = Stuck::new(&handle, shard(1));
    let _peers: Vec<TcpStream> = (0..40).map(|_| connect(addr)).collect();
    let count = |_: &mut Recorder, net: &mut Net| net.connection_count();
    eventually(|| handle.ask(ShardId::FIRST, count).unwrap() == 38);
    drop(stuck);
    eventually(|| handle.ask(shard(1), count).is_ok_and(|count| count == 2));
    assert_eq!(counts(&handle), [38, 2]);
    stop(shards);
}
