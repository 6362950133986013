//! Ending connections that exceed their rate.

use super::*;

fn ending(limits: RateLimits) -> RateLimits {
    RateLimits {
        on_excess: OnExcess::Disconnect,
        ..limits
    }
}

const EXCEEDED: DisconnectReason = DisconnectReason::ReceiveRateExceeded;

#[test]
fn message_beyond_the_rate_ends_the_connection() {
    let mut world = calm();
    let server = node(&mut world, limited(ending(received_messages(10, 5))));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frames(5));
    world.run_for(SECOND);
    for _ in 0..20 {
        pour(&mut world, wire, &frames(1));
        world.run_for(100 * MS);
    }
    assert!(world.handler(server).ended.is_empty());
    pour(&mut world, wire, &frames(100));
    world.run_for(SECOND);
    let handler = world.handler(server);
    assert_eq!(handler.reasons(), [EXCEEDED]);
    // The burst, and the one that exceeds it.
    assert_eq!(handler.received.len(), 25 + 6);
    assert!(EXCEEDED.is_peers_fault());
    assert_eq!(world.net(server).metrics().receive_rate_ends, 1);
    assert_eq!(world.net(server).metrics().receive_rate_waits, 0);
}

#[test]
fn bytes_beyond_the_rate_end_the_connection() {
    let mut world = calm();
    let server = node(&mut world, limited(ending(received_bytes(1_000, 1_000))));
    let wire = join(&mut world, server);
    pour(&mut world, wire, &frame(&[7; 996]));
    world.run_for(SECOND / 2);
    pour(&mut world, wire, &frame(&[7; 496]));
    world.run_for(MS);
    assert!(world.handler(server).ended.is_empty());
    pour(&mut world, wire, &frame(&[7; 8]));
    world.run_for(MS);
    let handler = world.handler(server);
    assert_eq!(handler.reasons(), [EXCEEDED]);
    assert_eq!(handler.received.len(), 2);
}

#[test]
fn peer_is_not_blamed_for_a_pause() {
    let mut world = calm();
    let server = node(&mut world, limited(ending(received_messages(10, 5))));
    let wire = join(&mut world, server);
    let conn = world.handler(server).connected[0];
    world.with(server, |_, net| net.pause(conn));
    for _ in 0..100 {
        pour(&mut world, wire, &frames(1));
        world.run_for(100 * MS);
    }
    world.with(server, |_, net| net.resume(conn));
    world.run_for(MS);
    let handler = world.handler(server);
    assert_eq!((handler.received.len(), handler.ended.len()), (100, 0));
    // The tokens of the pause are gone, and the burst is left.
    world.run_for(SECOND);
    pour(&mut world, wire, &frames(6));
    world.run_for(MS);
    assert_eq!(world.handler(server).reasons(), [EXCEEDED]);
}

#[test]
fn long_turns_do_not_hide_an_excess() {
    let mut world = calm();
    let mut config = limited(ending(received_bytes(100_000, 50_000)));
    config.budget.read_bytes = 4_096;
    let server = node(&mut world, config);
    let wire = join(&mut world, server);
    // The node leaves input unread after each visit.
    for _ in 0..100 {
        if world
            .write_wire(wire, &frames(2_000))
            .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
        {
            break;
        }
        world.run_for(MS);
    }
    assert_eq!(world.handler(server).reasons(), [EXCEEDED]);
}

#[test]
fn excess_of_address_ends_one_connection() {
    let mut world = calm();
    let mut config = limited(received_messages(100, 100));
    config.limits.rate_per_address = ending(received_messages(10, 10));
    let server = node(&mut world, config);
    let first = join(&mut world, server);
    let second = join_beside(&mut world, server, first);
    pour(&mut world, first, &frames(6));
    world.run_for(MS);
    pour(&mut world, second, &frames(5));
    world.run_for(SECOND);
    let handler = world.handler(server);
    let ended: Vec<ConnId> = handler.ended.iter().map(|it| it.1).collect();
    assert_eq!(ended, [handler.connected[1]]);
    // The one beyond the rate was charged too.
    pour(&mut world, first, &frames(9));
    world.run_for(MS);
    assert_eq!(world.handler(server).ended.len(), 1);
}
