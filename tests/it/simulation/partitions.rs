//! Hosts that are cut from each other.

use super::*;

#[test]
fn partition_delays_until_it_is_healed() {
    for_each_seed(50, |seed| {
        let mut world = World::new(seed);
        world.faults(lossless(seed));
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        world.partition(server, client);
        send(&mut world, client, conn, b"late");
        world.run_for(Duration::from_secs(4));
        world.with(server, |it, _| assert!(it.received.is_empty()));
        world.heal(server, client);
        until(&mut world, client, |it| !it.received.is_empty());
    });
}

/// Whether a connect from one to the other is answered.
fn reaches(world: &mut World, from: NodeId<Plain>, to: NodeId<Plain>) -> bool {
    let addr = world.addr(to);
    let conn = begin(world, from, addr);
    world.run_for(Duration::from_secs(6));
    world.with(from, |it, net| {
        net.abort(conn);
        it.connected.contains(&conn)
    })
}

#[test]
fn partition_separates_groups() {
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
    // Separates each node from each other node, but not from itself.
    world.partition(&nodes, &nodes);
    let wire = world.wire_listener(1);
    world.partition(wire, [world.ip(a)]);
    for (from, to) in [(a, b), (b, c), (c, d), (d, a)] {
        assert!(!reaches(&mut world, from, to), "{from:?} {to:?}");
    }
    let own = world.addr(a);
    begin(&mut world, a, own);
    world.run_for(Duration::from_secs(6));
    let ended = world.with(a, |it, _| it.ended.pop());
    assert_eq!(ended, Some(DisconnectReason::SelfConnection));
    world.heal_all();
    for (from, to) in [(a, b), (b, c), (c, d), (d, a)] {
        assert!(reaches(&mut world, from, to), "{from:?} {to:?}");
    }
    begin(&mut world, a, wire.addr());
    world.run_for(Duration::from_secs(1));
    assert!(world.accept_wire(wire).is_some(), "its cut is mended too");
}
