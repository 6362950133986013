//! The streams of a connection: those of this host, which asks what the peer is
//! and pings it, and those of the peer.

use std::collections::HashMap;

use peerloop::ConnInfo;
use peerloop::Direction::{Inbound, Outbound};

use crate::Reason;
use crate::multistream::Negotiation;
use crate::stream::{self, IDENTIFY, Stream};
use crate::yamux::{ACK, GO_AWAY, Header, PING, RST, SYN, WINDOW_UPDATE};

/// Maximum number of streams. A further one is reset.
pub const STREAMS_MAX: usize = 16;

/// The other end of a connection.
pub struct Peer {
    pub info: ConnInfo,
    /// What this host says to it about itself.
    pub own: Vec<u8>,
}

pub struct Streams {
    peer: Peer,
    /// Both ends agree on yamux.
    negotiation: Negotiation,
    streams: HashMap<u32, Stream>,
    /// Lines and frames to send.
    pub out: Vec<u8>,
}

impl Streams {
    pub fn new(peer: Peer) -> Self {
        Self {
            negotiation: Negotiation::new(peer.info.direction, &["/yamux/1.0.0"]),
            peer,
            streams: HashMap::new(),
            out: Vec::new(),
        }
    }

    /// Returns whether the peer has answered everything.
    pub fn is_answered(&self) -> bool {
        self.negotiation.agreed.is_some() && !self.streams.keys().any(|id| self.is_own(*id))
    }

    /// Streams of the end that connected have odd numbers.
    fn is_own(&self, id: u32) -> bool {
        (id % 2 == 1) == (self.peer.info.direction == Outbound)
    }

    /// Takes a line or a frame.
    pub fn receive(&mut self, message: &[u8]) -> Result<(), Reason> {
        if self.negotiation.agreed.is_none() {
            return self.negotiate(message);
        }
        let (header, data) = message.split_first_chunk().ok_or("no frame")?;
        match Header::read(header)? {
            Header(GO_AWAY, ..) => return Err("the peer goes away"),
            Header(PING, SYN, _, number) => Header(PING, ACK, 0, number).write(&mut self.out),
            Header(PING, ..) => {}
            header => self.receive_on_stream(&header, data)?,
        }
        match self.streams.len() {
            0 => Err("all is said"),
            _ => Ok(()),
        }
    }

    /// Takes a line, or nothing at the start.
    fn negotiate(&mut self, mut line: &[u8]) -> Result<(), Reason> {
        self.negotiation.advance(&mut line)?;
        self.out.append(&mut self.negotiation.out);
        if self.negotiation.agreed.is_some() {
            let first = if self.is_own(1) { 1 } else { 2 };
            self.open(first, Stream::new(Outbound, &[IDENTIFY]));
            self.open(first + 2, Stream::new(Outbound, &[stream::PING]));
        }
        Ok(())
    }

    fn open(&mut self, id: u32, mut stream: Stream) {
        stream.send(id, &mut self.out);
        self.streams.insert(id, stream);
    }

    fn receive_on_stream(&mut self, header: &Header, data: &[u8]) -> Result<(), Reason> {
        let Header(_, flags, id, _) = *header;
        if flags & SYN != 0 {
            if id == 0 || self.is_own(id) || self.streams.contains_key(&id) {
                return Err("a new stream with a wrong number");
            }
            if self.streams.len() < STREAMS_MAX {
                self.open(id, Stream::new(Inbound, &[stream::PING, IDENTIFY]));
            } else {
                Header(WINDOW_UPDATE, RST, id, 0).write(&mut self.out);
            }
        }
        // Other streams have ended here, and the peer did not know it yet.
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.receive(header, data, &self.peer)?;
            if stream.send(id, &mut self.out) {
                self.streams.remove(&id);
            }
        }
        Ok(())
    }

    /// Returns the last frame, after what is to be sent before it.
    pub fn go_away(mut self) -> Vec<u8> {
        if self.negotiation.agreed.is_some() {
            let is_error = !self.is_answered();
            Header(GO_AWAY, 0, 0, is_error.into()).write(&mut self.out);
        }
        self.out
    }
}
