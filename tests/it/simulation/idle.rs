//! Idle worlds cost few turns.

use peerloop::error::TimeoutKind;

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

/// The messages of the peers in [`turns_while_idle`].
#[derive(Clone, Copy, PartialEq, Debug)]
enum Sent {
    Nothing,
    /// A message in two pieces after the connection has opened.
    OneInPieces,
    /// A message every nine seconds, all at once.
    Regularly,
}

const PEERS: u32 = 200;

/// Returns the number of turns in the 40 s after the last of the connections has
/// opened. One opens every 50 ms.
fn turns_while_idle(idle: Option<Duration>, sent: Sent) -> u64 {
    let mut world = calm(1);
    let mut config = with_timeouts(|timeouts| timeouts.idle = idle);
    config.limits.max_connections_per_address = PEERS as usize;
    let server = world.node(config, Plain::server());
    world.run_for(MS);
    let addr = world.addr(server);
    let mut wires = Vec::new();
    for _ in 0..PEERS {
        let wire = world.wire(addr).expect("a port is free");
        world.run_for(20 * MS);
        if sent == Sent::OneInPieces {
            for piece in [b"\0\0\0\x02a", &b"b"[..]] {
                let _ = world.write_wire(wire, piece).expect("there is room");
                world.run_for(5 * MS);
            }
        }
        wires.push(wire);
        let opened = wires.len() as u32 * 50 * MS;
        world.run_for(opened - world.now());
    }
    let turns = |world: &mut World| world.with(server, |_, net| net.metrics().turns);
    let before = turns(&mut world);
    for second in 0..40 {
        if sent == Sent::Regularly && second % 9 == 0 {
            for wire in &wires {
                let _ = world.write_wire(*wire, b"\0\0\0\0").expect("there is room");
            }
        }
        world.run_for(SECOND);
    }
    let count = world.with(server, |_, net| net.connection_count());
    assert_eq!(count, PEERS as usize);
    turns(&mut world) - before
}

#[test]
fn idle_connections_wake_nothing() {
    for idle in [Some(MINUTE), None, Some(10 * MINUTE)] {
        assert_eq!(turns_while_idle(idle, Sent::Nothing), 0, "{idle:?}");
    }
}

/// Each message has begun a timeout that has ended since.
#[test]
fn checks_of_many_connections_share_turns() {
    for idle in [Some(MINUTE), None, Some(10 * MINUTE)] {
        let turns = turns_while_idle(idle, Sent::OneInPieces);
        assert!(turns <= 8, "{idle:?}: {turns} turns");
    }
    // Five turns receive the messages, and the others check the timeouts.
    for (idle, checks) in [(MINUTE, 5), (10 * SECOND, 27)] {
        let turns = turns_while_idle(Some(idle), Sent::Regularly);
        assert!(turns <= 5 + checks, "{idle:?}: {turns} turns");
    }
}

/// The checks before the timeout do not end the connection, and the last one is
/// not late.
#[test]
fn idle_timeout_is_exact_after_early_checks() {
    for idle in [MINUTE, 10 * MINUTE, 10_000 * SECOND] {
        let mut world = calm(1);
        let config = with_timeouts(|timeouts| timeouts.idle = Some(idle));
        let server = world.node(config, Plain::server());
        world.run_for(MS);
        let addr = world.addr(server);
        let wire = world.wire(addr).expect("a port is free");
        world.run_for(idle / 3);
        let _ = world.write_wire(wire, b"\0\0\0\0").expect("it is open");
        world.run_for(LATENCY);
        assert_eq!(world.handler(server).received.len(), 1);
        world.run_for(idle - US);
        assert_eq!(world.handler(server).ended, []);
        world.run_for(US);
        let timeout = DisconnectReason::Timeout(TimeoutKind::Idle);
        assert_eq!(world.handler(server).ended, [timeout], "{idle:?}");
    }
}
