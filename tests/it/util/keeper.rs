//! A handler with a `KeepConnected`, which notes what it does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peerloop::reconnect::{
    AddressState, BackoffConfig, KeepConnected, KeepConnectedConfig, KeptAddress,
};
use peerloop::{ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, TimerId};

/// The addresses and times of attempts, in order.
pub type Attempts = Arc<Mutex<Vec<(SocketAddr, Instant)>>>;

pub struct Keeper {
    pub keep: KeepConnected,
    addresses: Vec<SocketAddr>,
    attempts: Attempts,
    /// The time at which each connection was opened.
    pub opened: Vec<Instant>,
    /// The address, and the time, of each failed attempt and each end.
    pub lost: Vec<(KeptAddress, Instant)>,
    /// The callbacks of connections that are not kept.
    pub others: usize,
    /// Timers that are not of the `KeepConnected`.
    pub timers: Vec<TimerId>,
}

impl Keeper {
    pub fn new(config: KeepConnectedConfig, seed: u64, addresses: Vec<SocketAddr>) -> Self {
        let mut keep = KeepConnected::new(config, seed).expect("valid settings");
        let attempts = Attempts::default();
        let noted = Arc::clone(&attempts);
        keep.set_connect_options(move |net, addr| {
            noted.lock().expect("no panic").push((addr, net.now()));
            net.connect_options()
        });
        Self {
            keep,
            addresses,
            attempts,
            opened: Vec::new(),
            lost: Vec::new(),
            others: 0,
            timers: Vec::new(),
        }
    }

    /// The times of the attempts, and the addresses.
    pub fn attempts(&self) -> Vec<(SocketAddr, Instant)> {
        self.attempts.lock().expect("no panic").clone()
    }

    /// The number of attempts in progress and of connections.
    pub fn in_use(&self) -> usize {
        let is_used = |it: &KeptAddress| !matches!(it.state, AddressState::Waiting(_));
        self.keep.addresses().filter(is_used).count()
    }

    fn note_lost(&mut self, net: &Net, kept: Option<KeptAddress>) {
        match kept {
            Some(kept) => self.lost.push((kept, net.now())),
            None => self.others += 1,
        }
    }
}

/// Settings with delays from `first` to `max`.
pub fn keeping(connections: usize, first: Duration, max: Duration) -> KeepConnectedConfig {
    KeepConnectedConfig {
        connections,
        backoff: BackoffConfig {
            first,
            max,
            ..Default::default()
        },
        ..Default::default()
    }
}

impl Handler for Keeper {
    fn on_start(&mut self, net: &mut Net) {
        for addr in &self.addresses {
            self.keep.add(net, *addr).expect("a valid address");
        }
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match self.keep.on_connect(net, conn) {
            Some(kept) => {
                assert_eq!(kept.state, AddressState::Connected(conn));
                self.opened.push(net.now());
            }
            None => self.others += 1,
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
        error: ConnectError,
    ) {
        let kept = self.keep.on_connect_failed(net, conn, error);
        self.note_lost(net, kept);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        let kept = self.keep.on_disconnect(net, conn);
        self.note_lost(net, kept);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        if !self.keep.on_timer(net, timer) {
            self.timers.push(timer);
        }
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// Number of servers, and the number of them that are kept connected.
#[cfg(feature = "sim")]
const CROWD: u64 = 12;
#[cfg(feature = "sim")]
const KEPT: usize = 4;

/// Accepts connections.
#[cfg(feature = "sim")]
struct Accepts;

#[cfg(feature = "sim")]
impl Handler for Accepts {
    fn on_start(&mut self, net: &mut Net) {
        net.listen("0.0.0.0:7000").expect("the port is free");
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {}
}

/// A node keeps some of a crowd of servers connected, while servers crash and
/// links are cut. In the end there are just as many servers as it keeps.
#[cfg(feature = "sim")]
pub fn run(seed: u64) {
    use peerloop::sim::World;

    let mut world = World::new(seed);
    let mut random = world.random();
    let config = super::strict;
    let servers: Vec<_> = (0..CROWD).map(|_| world.node(config(), Accepts)).collect();
    let addresses = servers.iter().map(|it| world.addr(*it)).collect();
    let delays = keeping(KEPT, Duration::from_millis(100), Duration::from_secs(4));
    let client = world.node(config(), Keeper::new(delays, seed, addresses));
    world.always(move |world| match world.handler(client).in_use() {
        0..=KEPT => Ok(()),
        in_use => Err(format!("{in_use} connections and attempts")),
    });
    for _ in 0..30 {
        let server = servers[random.below(CROWD) as usize];
        match random.below(4) {
            0 | 1 if world.is_up(server) => drop(world.crash(server)),
            0 | 1 => world.restart(server, Accepts),
            2 => world.partition(client, server),
            _ => world.heal_all(),
        }
        world.run_for(Duration::from_millis(random.between(1, 20_000)));
    }
    world.heal_all();
    for (index, server) in servers.into_iter().enumerate() {
        if world.is_up(server) {
            world.crash(server);
        }
        if index < KEPT {
            world.restart(server, Accepts);
        }
    }
    let is_complete = |world: &mut World| world.handler(client).keep.connection_count() == KEPT;
    world
        .run_until(Duration::from_secs(600), is_complete)
        .expect("all are connected");
}
