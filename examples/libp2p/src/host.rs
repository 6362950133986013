//! A libp2p host: the handler that takes each connection from TCP to its streams.

use std::{error::Error, fmt::Display, mem, time::Duration};

use peerloop::noise::{Hash, Noise, Pattern, StaticKey};
use peerloop::{Config, ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason};
use peerloop::{Handler, Net, Node, Transport};
use peerloop::{framing::Framing, session::Sequence};
use ring::signature::Ed25519KeyPair;

use crate::{Checked, identify, identity, multistream::*, streams::*, yamux::*};

type TransportResult = Result<Transport, Box<dyn Error + Send + Sync>>;

/// A host that asks each peer what it is, pings it, and answers the same. It stops
/// when a peer has answered everything, or when its only connection has failed.
pub struct Host {
    pub identity: Ed25519KeyPair,
    /// The id of the only peer to talk to.
    expected: Option<String>,
    peers: ConnMap<Streams>,
    /// What became of the latest connection.
    pub outcome: Result<(), String>,
}

impl Host {
    /// Returns the node of a host.
    pub fn node(expected: Option<String>) -> Result<Node<Self>, Box<dyn Error>> {
        let mut config = Config::default();
        config.connection.framing = Framing::custom(|| Frames);
        // All that waits on a stream is sent at once, with its headers.
        config.connection.max_message_len = 2 * WINDOW as usize;
        config.connection.require_session = true;
        config.connection.timeouts.idle = Some(Duration::from_secs(10));
        // On each connection `STREAMS_MAX` windows can be filled, 4 MiB together.
        config.limits.max_connections = 64;
        config.limits.max_connections_per_address = 16;
        let host = Self {
            // The seed is 32 random bytes, as is such a key. A real host stores it.
            identity: Ed25519KeyPair::from_seed_unchecked(StaticKey::generate()?.secret())?,
            expected,
            peers: ConnMap::new(),
            outcome: Err("no peer".into()),
        };
        Ok(Node::new(config, host)?)
    }

    /// Begins to talk with the peer that the handshake has proved.
    fn begin(&mut self, net: &Net, conn: ConnId) -> Checked {
        let connection = net.connection(conn).ok_or("no connection")?;
        let info = connection.info();
        let id = identity::verify(connection.identity().ok_or("no identity")?)?;
        if self.expected.as_ref().unwrap_or(&id) != &id {
            return Err("another peer id than expected");
        }
        println!("{}: connected with {id}", info.addr);
        let listening = net.listeners().map(|listener| listener.addr);
        let own = identify::message(identity::public(&self.identity), listening, info.addr);
        self.peers.insert(conn, Streams::new(Peer { info, own }));
        Ok(())
    }

    /// Ends a connection, and the node if nothing is left to do.
    fn end(&mut self, net: &mut Net, conn: ConnId, reason: impl Display) {
        println!("{conn}: {reason}");
        let mut outcome = Err(reason.to_string());
        if let Some(streams) = self.peers.remove(conn) {
            outcome = streams.outcome().or(outcome);
            // A peer that did not read gets no last frame.
            let _ = net.send(conn, streams.go_away());
        }
        net.close(conn);
        if outcome.is_ok() || net.listeners().next().is_none() {
            net.shutdown(Duration::from_secs(1));
        }
        self.outcome = outcome;
    }
}

impl Handler for Host {
    fn transport(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo) -> TransportResult {
        let key = StaticKey::generate()?;
        let payload = identity::payload(&self.identity, &key);
        let noise = Noise::new(Pattern::XX, info.direction)
            .hash(Hash::Sha256)
            .local_key(&key)
            .payload(&payload)
            // libp2p has none. The streams have ends of their own.
            .allow_missing_close_notify();
        let negotiation = Negotiation::new(info.direction, &["/noise"]);
        Ok(Sequence::new(negotiation, noise.build()?).into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        match self.begin(net, conn) {
            Ok(()) => self.on_message(net, conn, &[]),
            Err(reason) => self.end(net, conn, reason),
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        let Some(streams) = self.peers.get_mut(conn) else {
            return;
        };
        let result = streams.receive(message);
        let out = mem::take(&mut streams.out);
        let sent = if out.is_empty() {
            Ok(())
        } else {
            net.send(conn, out)
        };
        if let Err(reason) = result.and(sent.map_err(|_| "the send queue is full")) {
            return self.end(net, conn, reason);
        }
        // A peer that does not read gets no further answers.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        net.resume(conn);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        if self.peers.contains(conn) {
            self.end(net, conn, reason);
        }
    }

    fn on_connect_failed(&mut self, net: &mut Net, conn: ConnId, _: &ConnInfo, why: ConnectError) {
        self.end(net, conn, why);
    }
}
