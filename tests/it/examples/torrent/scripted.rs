//! A peer of the wire protocol of BitTorrent, for the client to deal with.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{BLOCK_LEN, PIECE_LEN, PIECES};

#[derive(Clone, Copy, Debug)]
pub(super) enum Behaviour {
    /// Serves, but only when another one has misbehaved.
    Good,
    WrongBlock,
    /// Sends the first block of a piece in the place of the second, before the second
    /// in the place of the first.
    SwapsBlocks,
    /// The number of blocks that are sent before.
    ChokesAfter(usize),
    VanishesAfter(usize),
    SilentAfter(usize),
    /// Sends these bytes instead of the first block.
    Sends(&'static [u8]),
    OtherTorrent,
    NoHandshake,
}

/// Starts a peer that has all of `data`. Returns its address. Its threads end with
/// the process.
pub(super) fn start(
    data: &[u8],
    info_hash: [u8; 20],
    behaviour: Behaviour,
    has_misbehaved: &Arc<AtomicBool>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address").to_string();
    let peer = Peer {
        data: data.into(),
        info_hash,
        behaviour,
        has_misbehaved: has_misbehaved.clone(),
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let peer = peer.clone();
            // The connection ends with an error or the client.
            thread::spawn(move || drop(stream.and_then(|stream| peer.serve(stream))));
        }
    });
    addr
}

#[derive(Clone)]
struct Peer {
    data: Arc<[u8]>,
    info_hash: [u8; 20],
    behaviour: Behaviour,
    has_misbehaved: Arc<AtomicBool>,
}

impl Peer {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.read_exact(&mut [0; 68])?;
        match self.behaviour {
            Behaviour::OtherTorrent => {
                self.misbehave();
                stream.write_all(&handshake([7; 20]))?;
            }
            Behaviour::NoHandshake => {
                self.misbehave();
                stream.write_all(&[b'x'; 68])?;
            }
            _ => stream.write_all(&handshake(self.info_hash))?,
        }
        let mut bits = vec![0xff; PIECES / 8];
        bits.push(!(0xff >> (PIECES % 8)));
        stream.write_all(&message(5, &bits))?;
        let mut sent = 0;
        loop {
            let message = read_message(&mut stream)?;
            match message.first() {
                Some(2) => {
                    while matches!(self.behaviour, Behaviour::Good)
                        && !self.has_misbehaved.load(Ordering::Relaxed)
                    {
                        thread::sleep(Duration::from_millis(5));
                    }
                    stream.write_all(&self::message(1, &[]))?;
                }
                Some(6) => {
                    self.answer(&mut stream, &message, sent)?;
                    sent += 1;
                }
                _ => {}
            }
        }
    }

    fn answer(&self, stream: &mut TcpStream, request: &[u8], sent: usize) -> io::Result<()> {
        let number = |at| u32::from_be_bytes(std::array::from_fn(|byte| request[at + byte]));
        let [piece, begin, len] = [1, 5, 9].map(|at| number(at) as usize);
        assert!(len <= BLOCK_LEN, "a request of {len} bytes");
        let at = piece * PIECE_LEN + begin;
        let mut body = [&request[1..9], &self.data[at..at + len]].concat();
        match self.behaviour {
            Behaviour::WrongBlock => {
                self.misbehave();
                body[8] ^= 1;
            }
            Behaviour::Sends(bytes) => {
                self.misbehave();
                return stream.write_all(bytes);
            }
            // Blocks of different lengths cannot be swapped.
            Behaviour::SwapsBlocks if piece + 1 < PIECES => {
                if begin == 0 {
                    return Ok(());
                }
                self.misbehave();
                let (first, second) = (at - BLOCK_LEN, at);
                body.splice(8.., self.data[first..second].iter().copied());
                stream.write_all(&message(7, &body))?;
                body[4..8].fill(0);
                body.splice(8.., self.data[second..second + len].iter().copied());
            }
            Behaviour::ChokesAfter(blocks) if sent >= blocks => {
                self.misbehave();
                return stream.write_all(&message(0, &[]));
            }
            Behaviour::VanishesAfter(blocks) if sent >= blocks => {
                self.misbehave();
                return Err(io::ErrorKind::Other.into());
            }
            Behaviour::SilentAfter(blocks) if sent >= blocks => {
                self.misbehave();
                return Ok(());
            }
            _ => {}
        }
        stream.write_all(&message(7, &body))
    }

    fn misbehave(&self) {
        self.has_misbehaved.store(true, Ordering::Relaxed);
    }
}

pub(super) fn handshake(info_hash: [u8; 20]) -> Vec<u8> {
    let name = b"\x13BitTorrent protocol";
    [&name[..], &[0; 8], &info_hash, b"-TEST00-000000000000"].concat()
}

pub(super) fn message(id: u8, body: &[u8]) -> Vec<u8> {
    let len = 1 + body.len() as u32;
    [&len.to_be_bytes(), &[id][..], body].concat()
}

pub(super) fn request(piece: u32, begin: u32, len: u32) -> Vec<u8> {
    message(6, [piece, begin, len].map(u32::to_be_bytes).as_flattened())
}

pub(super) fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}
