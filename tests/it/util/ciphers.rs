//! The sessions that encrypt: the toy cipher, TLS and Noise.

use std::sync::Arc;

use peerloop::session::Session;
use peerloop::{Config, ConnId, Direction};

use super::session_peer::SessionPeer;
use super::sessions::{Xor, with_sessions};
use super::{Recorder, TestNode, listening};

pub struct Cipher {
    pub name: &'static str,
    make: Arc<dyn Fn(Direction) -> Box<dyn Session> + Send + Sync>,
}

impl Cipher {
    fn new<S: Session + 'static>(
        name: &'static str,
        make: impl Fn(Direction) -> S + Send + Sync + 'static,
    ) -> Self {
        let make = Arc::new(move |direction| Box::new(make(direction)) as Box<dyn Session>);
        Self { name, make }
    }

    pub fn session(&self, direction: Direction) -> Box<dyn Session> {
        (self.make)(direction)
    }

    pub fn recorder(&self, recorder: Recorder) -> Recorder {
        let make = self.make.clone();
        with_sessions(recorder, move |direction| make(direction))
    }

    /// A node with this cipher, and a raw peer.
    #[track_caller]
    pub fn with_raw_peer(
        &self,
        config: Config,
        recorder: Recorder,
    ) -> (TestNode, ConnId, SessionPeer<Box<dyn Session>>) {
        let (mut node, addr) = listening(config, self.recorder(recorder));
        let session = self.session(Direction::Outbound);
        let (conn, peer) = SessionPeer::connect(&mut node, addr, session);
        (node, conn, peer)
    }
}

pub fn ciphers() -> Vec<Cipher> {
    let mut all = vec![Cipher::new("xor", Xor::new)];
    all.extend(real_ciphers(false));
    all
}

/// TLS and Noise, with the setting `allow_missing_close_notify`.
pub fn real_ciphers(allow_missing_close_notify: bool) -> Vec<Cipher> {
    #[allow(unused_mut, reason = "a build without TLS and Noise")]
    let mut ciphers = Vec::new();
    #[cfg(feature = "tls")]
    for (name, versions) in [
        ("TLS 1.2", super::tls::ONLY_12),
        ("TLS 1.3", super::tls::ONLY_13),
    ] {
        let (there, here) = super::tls::configs(versions);
        ciphers.push(Cipher::new(name, move |direction| {
            let session = match direction {
                Direction::Outbound => super::tls::client(&there),
                Direction::Inbound => super::tls::server(&here),
            };
            match allow_missing_close_notify {
                true => session.allow_missing_close_notify(),
                false => session,
            }
        }));
    }
    #[cfg(feature = "noise")]
    {
        let mut deal = super::snow_peer::Deal::xx();
        deal.allow_missing_close_notify = allow_missing_close_notify;
        ciphers.push(Cipher::new("Noise", move |direction| {
            deal.session(direction.into())
        }));
    }
    let _ = allow_missing_close_notify;
    ciphers
}
