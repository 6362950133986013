//! Chaos on the connections of one address leaves the rate to the others.

use super::*;
use peerloop::config::Timeouts;
use peerloop::sim::Random;

#[test]
fn chaos_leaves_the_rate_of_the_address() {
    let seeds: u64 = std::env::var("ATTACK_SEEDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20);
    for seed in 0..seeds {
        chaos(seed);
    }
}

fn chaos(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = calm();
    let mut config = strict();
    config.limits.max_connections_per_address = 1000;
    config.connection.timeouts = Timeouts {
        connect: None,
        handshake: None,
        idle: None,
        receive_idle: None,
        partial_message: None,
        write_stall: None,
        linger: None,
    };
    config.connection.allow_half_open = random.chance(0.5);
    let burst = random.between(1, 3) as u32;
    config.limits.rate_per_address = RateLimits {
        receive_messages: rate(10, burst),
        send_messages: random.chance(0.5).then(|| rate(10, burst)).flatten(),
        receive_bytes: random.chance(0.3).then(|| rate(200, 60)).flatten(),
        send_bytes: random.chance(0.3).then(|| rate(200, 60)).flatten(),
        ..RateLimits::default()
    };
    if random.chance(0.3) {
        config.connection.rate = received_messages(7, 1);
    }
    if random.chance(0.5) {
        config.budget.write_bytes = random.between(1, 30) as usize;
    }
    let server = node(&mut world, config);
    let first = join(&mut world, server);
    let mut wires = vec![first];
    let is_open = |world: &World, conn: ConnId| world.net(server).connection(conn).is_some();
    for _ in 0..60 {
        if wires.len() < 12 && random.chance(0.3) {
            wires.push(join_beside(&mut world, server, first));
        }
        let wire = wires[random.below(wires.len() as u64) as usize];
        let conns = world.handler(server).connected.clone();
        let conn = conns[random.below(conns.len() as u64) as usize];
        match random.below(16) {
            0..=3 => {
                let f = frames(random.between(1, 6) as usize);
                let _ = world.write_wire(wire, &f);
            }
            4 => {
                let _ = world.write_wire(wire, &[0, 0, 0, 200, 1, 2]);
            }
            5..=7 => world.with(server, |_, net| {
                let _ = net.send(conn, b"x");
                let _ = net.send(conn, vec![7; 20]);
            }),
            8 => world.with(server, |_, net| net.pause(conn)),
            9 => world.with(server, |_, net| net.resume(conn)),
            10 => world.with(server, |_, net| net.close(conn)),
            11 => world.with(server, |_, net| net.close_write(conn)),
            12 => {
                if random.chance(0.5) {
                    world.with(server, |_, net| net.abort(conn))
                }
            }
            13 => {
                let limits = if random.chance(0.5) {
                    received_messages(random.between(1, 100) as u32, 2)
                } else {
                    sent_messages(random.between(1, 100) as u32, 2)
                };
                world
                    .with(server, |_, net| net.set_rate(conn, limits))
                    .unwrap()
            }
            14 => {
                if wire != first && random.chance(0.3) {
                    {
                        let _ = world.shutdown_wire(wire);
                    }
                }
            }
            _ => {
                let _ = world.read_wire(wire, &mut Vec::new());
            }
        }
        world.run_for(MS * random.below(120) as u32);
        let _ = is_open(&world, conn);
    }
    world.run_for(120 * SECOND);
    let honest = join_beside(&mut world, server, first);
    let conn = *world.handler(server).connected.last().unwrap();
    let begun = world.handler(server).received.len();
    let steps = world.steps();
    pour(&mut world, honest, &frames(30));
    world.run_for(9 * SECOND);
    let count = world.handler(server).received[begun..]
        .iter()
        .filter(|it| it.1 == conn)
        .count();
    let turns = world.steps() - steps;
    assert_eq!(count, 30, "seed {seed}, {turns} turns");
    world.with(server, |_, net| {
        for _ in 0..30 {
            net.send(conn, b"x").unwrap();
        }
    });
    let mut got = Vec::new();
    for _ in 0..90 {
        world.run_for(100 * MS);
        let _ = world.read_wire(honest, &mut got);
    }
    assert_eq!(got.len(), 30 * 5, "seed {seed} sends");
    let steps = world.steps();
    world.run_for(30 * SECOND);
    let turns = world.steps() - steps;
    assert!(turns < 20, "seed {seed}: {turns} turns while idle");
}
