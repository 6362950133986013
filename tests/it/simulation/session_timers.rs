//! Timers and wakes of sessions, at exact times.

use std::error::Error;

use super::*;
use crate::util::lookups;
use crate::util::waits::{Call, Waiting, Waits};
use peerloop::Transport;
use peerloop::error::SessionError;
use peerloop::session::{Sequence, Stage};

/// A node whose connections all have one session. It notes how each ended, and when.
struct Server {
    session: Waits,
    /// The session that follows.
    next: Option<Waits>,
    ended: Vec<(Instant, Result<DisconnectReason, ConnectError>)>,
}

impl Handler for Server {
    fn on_start(&mut self, net: &mut Net) {
        listen(net);
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let first = self.session.clone();
        Ok(match &self.next {
            Some(next) => Sequence::new(first, next.clone()).into(),
            None => first.into(),
        })
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}

    fn on_connect_failed(&mut self, net: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.ended.push((net.now(), Err(error)));
    }

    fn on_disconnect(&mut self, net: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended.push((net.now(), Ok(reason)));
    }
}

/// A world with a server whose session this is, a raw peer, and the time at which the
/// session was started.
fn world_of(
    config: Config,
    stage: Stage,
    change: impl FnOnce(&mut Waiting),
) -> (World, NodeId<Server>, Wire, Instant) {
    let session = Waits::with(stage, change);
    let mut world = calm(1);
    let handler = Server {
        session,
        next: None,
        ended: Vec::new(),
    };
    let server = world.node(config, handler);
    let addr = world.addr(server);
    let wire = world.wire(addr).expect("a wire");
    let since = |world: &World| {
        let net = world.net(server);
        let first = net.connecting().chain(net.connections()).next();
        first.map(|connection| connection.since())
    };
    world
        .run_until(SECOND, |world| since(world).is_some())
        .expect("it is accepted");
    let began = since(&world).expect("it is there");
    (world, server, wire, began)
}

fn count(world: &World, server: NodeId<Server>, call: Call) -> usize {
    world.handler(server).session.count(call)
}

#[test]
fn dripping_peer_does_not_postpone_a_timeout() {
    let config = with_timeouts(|timeouts| timeouts.handshake = None);
    let error = SessionError::Refused("too slow");
    let (mut world, server, wire, _) = world_of(config, Stage::Handshaking, |state| {
        state.timeout = Some(5 * SECOND);
        state.error = Some(error);
    });
    for _ in 0..49 {
        let _ = world.write_wire(wire, b"x").expect("it is open");
        world.run_for(100 * MS);
    }
    world.run_for(99 * MS);
    assert_eq!(count(&world, server, Call::Timeout), 0);
    world.run_for(3 * MS);
    assert_eq!(count(&world, server, Call::Timeout), 1);
    world.close_wire(wire);
    world.run_for(SECOND);
    let ended = &world.handler(server).ended;
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].1, Err(ConnectError::Session(error)));
}

#[test]
fn other_duration_counts_from_its_call() {
    let (mut world, server, wire, _) = world_of(strict(), Stage::Established, |state| {
        state.timeout = Some(5 * SECOND);
        state.timeout_after_receive = Some(Some(4 * SECOND));
    });
    world.run_for(3 * SECOND);
    let _ = world.write_wire(wire, b"x").expect("it is open");
    world.run_for(4 * SECOND);
    assert_eq!(count(&world, server, Call::Timeout), 0, "not after 5 s");
    world.run_for(2 * MS);
    assert_eq!(count(&world, server, Call::Timeout), 1);
    // After the call the timer is set anew.
    world.run_for(4 * SECOND - 2 * MS);
    assert_eq!(count(&world, server, Call::Timeout), 1);
    world.run_for(5 * MS);
    assert_eq!(count(&world, server, Call::Timeout), 2);
}

#[test]
fn none_cancels_the_timer() {
    let (mut world, server, wire, _) = world_of(strict(), Stage::Established, |state| {
        state.timeout = Some(5 * SECOND);
        state.timeout_after_receive = Some(None);
    });
    world.run_for(3 * SECOND);
    let _ = world.write_wire(wire, b"x").expect("it is open");
    world.run_for(MINUTE);
    assert_eq!(count(&world, server, Call::Timeout), 0);
}

#[test]
fn timeout_does_not_excuse_a_partial_message() {
    let config = with_timeouts(|timeouts| timeouts.partial_message = Some(10 * SECOND));
    let (mut world, server, wire, began) = world_of(config, Stage::Established, |state| {
        state.timeout = Some(SECOND);
    });
    let _ = world.write_wire(wire, &[0, 0]).expect("it is open");
    world.run_for(9 * SECOND);
    assert_eq!(world.handler(server).ended, []);
    world.run_for(2 * SECOND);
    let (at, reason) = world.handler(server).ended[0];
    let expected = DisconnectReason::Timeout(peerloop::error::TimeoutKind::PartialMessage);
    assert_eq!(reason, Ok(expected));
    assert!(at - began < 11 * SECOND);
    // No timer is left: the simulator checks it.
    let calls = count(&world, server, Call::Timeout);
    world.run_for(MINUTE);
    assert_eq!(count(&world, server, Call::Timeout), calls);
}

#[test]
fn timeout_of_zero_leaves_time_to_others() {
    let (mut world, server, _wire, _) = world_of(strict(), Stage::Established, |state| {
        state.timeout = Some(Duration::ZERO);
    });
    let addr = world.addr(server);
    let before = world.steps();
    let other = world.wire(addr).expect("a wire");
    world.run_for(10 * MS);
    assert!(world.is_wire_connected(other));
    let calls = count(&world, server, Call::Timeout) as u64;
    assert!(calls > 0 && calls <= world.steps() - before, "{calls}");
}

#[test]
fn sequence_restarts_an_equal_timeout() {
    // The first session is woken after three of its five seconds. The second one has
    // five seconds as well.
    let second = Waits::with(Stage::Handshaking, |state| {
        state.timeout = Some(5 * SECOND);
    });
    let first = Waits::with(Stage::Handshaking, |state| {
        state.timeout = Some(5 * SECOND);
        state.next_stage = Some(Stage::Transparent);
    });
    let mut world = calm(1);
    let handler = Server {
        session: first,
        next: Some(second.clone()),
        ended: Vec::new(),
    };
    let config = with_timeouts(|timeouts| timeouts.handshake = None);
    let server = world.node(config, handler);
    let addr = world.addr(server);
    let _wire = world.wire(addr).expect("a wire");
    world.run_for(3 * SECOND);
    world.with(server, |_, net| {
        let conn = net.connecting().next().expect("a handshake").id();
        net.wake_session(conn);
    });
    world.run_for(5 * SECOND);
    assert_eq!(second.count(Call::Timeout), 0);
    world.run_for(2 * MS);
    assert_eq!(second.count(Call::Timeout), 1);
}

#[test]
fn handshakes_wait_for_their_lookups() {
    for_each_seed(SEEDS, lookups::run);
}
