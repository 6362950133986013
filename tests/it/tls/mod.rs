//! TLS sessions.

mod alerts;
mod hostile;
mod identity;
mod keys;
mod messages;
mod openssl;
mod refused;

use std::sync::Arc;

use peerloop::tls::Tls;
use peerloop::tls::rustls::{ClientConfig, ServerConfig};
use peerloop::{Config, ConnId};

use crate::util::session_peer::SessionPeer;
use crate::util::tls::{Versions, accepting, configs, connecting};
use crate::util::{Recorder, TestNode, listening};

fn client(config: impl Into<Arc<ClientConfig>>) -> Recorder {
    Recorder {
        sessions: connecting(config),
        ..Recorder::default()
    }
}

/// A server that echoes.
fn server(config: impl Into<Arc<ServerConfig>>) -> Recorder {
    Recorder {
        sessions: accepting(config),
        ..Recorder::echo()
    }
}

/// A server that echoes, and a raw client.
fn with_raw_client(config: Config, versions: Versions) -> (TestNode, ConnId, SessionPeer<Tls>) {
    let (there, here) = configs(versions);
    let (mut node, addr) = listening(config, server(here));
    let session = crate::util::tls::client(&there);
    let (conn, peer) = SessionPeer::connect(&mut node, addr, session);
    (node, conn, peer)
}
