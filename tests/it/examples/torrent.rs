//! The example `torrent`: from its own seed, and from peers that misbehave.

mod scripted;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sha1::{Digest, Sha1};

use super::process::Process;
use crate::util::raw;
use scripted::{Behaviour, message, read_message, request, start};

const PIECE_LEN: usize = 32 * 1024;
const BLOCK_LEN: usize = 16 * 1024;
/// The last piece and the last block are shorter than the others.
const LEN: usize = 10 * PIECE_LEN + BLOCK_LEN + 5;
const PIECES: usize = 11;

/// A file and its torrent, in a folder that is removed when this is dropped.
struct Torrent {
    folder: PathBuf,
    data: Vec<u8>,
    info_hash: [u8; 20],
}

impl Torrent {
    fn new() -> Self {
        Self::with_len(LEN)
    }

    fn with_len(len: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("torrent-{}-{number}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let data: Vec<u8> = (0..len).map(|at| (at * at / 7) as u8).collect();
        let hashes: Vec<u8> = data.chunks(PIECE_LEN).flat_map(Sha1::digest).collect();
        let info = format!(
            "d6:lengthi{len}e4:name1:x12:piece lengthi{PIECE_LEN}e6:pieces{}:",
            hashes.len()
        );
        let info = [info.as_bytes(), &hashes, b"e"].concat();
        let torrent = [b"d8:announce1:x4:info", info.as_slice(), b"e"].concat();
        std::fs::write(folder.join("torrent"), torrent).expect("room on the disk");
        std::fs::write(folder.join("file"), &data).expect("room on the disk");
        let info_hash = Sha1::digest(info).into();
        Self {
            folder,
            data,
            info_hash,
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn seed(&self) -> (Process, String) {
        let arguments = ["seed", &self.path("torrent"), &self.path("file")];
        let mut seed = Process::start("torrent", &arguments);
        let addr = seed.address();
        (seed, addr)
    }

    fn fetch(&self, peers: &[&str]) -> (Option<i32>, String) {
        let (torrent, copy) = (self.path("torrent"), self.path("copy"));
        let arguments = [&["fetch", &torrent, &copy], peers].concat();
        Process::start("torrent", &arguments).end()
    }

    #[track_caller]
    fn assert_copied(&self) {
        let copy = std::fs::read(self.path("copy")).expect("a copy");
        assert!(copy == self.data, "the copy differs");
    }
}

impl Drop for Torrent {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn torrent_is_fetched_from_its_own_seeds() {
    let torrent = Torrent::new();
    let seeds = [torrent.seed(), torrent.seed()];
    let peers = seeds.each_ref().map(|(_, addr)| addr.as_str());
    let (code, output) = torrent.fetch(&peers);
    assert_eq!(code, Some(0), "{output}");
    torrent.assert_copied();
}

#[test]
fn torrent_of_any_length_is_fetched() {
    for len in [0, 1, BLOCK_LEN, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1] {
        let torrent = Torrent::with_len(len);
        let (_seed, addr) = torrent.seed();
        let (code, output) = torrent.fetch(&[&addr]);
        assert_eq!(code, Some(0), "{len}: {output}");
        torrent.assert_copied();
    }
}

#[test]
fn torrent_that_is_wrong_is_refused() {
    let hash = "x".repeat(20);
    for (info, why) in [
        (
            "5:filesld6:lengthi5e4:pathl1:aeee4:name1:x12:piece lengthi9e",
            "not a single file",
        ),
        ("6:lengthi-1e", "not a single file"),
        (
            &format!("6:lengthi5e12:piece lengthi0e6:pieces20:{hash}"),
            "no length of pieces",
        ),
        ("6:lengthi5e12:piece lengthi9e", "no hashes"),
        (
            &format!("6:lengthi5e12:piece lengthi9e6:pieces40:{hash}{hash}"),
            "a wrong number of pieces",
        ),
        ("6:length", "not a torrent file"),
    ] {
        let torrent = Torrent::new();
        let bytes = format!("d4:infod{info}ee");
        std::fs::write(torrent.path("torrent"), bytes).expect("room on the disk");
        let (code, output) = torrent.fetch(&["127.0.0.1:1"]);
        assert_eq!(code, Some(1), "{info}: {output}");
        assert!(output.contains(why), "{info}: {output}");
        assert!(!torrent.folder.join("copy").exists(), "{info}");
    }
}

#[test]
fn torrent_completes_what_is_there() {
    let torrent = Torrent::new();
    let mut there = torrent.data.clone();
    there[5 * PIECE_LEN] ^= 1;
    there.extend(b"more");
    std::fs::write(torrent.path("copy"), there).expect("room on the disk");
    let (_seed, addr) = torrent.seed();
    let (code, output) = torrent.fetch(&[&addr]);
    assert_eq!(code, Some(0), "{output}");
    torrent.assert_copied();
}

/// Fetches from a peer with this behaviour, and from another one that sends
/// nothing until the first has misbehaved. Returns what was printed.
#[track_caller]
fn fetch_beside(behaviour: Behaviour) -> String {
    let torrent = Torrent::new();
    let has_misbehaved = Arc::new(AtomicBool::new(false));
    let bad = start(&torrent.data, torrent.info_hash, behaviour, &has_misbehaved);
    let good = start(
        &torrent.data,
        torrent.info_hash,
        Behaviour::Good,
        &has_misbehaved,
    );
    let (code, output) = torrent.fetch(&[&bad, &good]);
    assert_eq!(code, Some(0), "{behaviour:?}: {output}");
    torrent.assert_copied();
    assert!(has_misbehaved.load(Ordering::Relaxed), "{output}");
    output
}

/// A peer at fault is left for another one, and alone it makes the download fail.
#[track_caller]
fn assert_fault(behaviour: Behaviour, why: &str) {
    let output = fetch_beside(behaviour);
    assert!(output.contains(why), "{behaviour:?}: {output}");

    let torrent = Torrent::new();
    let bad = start(&torrent.data, torrent.info_hash, behaviour, &Arc::default());
    let (code, output) = torrent.fetch(&[&bad]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(why), "{behaviour:?}: {output}");
    assert!(output.contains("torrent: no peer is left"), "{output}");
}

#[test]
fn torrent_leaves_a_peer_with_a_wrong_piece() {
    assert_fault(Behaviour::WrongBlock, "a piece with a wrong hash");
}

/// The blocks have the right hash in the order in which they arrive.
#[test]
fn torrent_leaves_a_peer_that_swaps_blocks() {
    assert_fault(Behaviour::SwapsBlocks, "a piece with a wrong hash");
}

#[test]
fn torrent_goes_on_after_a_choke() {
    fetch_beside(Behaviour::ChokesAfter(3));
}

#[test]
fn torrent_goes_on_without_a_peer_that_vanishes() {
    let output = fetch_beside(Behaviour::VanishesAfter(3));
    assert!(output.contains("by the peer"), "{output}");
}

#[test]
fn torrent_goes_on_without_a_silent_peer() {
    let output = fetch_beside(Behaviour::SilentAfter(3));
    assert!(output.contains("no block for 5 s"), "{output}");
}

#[test]
fn torrent_names_the_fault_of_a_peer() {
    let block = [&9_u32.to_be_bytes()[..], &[0; 4], &[0; BLOCK_LEN]].concat();
    let far = [&[0xff; 8][..], &[0; BLOCK_LEN]].concat();
    for (bytes, why) in [
        (
            message(7, &block[..BLOCK_LEN]),
            "a block that was not requested",
        ),
        (message(7, &far), "a block that was not requested"),
        (
            message(4, &(PIECES as u32).to_be_bytes()),
            "a piece that does not exist",
        ),
        (message(5, &[0xff; 1]), "a bitfield of another length"),
        (message(5, &[0xff; 2]), "a bitfield of another length"),
        (message(5, &[0xff; 3]), "a bitfield of another length"),
        (message(4, &[0; 5]), "a message of a wrong length"),
        (message(6, &[0; 11]), "a message of a wrong length"),
        (message(7, &[0; 7]), "a message of a wrong length"),
        (
            message(20, &[0; BLOCK_LEN + 9]),
            "a message of 16394 bytes where 16393 are allowed",
        ),
        (
            vec![0xff; 4],
            "a message of 4294967295 bytes where 16393 are allowed",
        ),
        (
            message(6, &[0xff; 12]),
            "a request of a block that does not exist",
        ),
        (
            message(6, &[0; 12]),
            "a request of a block that does not exist",
        ),
    ] {
        assert_fault(Behaviour::Sends(bytes.leak()), why);
    }
    assert_fault(Behaviour::OtherTorrent, "another torrent");
    assert_fault(Behaviour::NoHandshake, "no BitTorrent handshake");
}

#[test]
fn torrent_seed_refuses_what_does_not_exist() {
    let torrent = Torrent::new();
    let (mut seed, addr) = torrent.seed();
    let mut peer = raw::connect(addr.parse().expect("an address"));
    peer.write_all(&scripted::handshake([1; 20])).expect("room");
    seed.line("another torrent");
    for block in [
        request(PIECES as u32, 0, 1),
        request(0, PIECE_LEN as u32, 1),
        request(0, u32::MAX, u32::MAX),
        request(0, 0, BLOCK_LEN as u32 + 1),
        request(10, BLOCK_LEN as u32, 6),
    ] {
        let mut peer = connect(&torrent, &addr);
        peer.write_all(&block).expect("room");
        seed.line("a request of a block that does not exist");
        while peer.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    }
}

#[test]
fn torrent_seed_serves_beside_a_greedy_peer() {
    let torrent = Torrent::new();
    let (_seed, addr) = torrent.seed();
    let mut greedy = connect(&torrent, &addr);
    greedy.write_all(&message(2, &[])).expect("room");
    const REQUESTS: usize = 1_500;
    for at in 0..REQUESTS {
        let piece = (at % (PIECES - 1)) as u32;
        greedy
            .write_all(&request(piece, 0, BLOCK_LEN as u32))
            .expect("room");
    }
    let (code, output) = torrent.fetch(&[&addr]);
    assert_eq!(code, Some(0), "{output}");
    torrent.assert_copied();
    for at in 0..REQUESTS {
        let answer = loop {
            let message = read_message(&mut greedy).expect("an answer");
            if message.first() == Some(&7) {
                break message;
            }
        };
        let begin = at % (PIECES - 1) * PIECE_LEN;
        assert!(
            answer[9..] == torrent.data[begin..begin + BLOCK_LEN],
            "block {at}"
        );
    }
    for _ in 0..30_000 {
        let sent = greedy.write_all(&request(0, 0, BLOCK_LEN as u32));
        if sent.is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            return;
        }
    }
    panic!("no bound on requests");
}

/// Connects to a seed and shakes hands.
fn connect(torrent: &Torrent, addr: &str) -> TcpStream {
    let mut peer = raw::connect(addr.parse().expect("an address"));
    peer.write_all(&scripted::handshake(torrent.info_hash))
        .expect("room");
    peer.read_exact(&mut [0; 68]).expect("a handshake");
    peer
}
