//! Limits hold exactly for all shards together.

use super::*;
use crate::util::sockets::connect_from;

const THREADS: u8 = 8;

/// Connects `each` peers in every thread at once, from the address that
/// `source` returns for the thread. Returns the peers that were accepted.
fn storm(
    addr: SocketAddr,
    each: usize,
    source: impl Fn(u8) -> Ipv4Addr + Copy + Send + 'static,
) -> Vec<TcpStream> {
    let connect_all = move |thread: u8| {
        let from = source(thread).octets();
        let peers: Vec<TcpStream> = (0..each).map(|_| connect_from(from, addr)).collect();
        peers.into_iter().filter_map(admitted).collect()
    };
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| thread::spawn(move || connect_all(thread)))
        .collect();
    let peers: Vec<Vec<TcpStream>> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    peers.into_iter().flatten().collect()
}

/// Returns the peer if its echo arrives. A refused peer receives the end of the
/// stream.
fn admitted(mut peer: TcpStream) -> Option<TcpStream> {
    // A refused connection may be reset already.
    peer.write_all(&frame(b"?")).ok()?;
    let mut answer = [0; 5];
    match peer.read_exact(&mut answer) {
        Ok(()) => Some(peer),
        Err(error) => {
            let kind = error.kind();
            let is_end = matches!(
                kind,
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            );
            assert!(is_end, "{error}");
            None
        }
    }
}

fn placements() -> Vec<Placement> {
    let mut placements = vec![Placement::FewestConnections, Placement::RoundRobin];
    if cfg!(target_os = "linux") {
        placements.push(Placement::ReusePort);
    }
    placements
}

/// Twice, so that what is given back is exact as well.
fn twice(
    config: Config,
    source: impl Fn(u8) -> Ipv4Addr + Copy + Send + 'static,
    check: impl Fn(&[TcpStream]),
) -> Vec<peerloop::Metrics> {
    let run = |placement| {
        let config = config.clone();
        let (shards, addr) = listening(config, options(4, placement), Recorder::echo);
        let handle = shards.handle();
        for _ in 0..2 {
            let stayed = storm(addr, 10, source);
            check(&stayed);
            assert_eq!(total(&handle), stayed.len());
            drop(stayed);
            eventually(|| total(&handle) == 0);
            // A closing connection counts to its end.
            let is_quiet = |_: &mut Recorder, net: &mut Net| net.connecting_count() == 0;
            eventually(|| handle.ask_all(is_quiet).unwrap() == [true; 4]);
            eventually(|| {
                let metrics = handle.metrics().unwrap();
                metrics.accepted == metrics.disconnected
            });
        }
        let metrics = handle.metrics().unwrap();
        stop(shards);
        metrics
    };
    placements().into_iter().map(run).collect()
}

fn localhost(_: u8) -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

#[test]
fn total_is_exact() {
    let config = Config {
        limits: Limits {
            max_connections: 37,
            reserved_outbound: Some(0),
            ..crowd_config(1000).limits
        },
        ..crowd_config(1000)
    };
    let all = twice(config, localhost, |stayed| assert_eq!(stayed.len(), 37));
    for metrics in all {
        assert_eq!((metrics.accepted, metrics.refused_by_total), (74, 86));
    }
}

// Other addresses of the loopback network are there on Linux without being set up.
#[cfg(target_os = "linux")]
#[test]
fn per_address_is_exact() {
    let config = crowd_config(7);
    let source = |thread: u8| Ipv4Addr::new(127, 0, 0, 1 + thread % 3);
    let all = twice(config, source, |stayed| {
        for last in 1..=3 {
            let from = Ipv4Addr::new(127, 0, 0, last);
            let is_from = |peer: &&TcpStream| peer.local_addr().unwrap().ip() == from;
            assert_eq!(stayed.iter().filter(is_from).count(), 7);
        }
    });
    for metrics in all {
        assert_eq!((metrics.accepted, metrics.refused_by_address), (42, 118));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn per_prefix_is_exact() {
    let limit = PrefixLimit {
        max: 9,
        ..PrefixLimit::default()
    };
    let config = Config {
        limits: Limits {
            max_connections_per_prefix: Some(limit),
            ..crowd_config(1000).limits
        },
        ..crowd_config(1000)
    };
    let source = |thread: u8| Ipv4Addr::new(127, 0, thread % 2, 1 + thread);
    let all = twice(config, source, |stayed| {
        for network in 0..2 {
            let is_in = |peer: &&TcpStream| match peer.local_addr().unwrap().ip() {
                std::net::IpAddr::V4(ip) => ip.octets()[2] == network,
                std::net::IpAddr::V6(_) => false,
            };
            assert_eq!(stayed.iter().filter(is_in).count(), 9);
        }
    });
    for metrics in all {
        assert_eq!((metrics.accepted, metrics.refused_by_prefix), (36, 124));
    }
}

/// Handshakes under way: never one too many, and a place that one shard gives back is any shard's.
#[test]
fn handshakes_of_all_shards_are_counted() {
    for placement in placements() {
        let config = Config {
            limits: Limits {
                max_inbound_handshakes: 3,
                ..crowd_config(1000).limits
            },
            connection: ConnectionConfig {
                timeouts: Timeouts {
                    handshake: None,
                    ..Timeouts::default()
                },
                ..crowd_config(1000).connection
            },
            ..crowd_config(1000)
        };
        let greet = || with_sessions(Recorder::default(), |_| Greeting::new(Manner::Agrees));
        let (shards, addr) = listening(config, options(4, placement), greet);
        let handle = shards.handle();
        let connecting = || -> usize {
            let counts = handle.ask_all(|_, net| net.connecting_count());
            counts.unwrap().iter().sum()
        };
        let refused = || handle.metrics().unwrap().refused_by_handshakes;
        let mut outside: Vec<TcpStream> = (0..24).map(|_| connect(addr)).collect();
        eventually(|| refused() == 21 && connecting() == 3);
        outside.retain(is_greeted);
        assert_eq!(outside.len(), 3);
        let mut inside = Vec::new();
        while inside.len() < 20 {
            let mut peer = outside.remove(0);
            peer.write_all(&MAGIC).unwrap();
            inside.push(peer);
            eventually(|| total(&handle) == inside.len());
            outside.push(connect(addr));
            eventually(|| outside.iter().all(is_greeted));
            assert_eq!(connecting(), 3);
        }
        assert_eq!(refused(), 21);
        stop(shards);
    }
}

// Addresses of the loopback network other than 127.0.0.1 exist on Linux without
// setup.
/// A new handshake may evict a handshake of another shard.
#[cfg(target_os = "linux")]
#[test]
fn eviction_reaches_a_handshake_of_any_shard() {
    for placement in placements() {
        let config = Config {
            limits: Limits {
                max_inbound_handshakes: 3,
                ..crowd_config(1000).limits
            },
            ..crowd_config(1000)
        };
        let greet = || with_sessions(Recorder::default(), |_| Greeting::new(Manner::Agrees));
        let (shards, addr) = listening(config, options(4, placement), greet);
        let handle = shards.handle();
        let counts = || {
            let metrics = handle.metrics().unwrap();
            let ended = metrics.handshakes_failed;
            (metrics.accepted, metrics.handshakes_evicted, ended)
        };
        let mut crowd = Vec::new();
        for count in 1..=3 {
            crowd.push(connect(addr));
            eventually(|| counts() == (count, 0, 0));
        }
        let mut new_peers = Vec::new();
        for count in 1..=2 {
            let ip = Ipv4Addr::new(127, 0, count as u8, 2);
            new_peers.push(connect_from(ip.octets(), addr));
            eventually(|| counts() == (3 + count, count, count));
        }
        // The oldest have lost their places.
        crowd.iter_mut().take(2).for_each(|peer| {
            let mut greeting = Vec::new();
            peer.read_to_end(&mut greeting).unwrap();
            assert_eq!(greeting, MAGIC);
        });
        for peer in &mut new_peers {
            peer.write_all(&MAGIC).unwrap();
        }
        eventually(|| total(&handle) == 2);
        stop(shards);
    }
}

/// Whether its handshake was begun on the other side.
fn is_greeted(peer: &TcpStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    let is_greeted = peer.peek(&mut [0]).is_ok_and(|count| count > 0);
    peer.set_nonblocking(false).unwrap();
    is_greeted
}

/// Connects under way count for all shards together as well.
#[test]
fn connects_of_all_shards_are_counted() {
    let config = Config {
        limits: Limits {
            max_outbound_connecting: 3,
            ..crowd_config(1000).limits
        },
        ..crowd_config(1000)
    };
    let silent = || with_sessions(Recorder::default(), |_| Greeting::new(Manner::Silent));
    let (other, addr) = listening(crowd_config(1000), in_turn(1), silent);
    let shards = Shards::start(config, in_turn(3), |_, _| {
        with_sessions(Recorder::default(), |_| Greeting::new(Manner::Silent))
    })
    .unwrap();
    let connect = move |_: &mut Recorder, net: &mut Net| {
        let mut again = net.connect_options();
        again.allow_duplicate = true;
        net.connect_with(addr, again).err()
    };
    let handle = shards.handle();
    assert_eq!(handle.ask_all(connect).unwrap(), [None; 3]);
    let refused = handle.ask_all(connect).unwrap();
    assert_eq!(refused, [Some(ConnectError::TooManyConnecting); 3]);
    let abort = |_: &mut Recorder, net: &mut Net| {
        let conn = net.connecting().next().expect("its own").id();
        net.abort(conn);
    };
    handle.ask(shard(1), abort).unwrap();
    assert_eq!(handle.ask(shard(2), connect).unwrap(), None);
    assert_eq!(
        handle.ask(shard(1), connect).unwrap(),
        Some(ConnectError::TooManyConnecting)
    );
    stop(shards);
    stop(other);
}

#[test]
fn duplicate_of_another_shard_is_found() {
    let (other, addr) = listening(crowd_config(1000), in_turn(1), Recorder::default);
    let shards = Shards::start(crowd_config(1000), in_turn(2), |_, _| Recorder::default());
    let shards = shards.unwrap();
    let handle = shards.handle();
    let connect = move |_: &mut Recorder, net: &mut Net| net.connect(addr);
    let conn = handle.ask(shard(0), connect).unwrap().unwrap();
    let again = handle.ask(shard(1), connect).unwrap();
    assert_eq!(again, Err(ConnectError::AlreadyConnected));
    assert_eq!(
        handle.connect(addr).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    eventually(|| total(&handle) == 1);
    handle
        .post(shard(1), move |_, net| net.close(conn))
        .unwrap();
    eventually(|| total(&handle) == 0);
    // It is another shard's now.
    let conn = handle.ask(shard(1), connect).unwrap().unwrap();
    assert_eq!(conn.shard(), shard(1));
    stop(shards);
    stop(other);
}

/// Whichever shard connects and whichever accepts.
#[test]
fn self_connection_to_another_shard_is_found() {
    for placement in placements() {
        let config = crowd_config(1000);
        let (shards, addr) = listening(config, options(3, placement), Recorder::default);
        let handle = shards.handle();
        let mut connected = 0;
        for round in 0..60 {
            let connect = move |_: &mut Recorder, net: &mut Net| net.connect(addr);
            // The last one may not have come to its end.
            let conn = eventually_some(|| handle.ask(shard(round % 3), connect).unwrap().ok());
            connected += 1;
            let is_over = move |recorder: &mut Recorder, _: &mut Net| over(recorder, conn);
            eventually(|| handle.ask(conn.shard(), is_over).unwrap());
        }
        eventually(|| handle.metrics().unwrap().self_connections == connected);
        let recorders = stop(shards);
        let conns = recorders.iter().flat_map(Recorder::connected);
        let peers = recorders.iter().flat_map(|recorder| &recorder.events);
        let ends = peers.filter_map(|event| match event {
            Event::Disconnect(_, reason) => Some(*reason),
            _ => None,
        });
        let conns: Vec<_> = conns.collect();
        assert!(conns.len() <= 60, "some were accepted");
        assert!(
            ends.into_iter()
                .all(|reason| reason == DisconnectReason::SelfConnection)
        );
    }
}

/// Whether a connect has ended as one that reached its own node.
fn over(recorder: &Recorder, conn: ConnId) -> bool {
    let failed = Event::ConnectFailed(conn, ConnectError::SelfConnection);
    let ended = Event::Disconnect(conn, DisconnectReason::SelfConnection);
    recorder.events.contains(&failed) || recorder.events.contains(&ended)
}
