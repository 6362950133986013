//! One node on many threads: who gets whom, what is shared, and how one shard reaches another's connections.

use peerloop::config::{
    CommandQueueConfig, ConnectionConfig, Limits, OnPanic, PrefixLimit, Timeouts,
};
use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::util::raw::{connect, connect_narrow, reset};
use crate::util::sessions::{Greeting, MAGIC, Manner, frame, with_sessions};
use crate::util::{Event, PATIENCE, Recorder};
use peerloop::framing::{ByteOrder, Framing, LengthPrefix};
use peerloop::shards::{Placement, ShardOptions, Shards, ShardsHandle};
use peerloop::{
    Body, Bytes, Config, ConnId, ConnectError, DisconnectReason, Net, SendError, ShardId,
};
use socket2::{Domain, Socket, Type};

type TestShards = Shards<Recorder>;

fn options(shards: usize, placement: Placement) -> ShardOptions {
    ShardOptions { shards, placement }
}

fn in_turn(shards: usize) -> ShardOptions {
    options(shards, Placement::RoundRobin)
}

/// Shards that listen.
fn listening(
    config: Config,
    options: ShardOptions,
    mut make: impl FnMut() -> Recorder,
) -> (TestShards, SocketAddr) {
    let shards = Shards::start(config, options, |_, _| make()).expect("shards");
    let addr = shards.listen("127.0.0.1:0").expect("a listener").addr;
    (shards, addr)
}

fn shard(index: usize) -> ShardId {
    ShardId::new(index).expect("a small number")
}

/// Asks again and again until the answer is yes.
#[track_caller]
fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "it did not come about");
        thread::yield_now();
    }
}

/// The value, once there is one.
fn eventually_some<T>(mut value: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(|| {
        found = value();
        found.is_some()
    });
    found.expect("it came about")
}

/// How many connections each shard has.
fn counts(handle: &ShardsHandle<Recorder>) -> Vec<usize> {
    handle.ask_all(|_, net| net.connection_count()).unwrap()
}

fn total(handle: &ShardsHandle<Recorder>) -> usize {
    counts(handle).iter().sum()
}

/// All connections, by the addresses of their peers.
fn connections(handle: &ShardsHandle<Recorder>) -> Vec<(SocketAddr, ConnId)> {
    let list = |_: &mut Recorder, net: &mut Net| {
        let named = net.connections().map(|c| (c.info().addr, c.id()));
        named.collect()
    };
    let lists: Vec<Vec<_>> = handle.ask_all(list).unwrap();
    lists.into_iter().flatten().collect()
}

/// Raw peers, one for each shard, and their names; for a node that gives connections away in turn.
fn one_each(shards: &TestShards, addr: SocketAddr) -> (Vec<TcpStream>, Vec<ConnId>) {
    let handle = shards.handle();
    let before = total(&handle);
    let peers: Vec<TcpStream> = handle.shards().map(|_| connect(addr)).collect();
    eventually(|| total(&handle) == before + peers.len());
    let all = connections(&handle);
    let mut pairs: Vec<(ConnId, TcpStream)> = Vec::new();
    for peer in peers {
        let addr = peer.local_addr().unwrap();
        let (_, conn) = all.iter().find(|(of, _)| *of == addr).expect("it is there");
        pairs.push((*conn, peer));
    }
    pairs.sort_by_key(|(conn, _)| conn.shard());
    let names: Vec<ConnId> = pairs.iter().map(|(conn, _)| *conn).collect();
    let each: Vec<ShardId> = names.iter().map(|conn| conn.shard()).collect();
    assert_eq!(each, handle.shards().collect::<Vec<_>>());
    (pairs.into_iter().map(|(_, peer)| peer).collect(), names)
}

/// The next message in the default framing.
#[track_caller]
fn message(peer: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 4];
    peer.read_exact(&mut len).expect("a message");
    let mut body = vec![0; u32::from_be_bytes(len) as usize];
    peer.read_exact(&mut body).expect("all of it");
    body
}

/// Nothing comes before the end of the stream.
#[track_caller]
fn ends(peer: &mut TcpStream) {
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b"", "nothing before the end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

/// Ends them at once, whoever is still there.
fn stop(shards: TestShards) -> Vec<Recorder> {
    shards.shutdown(Duration::ZERO);
    join(shards).expect("they stop")
}

/// Waits for them with a bound.
#[track_caller]
fn join(shards: TestShards) -> io::Result<Vec<Recorder>> {
    let (result, ended) = mpsc::channel();
    thread::spawn(move || result.send(shards.join()));
    ended.recv_timeout(PATIENCE).expect("they come to an end")
}

fn crowd_config(connections: usize) -> Config {
    Config {
        limits: Limits {
            max_connections_per_address: connections,
            ..Default::default()
        },
        read_buffer_bytes: 16 * 1024,
        ..Config::default()
    }
}

/// Who gets whom.
mod placement {
    use super::*;

    #[test]
    fn a_thousand_are_spread_evenly() {
        let each = options(4, Placement::FewestConnections);
        let (shards, addr) = listening(crowd_config(1000), each, Recorder::default);
        let handle = shards.handle();
        let _peers: Vec<TcpStream> = (0..1000).map(|_| connect(addr)).collect();
        eventually(|| total(&handle) == 1000);
        assert_eq!(counts(&handle), [250; 4]);
        stop(shards);
    }

    /// What is on the way to a shard that does not come to it is bounded; the rest stays with the one that accepts.
    #[test]
    fn a_shard_that_is_busy_does_not_get_ever_more() {
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
    fn the_one_with_the_fewest_gets_the_next() {
        let each = options(4, Placement::FewestConnections);
        let (shards, addr) = listening(crowd_config(1000), each, Recorder::default);
        let handle = shards.handle();
        let peers: Vec<TcpStream> = (0..80).map(|_| connect(addr)).collect();
        eventually(|| total(&handle) == 80);
        assert_eq!(counts(&handle), [20; 4]);
        // Those of two shards go, and those who come are theirs, in whatever order.
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
    fn connects_count_too_and_go_out_where_there_are_fewest() {
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

    #[test]
    fn in_turn_everybody_gets_as_many() {
        let (shards, addr) = listening(crowd_config(1000), in_turn(4), Recorder::default);
        let handle = shards.handle();
        let peers: Vec<TcpStream> = (0..200).map(|_| connect(addr)).collect();
        eventually(|| total(&handle) == 200);
        assert_eq!(counts(&handle), [50; 4]);
        assert_eq!(handle.metrics().unwrap().accepted, 200);
        drop(peers);
        stop(shards);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_gives_each_some() {
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
    fn a_listener_of_any_shard_accepts_for_all() {
        let (shards, _) = listening(crowd_config(1000), in_turn(3), Recorder::default);
        let handle = shards.handle();
        let listen = |_: &mut Recorder, net: &mut Net| net.listen("127.0.0.1:0");
        let addr = handle.ask(shard(2), listen).unwrap().unwrap().addr;
        let _peers: Vec<TcpStream> = (0..30).map(|_| connect(addr)).collect();
        eventually(|| total(&handle) == 30);
        assert_eq!(counts(&handle), [10; 3]);
        stop(shards);
    }

    /// A shard that is stuck and whose queue is full gets nobody more, and holds nobody up.
    #[test]
    fn a_full_queue_is_passed_over() {
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
}

/// A shard in a call that ends when this is dropped.
struct Stuck {
    _release: mpsc::Sender<()>,
}

impl Stuck {
    fn new(handle: &ShardsHandle<Recorder>, shard: ShardId) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        handle
            .post(shard, move |_, _| {
                begun.send(()).unwrap();
                let _ = released.recv_timeout(PATIENCE);
            })
            .unwrap();
        begins.recv_timeout(PATIENCE).expect("the shard runs");
        Self { _release: release }
    }
}

/// Limits hold for all shards together, exactly.
mod limits {
    use super::*;

    const THREADS: u8 = 8;

    /// What happens to `each` peers of every thread, all at once: how many stay. Each thread has its own address if
    /// `source` says so.
    fn storm(
        addr: SocketAddr,
        each: usize,
        source: impl Fn(u8) -> Ipv4Addr + Copy + Send + 'static,
    ) -> Vec<TcpStream> {
        let connect_all = move |thread: u8| {
            let from = SocketAddr::from((source(thread), 0));
            let peers: Vec<TcpStream> = (0..each).map(|_| connect_from(from, addr)).collect();
            peers.into_iter().filter_map(admitted).collect()
        };
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| thread::spawn(move || connect_all(thread)))
            .collect();
        let peers: Vec<Vec<TcpStream>> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        peers.into_iter().flatten().collect()
    }

    fn connect_from(from: SocketAddr, addr: SocketAddr) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&from.into()).unwrap();
        socket.connect(&addr.into()).unwrap();
        let peer = TcpStream::from(socket);
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    /// Whether an echo comes back: who was refused has the end instead.
    fn admitted(mut peer: TcpStream) -> Option<TcpStream> {
        // What was refused may have been reset already.
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
    fn in_all() {
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
    fn per_address() {
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
    fn per_network() {
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

    /// While people come and go on all shards, nobody is forgotten and nobody counted twice.
    #[test]
    fn after_much_coming_and_going() {
        let config = Config {
            limits: Limits {
                max_connections: 20,
                reserved_outbound: Some(0),
                ..crowd_config(1000).limits
            },
            ..crowd_config(1000)
        };
        let (shards, addr) = listening(
            config,
            options(4, Placement::FewestConnections),
            Recorder::echo,
        );
        let handle = shards.handle();
        let churn = move || {
            for round in 0..30 {
                let peer = connect(addr);
                match round % 3 {
                    0 => drop(peer),
                    1 => reset(peer),
                    _ => drop(admitted(peer)),
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| thread::spawn(churn)).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        eventually(|| {
            let metrics = handle.metrics().unwrap();
            let ended = metrics.disconnected + metrics.refused_by_total + metrics.accept_errors;
            ended >= 240 && metrics.accepted == metrics.disconnected
        });
        let stayed = storm(addr, 5, localhost);
        assert_eq!(stayed.len(), 20);
        stop(shards);
    }

    /// Handshakes under way: never one too many, and a place that one shard gives back is any shard's.
    #[test]
    fn of_handshakes_under_way() {
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

    // Other addresses of the loopback network are there on Linux without being set up.
    /// A newcomer may end a handshake of another shard.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_newcomer_takes_a_place_whichever_shard_has_it() {
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
            let mut newcomers = Vec::new();
            for count in 1..=2 {
                let ip = Ipv4Addr::new(127, 0, count as u8, 2);
                newcomers.push(connect_from(SocketAddr::from((ip, 0)), addr));
                eventually(|| counts() == (3 + count, count, count));
            }
            // The oldest have lost their places.
            crowd.iter_mut().take(2).for_each(|peer| {
                let mut greeting = Vec::new();
                peer.read_to_end(&mut greeting).unwrap();
                assert_eq!(greeting, MAGIC);
            });
            for peer in &mut newcomers {
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
    fn of_connects_under_way() {
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
    fn an_address_is_connected_once_by_all_shards_together() {
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
    fn the_node_does_not_connect_with_itself() {
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
            assert!(conns.len() <= 60, "nobody accepted them");
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
}

/// Reaching a connection on another shard, by its id.
mod across {
    use super::*;

    const SIZES: [usize; 4] = [0, 1, 1000, 100_000];

    #[test]
    fn every_shard_and_every_handle_sends_to_all() {
        let (shards, addr) = listening(crowd_config(1000), in_turn(3), Recorder::default);
        let handle = shards.handle();
        let (mut peers, names) = one_each(&shards, addr);
        for from in handle.shards() {
            for (peer, conn) in peers.iter_mut().zip(&names) {
                for size in SIZES {
                    let (conn, body) = (*conn, vec![from.index() as u8; size]);
                    let copy = body.clone();
                    let send = move |_: &mut Recorder, net: &mut Net| {
                        net.send(conn, &copy)?;
                        net.send(conn, copy.clone())?;
                        let (a, b) = copy.split_at(copy.len() / 3);
                        let parts = [io::IoSlice::new(a), io::IoSlice::new(b)];
                        net.send(conn, Body::parts(&parts))
                    };
                    handle.ask(from, send).unwrap().unwrap();
                    handle.send(conn, body.clone()).unwrap();
                    let other = handle.shard(from).unwrap();
                    other.send(conn, body.clone()).unwrap();
                    for _ in 0..5 {
                        assert_eq!(message(peer), body);
                    }
                }
            }
        }
        assert_eq!(handle.metrics().unwrap().commands_lost, 0);
        stop(shards);
    }

    /// What is said on one connection is heard on the next one, on the next shard.
    #[test]
    fn a_ring_over_all_shards() {
        let (shards, addr) = listening(crowd_config(1000), in_turn(3), Recorder::default);
        let handle = shards.handle();
        let (mut peers, names) = one_each(&shards, addr);
        for (index, conn) in names.iter().enumerate() {
            let next = names[(index + 1) % names.len()];
            let pass_on = move |recorder: &mut Recorder, _: &mut Net| {
                recorder.reaction = Box::new(move |net, event| {
                    if let Event::Message(_, body) = event {
                        net.send(next, body).expect("the queue has room");
                    }
                });
            };
            handle.ask(conn.shard(), pass_on).unwrap();
        }
        for number in 0..1000u32 {
            let from = number as usize % peers.len();
            let to = (from + 1) % peers.len();
            peers[from]
                .write_all(&frame(&number.to_be_bytes()))
                .unwrap();
            assert_eq!(message(&mut peers[to]), number.to_be_bytes());
        }
        stop(shards);
    }

    #[test]
    fn what_one_shard_asks_of_another_is_done_in_its_order() {
        let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
        let handle = shards.handle();
        let (mut peers, names) = one_each(&shards, addr);
        let conn = names[1];
        let all = move |_: &mut Recorder, net: &mut Net| {
            for number in 0..100u32 {
                match number % 3 {
                    0 => net.send(conn, &number.to_be_bytes()).unwrap(),
                    1 => assert_eq!(net.broadcast([conn], &number.to_be_bytes()).queued, 1),
                    _ => net.flush(conn),
                }
            }
            net.close(conn);
            net.close(conn);
        };
        handle.ask(shard(0), all).unwrap();
        for number in (0..100u32).filter(|number| number % 3 != 2) {
            assert_eq!(message(&mut peers[1]), number.to_be_bytes());
        }
        ends(&mut peers[1]);
        peers.remove(1);
        let ended = move |recorder: &mut Recorder, _: &mut Net| recorder.ended(conn);
        eventually(|| handle.ask(shard(1), ended).unwrap() == Some(DisconnectReason::Local));
        stop(shards);
    }

    #[test]
    fn a_connection_is_aborted_half_closed_paused_and_resumed_from_elsewhere() {
        let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
        let handle = shards.handle();
        let (mut peers, names) = one_each(&shards, addr);
        let conn = names[1];
        let heard = move |recorder: &mut Recorder, _: &mut Net| recorder.messages(conn).len();
        let here = shard(0);
        handle.ask(here, move |_, net| net.pause(conn)).unwrap();
        handle.ask(shard(1), |_, _| ()).unwrap();
        peers[1].write_all(&frame(b"one")).unwrap();
        // When a message that was sent after it has been heard there, so would this one have been.
        let (mut others, there) = one_each(&shards, addr);
        others[1].write_all(&frame(b"another")).unwrap();
        let another = there[1];
        let is_heard =
            move |recorder: &mut Recorder, _: &mut Net| recorder.messages(another).len() == 1;
        eventually(|| handle.ask(shard(1), is_heard).unwrap());
        assert_eq!(handle.ask(shard(1), heard).unwrap(), 0);
        handle.ask(here, move |_, net| net.resume(conn)).unwrap();
        eventually(|| handle.ask(shard(1), heard).unwrap() == 1);
        handle
            .ask(here, move |_, net| net.close_write(conn))
            .unwrap();
        ends(&mut peers[1]);
        peers[1].write_all(&frame(b"two")).unwrap();
        eventually(|| handle.ask(shard(1), heard).unwrap() == 2);
        handle.ask(here, move |_, net| net.abort(conn)).unwrap();
        let ended = move |recorder: &mut Recorder, _: &mut Net| recorder.ended(conn);
        eventually(|| handle.ask(shard(1), ended).unwrap() == Some(DisconnectReason::Local));
        stop(shards);
    }

    #[test]
    fn what_is_told_of_a_connection_is_told_by_its_own_shard() {
        let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
        let handle = shards.handle();
        let (_peers, names) = one_each(&shards, addr);
        let conn = names[1];
        let look = move |_: &mut Recorder, net: &mut Net| {
            let tracked = net.send_tracked(conn, b"x", 7);
            let known = net.connection(conn).is_some() || net.is_writable(conn);
            (known, tracked, net.shard(), net.shards().count())
        };
        let elsewhere = handle.ask(shard(0), look).unwrap();
        let refused = Err(SendError::Closed);
        assert_eq!(elsewhere, (false, refused, shard(0), 2));
        let (known, tracked, ..) = handle.ask(shard(1), look).unwrap();
        assert_eq!((known, tracked), (true, Ok(())));
        stop(shards);
    }

    /// Each connection hears each message once and in order, in whichever framing it has.
    #[test]
    fn a_broadcast_reaches_everybody_once_and_in_order() {
        const SIZES: [usize; 3] = [1, 300, 20_000];
        let (shards, addr) = listening(crowd_config(1000), in_turn(3), Recorder::default);
        let handle = shards.handle();
        let with = |framing| {
            let mut options = handle.listen_options();
            options.connection_mut().framing = framing;
            options
        };
        let short = Framing::LengthDelimited(LengthPrefix::Two(ByteOrder::LittleEndian));
        let two = shards.listen_with("127.0.0.1:0", with(short)).unwrap().addr;
        let line = with(Framing::Delimited(b'\n'));
        let lines = shards.listen_with("127.0.0.1:0", line).unwrap().addr;
        // Three of each framing for each shard, which take turns.
        let addrs = [addr, two, lines];
        let mut peers: Vec<(usize, TcpStream)> = Vec::new();
        for round in 0..9 {
            for (kind, addr) in addrs.iter().enumerate().cycle().skip(round).take(3) {
                peers.push((kind, connect(*addr)));
                eventually(|| total(&handle) == peers.len());
            }
        }
        let all: Vec<ConnId> = connections(&handle)
            .into_iter()
            .map(|(_, conn)| conn)
            .collect();
        let everybody = all.clone();
        let tell = move |_: &mut Recorder, net: &mut Net| {
            for number in 0..60u8 {
                let body = vec![b'a' + number % 26; SIZES[usize::from(number) % 3]];
                let outcome = net.broadcast(everybody.iter().copied(), &body);
                assert_eq!(outcome.queued, everybody.len());
            }
        };
        handle.ask(shard(1), tell).unwrap();
        let last = Bytes::from_static(b"that was all");
        assert_eq!(
            handle.broadcast(all.iter().copied(), last).queued,
            all.len()
        );
        for (kind, peer) in &mut peers {
            let bodies = (0..60u8).map(|n| vec![b'a' + n % 26; SIZES[usize::from(n) % 3]]);
            for body in bodies.chain([b"that was all".to_vec()]) {
                let len = body.len();
                let wire = match kind {
                    0 => frame(&body),
                    1 => [&(len as u16).to_le_bytes()[..], &body].concat(),
                    _ => [&body[..], b"\n"].concat(),
                };
                let mut got = vec![0; wire.len()];
                peer.read_exact(&mut got).expect("it comes");
                assert!(got == wire, "another message, or another framing");
            }
        }
        assert_eq!(handle.metrics().unwrap().commands_lost, 0);
        stop(shards);
        for (_, peer) in &mut peers {
            ends(peer);
        }
    }

    #[test]
    fn a_stale_id_misses_on_every_shard() {
        let (shards, addr) = listening(crowd_config(1000), in_turn(2), Recorder::default);
        let handle = shards.handle();
        let (peers, stale) = one_each(&shards, addr);
        drop(peers);
        eventually(|| total(&handle) == 0);
        eventually(|| handle.metrics().unwrap().disconnected == 2);
        // In the same slots, on the same shards.
        let (mut peers, live) = one_each(&shards, addr);
        let slots = |names: &[ConnId]| -> HashSet<u32> {
            names.iter().map(|conn| conn.to_bits() as u32).collect()
        };
        assert_eq!(slots(&stale), slots(&live));
        let never = ConnId::from_bits(stale[0].to_bits() | 0xff << 24).unwrap();
        assert_eq!(never.shard(), shard(255));
        let reach = move |_: &mut Recorder, net: &mut Net| {
            for conn in stale.iter().copied() {
                let _ = net.send(conn, b"stale");
                let _ = net.broadcast([conn], b"stale");
                net.pause(conn);
                net.close(conn);
                net.abort(conn);
            }
            assert_eq!(net.send(never, b"never"), Err(SendError::Closed));
            assert_eq!(net.broadcast([never], b"never").closed, 1);
            net.close(never);
        };
        handle.ask_all(reach).unwrap();
        // The second of the two shards may have asked something of the first.
        handle.ask_all(|_, _| ()).unwrap();
        assert_eq!(handle.send(never, Bytes::new()), Err(SendError::Closed));
        for (peer, conn) in peers.iter_mut().zip(live) {
            handle.send(conn, Bytes::from_static(b"live")).unwrap();
            assert_eq!(message(peer), b"live");
        }
        let lost = handle.metrics().unwrap().commands_lost;
        assert_eq!(lost, 4, "what came from the other shard");
        stop(shards);
    }

    /// A full queue of another shard is an error for a message; a close waits for room.
    #[test]
    fn a_full_queue_of_another_shard_is_an_error_and_never_a_wait() {
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
            // Then there is room, and nothing overtakes the close all the same: the peer never hears of what follows.
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

    /// A close waits for room in one shard's queue: a later message to the same does not pass it, a close on another does.
    #[test]
    fn what_waits_for_room_is_passed_by_nothing_but_what_goes_elsewhere() {
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

    /// Two shards that send to each other more than their queues hold go on, and each hears all that was taken.
    #[test]
    fn shards_that_flood_each_other_do_not_stop() {
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
        let heard: usize = readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .sum();
        // The queues may still be full.
        let metrics = eventually_some(|| handle.metrics().ok());
        let traffic = eventually_some(|| handle.traffic().ok());
        let offered = 2 * MESSAGES as u64 * 20;
        assert_eq!(traffic.messages_received, 2 * MESSAGES as u64);
        assert_eq!(
            heard as u64 + metrics.sends_refused + metrics.commands_lost,
            offered
        );
        stop(shards);
    }

    #[test]
    fn asking_from_inside_any_of_the_shards_is_an_error() {
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
}

mod waiting {
    use peerloop::config::SendQueueConfig;

    use super::*;

    #[test]
    fn for_connections_that_the_least_loaded_shards_make() {
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
    fn for_room_in_the_queue_of_a_connection_of_any_shard() {
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
    fn for_an_answer_ends_in_time() {
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
}

/// A want of descriptors on the shard that accepts.
#[cfg(unix)]
mod descriptors {
    use crate::util::child::{self, test_path};
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    const LISTENS_ON: &str = "listens on ";
    /// More than the descriptors are enough for, but fewer than twice as many.
    const PEERS: usize = 28;

    /// In a process of its own: answers every message until it is told to stop. Only the end of a connection can end a
    /// pause in time.
    fn echo_until_told() {
        let config = Config {
            accept_backoff: Duration::from_secs(600),
            ..crowd_config(1000)
        };
        let echo = || {
            Recorder::reacting(|net, event| match event {
                Event::Message(_, body) if body == b"stop" => net.shutdown(Duration::ZERO),
                Event::Message(conn, body) => net.send(*conn, body).expect("the queue has room"),
                _ => {}
            })
        };
        let (shards, addr) = listening(config, in_turn(2), echo);
        println!("{LISTENS_ON}{addr}");
        let recorders = join(shards).unwrap();
        let accepted = recorders.iter().map(|recorder| recorder.connected().len());
        assert_eq!(accepted.sum::<usize>(), PEERS + 1);
    }

    /// Those who wait are let in when a connection ends, on whichever shard.
    #[test]
    fn that_another_shard_gives_back_let_the_next_one_in() {
        if child::is_child() {
            return echo_until_told();
        }
        let test = test_path!(that_another_shard_gives_back_let_the_next_one_in);
        let mut child = child::command(test, Some(30))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output)
            .lines()
            .map(|line| line.expect("text"));
        let addr = lines.find_map(|line| Some(line.split_once(LISTENS_ON)?.1.to_owned()));
        let addr: SocketAddr = addr.expect("it listens").parse().unwrap();
        // Read on, so that the child never waits for a reader.
        thread::spawn(move || lines.count());
        let peers = (0..PEERS).map(|_| connect(addr)).enumerate();
        // Those of the second shard go before anybody of the first, which accepts, does.
        let (second, first): (Vec<_>, Vec<_>) = peers.partition(|(number, _)| number % 2 == 1);
        for (_, mut peer) in second.into_iter().chain(first) {
            peer.write_all(&frame(b"?")).unwrap();
            assert_eq!(message(&mut peer), b"?");
        }
        connect(addr).write_all(&frame(b"stop")).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

/// What is added up.
#[test]
fn stats_and_metrics_are_the_sums_of_those_of_the_shards() {
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

/// How it ends.
mod ending {
    use super::*;

    #[test]
    fn a_shutdown_sends_what_is_queued_and_gives_the_handlers_back() {
        // Who reads slowly has all the time there is.
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

    fn panicking() -> Recorder {
        Recorder::reacting(|_, event| {
            if let Event::Message(..) = event {
                panic!("as the test wants it");
            }
        })
    }

    #[test]
    fn a_panic_that_is_contained_leaves_the_others_alone() {
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
    fn a_panic_that_is_not_ends_all_and_is_told() {
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
        assert!(
            text.contains("-shard-1 panicked: as the test wants it"),
            "{text}"
        );
        peers.iter_mut().for_each(ends);
        handle.post(shard(0), |_, _| ()).unwrap_err();
        TcpStream::connect(addr).unwrap_err();
    }

    #[test]
    fn dropping_it_ends_all() {
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
    fn a_panic_while_handlers_are_made_starts_nothing() {
        let made = std::panic::catch_unwind(|| {
            Shards::start(crowd_config(1000), in_turn(2), |shard, _| {
                assert_eq!(shard, ShardId::FIRST, "as the test wants it");
                Recorder::default()
            })
        });
        made.map(|_| ()).unwrap_err();
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
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
fn the_most_shards_that_there_can_be_start_and_stop() {
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
fn what_waits_for_an_answer_while_handlers_are_made_is_an_error() {
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
fn a_name_that_no_thread_can_have_keeps_no_shard_from_starting() {
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
fn the_threads_have_the_names_of_the_shards() {
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
