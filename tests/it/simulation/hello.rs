//! Two connections between the same two nodes, in simulated networks.

use super::*;
use crate::util::hello_nodes::{self, Ids, Member, assert_one_each, members, targets};
use peerloop::hello::TieBreak;

#[test]
fn one_of_several_connections_remains() {
    for_each_seed(SEEDS, hello_nodes::run);
}

/// A calm world with two nodes that have one connection.
fn two_connected(seed: u64, config: &Config) -> (World, Ids) {
    let mut world = calm(seed);
    let mut random = Random::new(seed);
    let nodes = members(&mut world, &mut random, 2, config, None);
    world.run_for(MS);
    connect_once(&mut world, nodes[seed as usize % 2].0);
    world.run_for(SECOND);
    assert_one_each(&world, &nodes);
    (world, nodes)
}

fn connect_once(world: &mut World, node: NodeId<Member>) {
    world.with(node, |member, net| {
        Member::connect(net, member.targets[0].addr)
    });
}

/// A configuration in which only the hello finds that a connection was lost.
fn untimed() -> Config {
    with_timeouts(|timeouts| {
        timeouts.idle = None;
        timeouts.write_stall = None;
    })
}

#[test]
fn duplicates_do_not_end_what_works() {
    for_each_seed(20, |seed| {
        let (mut world, nodes) = two_connected(seed, &strict());
        let [a, b] = [0, 1].map(|index| nodes[index].0);
        let kept = world.handler(a).peers.list();
        for round in 0..6 {
            connect_once(&mut world, [a, b][round % 2]);
            world.run_for(SECOND);
            assert_one_each(&world, &nodes);
            assert_eq!(world.handler(a).peers.list(), kept);
        }
        let (to_b, to_a) = (kept[0].1, world.handler(b).peers.list()[0].1);
        world.with(a, |_, net| net.send(to_b, b"x")).expect("room");
        world.with(b, |_, net| net.send(to_a, b"x")).expect("room");
        world.run_for(SECOND);
        assert_eq!([a, b].map(|node| world.handler(node).received), [1, 1]);
    });
}

#[test]
fn lost_connection_is_replaced_at_once() {
    // One end aborts while no packet arrives. Then either end connects.
    for_each_seed(40, |seed| {
        let (mut world, nodes) = two_connected(seed, &untimed());
        let [a, b] = [0, 1].map(|index| nodes[index].0);
        let loser = [a, b][seed as usize / 2 % 2];
        world.partition(a, b);
        let conn = world.handler(loser).peers.list()[0].1;
        world.with(loser, |_, net| net.abort(conn));
        world.run_for(SECOND);
        world.heal(a, b);
        let other = if loser == a { b } else { a };
        if world.net(other).connection_count() == 0 {
            return; // The reset has arrived.
        }
        let connector = [loser, other][seed as usize / 4 % 2];
        connect_once(&mut world, connector);
        world.run_for(SECOND);
        assert_one_each(&world, &nodes);
        let ties = &world.handler(other).ties;
        assert!(
            matches!(ties[..], [TieBreak::First, TieBreak::Won(_)]),
            "{ties:?}"
        );
    });
}

#[test]
fn restarted_node_replaces_its_connection() {
    let mut replaced = 0;
    for_each_seed(40, |seed| {
        let (mut world, nodes) = two_connected(seed, &untimed());
        let [(a, _), (b, id)] = [nodes[0], nodes[1]];
        drop(world.crash(b));
        let mut again = Member::new(id, 7);
        again.targets = targets(&world, &nodes, b);
        world.restart(b, again);
        world.run_for(SECOND);
        connect_once(&mut world, b);
        world.run_for(SECOND);
        assert_one_each(&world, &nodes);
        let ties = &world.handler(a).ties;
        replaced += usize::from(matches!(ties[..], [_, TieBreak::Won(_)]));
    });
    // Some crashes leave the connection open at the other end.
    assert!(replaced > 0 || sim::seeds(40).count() < 10);
}

#[test]
fn keepers_settle_after_crashes_and_partitions() {
    for_each_seed(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let mut world = World::new(seed);
        world.faults(Faults::drawn(seed));
        let config = with_timeouts(|timeouts| timeouts.idle = None);
        let period = Duration::from_millis(random.between(300, 3_000));
        let count = random.between(2, 4);
        let nodes = members(&mut world, &mut random, count, &config, Some(period));
        for _ in 0..random.between(1, 6) {
            world.run_for(Duration::from_millis(random.below(10_000)));
            let (node, id) = nodes[random.below(count) as usize];
            let (other, _) = nodes[random.below(count) as usize];
            match random.below(3) {
                0 if node != other => world.partition(node, other),
                1 => world.heal_all(),
                _ => {
                    drop(world.crash(node));
                    world.run_for(Duration::from_millis(random.below(5_000)));
                    let mut again = Member::new(id, random.next_u64());
                    again.keeps = Some(period);
                    again.targets = targets(&world, &nodes, node);
                    world.restart(node, again);
                }
            }
        }
        world.heal_all();
        world.faults(Faults::drawn(seed).lossless());
        world.run_for(5 * MINUTE);
        assert_one_each(&world, &nodes);
        // They are at rest.
        let ties = |world: &World| -> usize {
            let ties = nodes
                .iter()
                .map(|(node, _)| world.handler(*node).ties.len());
            ties.sum()
        };
        let before = ties(&world);
        world.run_for(MINUTE);
        assert_eq!(ties(&world), before);
        assert_one_each(&world, &nodes);
    });
}
