//! The rates of addresses.

use super::*;

fn per_address(limits: RateLimits) -> Config {
    config_with(|config| {
        *config = strict();
        config.limits.rate_per_address = limits;
    })
}

#[test]
fn connections_of_address_take_turns() {
    let mut world = calm();
    let server = node(&mut world, per_address(received_messages(10, 3)));
    let first = join(&mut world, server);
    let wires = [
        first,
        join_beside(&mut world, server, first),
        join_beside(&mut world, server, first),
    ];
    let before = world.steps();
    for wire in wires {
        pour(&mut world, wire, &frames(20));
        world.run_for(MS);
    }
    let other = join(&mut world, server);
    pour(&mut world, other, &frames(3));
    world.run_for(10 * SECOND);
    let handler = world.handler(server);
    let [a, b, c, other] = handler.connected[..] else {
        panic!("four connections");
    };
    let of_others: Vec<_> = handler.received.iter().filter(|it| it.1 == other).collect();
    assert_eq!(of_others.len(), 3);
    assert!(
        of_others.iter().all(|it| it.0 == of_others[0].0),
        "its own tokens"
    );
    let mut shared = handler.received.clone();
    shared.retain(|it| it.1 != other);
    let begun = shared[0].0;
    let times: Vec<Duration> = shared.iter().map(|it| it.0 - begun).collect();
    assert_rate(&times, 60, 10, 3);
    // Each waits for the two others.
    let order: Vec<ConnId> = shared[3..].iter().map(|it| it.1).collect();
    assert_eq!(order[..6], [a, b, c, a, b, c]);
    // No connection is woken without a token.
    let turns = world.steps() - before;
    assert!(turns <= 2 * 60 + 30, "{turns} turns");
}

#[test]
fn byte_rate_of_address_is_shared() {
    let mut world = calm();
    let mut config = per_address(received_bytes(10_000, 1_000));
    config.connection.framing = Framing::Raw;
    let server = node(&mut world, config);
    let first = join(&mut world, server);
    let wires = [first, join_beside(&mut world, server, first)];
    wires
        .iter()
        .for_each(|wire| pour(&mut world, *wire, &[7; 30_000]));
    world.run_for(2 * SECOND);
    let handler = world.handler(server);
    let of = |conn: ConnId| -> usize {
        let received = handler.received.iter().filter(|it| it.1 == conn);
        received.map(|it| it.2.len()).sum()
    };
    let [a, b] = [handler.connected[0], handler.connected[1]].map(of);
    assert!((20_600..=21_000).contains(&(a + b)), "{a} + {b}");
    assert!(b >= 9_600 && a >= 9_600, "{a} and {b}");
}

#[test]
fn sends_to_an_address_share_the_tokens() {
    let mut world = calm();
    let receiver = node(&mut world, strict());
    let sender = node(&mut world, {
        let mut config = per_address(sent_messages(10, 1));
        config.allow_duplicates = true;
        config
    });
    let conns = [
        connect(&mut world, sender, receiver).0,
        connect(&mut world, sender, receiver).0,
    ];
    for conn in conns {
        world.with(sender, |_, net| {
            for _ in 0..10 {
                net.send(conn, b"x").expect("the queue has room");
            }
        });
    }
    world.run_for(5 * SECOND);
    assert_rate(&world.handler(receiver).times(), 20, 10, 1);
}

#[test]
fn ended_connection_returns_its_place_in_line() {
    let mut world = calm();
    let server = node(&mut world, per_address(received_messages(1, 1)));
    let first = join(&mut world, server);
    let wires: Vec<Wire> = (0..10)
        .map(|_| join_beside(&mut world, server, first))
        .collect();
    pour(&mut world, first, &frames(10));
    world.run_for(MS);
    for wire in &wires {
        pour(&mut world, *wire, &frames(1));
        world.run_for(MS);
    }
    // The first one has had the token, and all wait.
    let conns = world.handler(server).connected.clone();
    world.with(server, |_, net| {
        conns[1..].iter().for_each(|conn| net.abort(*conn))
    });
    world.run_for(20 * SECOND);
    let handler = world.handler(server);
    assert_rate(&handler.times(), 10, 1, 1);
}

#[test]
fn closing_connections_hold_no_tokens() {
    let mut world = calm();
    let server = node(&mut world, per_address(received_messages(10, 1)));
    let first = join(&mut world, server);
    let wires: Vec<Wire> = (0..5)
        .map(|_| join_beside(&mut world, server, first))
        .collect();
    for wire in &wires {
        pour(&mut world, *wire, &frames(10));
        world.run_for(MS);
    }
    // All wait. The peers do not close their ends.
    let conns = world.handler(server).connected.clone();
    world.with(server, |_, net| {
        conns[1..].iter().for_each(|conn| net.close(*conn))
    });
    world.run_for(10 * MS);
    let before = world.handler(server).received.len();
    let steps = world.steps();
    pour(&mut world, first, &frames(10));
    world.run_for(2 * SECOND);
    assert_eq!(world.handler(server).received.len() - before, 10);
    let turns = world.steps() - steps;
    assert!(turns <= 2 * 10 + 30, "{turns} turns");
}

#[test]
fn exempt_network_has_no_rate() {
    let mut world = calm();
    let mut config = per_address(received_messages(1, 1));
    config.limits.exempt_networks = vec!["10.128.0.0/9".parse().expect("a network")];
    config.limits.accepts_per_address = rate(1, 1);
    let server = node(&mut world, config);
    let first = join(&mut world, server);
    join_beside(&mut world, server, first);
    pour(&mut world, first, &frames(100));
    world.run_for(MS);
    assert_eq!(world.handler(server).received.len(), 100);
    assert_eq!(world.handler(server).accepts, 2);
}

#[test]
fn reconnect_gets_no_new_tokens() {
    let mut world = calm();
    let server = node(&mut world, per_address(received_messages(1, 10)));
    let first = join(&mut world, server);
    let mut wire = first;
    for _ in 0..10 {
        pour(&mut world, wire, &frames(10));
        world.run_for(10 * MS);
        world.reset_wire(wire);
        wire = join_beside(&mut world, server, first);
    }
    assert_eq!(world.handler(server).received.len(), 10);
}

#[test]
fn accepts_beyond_the_rate_are_closed() {
    let mut world = calm();
    let mut config = strict();
    config.limits.accepts_per_address = rate(10, 3);
    let server = node(&mut world, config);
    let first = join(&mut world, server);
    let wires: Vec<Wire> = (0..5)
        .map(|_| join_beside(&mut world, server, first))
        .collect();
    // A token was gained in the 50 ms of the five connections, and none before.
    let handler = world.handler(server);
    assert_eq!((handler.accepts, handler.connected.len()), (3, 3));
    let metrics = world.net(server).metrics();
    assert_eq!((metrics.accepted, metrics.refused_by_accept_rate), (3, 3));
    assert!(
        !world.is_wire_connected(wires[4]) || world.read_wire(wires[4], &mut Vec::new()).is_ok()
    );
    world.run_for(100 * MS);
    join_beside(&mut world, server, first);
    join(&mut world, server);
    assert_eq!(world.handler(server).accepts, 5);
}

#[test]
fn handshakes_beyond_the_rate_fail() {
    let mut world = calm();
    let mut config = strict();
    config.limits.handshakes_per_address = rate(1, 2);
    let sealed = Clocked {
        is_sealed: true,
        ..Clocked::default()
    };
    let server = world.node(config.clone(), sealed);
    world.run_for(MS);
    let first = join(&mut world, server);
    for _ in 0..3 {
        join_beside(&mut world, server, first);
    }
    let error = ConnectError::TooManyHandshakesFromAddress;
    assert_eq!(world.handler(server).failed, [error; 2]);
    assert!(!error.is_peers_fault());
    assert_eq!(world.net(server).metrics().refused_by_handshake_rate, 2);
    // Connections without a session have no handshake.
    let plain = node(&mut world, config);
    let first = join(&mut world, plain);
    for _ in 0..5 {
        join_beside(&mut world, plain, first);
    }
    assert_eq!(world.handler(plain).connected.len(), 6);
}
