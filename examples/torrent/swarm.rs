//! The handler: fetches what is missing from its peers, and serves what it has.

use std::io::{Read, Seek, Write};
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::reconnect::{KeepConnected, KeepConnectedConfig};
use peerloop::{
    Config, ConfigError, ConnId, ConnInfo, ConnMap, ConnectError, Direction, DisconnectReason,
    Framing, Handler, Net, TimerId,
};

use crate::metainfo::Hash;
use crate::peer::Peer;
use crate::pieces::Pieces;
use crate::wire;

const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The number of checks without a block from any peer after which it gives up.
const IDLE_CHECKS_MAX: u32 = 12;

/// The only reason of this program for which the peer is not at fault.
const STALLED: &str = "no block for 5 s";

pub(crate) struct Swarm<F> {
    pub pieces: Pieces<F>,
    /// The ends of connections, for the user.
    pub events: Vec<String>,
    /// Set when all pieces are complete, or when it has given up.
    pub outcome: Option<Result<(), String>>,
    peer_id: Hash,
    addresses: Vec<SocketAddr>,
    keep: KeepConnected,
    /// The peers whose handshake has arrived.
    peers: ConnMap<Peer>,
    idle_checks: u32,
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    let connection = &mut config.connection;
    // Until the handshake has arrived.
    connection.framing = Framing::Fixed(wire::HANDSHAKE_LEN);
    connection.max_message_len = wire::MESSAGE_MAX;
    // Peers send a keep-alive message every two minutes (BEP 3).
    connection.timeouts.receive_idle = Some(Duration::from_secs(150));
    connection.timeouts.idle = None;
    config
}

impl<F: Read + Write + Seek> Swarm<F> {
    /// Creates a handler that fetches what is missing from these addresses.
    pub(crate) fn new(
        pieces: Pieces<F>,
        addresses: Vec<SocketAddr>,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        let config = KeepConnectedConfig {
            connections: addresses.len(),
            ..KeepConnectedConfig::default()
        };
        let mut peer_id = *b"-PL0010-000000000000";
        peer_id[12..].copy_from_slice(&seed.to_be_bytes());
        Ok(Self {
            pieces,
            events: Vec::new(),
            outcome: None,
            peer_id,
            addresses,
            keep: KeepConnected::new(config, seed)?,
            peers: ConnMap::new(),
            idle_checks: 0,
        })
    }

    fn hello(&self) -> Vec<u8> {
        wire::handshake(&self.pieces.metainfo.info_hash, &self.peer_id)
    }

    /// The peer that connects sends its handshake first. The other one answers if
    /// it has the torrent. Each changes the framing when it has received one.
    fn shake_hands(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        message: &[u8],
    ) -> Result<(), &'static str> {
        wire::check_handshake(message, &self.pieces.metainfo.info_hash)?;
        let peer = Peer::new(conn, self.pieces.count());
        if direction(net, conn) == Some(Direction::Inbound) {
            peer.tell(net, self.hello());
        }
        let changed = net.set_framing(conn, Framing::default());
        changed.map_err(|error| error.problem)?;
        peer.tell(net, [&[wire::BITFIELD], &*self.pieces.complete.0].concat());
        self.peers.insert(conn, peer);
        Ok(())
    }

    /// Ends connections that stall, and gives up if none has sent anything for too
    /// long.
    fn check(&mut self, net: &mut Net) {
        self.idle_checks += 1;
        for (conn, peer) in self.peers.iter_mut() {
            peer.tell(net, Vec::new());
            match peer.check() {
                (true, _) => self.idle_checks = 0,
                (false, true) => net.abort_with_reason(conn, STALLED),
                (false, false) => {}
            }
        }
        if self.idle_checks == IDLE_CHECKS_MAX {
            self.give_up("no peer has sent a block for a minute");
        }
    }

    fn give_up(&mut self, why: &str) {
        let (missing, all) = (self.pieces.missing, self.pieces.count());
        let why = || Err(format!("{why}, and {missing} of {all} pieces are missing"));
        self.outcome.get_or_insert_with(why);
    }
}

fn direction(net: &Net, conn: ConnId) -> Option<Direction> {
    net.connection(conn).map(|it| it.info().direction)
}

impl<F: Read + Write + Seek> Handler for Swarm<F> {
    fn on_start(&mut self, net: &mut Net) {
        for addr in mem::take(&mut self.addresses) {
            if let Err(error) = self.keep.add(net, addr) {
                self.events.push(format!("{addr}: {error}"));
            }
        }
        net.set_interval(CHECK_EVERY, 0);
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        self.keep.on_connect(net, conn);
        if direction(net, conn) == Some(Direction::Outbound) {
            let _ = net.send(conn, self.hello());
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let outcome = match self.peers.get_mut(conn) {
            Some(peer) => peer.take(net, &mut self.pieces, message),
            None => self.shake_hands(net, conn, message),
        };
        if let Err(why) = outcome {
            net.abort_with_reason(conn, why);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        if let Some(peer) = self.peers.get_mut(conn) {
            if let Err(why) = peer.serve(net, &mut self.pieces) {
                net.abort_with_reason(conn, why);
            }
        }
    }

    // What concerns the other peers.
    fn on_turn(&mut self, net: &mut Net) {
        for piece in mem::take(&mut self.pieces.news) {
            for peer in self.peers.values().filter(|peer| !peer.has.has(piece)) {
                peer.tell(net, wire::encode(wire::HAVE, &[piece]));
            }
        }
        if mem::take(&mut self.pieces.any_released) {
            for peer in self.peers.values_mut() {
                peer.request(net, &mut self.pieces);
            }
        }
        if let Some(error) = self.pieces.failure.take() {
            self.give_up(&error.to_string());
        } else if self.pieces.missing == 0 {
            self.outcome.get_or_insert(Ok(()));
        }
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.events.push(format!("{}: {error}", info.addr));
        self.keep.on_connect_failed(net, conn, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if let Some(it) = net.connection(conn) {
            self.events.push(format!("{}: {reason}", it.info().addr));
        }
        if let Some(mut peer) = self.peers.remove(conn) {
            peer.release(&mut self.pieces);
        }
        let is_fault = match reason {
            DisconnectReason::Application(why) => why != STALLED,
            _ => reason.is_peers_fault(),
        };
        let kept = self.keep.on_disconnect(net, conn);
        if let Some(kept) = kept.filter(|_| is_fault) {
            self.keep.remove(net, kept.addr);
            if self.keep.addresses().next().is_none() {
                self.give_up("no peer is left");
            }
        }
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, _: u64) {
        if !self.keep.on_timer(net, timer) {
            self.check(net);
        }
    }
}
