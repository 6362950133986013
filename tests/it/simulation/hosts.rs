//! Nodes, their addresses, and crashes.

use super::*;

#[test]
fn address_is_known_before_the_first_turn() {
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
fn address_of_a_node_without_a_listener_panics() {
    let mut world = calm(1);
    let client = world.node(Config::default(), Plain::default());
    world.addr(client);
}

#[test]
fn crashed_node_can_be_restarted() {
    for_each_seed(50, |seed| {
        let mut world = World::new(seed);
        world.faults(lossless(seed));
        let (server, client) = pair(&mut world);
        let conn = connect(&mut world, client, server);
        let before = world.crash(server);
        assert_eq!(before.connected.len(), 1);
        assert!(!world.is_up(server));
        // The client learns of the crash at once, by a timeout, or by sending.
        let _ = world.with(client, |_, net| net.send(conn, b"are you there?"));
        until(&mut world, client, |it| it.ended.len() == 1);
        world.restart(server, Plain::server());
        world.run_for(Duration::from_secs(1));
        connect(&mut world, client, server);
    });
}

#[test]
fn posted_command_wakes_a_node() {
    let mut world = World::new(1);
    let mut faults = Faults::calm();
    faults.delayed_wake = 1.0;
    world.faults(faults);
    let (server, _) = pair(&mut world);
    world
        .post(server, |it, _| it.timers.push(1))
        .expect("the queue has room");
    world.with(server, |it, _| assert!(it.timers.is_empty()));
    until(&mut world, server, |it| !it.timers.is_empty());
    assert_eq!(world.fault_counts().delayed_wakes, 1);
}

#[test]
fn thousand_nodes_fit_in_one_world() {
    let mut world = calm(1);
    let nodes: Vec<_> = (0..1000)
        .map(|_| world.node(Config::default(), Plain::sink()))
        .collect();
    world.run_for(Duration::from_millis(1));
    for (index, node) in nodes.iter().enumerate() {
        for step in [1, 100] {
            let other = nodes[(index + step) % nodes.len()];
            let addr = SocketAddr::new(world.ip(other), 7000);
            begin(&mut world, *node, addr);
        }
    }
    world.run_for(Duration::from_secs(1));
    for node in nodes {
        world.with(node, |it, net| {
            assert_eq!((it.connected.len(), net.connection_count()), (4, 4));
        });
    }
    assert_eq!(world.fault_counts().established, 2000);
}
