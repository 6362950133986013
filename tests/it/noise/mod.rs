//! Noise sessions.

mod handshake;
mod hostile;
mod messages;
mod patterns;
mod settings;

use peerloop::noise::NoiseSession;
use peerloop::session::{Role, Session};

use crate::util::session_end::{SessionEnd, exchange};
use crate::util::snow_peer::{Deal, SnowPeer};

const BOTH_ROLES: [Role; 2] = [Role::Initiator, Role::Responder];

/// The patterns that most programs use.
fn common_deals() -> [Deal; 4] {
    [Deal::xx(), Deal::ik(), Deal::nn(), Deal::xx_psk3()]
}

fn ends(deal: &Deal) -> [SessionEnd<NoiseSession>; 2] {
    BOTH_ROLES.map(|role| deal.end(role))
}

fn established_ends(deal: &Deal) -> [SessionEnd<NoiseSession>; 2] {
    let [mut a, mut b] = ends(deal);
    exchange(&mut a, &mut b).expect("a handshake");
    [a, b]
}

/// An established end, and snow at the other one.
fn with_snow(deal: &Deal, role: Role) -> (SessionEnd<NoiseSession>, SnowPeer) {
    let mut end = deal.end(role);
    let peer = SnowPeer::handshake(deal, !role, &mut end);
    (end, peer)
}

fn payload(end: &SessionEnd<NoiseSession>) -> Vec<u8> {
    let identity = end.session.identity();
    identity.map_or_else(Vec::new, |identity| identity.payload)
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}
