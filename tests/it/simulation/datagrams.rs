//! Datagrams between simulated nodes.

use super::*;
use peerloop::{UdpId, UdpOptions};

/// Has one UDP socket, and records its callbacks with their times.
#[derive(Default)]
struct Post {
    port: u16,
    options: UdpOptions,
    echoes: bool,
    /// How long the callback of a datagram takes.
    takes: Duration,
    udp: Option<UdpId>,
    received: Vec<(Instant, SocketAddr, Vec<u8>)>,
    drains: Vec<Instant>,
}

impl Post {
    fn on(port: u16) -> Self {
        Self {
            port,
            ..Self::default()
        }
    }

    fn bodies(&self) -> Vec<&[u8]> {
        self.received.iter().map(|(_, _, body)| &**body).collect()
    }
}

impl Handler for Post {
    fn on_start(&mut self, net: &mut Net) {
        let udp = net.bind_udp(("0.0.0.0", self.port), self.options);
        self.udp = Some(udp.expect("the port is free"));
    }

    fn on_datagram(&mut self, net: &mut Net, udp: UdpId, from: SocketAddr, datagram: &[u8]) {
        sim::spend(self.takes);
        self.received.push((net.now(), from, datagram.to_vec()));
        if self.echoes {
            net.send_to(udp, datagram, from).expect("there is room");
        }
    }

    fn on_udp_drain(&mut self, net: &mut Net, _: UdpId) {
        self.drains.push(net.now());
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Two nodes with a socket each, and the address of the second one.
fn two(world: &mut World, a: Post, b: Post) -> (NodeId<Post>, NodeId<Post>, SocketAddr) {
    let port = b.port;
    let (a, b) = (world.node(strict(), a), world.node(strict(), b));
    world.run_for(MS);
    let addr = SocketAddr::new(world.ip(b), port);
    (a, b, addr)
}

#[track_caller]
fn post(world: &mut World, from: NodeId<Post>, to: SocketAddr, datagrams: &[&[u8]]) -> Instant {
    world.with(from, |it, net| {
        let udp = it.udp.expect("it has started");
        for datagram in datagrams {
            net.send_to(udp, datagram, to).expect("there is room");
        }
        net.now()
    })
}

/// One hundred numbered datagrams.
fn hundred() -> Vec<[u8; 10]> {
    (0..100).map(|number| [number; 10]).collect()
}

fn send_hundred(world: &mut World, from: NodeId<Post>, to: SocketAddr) {
    let all = hundred();
    let all: Vec<&[u8]> = all.iter().map(|it| &it[..]).collect();
    post(world, from, to, &all);
}

#[test]
fn datagram_takes_the_latency_of_its_link() {
    for selector in [Selector::Epoll, Selector::Poll] {
        let mut world = calm(1);
        let echo = Post {
            echoes: true,
            ..Post::on(7000)
        };
        let (a, b, addr) = two(&mut world, Post::on(7001), echo);
        world.selector([a, b], selector);
        world.link(a, b, Link::new(50 * MS));
        let begun = post(&mut world, a, addr, &[b"", b"hello"]);
        world.run_for(SECOND);
        let from = SocketAddr::new(world.ip(a), 7001);
        let [there, back] = [b, a].map(|node| world.handler(node).received.clone());
        let bodies = [b"".to_vec(), b"hello".to_vec()];
        let at = |after, from| bodies.clone().map(|body| (begun + after, from, body));
        assert_eq!(there, at(50 * MS, from));
        assert_eq!(back, at(100 * MS, addr));
    }
}

#[test]
fn lost_datagrams_do_not_come() {
    let mut world = calm(1);
    let (a, b, addr) = two(&mut world, Post::on(7000), Post::on(7000));
    let mut faults = Faults::calm();
    faults.lost_datagram = 0.5;
    world.faults(faults);
    send_hundred(&mut world, a, addr);
    world.run_for(SECOND);
    let counts = world.fault_counts();
    let arrived = world.handler(b).received.len() as u64;
    assert_eq!(counts.lost_datagrams + arrived, 100);
    assert!((30..70).contains(&arrived), "{arrived}");
}

#[test]
fn duplicated_datagrams_come_twice() {
    let mut world = calm(1);
    let (a, b, addr) = two(&mut world, Post::on(7000), Post::on(7000));
    let mut faults = Faults::calm();
    faults.duplicated_datagram = 1.0;
    world.faults(faults);
    post(&mut world, a, addr, &[b"x", b"y"]);
    world.run_for(SECOND);
    let received = world.handler(b);
    assert_eq!(received.bodies(), [b"x", b"x", b"y", b"y"]);
}

#[test]
fn reordered_datagrams_all_come() {
    let mut world = calm(1);
    let (a, b, addr) = two(&mut world, Post::on(7000), Post::on(7000));
    let mut faults = Faults::calm();
    faults.reordered_datagram = 0.5;
    world.faults(faults);
    send_hundred(&mut world, a, addr);
    world.run_for(SECOND);
    let mut numbers: Vec<u8> = world.handler(b).bodies().iter().map(|it| it[0]).collect();
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<u8>>());
}

#[test]
fn partition_loses_datagrams_for_good() {
    let mut world = calm(1);
    let (a, b, addr) = two(&mut world, Post::on(7000), Post::on(7000));
    world.partition(a, b);
    post(&mut world, a, addr, &[b"1"]);
    world.run_for(SECOND);
    world.heal(a, b);
    world.run_for(SECOND);
    post(&mut world, a, addr, &[b"2"]);
    world.run_for(SECOND);
    assert_eq!(world.handler(b).bodies(), [b"2"]);
    assert_eq!(world.fault_counts().cut_datagrams, 1);
}

#[test]
fn full_receive_buffer_drops_the_rest() {
    let mut world = calm(1);
    let slow = Post {
        takes: SECOND,
        options: UdpOptions {
            receive_buffer_bytes: Some(2_000),
            ..Default::default()
        },
        ..Post::on(7000)
    };
    let (a, b, addr) = two(&mut world, Post::on(7000), slow);
    send_hundred(&mut world, a, addr);
    world.run_for(MINUTE);
    // Each takes 256 bytes more than its length, and the last one may exceed
    // the size.
    let first: Vec<[u8; 10]> = hundred()[..8].to_vec();
    assert_eq!(world.handler(b).bodies(), first);
    assert_eq!(world.fault_counts().overflowed_datagrams, 92);
}

/// Ten datagrams of 1,000 bytes take a tenth of a second each.
#[test]
fn slow_link_fills_the_ring_until_it_drains() {
    let mut world = calm(1);
    let narrow = Post {
        options: UdpOptions {
            send_ring_bytes: 4 * 1024,
            send_buffer_bytes: Some(1_500),
            ..Default::default()
        },
        ..Post::on(7000)
    };
    let (a, b, addr) = two(&mut world, narrow, Post::on(7000));
    world.link(a, b, Link::new(10 * MS).bandwidth(10_000));
    let body = [7; 1000];
    let begun = post(&mut world, a, addr, &[&body[..]; 3]);
    let refused = world.with(a, |it, net| {
        let udp = it.udp.expect("it has started");
        net.send_to(udp, &body, addr)
    });
    assert_eq!(refused, Err(peerloop::SendToError::Full));
    world.run_for(SECOND);
    let times: Vec<Duration> = world
        .handler(b)
        .received
        .iter()
        .map(|(at, ..)| *at - begun)
        .collect();
    assert_eq!(times, [110 * MS, 210 * MS, 310 * MS]);
    // Two datagrams fit into the kernel, so the ring is half empty at once.
    let drains = &world.handler(a).drains;
    assert_eq!(drains.len(), 1);
    assert!(drains[0] - begun <= MS, "{:?}", drains[0] - begun);
}

#[test]
fn visit_to_a_socket_ends_with_its_time() {
    let mut world = calm(1);
    let slow = Post {
        takes: 300 * US,
        ..Post::on(7000)
    };
    let (a, b, addr) = two(&mut world, Post::on(7000), slow);
    send_hundred(&mut world, a, addr);
    world.run_for(SECOND);
    let received = &world.handler(b).received;
    assert_eq!(received.len(), 100);
    for four in received.chunks(4) {
        assert!(four.iter().all(|(at, ..)| *at == four[0].0));
    }
    let turns: std::collections::BTreeSet<Instant> = received.iter().map(|it| it.0).collect();
    assert_eq!(turns.len(), 25);
}

#[test]
fn crashed_node_receives_nothing_until_restart() {
    for_each_seed(10, |seed| {
        let mut world = calm(seed);
        let mut faults = Faults::calm();
        faults.port_unreachable = 1.0;
        world.faults(faults);
        let (a, b, addr) = two(&mut world, Post::on(7000), Post::on(7000));
        world.crash(b);
        post(&mut world, a, addr, &[b"1"]);
        world.run_for(SECOND);
        world.restart(b, Post::on(7000));
        world.run_for(SECOND);
        // An error for the first one, if the machine had power, does not
        // disturb the socket.
        post(&mut world, a, addr, &[b"2"]);
        world.run_for(SECOND);
        assert_eq!(world.handler(b).bodies(), [b"2"]);
        let traffic = world.with(a, |_, net| net.metrics().udp);
        assert_eq!(
            traffic.receive_errors,
            world.fault_counts().unreachable_ports
        );
    });
}

#[test]
fn multicast_is_unsupported() {
    let mut world = calm(1);
    let (a, b, addr) = two(&mut world, Post::on(7000), Post::on(7000));
    let group = "239.1.1.1".parse().expect("an address");
    let joined = world.with(a, |it, net| {
        let udp = it.udp.expect("it has started");
        net.join_multicast(udp, group, peerloop::MulticastInterface::Any)
    });
    assert_eq!(
        joined.expect_err("an error").kind(),
        io::ErrorKind::Unsupported
    );
    post(&mut world, a, SocketAddr::new(group, 7000), &[b"1"]);
    post(&mut world, a, addr, &[b"2"]);
    world.run_for(SECOND);
    assert_eq!(world.handler(b).bodies(), [b"2"]);
    assert_eq!(world.with(a, |_, net| net.metrics().udp.send_errors), 1);
}

#[test]
fn port_is_taken_until_its_socket_is_closed() {
    let mut world = calm(1);
    let (a, _, _) = two(&mut world, Post::on(7000), Post::on(7000));
    world.with(a, |it, net| {
        let own = it.udp.take().expect("it has started");
        let options = UdpOptions::default();
        let taken = net.bind_udp("0.0.0.0:7000", options);
        assert_eq!(
            taken.expect_err("an error").kind(),
            io::ErrorKind::AddrInUse
        );
        let chosen = net.bind_udp("0.0.0.0:0", options).expect("a free port");
        assert_ne!(net.udp_addr(chosen).map(|it| it.port()), Some(7000));
        net.close_udp(own);
        net.bind_udp("0.0.0.0:7000", options).expect("it is free");
    });
}

#[test]
fn datagrams_are_as_sent_in_random_worlds() {
    let mut total = sim::FaultCounts::default();
    for_each_seed(40, |seed| {
        let counts = crate::util::datagrams::run(seed).fault_counts();
        total.datagrams += counts.datagrams;
        total.lost_datagrams += counts.lost_datagrams;
        total.duplicated_datagrams += counts.duplicated_datagrams;
        total.reordered_datagrams += counts.reordered_datagrams;
        total.cut_datagrams += counts.cut_datagrams;
        total.overflowed_datagrams += counts.overflowed_datagrams;
        total.unreachable_ports += counts.unreachable_ports;
    });
    if crate::util::settings::seed().is_some() || total.datagrams == 0 {
        return;
    }
    for (count, what) in [
        (total.lost_datagrams, "lost"),
        (total.duplicated_datagrams, "duplicated"),
        (total.reordered_datagrams, "reordered"),
        (total.cut_datagrams, "cut off"),
        (total.overflowed_datagrams, "dropped by a full buffer"),
        (total.unreachable_ports, "sent to a closed port"),
    ] {
        assert!(count > 0, "no datagram was {what}");
    }
}

#[test]
fn same_seed_gives_the_same_run() {
    let hash = |seed| crate::util::datagrams::run(seed).trace().hash();
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}
