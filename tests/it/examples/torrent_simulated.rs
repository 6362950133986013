//! The handler of the example `torrent` as a seed, with peers that hold it up.

#[expect(dead_code, reason = "no file is read")]
#[path = "../../../examples/torrent/metainfo.rs"]
mod metainfo;
#[path = "../../../examples/torrent/peer.rs"]
mod peer;
#[path = "../../../examples/torrent/pieces.rs"]
mod pieces;
#[path = "../../../examples/torrent/swarm.rs"]
mod swarm;
#[path = "../../../examples/torrent/wire.rs"]
mod wire;

use std::io::Cursor;
use std::time::{Duration, Instant};

use peerloop::sim::{Faults, World};
use sha1::{Digest, Sha1};

use metainfo::Metainfo;
use pieces::Pieces;
use swarm::Swarm;

/// As many as a torrent can have.
const PIECES: usize = 1 << 16;

fn metainfo() -> Metainfo {
    Metainfo {
        info_hash: [7; 20],
        len: PIECES as u64,
        piece_len: 1,
        hashes: vec![Sha1::digest([7]).into(); PIECES],
    }
}

/// Returns pieces of one byte each, all of which are stored.
fn complete() -> Pieces {
    let stored = Cursor::new(vec![7; PIECES]);
    Pieces::open(metainfo(), Box::new(stored)).expect("it is in memory")
}

#[test]
fn torrent_silent_peer_of_a_seed_is_ended() {
    let mut world = World::new(1);
    world.faults(Faults::calm());
    let seed = world.node(swarm::config(), Swarm::new(complete(), Vec::new()));
    let listening = world.with(seed, |_, net| net.listen("0.0.0.0:6881"));
    listening.expect("the port is free");
    let addr = world.addr(seed);
    let peer = world.wire(addr).expect("a listener");
    world.run_for(Duration::from_secs(1));
    let handshake = wire::handshake(&metainfo(), &[1; 20]);
    world.write_wire(peer, &handshake).expect("room");
    let mut received = Vec::new();
    let mut has_ended = |world: &mut World, seconds| {
        world.run_for(Duration::from_secs(seconds));
        !matches!(world.read_wire(peer, &mut received), Ok(false))
    };
    assert!(!has_ended(&mut world, 149));
    assert!(has_ended(&mut world, 2));
    assert_eq!(world.net(seed).metrics().receive_idle_timeouts, 1);
}

/// Each turn asks for a piece to fetch from each peer.
#[test]
fn torrent_seed_searches_nothing_to_fetch() {
    let start = Instant::now();
    let mut pieces = complete();
    let opening = start.elapsed();
    let start = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(pieces.claim(&[true; PIECES]), None);
    }
    assert!(start.elapsed() < opening);
}
