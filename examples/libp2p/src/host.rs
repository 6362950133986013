//! A libp2p host: the handler that takes each connection from TCP to its streams.

use std::error::Error;
use std::fmt::Display;
use std::mem;
use std::time::Duration;

use peerloop::config::{ConnectionConfig, Limits};
use peerloop::framing::Framing;
use peerloop::noise::{Hash, Noise, Pattern};
use peerloop::session::Sequence;
use peerloop::{
    Config, ConnId, ConnInfo, ConnMap, ConnectError, DisconnectReason, Handler, Net, Transport,
};

use crate::identity::{self, Keys};
use crate::multistream::Negotiation;
use crate::streams::Streams;
use crate::yamux::{Frames, GO_AWAY, WINDOW, YAMUX, write_header};
use crate::{Reason, identify};

/// Time that a peer has for its answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Time that the streams of a peer have to end, when it has answered everything.
const STAY: Duration = Duration::from_secs(2);

/// Time for what is queued at the end.
const GRACE: Duration = Duration::from_secs(1);

/// A host that asks each peer what it is, pings it, and answers the same. It stops
/// when one peer has answered everything, or when a connect has failed.
pub struct Host {
    keys: Keys,
    /// The id of the only peer to talk to.
    expected: Option<String>,
    peers: ConnMap<Peer>,
    /// What became of the last connection.
    pub outcome: Result<(), String>,
}

struct Peer {
    id: String,
    stage: Stage,
}

enum Stage {
    /// Both ends agree on yamux.
    Negotiating(Negotiation),
    Talking(Streams),
}

/// Returns the configuration of a node for a [`Host`].
pub fn config() -> Config {
    Config {
        connection: ConnectionConfig {
            framing: Framing::custom(Frames::default),
            // What waits on a stream is sent together, with its headers.
            max_message_len: 2 * WINDOW as usize,
            require_session: true,
            ..Default::default()
        },
        limits: Limits {
            // For each connection `STREAMS_MAX` windows can be filled.
            max_connections: 64,
            ..Default::default()
        },
        ..Default::default()
    }
}

impl Host {
    pub fn new(keys: Keys, expected: Option<String>) -> Self {
        Self {
            keys,
            expected,
            peers: ConnMap::new(),
            outcome: Err("no peer".into()),
        }
    }

    /// Returns the peer that the handshake has proved.
    fn verify(&self, net: &Net, conn: ConnId) -> Result<(ConnInfo, String), Reason> {
        let connection = net.connection(conn).ok_or("no connection")?;
        let id = identity::verify(connection.identity().ok_or("no identity")?)?;
        match &self.expected {
            Some(expected) if *expected != id => Err("another peer id than expected"),
            _ => Ok((connection.info(), id)),
        }
    }

    /// Takes a line of the negotiation, or a frame.
    fn receive(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) -> Result<(), Reason> {
        let (Some(peer), Some(connection)) = (self.peers.get_mut(conn), net.connection(conn))
        else {
            return Ok(());
        };
        match &mut peer.stage {
            Stage::Negotiating(negotiation) => {
                let (mut message, mut out) = (message, Vec::new());
                let agreed = negotiation.advance(&mut message, &mut out)?;
                if agreed.is_some() {
                    let ConnInfo {
                        direction, addr, ..
                    } = connection.info();
                    let listening = net.listeners().map(|it| it.addr);
                    let identify = identify::message(&self.keys, listening, addr);
                    let mut streams = Streams::new(direction, identify);
                    out.append(&mut streams.out);
                    peer.stage = Stage::Talking(streams);
                }
                send(net, conn, out)
            }
            Stage::Talking(streams) => {
                if let Some(news) = streams.receive(message)? {
                    println!("{}: {news}", peer.id);
                }
                send(net, conn, mem::take(&mut streams.out))?;
                if streams.unanswered == 0 {
                    net.set_conn_timer(conn, STAY, 0);
                    if streams.is_empty() {
                        self.end(net, conn, "done");
                    }
                }
                Ok(())
            }
        }
    }

    /// Ends a connection, unless that was done.
    fn end(&mut self, net: &mut Net, conn: ConnId, reason: impl Display) {
        let Some(Peer { id, stage }) = self.peers.remove(conn) else {
            return;
        };
        let mut outcome = Err(reason.to_string());
        if let Stage::Talking(Streams { unanswered, .. }) = stage {
            let mut out = Vec::new();
            write_header(&mut out, GO_AWAY, 0, 0, u32::from(unanswered > 0));
            let _ = send(net, conn, out);
            if unanswered == 0 {
                outcome = Ok(());
            }
        }
        net.close(conn);
        self.finish(net, id, outcome);
    }

    fn finish(&mut self, net: &mut Net, who: impl Display, outcome: Result<(), String>) {
        let text = outcome.as_ref().map_or_else(String::as_str, |()| "done");
        println!("{who}: {text}");
        self.outcome = outcome;
        if self.outcome.is_ok() || net.listeners().next().is_none() {
            net.shutdown(GRACE);
        }
    }
}

/// Sends lines or frames.
fn send(net: &mut Net, conn: ConnId, out: Vec<u8>) -> Result<(), Reason> {
    if !out.is_empty() {
        net.send(conn, out)
            .map_err(|_| "the send queue has no room")?;
    }
    // A peer that does not read gets no further answers.
    if !net.is_writable(conn) {
        net.pause(conn);
    }
    Ok(())
}

impl Handler for Host {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let noise = Noise::new(Pattern::XX, info.direction)
            .hash(Hash::Sha256)
            .local_key(&self.keys.noise)
            .payload(&self.keys.payload(self.keys.noise.public()))
            // libp2p has none. The streams have ends of their own.
            .allow_missing_close_notify()
            .build()?;
        let negotiation = Negotiation::new(info.direction, &["/noise"]);
        Ok(Sequence::new(negotiation, noise).into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let (info, id) = match self.verify(net, conn) {
            Ok(peer) => peer,
            Err(reason) => {
                net.abort(conn);
                return self.finish(net, conn, Err(reason.into()));
            }
        };
        println!("{id}: connected, {}", info.addr);
        let negotiation = Negotiation::new(info.direction, &[YAMUX]);
        let mut out = Vec::new();
        negotiation.start(&mut out);
        let stage = Stage::Negotiating(negotiation);
        self.peers.insert(conn, Peer { id, stage });
        net.set_conn_timer(conn, ANSWER_TIMEOUT, 0);
        if let Err(reason) = send(net, conn, out) {
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

    fn on_conn_timer(&mut self, net: &mut Net, conn: ConnId, _: u64) {
        self.end(net, conn, "no answer");
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.end(net, conn, reason);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        _: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.finish(net, info.addr, Err(error.to_string()));
    }
}
