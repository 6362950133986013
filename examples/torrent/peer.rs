//! One connection: what is requested of its peer, and what the peer requests.

use std::collections::VecDeque;

use peerloop::{ConnId, Net, SendError};

use super::pieces::Pieces;
use super::wire::{self, BLOCK_LEN, Block, REQUESTS_MAX};

/// Maximum number of requests of the peer that wait.
const WANTED_MAX: usize = 4 * REQUESTS_MAX;

/// The error is the reason for which the connection ends.
pub(crate) type Outcome = Result<(), &'static str>;

#[derive(Default)]
pub(crate) struct Peer {
    /// The pieces that the peer has.
    pub has: Vec<bool>,
    /// Whether the peer answers requests.
    is_open: bool,
    /// The blocks that the peer is to send.
    pub requested: VecDeque<Block>,
    /// The blocks that the peer has requested.
    wanted: VecDeque<Block>,
    /// The number of blocks that the peer has sent.
    received: usize,
    /// Whether a block has arrived since the last check, or none was expected.
    pub was_active: bool,
}

/// Sends a message. A peer whose queue is full of these does not read.
pub(crate) fn tell(net: &mut Net, conn: ConnId, message: Vec<u8>) {
    if net.send(conn, message) == Err(SendError::Full) {
        net.abort_with_reason(conn, "it does not read");
    }
}

impl Peer {
    /// Takes a message of the peer.
    pub(crate) fn take(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        pieces: &mut Pieces,
        message: &[u8],
    ) -> Outcome {
        let (id, numbers, rest) = wire::parse(message).ok_or("a message of a wrong length")?;
        match id {
            wire::CHOKE => {
                self.is_open = false;
                self.release(pieces);
            }
            wire::UNCHOKE => self.is_open = true,
            wire::HAVE => {
                let has = self.has.get_mut(numbers[0] as usize);
                *has.ok_or("a piece that does not exist")? = true;
            }
            wire::BITFIELD => {
                let has = wire::from_bitfield(rest, self.has.len());
                self.has = has.ok_or("a bitfield of another length")?;
            }
            wire::REQUEST => self.answer(net, conn, pieces, numbers)?,
            wire::PIECE => self.receive(pieces, numbers, rest)?,
            wire::CANCEL => self.wanted.retain(|it| *it != numbers),
            _ => {}
        }
        Ok(())
    }

    /// Requests pieces until enough blocks are on their way, or the peer has nothing
    /// else that is missing.
    pub(crate) fn request(&mut self, net: &mut Net, conn: ConnId, pieces: &mut Pieces) {
        let of_piece = pieces.metainfo.blocks(0).len();
        // Few in the beginning, so that other peers find something to fetch.
        let room = (64 + self.received).clamp(of_piece, REQUESTS_MAX) - of_piece;
        while self.is_open && self.requested.len() <= room {
            let Some(piece) = pieces.claim(&self.has) else {
                return;
            };
            self.was_active |= self.requested.is_empty();
            for block in pieces.metainfo.blocks(piece) {
                tell(net, conn, wire::encode(wire::REQUEST, &block));
                self.requested.push_back(block);
            }
        }
    }

    /// Takes a block. Only one that was requested is, so that its position needs no
    /// further check.
    fn receive(&mut self, pieces: &mut Pieces, numbers: Block, data: &[u8]) -> Outcome {
        let block @ [piece, begin, _] = [numbers[0], numbers[1], data.len() as u32];
        let Some(at) = self.requested.iter().position(|it| *it == block) else {
            // It may have been sent before a choke, which discards the requests.
            let late = (!self.is_open).then_some(());
            return late.ok_or("a block that was not requested");
        };
        self.requested.remove(at);
        (self.was_active, self.received) = (true, self.received + 1);
        let put = pieces.put(piece, begin, data);
        let is_last = !self.requested.iter().any(|it| it[0] == piece);
        match put.and_then(|()| Ok(!is_last || pieces.finish(piece)?)) {
            Ok(true) => Ok(()),
            Ok(false) => Err("a piece with a wrong hash"),
            Err(_) => Err("the file cannot be written"),
        }
    }

    /// Lets others fetch what this peer has not sent.
    pub(crate) fn release(&mut self, pieces: &mut Pieces) {
        for [piece, ..] in self.requested.drain(..) {
            pieces.claimed.remove(&piece);
        }
    }

    fn answer(&mut self, net: &mut Net, conn: ConnId, pieces: &mut Pieces, it: Block) -> Outcome {
        let [piece, begin, len] = it;
        let left = pieces.metainfo.len_of(piece).saturating_sub(begin);
        if !(1..=BLOCK_LEN.min(left)).contains(&len) {
            return Err("a request of a block that does not exist");
        }
        if !pieces.complete[piece as usize] || self.wanted.len() == WANTED_MAX {
            return Err("a request of a missing piece, or too many");
        }
        self.wanted.push_back(it);
        self.serve(net, conn, pieces)
    }

    /// Answers requests while the queue has room. A peer that does not read what it
    /// requests costs no more than its queue.
    pub(crate) fn serve(&mut self, net: &mut Net, conn: ConnId, pieces: &mut Pieces) -> Outcome {
        while let Some(block) = self.wanted.front().filter(|_| net.is_writable(conn)) {
            if net.send(conn, pieces.read(*block)?) == Err(SendError::Full) {
                break;
            }
            self.wanted.pop_front();
        }
        Ok(())
    }
}
