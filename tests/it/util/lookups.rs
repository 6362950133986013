//! Clients whose handshake waits at the server for a lookup. In virtual time: each
//! is accepted as soon as its lookup has ended.

#![allow(unreachable_pub, reason = "a module of several tests")]

use std::error::Error;
use std::time::Duration;

use peerloop::error::SessionError;
use peerloop::session::{Output, Session, Stage};
use peerloop::sim::{Faults, Random, World};
use peerloop::{Config, ConnId, ConnInfo, ConnectError, Handler, Net, TimerId, Transport};

use super::strict;

const SECOND: Duration = Duration::from_secs(1);

/// Sends a byte, takes a byte, and waits for a wake.
struct Lookup {
    has_received: bool,
    stage: Stage,
}

impl Session for Lookup {
    fn start(&mut self, wire: &mut Vec<u8>) -> Result<(), SessionError> {
        wire.push(1);
        Ok(())
    }

    fn receive(&mut self, wire: &mut [u8], _: &mut Output<'_>) -> Result<usize, SessionError> {
        if self.has_received || wire.is_empty() {
            return Ok(0);
        }
        self.has_received = true;
        Ok(1)
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    /// The peer has 20 s for its byte. The lookup has 60 s.
    fn timeout(&self) -> Option<Duration> {
        Some(if self.has_received {
            60 * SECOND
        } else {
            20 * SECOND
        })
    }

    fn on_timeout(&mut self, _: &mut Output<'_>) -> Result<(), SessionError> {
        Err(SessionError::Failed("the lookup has no result"))
    }

    fn on_wake(&mut self, _: &mut Output<'_>) -> Result<(), SessionError> {
        self.stage = Stage::Transparent;
        Ok(())
    }
}

/// Its lookups take the time of its timers.
#[derive(Default)]
struct Member {
    lookup: Duration,
    lookups: Vec<(TimerId, ConnId)>,
    connected: usize,
    failed: Vec<ConnectError>,
    received: usize,
}

impl Handler for Member {
    fn transport(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        self.lookups.push((net.set_timer(self.lookup, 0), conn));
        let session = Lookup {
            has_received: false,
            stage: Stage::Handshaking,
        };
        Ok(session.into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.connected += 1;
        net.send(conn, "hello").expect("a new connection has room");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        assert_eq!(message, b"hello");
        self.received += 1;
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, _: &ConnInfo, error: ConnectError) {
        self.failed.push(error);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        let done = self.lookups.iter().find(|(other, _)| *other == timer);
        if let Some((_, conn)) = done {
            net.wake_session(*conn);
        }
    }
}

/// One world from this seed.
pub fn run(seed: u64) {
    let mut world = World::new(seed);
    world.faults(Faults::drawn(seed).lossless());
    let mut random = Random::new(seed);
    let mut config: Config = strict();
    config.connection.timeouts.handshake = None;
    let mut member = |world: &mut World, range: (u64, u64)| {
        let lookup = SECOND * random.between(range.0, range.1) as u32;
        world.node(
            config.clone(),
            Member {
                lookup,
                ..Member::default()
            },
        )
    };
    let server = member(&mut world, (22, 50));
    world
        .with(server, |_, net| net.listen("0.0.0.0:7000").map(drop))
        .expect("the port is free");
    let addr = world.addr(server);
    let clients = [(); 3].map(|()| {
        let client = member(&mut world, (1, 50));
        world
            .with(client, |_, net| net.connect(addr))
            .expect("no limit is reached");
        client
    });
    world.run_for(120 * SECOND);
    let server = world.handler(server);
    assert_eq!(
        (server.connected, server.received),
        (3, 3),
        "{:?}",
        server.failed
    );
    for client in clients {
        let client = world.handler(client);
        assert_eq!(
            (client.connected, client.received),
            (1, 1),
            "{:?}",
            client.failed
        );
    }
}
