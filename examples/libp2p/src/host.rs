//! A libp2p host: the handler that takes each connection from TCP to its streams.

use std::{error::Error, fmt::Display, mem, time::Duration};

use peerloop::noise::{Hash, Noise, Pattern, StaticKey};
use peerloop::{Config, ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason};
use peerloop::{Handler, Net, Node, Transport, framing::Framing, session::Sequence};
use ring::signature::Ed25519KeyPair;

use crate::{Checked, check, identify, identity, multistream::*, streams::*, yamux::*};

type TransportResult = Result<Transport, Box<dyn Error + Send + Sync>>;

/// A host that asks each peer what it is, pings it, and answers the same. It stops
/// when a peer has answered everything, or when its only connection has failed.
pub struct Host {
    pub identity: Ed25519KeyPair,
    /// The id of the only peer to talk to.
    expected: Option<String>,
    peers: ConnMap<Streams>,
    /// The result of the latest connection.
    pub outcome: Result<(), String>,
}

impl Host {
    /// Returns the node of a host.
    pub fn node(expected: Option<String>) -> Result<Node<Self>, Box<dyn Error>> {
        let mut config = Config::default();
        config.connection.framing = Framing::custom(|| Frames);
        // All that waits on a stream is sent at once, with its headers.
        config.connection.max_message_len = 2 * WINDOW as usize;
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
    fn begin(&mut self, net: &mut Net, conn: ConnId) -> Checked {
        let connection = net.connection(conn).ok_or("no connection")?;
        let info = connection.info();
        let id = identity::verify(connection.identity().ok_or("no identity")?)?;
        let expected = self.expected.as_ref().unwrap_or(&id);
        check(*expected == id, "another peer id than expected")?;
        println!("{}: connected with {id}", info.addr);
        let listening = net.listeners().map(|listener| listener.addr);
        let own = identify::message(identity::public(&self.identity), listening, info.addr);
        self.peers.insert(conn, Streams::new(Peer { info, own }));
        self.receive(net, conn, &[])
    }

    /// Takes a message, or nothing at the start. Sends the answers.
    fn receive(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) -> Checked {
        let streams = self.peers.get_mut(conn).ok_or("no peer")?;
        streams.receive(message)?;
        if !streams.out.is_empty() {
            let sent = net.send(conn, mem::take(&mut streams.out));
            sent.map_err(|_| "the send queue is full")?;
        }
        // A peer that does not read gets no further answers.
        if !net.is_writable(conn) {
            net.pause(conn);
        }
        Ok(())
    }

    /// Ends a connection, and the node if nothing is left to do.
    fn end(&mut self, net: &mut Net, conn: ConnId, reason: impl Display) {
        println!("{conn}: {reason}");
        let streams = self.peers.remove(conn);
        let is_answered = streams.as_ref().is_some_and(Streams::is_answered);
        self.outcome = is_answered.then_some(()).ok_or(reason.to_string());
        // A peer that did not read gets no last frame.
        let _ = streams.map(|streams| net.send(conn, streams.go_away()));
        net.close(conn);
        if self.outcome.is_ok() || net.listeners().next().is_none() {
            net.shutdown(Duration::from_secs(1));
        }
    }
}

impl Handler for Host {
    fn transport(&mut self, _: &mut Net, _: ConnId, info: &ConnInfo) -> TransportResult {
        let key = StaticKey::generate()?;
        let payload = identity::payload(&self.identity, &key);
        let negotiation = Negotiation::new(info.direction, &["/noise"]);
        let noise = Noise::new(Pattern::XX, info.direction).hash(Hash::Sha256);
        let noise = noise.local_key(&key).payload(&payload);
        // libp2p has no close notification, because each stream has an end.
        let noise = noise.allow_missing_close_notify().build()?;
        Ok(Sequence::new(negotiation, noise).into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        if let Err(reason) = self.begin(net, conn) {
            self.end(net, conn, reason);
        }
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        if let Err(reason) = self.receive(net, conn, message) {
            self.end(net, conn, reason);
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
