//! Latency, bandwidth, buffers, backlogs and the failure of connects.

use super::*;

#[test]
fn echo_and_handshake_take_two_latencies_each() {
    let mut world = calm(1);
    let (server, client) = pair(&mut world);
    world.link(server, client, Link::new(Duration::from_millis(50)));
    let addr = world.addr(server);
    let begun = world.now();
    let conn = begin(&mut world, client, addr);
    until(&mut world, client, |it| !it.connected.is_empty());
    let slack = Duration::from_millis(1);
    let handshake = world.now() - begun;
    assert!(
        handshake >= Duration::from_millis(100) && handshake < Duration::from_millis(100) + slack
    );
    let begun = world.now();
    send(&mut world, client, conn, b"hello");
    until(&mut world, client, |it| !it.received.is_empty());
    let echo = world.now() - begun;
    assert!(
        echo >= Duration::from_millis(100) && echo < Duration::from_millis(100) + slack,
        "{echo:?}"
    );
    world.with(client, |it, _| assert_eq!(it.received, [b"hello"]));
}

#[test]
fn echo_survives_faults_without_loss() {
    for_each_seed(SEEDS, |seed| {
        let mut world = World::new(seed);
        world.faults(lossless(seed));
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        let messages: Vec<Vec<u8>> = (0..20_u8)
            .map(|it| vec![it; usize::from(it) * 97])
            .collect();
        for message in &messages {
            send(&mut world, client, conn, message);
        }
        until(&mut world, client, |it| it.received.len() == 20);
        world.with(client, |it, net| {
            assert_eq!(it.received, messages);
            net.close(conn);
        });
        until(&mut world, server, |it| !it.ended.is_empty());
    });
}

#[test]
fn close_delivers_queued_messages_first() {
    for_each_seed(SEEDS, |seed| {
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
        until(&mut world, server, |it| !it.ended.is_empty());
        world.with(server, |it, _| {
            assert_eq!(it.received.len(), 5);
            assert_eq!(it.ended, [DisconnectReason::PeerClosed]);
        });
    });
}

#[test]
fn connect_is_refused_or_times_out() {
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
        begin(&mut world, client, addr);
        until(&mut world, client, |it| !it.failed.is_empty());
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
fn reset_may_destroy_bytes_in_flight() {
    for_each_seed(20, |seed| {
        let mut world = calm(seed);
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        let mut faults = Faults::calm();
        faults.reset = 1.0;
        faults.reset_discards = 1.0;
        faults.delayed_readiness = 0.9;
        world.faults(faults);
        send(&mut world, client, conn, &[1; 100]);
        // Both ends of every connection are compared at the end of each run.
        for _ in 0..2_000 {
            world.run_for(Duration::from_micros(20));
        }
        assert_eq!(world.handler(client).ended.len(), 1);
        assert_eq!(world.fault_counts().resets, 1);
    });
}

#[test]
fn link_keeps_its_bandwidth() {
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
    send(&mut world, client, conn, &[1; 1_000_000]);
    until(&mut world, server, |it| !it.received.is_empty());
    let took = (world.now() - begun).as_secs_f64();
    assert!(
        (10.0..10.5).contains(&took),
        "{took} s for ten seconds' worth"
    );
}

#[test]
fn peer_that_does_not_read_is_bounded() {
    for_each_seed(5, |seed| {
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
        until(&mut world, server, |it| it.received.len() == sent);
    });
}

/// Options with this source address.
fn from(net: &Net, source: SocketAddr) -> ConnectOptions {
    let mut options = net.connect_options();
    options.source = Some(source);
    options
}

#[test]
fn simultaneous_open_gives_one_connection() {
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
    send(&mut world, b, conn, b"well met");
    until(&mut world, a, |it| !it.received.is_empty());
}

#[test]
fn connect_to_its_own_port_is_found() {
    let mut world = calm(1);
    let node = world.node(Config::default(), Plain::default());
    let own = SocketAddr::new(world.ip(node), 5000);
    world
        .with(node, |_, net| net.connect_with(own, from(net, own)))
        .expect("nothing forbids it");
    until(&mut world, node, |it| !it.failed.is_empty());
    world.with(node, |it, _| {
        assert_eq!(it.failed[0], ConnectError::SelfConnection)
    });
}

#[test]
fn connect_with_a_system_socket_is_unsupported() {
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
fn full_backlog_delays_connects() {
    let mut world = calm(1);
    let listener = world.wire_listener(1);
    let clients: Vec<_> = (0..4)
        .map(|_| world.node(Config::default(), Plain::default()))
        .collect();
    for client in &clients {
        begin(&mut world, *client, listener.addr());
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
fn every_fault_occurs() {
    let mut world = World::new(11);
    world.faults(Faults::hostile());
    let server = world.node(Config::default(), Plain::server());
    let clients: Vec<_> = (0..8)
        .map(|_| world.node(Config::default(), Plain::default()))
        .collect();
    world.run_for(Duration::from_millis(1));
    let addr = world.addr(server);
    for _ in 0..25 {
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
