//! Bounds that a world checks in each step.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn broken_promise_ends_the_run() {
    let outcome = |bound| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = calm(1);
            let server = world.node(strict(), Slow(|message| u32::from(message[0]) * 100 * US));
            let client = client_of(&mut world, server);
            world.promise_served_within(client, bound);
            world.with(client, |it, net| {
                [1, 2].map(|message| it.ask(net, &[message]))
            });
            world.run_for(SECOND);
        }))
    };
    assert!(outcome(2 * LATENCY + 300 * US).is_ok());
    let panic = outcome(2 * LATENCY + 300 * US - Duration::from_nanos(1)).expect_err("it is late");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("was not answered"), "{message}");
}

#[test]
fn promise_without_an_answer_is_broken() {
    let outcome = |ends: bool| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = calm(1);
            let server = world.node(strict(), Slow(|_| Duration::ZERO));
            let client = client_of(&mut world, server);
            world.promise_served_within(client, 100 * SECOND);
            world.partition_one_way(server, client);
            world.with(client, |it, net| {
                it.ask(net, b"x");
                if ends {
                    net.close(it.conn.expect("it is connected"));
                }
            });
            world.run_for(200 * SECOND);
        }))
    };
    assert!(outcome(true).is_ok(), "it has ended the connection");
    assert!(outcome(false).is_err());
}

#[test]
fn full_backlog_breaks_the_connect_promise() {
    let outcome = |bound| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = calm(1);
            let listener = world.wire_listener(0);
            let client = world.node(strict(), Asks::default());
            world.promise_connected_within(client, bound);
            let filler = world.wire(listener.addr()).expect("a wire");
            world.run_for(10 * MS);
            world
                .with(client, |_, net| net.connect(listener.addr()))
                .expect("no limit is reached");
            world.run_for(100 * MS);
            world.accept_wire(listener).expect("the first one");
            world.run_for(4 * SECOND);
            assert!(world.is_wire_connected(filler));
        }))
    };
    // The first segment is repeated after a second.
    assert!(outcome(SECOND + 2 * LATENCY).is_ok());
    assert!(outcome(SECOND).is_err());
}
