//! One connection: what was requested of its peer, and what the peer requested.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::collections::btree_map::Entry;
use std::io::{Read, Seek, Write};
use std::mem;

use peerloop::{ConnId, Net, SendError};

use crate::pieces::Pieces;
use crate::wire::{self, BLOCK_LEN, Bitfield, Block, Message};

/// Maximum number of requests that the peer has not answered: 4 MiB, as much as a
/// gigabit carries in 30 ms.
const REQUESTS_MAX: usize = 256;

/// Maximum number of requests of the peer that wait. Clients send a few hundred.
const WANTED_MAX: usize = 2_000;

/// The error is the reason for which the connection ends.
type Outcome = Result<(), &'static str>;

pub(crate) struct Peer {
    conn: ConnId,
    pub has: Bitfield,
    /// Whether the peer does not answer requests. In the beginning it does not.
    is_choking: bool,
    /// Whether the peer may request, because it was interested.
    is_unchoked: bool,
    /// Whether it was told that it has a piece that is missing here.
    is_interesting: bool,
    /// The pieces that are fetched from this peer.
    fetching: BTreeMap<u32, Buffer>,
    /// Their blocks that are to be requested.
    planned: VecDeque<Block>,
    /// Their blocks that the peer is to send.
    requested: VecDeque<Block>,
    /// The blocks that the peer has requested.
    wanted: VecDeque<Block>,
    was_active: bool,
}

struct Buffer {
    data: Vec<u8>,
    missing: usize,
}

impl Peer {
    pub(crate) fn new(conn: ConnId, pieces: u32) -> Self {
        Self {
            conn,
            has: Bitfield::new(pieces as usize),
            is_choking: true,
            is_unchoked: false,
            is_interesting: false,
            fetching: BTreeMap::new(),
            planned: VecDeque::new(),
            requested: VecDeque::new(),
            wanted: VecDeque::new(),
            was_active: false,
        }
    }

    /// Sends a message. A peer whose queue is full of these does not read.
    pub(crate) fn tell(&self, net: &mut Net, message: Vec<u8>) {
        if net.send(self.conn, message) == Err(SendError::Full) {
            net.abort_with_reason(self.conn, "it does not read");
        }
    }

    pub(crate) fn take<F: Read + Write + Seek>(
        &mut self,
        net: &mut Net,
        pieces: &mut Pieces<F>,
        message: &[u8],
    ) -> Outcome {
        match Message::parse(message).ok_or("a message of a wrong length")? {
            Message::Choke => {
                self.is_choking = true;
                self.release(pieces);
            }
            Message::Unchoke => self.is_choking = false,
            Message::Interested if !self.is_unchoked => {
                self.is_unchoked = true;
                self.tell(net, wire::encode(wire::UNCHOKE, &[]));
            }
            Message::Have(piece) if piece < pieces.count() => self.has.set(piece),
            Message::Have(_) => return Err("a piece that does not exist"),
            Message::Bitfield(bytes) => {
                let has = Bitfield::parse(bytes, pieces.count() as usize);
                self.has = has.ok_or("a bitfield of a wrong length")?;
            }
            Message::Request(block) => return self.answer(net, pieces, block),
            Message::Cancel(block) => self.wanted.retain(|it| *it != block),
            Message::Piece(piece, begin, data) => self.receive(pieces, piece, begin, data)?,
            Message::Interested | Message::Other => {}
        }
        self.request(net, pieces);
        Ok(())
    }

    /// Requests blocks until enough are on their way, or the peer has nothing else
    /// that is missing.
    pub(crate) fn request<F: Read + Write + Seek>(
        &mut self,
        net: &mut Net,
        pieces: &mut Pieces<F>,
    ) {
        if !self.is_interesting && pieces.lacks(&self.has) {
            self.is_interesting = true;
            self.tell(net, wire::encode(wire::INTERESTED, &[]));
        }
        // Half of them at a time, so that one write carries many.
        if self.is_choking || self.requested.len() > REQUESTS_MAX / 2 {
            return;
        }
        while self.requested.len() < REQUESTS_MAX {
            if let Some(block) = self.planned.pop_front() {
                let Block { piece, begin, len } = block;
                self.tell(net, wire::encode(wire::REQUEST, &[piece, begin, len]));
                self.requested.push_back(block);
            } else {
                let Some(piece) = pieces.claim(&self.has) else {
                    return;
                };
                self.planned.extend(pieces.metainfo.blocks(piece));
                let missing = pieces.metainfo.len_of(piece) as usize;
                let data = vec![0; missing];
                self.fetching.insert(piece, Buffer { data, missing });
            }
        }
    }

    /// Takes a block that was requested, which its position and length need not be
    /// checked for, and stores its piece if that is complete.
    fn receive<F: Read + Write + Seek>(
        &mut self,
        pieces: &mut Pieces<F>,
        piece: u32,
        begin: u32,
        data: &[u8],
    ) -> Outcome {
        let len = data.len() as u32;
        let block = Block { piece, begin, len };
        let Some(at) = self.requested.iter().position(|it| *it == block) else {
            // It may have been sent before the choke that discarded the request.
            let is_late = self.is_choking;
            return is_late
                .then_some(())
                .ok_or("a block that was not requested");
        };
        self.requested.remove(at);
        self.was_active = true;
        if let Entry::Occupied(mut entry) = self.fetching.entry(piece) {
            let buffer = entry.get_mut();
            buffer.data[begin as usize..][..data.len()].copy_from_slice(data);
            buffer.missing -= data.len();
            if buffer.missing == 0 {
                return pieces.store(piece, &entry.remove().data);
            }
        }
        Ok(())
    }

    /// Lets others fetch what this peer has not sent.
    pub(crate) fn release<F: Read + Write + Seek>(&mut self, pieces: &mut Pieces<F>) {
        self.planned.clear();
        self.requested.clear();
        let fetching = mem::take(&mut self.fetching);
        fetching.into_keys().for_each(|piece| pieces.release(piece));
    }

    /// Returns whether a block has arrived since the last call, and whether one is
    /// expected.
    pub(crate) fn check(&mut self) -> (bool, bool) {
        (mem::take(&mut self.was_active), !self.requested.is_empty())
    }

    fn answer<F: Read + Write + Seek>(
        &mut self,
        net: &mut Net,
        pieces: &mut Pieces<F>,
        block: Block,
    ) -> Outcome {
        let Block { piece, begin, len } = block;
        let end = begin
            .checked_add(len)
            .ok_or("a block that does not exist")?;
        if !(1..=BLOCK_LEN).contains(&len) || end > pieces.metainfo.len_of(piece) {
            return Err("a block that does not exist");
        }
        if !pieces.complete.has(piece) {
            return Err("a block that is missing here");
        }
        if self.wanted.len() == WANTED_MAX {
            return Err("too many requests at once");
        }
        if self.is_unchoked {
            self.wanted.push_back(block);
        }
        self.serve(net, pieces)
    }

    /// Answers requests while the queue has room. A peer that does not read what it
    /// requests costs no more than its queue.
    pub(crate) fn serve<F: Read + Write + Seek>(
        &mut self,
        net: &mut Net,
        pieces: &mut Pieces<F>,
    ) -> Outcome {
        while net.is_writable(self.conn) {
            let Some(block) = self.wanted.pop_front() else {
                break;
            };
            if net.send(self.conn, pieces.read(block)?) == Err(SendError::Full) {
                self.wanted.push_front(block);
                break;
            }
        }
        Ok(())
    }
}
