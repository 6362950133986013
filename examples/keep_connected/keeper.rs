//! The handler of both programs. It keeps a number of connections out of a list of
//! addresses.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::config::{ConfigError, OnPanic, Ping};
use peerloop::hello::Hello;
use peerloop::reconnect::{AddressState, KeepConnected, KeepConnectedConfig};
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handler, Net, TimerId, Transport,
};

/// The number of connections that each node makes and keeps. Connections that others
/// make do not count, because an attacker could make all of them.
pub(crate) const KEPT: usize = 4;

/// The longest delay between two attempts to connect to an address.
const LONGEST_DELAY: Duration = Duration::from_secs(20);

/// A peer that has been silent for this long is gone. Each node sends pings three times
/// as often.
const SILENCE: Duration = Duration::from_secs(15);

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.connection.timeouts.receive_idle = Some(SILENCE);
    config.connection.ping = Some(Ping {
        after: SILENCE / 3,
        message: Default::default(),
    });
    config.on_panic = OnPanic::Unwind;
    config
}

pub(crate) struct Keeper {
    keep: KeepConnected,
    hello: Hello,
    /// All addresses that are known. The address of this node may be among them: a hello
    /// from itself is refused, and the address is tried less and less often.
    known: Vec<SocketAddr>,
}

impl Keeper {
    /// The random number is the seed of the delays and of the order of the addresses. It is
    /// also the node id, because nothing here needs an id that stays the same.
    pub(crate) fn new(random: u64, known: &[SocketAddr]) -> Result<Self, ConfigError> {
        let mut config = KeepConnectedConfig::default();
        (config.connections, config.backoff.max) = (KEPT, LONGEST_DELAY);
        let mut node_id = [0; 32];
        node_id[..8].copy_from_slice(&random.to_be_bytes());
        Ok(Self {
            keep: KeepConnected::new(config, random)?,
            hello: Hello::new(*b"keep", node_id, random),
            known: known.to_vec(),
        })
    }

    /// Whether there are `KEPT` connections with nodes that run.
    pub(crate) fn is_complete(&self, running: &[SocketAddr]) -> bool {
        let kept = self
            .keep
            .addresses()
            .filter(|it| running.contains(&it.addr));
        let connected = kept.filter(|it| matches!(it.state, AddressState::Connected(_)));
        connected.count() == KEPT
    }
}

impl Handler for Keeper {
    fn on_start(&mut self, net: &mut Net) {
        for addr in &self.known {
            if let Err(error) = self.keep.add(net, *addr) {
                log::warn!("{addr}: {error}");
            }
        }
    }

    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        _: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        Ok(self.hello.session().into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.keep.on_connect(net, conn);
    }

    fn on_message(&mut self, _: &mut Net, _: ConnId, _: &[u8]) {
        // A ping. The messages of a protocol would be here.
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        _: &ConnInfo,
        error: ConnectError,
    ) {
        self.keep.on_connect_failed(net, conn, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, _: DisconnectReason) {
        self.keep.on_disconnect(net, conn);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        self.keep.on_timer(net, timer);
    }
}
