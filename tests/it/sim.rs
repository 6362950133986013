//! The simulator itself: that it does what it says, that it is unkind enough, and that the library bears it.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Timeouts};
use peerloop::sim::{Faults, Link, NodeId, World, for_each_seed};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, ConnectOptions, DisconnectReason, Handler, Net,
    SendError, TimerId,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Listens if it is told to, answers if it is told to, and writes everything down.
#[derive(Default)]
struct Plain {
    listens: bool,
    echoes: bool,
    paused: bool,
    connected: Vec<ConnId>,
    heard: Vec<Vec<u8>>,
    failed: Vec<ConnectError>,
    ended: Vec<DisconnectReason>,
    timers: Vec<u64>,
}

impl Plain {
    fn server() -> Self {
        Self {
            listens: true,
            echoes: true,
            ..Self::default()
        }
    }

    fn sink() -> Self {
        Self {
            listens: true,
            ..Self::default()
        }
    }
}

impl Handler for Plain {
    fn on_start(&mut self, net: &mut Net) {
        if self.listens {
            net.listen("0.0.0.0:7000".parse::<SocketAddr>().expect("an address"))
                .expect("the port is free");
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected.push(conn);
        if self.paused {
            net.pause(conn);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.heard.push(message.to_vec());
        if self.echoes {
            let _ = net.send(conn, message);
        }
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended.push(reason);
    }

    fn on_timer(&mut self, _: &mut Net, _: TimerId, key: u64) {
        self.timers.push(key);
    }
}

fn calm(seed: u64) -> World {
    let mut world = World::new(seed);
    world.faults(Faults::calm());
    world
}

/// A server and a client, which are not connected yet.
fn pair(world: &mut World) -> (NodeId<Plain>, NodeId<Plain>) {
    let server = world.node(Config::default(), Plain::server());
    let client = world.node(Config::default(), Plain::default());
    world.run_for(Duration::from_millis(1));
    (server, client)
}

/// Connects and waits until both know.
fn connect(world: &mut World, from: NodeId<Plain>, to: NodeId<Plain>) -> ConnId {
    let addr = world.addr(to);
    let before = world.with(to, |it, _| it.connected.len());
    let conn = world
        .with(from, |_, net| net.connect(addr))
        .expect("nothing forbids it");
    world
        .run_until(MINUTE, |world| {
            world.with(from, |it, _| it.connected.contains(&conn))
                && world.with(to, |it, _| it.connected.len() > before)
        })
        .expect("they connect");
    conn
}

#[test]
fn a_calm_echo_takes_two_latencies_and_the_handshake_two() {
    let mut world = calm(1);
    let (server, client) = pair(&mut world);
    world.link(server, client, Link::new(Duration::from_millis(50)));
    let addr = world.addr(server);
    let begun = world.now();
    let conn = world
        .with(client, |_, net| net.connect(addr))
        .expect("nothing forbids it");
    world
        .run_until(MINUTE, |world| {
            world.with(client, |it, _| !it.connected.is_empty())
        })
        .expect("they connect");
    let slack = Duration::from_millis(1);
    let handshake = world.now() - begun;
    assert!(
        handshake >= Duration::from_millis(100) && handshake < Duration::from_millis(100) + slack
    );
    let begun = world.now();
    world
        .with(client, |_, net| net.send(conn, b"hello"))
        .expect("there is room");
    world
        .run_until(MINUTE, |world| {
            world.with(client, |it, _| !it.heard.is_empty())
        })
        .expect("the answer comes");
    let echo = world.now() - begun;
    assert!(
        echo >= Duration::from_millis(100) && echo < Duration::from_millis(100) + slack,
        "{echo:?}"
    );
    world.with(client, |it, _| assert_eq!(it.heard, [b"hello"]));
}

/// Faults of the seed that lose nothing, so that everything has to arrive.
fn lossless(seed: u64) -> Faults {
    if seed % 2 == 0 {
        Faults::hostile().lossless()
    } else {
        Faults::drawn(seed).lossless()
    }
}

#[test]
fn an_echo_survives_whatever_loses_nothing() {
    for_each_seed(200, |seed| {
        let mut world = World::new(seed);
        world.faults(lossless(seed));
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        let messages: Vec<Vec<u8>> = (0..20_u8)
            .map(|it| vec![it; usize::from(it) * 97])
            .collect();
        for message in &messages {
            world
                .with(client, |_, net| net.send(conn, message))
                .expect("there is room");
        }
        world
            .run_until(10 * MINUTE, |world| {
                world.with(client, |it, _| it.heard.len() == 20)
            })
            .expect("all answers come");
        world.with(client, |it, net| {
            assert_eq!(it.heard, messages);
            net.close(conn);
        });
        world
            .run_until(MINUTE, |world| {
                world.with(server, |it, _| !it.ended.is_empty())
            })
            .expect("the end comes");
    });
}

#[test]
fn what_was_sent_before_a_close_arrives_before_the_end() {
    for_each_seed(200, |seed| {
        let mut world = World::new(seed);
        world.faults(lossless(seed));
        let server = world.node(Config::default(), Plain::sink());
        let client = world.node(Config::default(), Plain::default());
        world.run_for(Duration::from_millis(1));
        let conn = connect(&mut world, client, server);
        world.with(client, |_, net| {
            (0..5_u8).for_each(|it| net.send(conn, &[it; 10]).expect("there is room"));
            net.close(conn);
        });
        world
            .run_until(MINUTE, |world| {
                world.with(server, |it, _| !it.ended.is_empty())
            })
            .expect("the end comes");
        world.with(server, |it, _| {
            assert_eq!(it.heard.len(), 5);
            assert_eq!(it.ended, [DisconnectReason::PeerClosed]);
        });
    });
}

/// A run in which much happens; its trace.
fn busy(seed: u64) -> (String, u64) {
    let mut world = World::new(seed);
    world.faults(Faults::hostile());
    world.keep_trace();
    let (server, client) = pair(&mut world);
    let addr = world.addr(server);
    for _ in 0..5 {
        if let Ok(conn) = world.with(client, |_, net| net.connect(addr)) {
            world.run_for(Duration::from_secs(2));
            let _ = world.with(client, |_, net| net.send(conn, &[7; 5000]));
            world.run_for(Duration::from_secs(2));
            world.with(client, |_, net| net.abort(conn));
        }
    }
    (world.trace().to_string(), world.trace().hash())
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_another() {
    let (first, second, other) = (busy(5), busy(5), busy(6));
    assert!(
        first.0.lines().count() > 50,
        "much has happened:\n{}",
        first.0
    );
    assert_eq!(first, second);
    assert_ne!(first.1, other.1);
    assert_ne!(first.0, other.0);
}

/// Nothing ends a connection on which nothing is said.
fn patient() -> Config {
    let timeouts = Timeouts {
        idle: None,
        partial_message: None,
        write_stall: None,
        ..Timeouts::default()
    };
    Config {
        connection: ConnectionConfig {
            timeouts,
            ..Default::default()
        },
        ..Config::default()
    }
}

#[test]
fn a_million_seconds_of_idling_are_a_few_turns() {
    let mut world = calm(1);
    let server = world.node(patient(), Plain::server());
    let client = world.node(patient(), Plain::default());
    connect(&mut world, client, server);
    let before = world.steps();
    world.with(client, |_, net| {
        net.set_timer(Duration::from_secs(999_999), 7)
    });
    world.run_for(Duration::from_secs(1_000_000));
    assert!(
        world.steps() - before < 10,
        "{} turns",
        world.steps() - before
    );
    world.with(client, |it, net| {
        assert_eq!(it.timers, [7]);
        assert_eq!(net.connection_count(), 1);
    });
}

#[test]
fn a_million_seconds_with_a_keepalive_now_and_then_are_a_few_turns_for_each() {
    const EVERY: Duration = Duration::from_secs(10_000);

    let mut world = calm(1);
    let server = world.node(patient(), Plain::server());
    let clients: Vec<_> = (0..5)
        .map(|_| world.node(patient(), Plain::default()))
        .collect();
    let conns: Vec<_> = clients
        .iter()
        .map(|client| connect(&mut world, *client, server))
        .collect();
    let before = world.steps();
    for _ in 0..100 {
        for (client, conn) in clients.iter().zip(&conns) {
            world
                .with(*client, |_, net| net.send(*conn, b"still here"))
                .expect("there is room");
        }
        world.run_for(EVERY);
    }
    // The client's turn in which it is sent, the server's, and the client's with the answer; with one more for each edge.
    let turns = world.steps() - before;
    assert!(turns <= 100 * 5 * 6, "{turns} turns");
    for client in clients {
        assert_eq!(world.handler(client).heard.len(), 100);
        assert!(world.handler(client).ended.is_empty());
    }
}

#[test]
fn timers_and_deadlines_are_exact() {
    let mut world = calm(1);
    let (server, client) = pair(&mut world);
    connect(&mut world, client, server);
    let begun = world.now();
    world
        .run_until(2 * MINUTE, |world| {
            world.with(client, |it, _| !it.ended.is_empty())
        })
        .expect("idle connections end");
    let idle = world.now() - begun;
    let slack = Duration::from_millis(20);
    assert!(idle > MINUTE - slack && idle < MINUTE + slack, "{idle:?}");
}

#[test]
fn a_connect_is_refused_where_nobody_listens_and_times_out_where_nobody_is() {
    let mut world = calm(1);
    let (server, client) = pair(&mut world);
    let nobody = SocketAddr::new(world.ip(server), 1);
    let nowhere: SocketAddr = "10.99.0.1:7000".parse().expect("an address");
    for (addr, after, error) in [
        (
            nobody,
            Duration::from_millis(2),
            ConnectError::Io(io::ErrorKind::ConnectionRefused.into()),
        ),
        (nowhere, Duration::from_secs(5), ConnectError::TimedOut),
    ] {
        let begun = world.now();
        world
            .with(client, |_, net| net.connect(addr))
            .expect("nothing forbids it");
        world
            .run_until(MINUTE, |world| {
                world.with(client, |it, _| !it.failed.is_empty())
            })
            .expect("it fails");
        let took = world.now() - begun;
        assert!(
            took >= after && took < after + Duration::from_millis(2),
            "{took:?}"
        );
        let failed = world.with(client, |it, _| it.failed.pop());
        assert_eq!(failed, Some(error));
    }
}

#[test]
fn a_partition_keeps_back_what_its_end_brings() {
    for_each_seed(50, |seed| {
        let mut world = World::new(seed);
        world.faults(lossless(seed));
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        world.partition(server, client);
        world
            .with(client, |_, net| net.send(conn, b"late"))
            .expect("there is room");
        world.run_for(Duration::from_secs(4));
        world.with(server, |it, _| assert!(it.heard.is_empty()));
        world.heal(server, client);
        world
            .run_until(MINUTE, |world| {
                world.with(client, |it, _| !it.heard.is_empty())
            })
            .expect("it arrives, and its answer");
    });
}

/// Whether a connect from one to the other is answered.
fn reaches(world: &mut World, from: NodeId<Plain>, to: NodeId<Plain>) -> bool {
    let addr = world.addr(to);
    let conn = world
        .with(from, |_, net| net.connect(addr))
        .expect("nothing forbids it");
    world.run_for(Duration::from_secs(6));
    world.with(from, |it, net| {
        net.abort(conn);
        it.connected.contains(&conn)
    })
}

#[test]
fn groups_are_cut_from_each_other_and_not_within() {
    let mut world = calm(1);
    let nodes: Vec<_> = (0..4)
        .map(|_| world.node(Config::default(), Plain::sink()))
        .collect();
    let [a, b, c, d] = nodes[..] else {
        panic!("four nodes");
    };
    world.partition([a, b], vec![c, d]);
    for (from, to, expected) in [(a, b, true), (c, d, true), (a, c, false), (d, b, false)] {
        assert_eq!(reaches(&mut world, from, to), expected, "{from:?} {to:?}");
    }
    // One of one side, and all of the other.
    world.heal(a, &nodes[2..]);
    for (from, to, expected) in [(a, c, true), (d, a, true), (b, c, false), (d, b, false)] {
        assert_eq!(reaches(&mut world, from, to), expected, "{from:?} {to:?}");
    }
    // Everybody from everybody, and nobody from itself.
    world.partition(&nodes, &nodes);
    let wire = world.wire_listener(1);
    world.partition(wire, [world.ip(a)]);
    for (from, to) in [(a, b), (b, c), (c, d), (d, a)] {
        assert!(!reaches(&mut world, from, to), "{from:?} {to:?}");
    }
    let own = world.addr(a);
    world
        .with(a, |_, net| net.connect(own))
        .expect("nothing forbids it");
    world.run_for(Duration::from_secs(6));
    let ended = world.with(a, |it, _| it.ended.pop());
    assert_eq!(ended, Some(DisconnectReason::SelfConnection));
    world.heal_all();
    for (from, to) in [(a, b), (b, c), (c, d), (d, a)] {
        assert!(reaches(&mut world, from, to), "{from:?} {to:?}");
    }
    world
        .with(a, |_, net| net.connect(wire.addr()))
        .expect("nothing forbids it");
    world.run_for(Duration::from_secs(1));
    assert!(world.accept_wire(wire).is_some(), "its cut is mended too");
}

#[test]
fn an_address_is_known_at_once_and_again_after_a_restart() {
    let mut world = calm(1);
    let server = world.node(Config::default(), Plain::server());
    let addr = world.addr(server);
    assert_eq!(addr, SocketAddr::new(world.ip(server), 7000));
    assert_eq!((world.now(), world.steps()), (Duration::ZERO, 1));
    let client = world.node(Config::default(), Plain::default());
    let conn = connect(&mut world, client, server);
    drop(world.crash(server));
    world.restart(server, Plain::server());
    world.with(client, |_, net| net.abort(conn));
    world.run_for(Duration::ZERO);
    let before = world.now();
    assert_eq!((world.addr(server), world.now()), (addr, before));
    connect(&mut world, client, server);
}

#[test]
#[should_panic(expected = "n0 does not listen")]
fn a_node_that_does_not_listen_has_no_address() {
    let mut world = calm(1);
    let client = world.node(Config::default(), Plain::default());
    world.addr(client);
}

#[test]
fn a_crashed_node_is_gone_and_can_be_started_again() {
    for_each_seed(50, |seed| {
        let mut world = World::new(seed);
        world.faults(lossless(seed));
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        let before = world.crash(server);
        assert_eq!(before.connected.len(), 1);
        assert!(!world.is_up(server));
        // Whatever the crash told the client, it finds out: at once, by silence, or by what it sends.
        let _ = world.with(client, |_, net| net.send(conn, b"are you there?"));
        world
            .run_until(2 * MINUTE, |world| {
                world.with(client, |it, _| it.ended.len() == 1)
            })
            .expect("the client finds out");
        world.restart(server, Plain::server());
        world.run_for(Duration::from_secs(1));
        connect(&mut world, client, server);
    });
}

#[test]
fn what_a_reset_destroys_is_not_missed_before_the_nodes_know_of_it() {
    for_each_seed(20, |seed| {
        let mut world = calm(seed);
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        let mut faults = Faults::calm();
        faults.reset = 1.0;
        faults.reset_discards = 1.0;
        faults.delayed_readiness = 0.9;
        world.faults(faults);
        world
            .with(client, |_, net| net.send(conn, &[1; 100]))
            .expect("there is room");
        // Both ends of every connection are compared at the end of each run.
        for _ in 0..2_000 {
            world.run_for(Duration::from_micros(20));
        }
        assert_eq!(world.handler(client).ended.len(), 1);
        assert_eq!(world.fault_counts().resets, 1);
    });
}

#[test]
fn bandwidth_is_what_the_link_says() {
    let mut world = calm(1);
    let server = world.node(Config::default(), Plain::sink());
    let client = world.node(Config::default(), Plain::default());
    world.run_for(Duration::from_millis(1));
    let conn = connect(&mut world, client, server);
    world.link(
        server,
        client,
        Link::new(Duration::from_millis(1)).bandwidth(100_000),
    );
    let begun = world.now();
    world
        .with(client, |_, net| net.send(conn, &[1; 1_000_000]))
        .expect("there is room");
    world
        .run_until(MINUTE, |world| {
            world.with(server, |it, _| !it.heard.is_empty())
        })
        .expect("it arrives");
    let took = (world.now() - begun).as_secs_f64();
    assert!(
        (10.0..10.5).contains(&took),
        "{took} s for ten seconds' worth"
    );
}

#[test]
fn a_peer_that_does_not_read_costs_a_bounded_amount() {
    for_each_seed(20, |seed| {
        let mut world = World::new(seed);
        let mut faults = lossless(seed);
        // Through a window of a few bytes it would last longer than a stalled write may.
        faults.small_buffers = 0.0;
        world.faults(faults);
        let sink = Plain {
            paused: true,
            ..Plain::sink()
        };
        let server = world.node(Config::default(), sink);
        let client = world.node(Config::default(), Plain::default());
        world.run_for(Duration::from_millis(1));
        let conn = connect(&mut world, client, server);
        let mut sent = 0;
        for _ in 0..40 {
            let send = |_: &mut Plain, net: &mut Net| {
                let mut sent = 0;
                while net.send(conn, &[3; 10_000]).is_ok() {
                    sent += 1;
                }
                assert_eq!(net.send(conn, &[3; 10_000]), Err(SendError::Full));
                sent
            };
            sent += world.with(client, send);
            world.run_for(Duration::from_millis(100));
        }
        // The queue's cap, and the buffers of both kernels.
        assert!(
            sent <= (4 * 1024 + 2 * 128 + 64) * 1024 / 10_000,
            "{sent} messages taken"
        );
        let accepted = world.with(server, |it, _| it.connected[0]);
        world.with(server, |_, net| net.resume(accepted));
        world
            .run_until(10 * MINUTE, |world| {
                world.with(server, |it, _| it.heard.len() == sent)
            })
            .expect("all of it arrives");
    });
}

/// Options with this source address.
fn from(net: &Net, source: SocketAddr) -> ConnectOptions {
    let mut options = net.connect_options();
    options.source = Some(source);
    options
}

#[test]
fn two_who_connect_to_each_other_meet_in_the_middle() {
    let mut world = calm(1);
    let (a, b) = pair(&mut world);
    world.link(a, b, Link::new(Duration::from_millis(10)));
    let ends = [a, b].map(|node| SocketAddr::new(world.ip(node), 5000));
    for (node, source, addr) in [(a, ends[0], ends[1]), (b, ends[1], ends[0])] {
        let connect = |_: &mut Plain, net: &mut Net| net.connect_with(addr, from(net, source));
        world.with(node, connect).expect("nothing forbids it");
    }
    world
        .run_until(MINUTE, |world| {
            [a, b]
                .iter()
                .all(|node| world.with(*node, |it, _| it.connected.len() == 1))
        })
        .expect("they meet");
    assert_eq!(world.fault_counts().simultaneous_opens, 1);
    let conn = world.with(b, |it, _| it.connected[0]);
    world
        .with(b, |_, net| net.send(conn, b"well met"))
        .expect("there is room");
    world
        .run_until(MINUTE, |world| world.with(a, |it, _| !it.heard.is_empty()))
        .expect("one connection, both ways");
}

#[test]
fn a_socket_that_connects_its_own_port_meets_itself() {
    let mut world = calm(1);
    let node = world.node(Config::default(), Plain::default());
    let own = SocketAddr::new(world.ip(node), 5000);
    world
        .with(node, |_, net| net.connect_with(own, from(net, own)))
        .expect("nothing forbids it");
    world
        .run_until(MINUTE, |world| {
            world.with(node, |it, _| !it.failed.is_empty())
        })
        .expect("the node finds out");
    world.with(node, |it, _| {
        assert_eq!(it.failed[0], ConnectError::SelfConnection)
    });
}

#[test]
fn a_connect_with_a_socket_of_the_system_is_unsupported() {
    let mut world = calm(1);
    let (server, client) = pair(&mut world);
    let addr = world.addr(server);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = TcpStream::from(socket.expect("a descriptor"));
    let connect = |_: &mut Plain, net: &mut Net| {
        let mut options = net.connect_options();
        options.bound_socket = Some(socket);
        net.connect_with(addr, options)
    };
    world.with(client, connect).expect("nothing forbids it");
    world.run_for(Duration::from_secs(1));
    let unsupported = ConnectError::Io(io::ErrorKind::Unsupported.into());
    world.with(client, |it, _| assert_eq!(it.failed[0], unsupported));
}

#[test]
fn a_wire_says_what_it_is_told_to() {
    let mut world = calm(1);
    let (server, _) = pair(&mut world);
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a port is free");
    assert_eq!(
        world.write_wire(wire, b"x").map_err(|it| it.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
    world
        .run_until(MINUTE, |world| {
            world.with(server, |it, _| it.connected.len() == 1)
        })
        .expect("it connects");
    for piece in [&b"\0\0"[..], b"\0\x02h", b"i"] {
        assert_eq!(world.write_wire(wire, piece).ok(), Some(piece.len()));
        world.run_for(Duration::from_millis(10));
    }
    let mut read = Vec::new();
    assert!(!world.read_wire(wire, &mut read).expect("it is well"));
    assert_eq!(read, b"\0\0\0\x02hi");
    // Longer than any frame may be.
    assert_eq!(world.write_wire(wire, &[0xff; 8]).ok(), Some(8));
    world.run_for(Duration::from_secs(1));
    let too_large = |it: &mut Plain, _: &mut Net| {
        matches!(it.ended[..], [DisconnectReason::MessageTooLarge { .. }])
    };
    assert!(world.with(server, too_large));
    // The server had read all of it, so its end is an end and no reset.
    assert!(world.read_wire(wire, &mut read).expect("it is well"));
}

#[test]
fn a_wire_resets_and_finishes() {
    let mut world = calm(1);
    let (server, client) = pair(&mut world);
    let addr = world.addr(server);
    for (finish, reason) in [
        (true, DisconnectReason::Truncated { bytes: 2 }),
        (false, DisconnectReason::Reset),
    ] {
        let wire = world.wire(addr).expect("a port is free");
        world.run_for(Duration::from_millis(10));
        assert_eq!(world.write_wire(wire, b"\0\0").ok(), Some(2));
        if finish {
            world.shutdown_wire(wire).expect("it is established");
        } else {
            world.reset_wire(wire);
        }
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.with(server, |it, _| it.ended.pop()), Some(reason));
    }
    let listener = world.wire_listener(0);
    world
        .with(client, |_, net| net.connect(listener.addr()))
        .expect("nothing forbids it");
    world.run_for(Duration::from_millis(10));
    let wire = world
        .accept_wire(listener)
        .expect("the client has connected");
    assert!(world.is_wire_connected(wire));
    world.close_wire(wire);
    world.run_for(Duration::from_millis(10));
    world.with(client, |it, _| {
        assert_eq!(it.ended, [DisconnectReason::PeerClosed])
    });
}

#[test]
fn a_full_backlog_leaves_connects_without_an_answer() {
    let mut world = calm(1);
    let listener = world.wire_listener(1);
    let clients: Vec<_> = (0..4)
        .map(|_| world.node(Config::default(), Plain::default()))
        .collect();
    for client in &clients {
        world
            .with(*client, |_, net| net.connect(listener.addr()))
            .expect("nothing forbids it");
    }
    world.run_for(Duration::from_millis(500));
    let connected = |world: &mut World| {
        let count = |client: &NodeId<Plain>| world.with(*client, |it, _| it.connected.len());
        clients.iter().map(count).sum::<usize>()
    };
    assert_eq!(connected(&mut world), 2, "the backlog and one");
    assert!(world.fault_counts().full_backlogs >= 2);
    assert!(world.accept_wire(listener).is_some() && world.accept_wire(listener).is_some());
    world.run_for(Duration::from_secs(4));
    assert_eq!(connected(&mut world), 4, "the kernels have called again");
}

#[test]
fn a_command_from_elsewhere_wakes_a_node() {
    let mut world = World::new(1);
    let mut faults = Faults::calm();
    faults.delayed_wake = 1.0;
    world.faults(faults);
    let (server, _) = pair(&mut world);
    world
        .post(server, |it, _| it.timers.push(1))
        .expect("the queue has room");
    world.with(server, |it, _| assert!(it.timers.is_empty()));
    world
        .run_until(MINUTE, |world| {
            world.with(server, |it, _| !it.timers.is_empty())
        })
        .expect("it is woken");
    assert_eq!(world.fault_counts().delayed_wakes, 1);
}

#[test]
fn what_does_not_come_about_is_an_error_that_tells() {
    let mut world = calm(3);
    pair(&mut world);
    let error = world
        .run_until(MINUTE, |_| false)
        .expect_err("nothing happens");
    let text = error.to_string();
    assert!(
        text.contains("seed 3") && text.contains("n1 (10.0.0.2): 0 connections"),
        "{text}"
    );
    assert_eq!(world.now(), MINUTE + Duration::from_millis(1));
}

mod replayed {
    use std::process::{Command, Output};

    use super::*;

    /// Set for the process in which [`fails_when_it_is_told_to`] is to fail.
    const TOLD: &str = "PEERLOOP_TEST_FAILS";

    /// Fails for the seed 3, in a world with another.
    #[test]
    fn fails_when_it_is_told_to() {
        if std::env::var_os(TOLD).is_none() {
            return;
        }
        for_each_seed(5, |seed| {
            let mut world = calm(seed + 100);
            let server = world.node(Config::default(), Plain::server());
            world.always(move |world| match world.handler(server).timers[..] {
                [3] => Err("it has come to three".to_owned()),
                _ => Ok(()),
            });
            world.addr(server);
            world.with(server, |_, net| net.set_timer(MINUTE, seed));
            world.run_for(2 * MINUTE);
        });
    }

    fn run(seed: Option<&str>, arguments: &[&str]) -> Output {
        let mut test = Command::new(std::env::current_exe().expect("this test"));
        test.env(TOLD, "1").env_remove("SEED").env_remove("SEEDS");
        test.envs(seed.map(|seed| ("SEED", seed)));
        test.args(arguments).output().expect("it runs")
    }

    #[test]
    fn a_failure_says_how_to_have_it_again() {
        let failed = run(None, &["sim::replayed::fails_when", "--nocapture"]);
        assert!(!failed.status.success());
        let told = String::from_utf8(failed.stderr).expect("text");
        assert!(
            told.contains(
                "an invariant is violated, with the seed 103, at 60s: it has come to three"
            ),
            "{told}"
        );
        // By the world, and by what runs it with each seed; the world's own seed is another.
        let commands: Vec<&str> = told
            .lines()
            .filter_map(|line| Some(line.split_once("o replay: ")?.1))
            .collect();
        let expected = "SEED=3 cargo test -p peerloop --all-features \
                        sim::replayed::fails_when_it_is_told_to -- --exact";
        assert_eq!(commands, [expected; 2]);
        // What cargo would hand on to this program.
        let again = run(
            Some("3"),
            &["sim::replayed::fails_when_it_is_told_to", "--exact"],
        );
        let told = String::from_utf8(again.stdout).expect("text");
        assert!(told.contains("running 1 test") && told.contains("come to three"));
        assert!(!again.status.success());
        let other = run(
            Some("4"),
            &["sim::replayed::fails_when_it_is_told_to", "--exact"],
        );
        assert!(other.status.success(), "only the seed 3 fails");
    }
}

#[test]
fn a_thousand_nodes_live_in_one_world() {
    let mut world = calm(1);
    let nodes: Vec<_> = (0..1000)
        .map(|_| world.node(Config::default(), Plain::sink()))
        .collect();
    world.run_for(Duration::from_millis(1));
    for (index, node) in nodes.iter().enumerate() {
        for step in [1, 10, 100] {
            let other = nodes[(index + step) % nodes.len()];
            let addr = SocketAddr::new(world.ip(other), 7000);
            world
                .with(*node, |_, net| net.connect(addr))
                .expect("nothing forbids it");
        }
    }
    world.run_for(Duration::from_secs(1));
    for node in nodes {
        world.with(node, |it, net| {
            assert_eq!((it.connected.len(), net.connection_count()), (6, 6));
        });
    }
    assert_eq!(world.fault_counts().established, 3000);
}

#[test]
fn every_hostile_behaviour_occurs() {
    let mut world = World::new(11);
    world.faults(Faults::hostile());
    let server = world.node(Config::default(), Plain::server());
    let clients: Vec<_> = (0..8)
        .map(|_| world.node(Config::default(), Plain::default()))
        .collect();
    world.run_for(Duration::from_millis(1));
    let addr = world.addr(server);
    for _ in 0..40 {
        for client in &clients {
            if let Ok(conn) = world.with(*client, |_, net| net.connect(addr)) {
                world.run_for(Duration::from_millis(200));
                for size in [1, 300, 30_000] {
                    let _ = world.with(*client, |_, net| net.send(conn, &vec![5; size][..]));
                }
                world.run_for(Duration::from_millis(200));
                world.with(*client, |_, net| net.close(conn));
            }
        }
        world.post(server, |_, _| ()).expect("the queue has room");
        world.run_for(Duration::from_secs(1));
    }
    let happened = world.fault_counts();
    let counts = [
        ("fin_with_data", happened.fin_with_data),
        ("spurious_readiness", happened.spurious_readiness),
        ("split_readiness", happened.split_readiness),
        ("delayed_readiness", happened.delayed_readiness),
        ("shuffled", happened.shuffled),
        ("small_batches", happened.small_batches),
        ("stale_readiness", happened.stale_readiness),
        ("short_reads", happened.short_reads),
        ("short_writes", happened.short_writes),
        ("would_blocks", happened.would_blocks),
        ("full_buffers", happened.full_buffers),
        ("interrupted", happened.interrupted),
        ("latency_spikes", happened.latency_spikes),
        ("resets", happened.resets),
        ("resets_discarding", happened.resets_discarding),
        ("refused", happened.refused),
        ("unreachable", happened.unreachable),
        ("lost_connects", happened.lost_connects),
        ("no_descriptor", happened.no_descriptor),
        ("failed_registrations", happened.failed_registrations),
        ("aborted_accepts", happened.aborted_accepts),
        ("delayed_wakes", happened.delayed_wakes),
        ("late_turns", happened.late_turns),
        ("slow_callbacks", happened.slow_callbacks),
    ];
    let missing: Vec<_> = counts.iter().filter(|(_, count)| *count == 0).collect();
    assert!(
        missing.is_empty(),
        "never happened: {missing:?} of {happened:?}"
    );
}
