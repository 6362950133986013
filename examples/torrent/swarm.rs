//! The handler: fetches what is missing from its peers, and serves what it has.

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use peerloop::{
    Config, ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason, Framing, Handler, Net,
    TimerId,
};

use super::peer::{Outcome, Peer, tell};
use super::pieces::Pieces;
use super::wire;

const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The number of checks without a complete piece after which it gives up.
const IDLE_CHECKS_MAX: u32 = 12;

/// The only reason of this program for which the peer is not at fault.
const STALLED: &str = "no block for 5 s";

pub(crate) struct Swarm {
    pub pieces: Pieces,
    /// The ends of connections, for the user.
    pub events: Vec<String>,
    /// The reason why what is missing cannot be fetched.
    pub failure: Option<&'static str>,
    /// The addresses to connect to, except peers at fault.
    addresses: Vec<SocketAddr>,
    /// The peers whose handshake has arrived.
    peers: ConnMap<Peer>,
    /// The number of checks since the last piece was completed.
    idle_checks: u32,
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    // Until the handshake has arrived.
    config.connection.framing = Framing::Fixed(wire::HANDSHAKE_LEN);
    config.connection.max_message_len = wire::MESSAGE_MAX;
    // A peer sends something every two minutes. A message to it restarts `idle`.
    config.connection.timeouts.receive_idle = Some(Duration::from_secs(150));
    config
}

impl Swarm {
    pub(crate) fn new(pieces: Pieces, addresses: Vec<SocketAddr>) -> Self {
        Self {
            pieces,
            events: Vec::new(),
            failure: None,
            addresses,
            peers: ConnMap::new(),
            idle_checks: 0,
        }
    }

    /// Takes the handshake of a peer. Messages follow it.
    fn admit(&mut self, net: &mut Net, conn: ConnId, handshake: &[u8]) -> Outcome {
        wire::check_handshake(handshake, &self.pieces.metainfo)?;
        // It is valid.
        let _ = net.set_framing(conn, Framing::default());
        let bits = wire::to_bitfield(&self.pieces.complete);
        tell(net, conn, [&[wire::BITFIELD], &*bits].concat());
        // Each peer may request, and so that it may be requested of.
        tell(net, conn, wire::encode(wire::UNCHOKE, &[]));
        if self.pieces.missing > 0 {
            tell(net, conn, wire::encode(wire::INTERESTED, &[]));
        }
        self.peers.entry(conn).or_default().has = vec![false; self.pieces.complete.len()];
        Ok(())
    }
}

impl Handler for Swarm {
    fn on_start(&mut self, net: &mut Net) {
        net.set_timer(Duration::ZERO, 0);
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        // Client, version, and a number that differs (BEP 20).
        let mut id = *b"-PL0010-0000********";
        id[12..].copy_from_slice(&self.pieces.seed.to_be_bytes());
        tell(net, conn, wire::handshake(&self.pieces.metainfo, &id));
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let outcome = match self.peers.get_mut(conn) {
            Some(peer) => peer.take(net, conn, &mut self.pieces, message),
            None => self.admit(net, conn, message),
        };
        if let Err(why) = outcome {
            net.abort_with_reason(conn, why);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        let peer = self.peers.get_mut(conn);
        if let Some(Err(why)) = peer.map(|peer| peer.serve(net, conn, &mut self.pieces)) {
            net.abort_with_reason(conn, why);
        }
    }

    fn on_turn(&mut self, net: &mut Net) {
        for piece in mem::take(&mut self.pieces.news) {
            self.idle_checks = 0;
            let others = self.peers.iter();
            for (conn, _) in others.filter(|(_, peer)| !peer.has[piece as usize]) {
                tell(net, conn, wire::encode(wire::HAVE, &[piece]));
            }
        }
        for (conn, peer) in self.peers.iter_mut() {
            peer.request(net, conn, &mut self.pieces);
        }
    }

    fn on_connect_failed(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo, error: ConnectError) {
        self.events.push(format!("{}: {error}", info.addr));
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if let Some(mut peer) = self.peers.remove(conn) {
            peer.release(&mut self.pieces);
        }
        let is_ours = matches!(reason, DisconnectReason::Application(why) if why != STALLED);
        if let Some(it) = net.connection(conn) {
            let addr = it.info().addr;
            self.events.push(format!("{addr}: {reason}"));
            let stays = !is_ours && !reason.is_peers_fault();
            self.addresses.retain(|it| stays || *it != addr);
        }
        if self.addresses.is_empty() {
            self.failure = Some("no peer is left");
        }
        self.on_turn(net);
    }

    // Ends connections that stall, connects, and gives up after a while.
    fn on_timer(&mut self, net: &mut Net, _: TimerId, _: u64) {
        for (conn, peer) in self.peers.iter_mut() {
            tell(net, conn, Vec::new());
            if !mem::take(&mut peer.was_active) && !peer.requested.is_empty() {
                net.abort_with_reason(conn, STALLED);
            }
        }
        for addr in &self.addresses {
            // A second connection to a peer is refused as a duplicate.
            let _ = net.connect(*addr);
        }
        net.set_timer(CHECK_EVERY, 0);
        self.idle_checks += 1;
        if self.idle_checks == IDLE_CHECKS_MAX {
            self.failure = Some("no piece for a minute");
        }
    }
}
