//! Sessions of a program, between the wire and the framing.

mod close;
mod close_notify;
mod faults;
mod handshake;
mod pause;
mod read_lengths;
mod refused;
mod replies;
mod sealed;
mod sequence;
mod transport;
mod waits;

use peerloop::error::SessionError;
use peerloop::{Config, ConnId, Direction, DisconnectReason};

use crate::util::session_peer::SessionPeer;
use crate::util::sessions::{Xor, sealed};
use crate::util::{Recorder, TestNode, listening};

const TRUNCATED: DisconnectReason = DisconnectReason::Session(SessionError::Truncated);

/// A node with a toy cipher, and a raw peer.
fn with_raw_peer(config: Config, recorder: Recorder) -> (TestNode, ConnId, SessionPeer<Xor>) {
    let (mut node, addr) = listening(config, sealed(recorder));
    let session = Xor::new(Direction::Outbound);
    let (conn, peer) = SessionPeer::connect(&mut node, addr, session);
    (node, conn, peer)
}
