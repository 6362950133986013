//! Idle worlds cost few turns.

use super::*;

/// A configuration without timeouts for idle connections.
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
fn million_idle_seconds_take_few_turns() {
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
fn rare_keepalives_take_few_turns() {
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
            send(&mut world, *client, *conn, b"still here");
        }
        world.run_for(EVERY);
    }
    // A keepalive takes three turns: the client sends it, the server answers,
    // the client receives the answer. Each edge may take one more.
    let turns = world.steps() - before;
    assert!(turns <= 100 * 5 * 6, "{turns} turns");
    for client in clients {
        assert_eq!(world.handler(client).received.len(), 100);
        assert!(world.handler(client).ended.is_empty());
    }
}
