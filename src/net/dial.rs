//! Dialling.

use std::net::SocketAddr;
use std::sync::Arc;

use socket2::Socket;

use super::Net;
use crate::config::{DialOptions, Overrides, Permission, Profile};
use crate::error::ConnectError;
use crate::framing::Codec;
use crate::id::{ConnId, SLOTS_MAX, Side};
use crate::limits::canonical;
use crate::peer::{Ending, Peer, PeerState, State};
use crate::siblings::News;

/// A dial that was asked for and that the loop has not begun.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) conn: ConnId,
    pub(crate) addr: SocketAddr,
    pub(crate) socket: Option<Socket>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) decoder: Codec,
}

impl Net {
    /// Dials `addr`. The id is there at once, the outcome follows: either
    /// [`Handler::on_connect`](crate::Handler::on_connect) or
    /// [`Handler::on_connect_failed`](crate::Handler::on_connect_failed), exactly one of them, exactly once.
    ///
    /// Names are not resolved here, since that would block the loop: use `ToSocketAddrs` before, or in a thread.
    ///
    /// The dial begins at the end of this turn. Until it is connected, sends to the id are refused;
    /// [`Net::close`] and [`Net::abort`] give it up.
    ///
    /// # Errors
    ///
    /// Nothing was begun and no callback will follow when this returns
    /// - [`ConnectError::ShuttingDown`] after [`Net::shutdown`];
    /// - [`ConnectError::InvalidAddress`] when the port is zero;
    /// - [`ConnectError::AlreadyConnected`] or [`ConnectError::AlreadyConnecting`] when there is a connection with this
    ///   address, or a dial, and [`Config::duplicates`](crate::Config::duplicates) are refused; of other
    ///   [`Shards`](crate::Shards) the first is said of both;
    /// - [`ConnectError::TooManyConnecting`], [`ConnectError::TooManyConnections`],
    ///   [`ConnectError::TooManyFromAddress`] or [`ConnectError::TooManyFromPrefix`] at the limit of that name.
    pub fn connect(&mut self, addr: SocketAddr) -> Result<ConnId, ConnectError> {
        self.connect_with(addr, DialOptions::default())
    }

    /// Dials `addr` with a socket, a source address, a framing or deadlines of its own; see [`Net::connect`].
    ///
    /// # Errors
    ///
    /// Those of [`Net::connect`], and
    /// - [`ConnectError::InvalidOption`] when an option cannot work; the field is named.
    pub fn connect_with(
        &mut self,
        addr: SocketAddr,
        options: DialOptions,
    ) -> Result<ConnId, ConnectError> {
        if self.stopping.is_some() {
            return Err(ConnectError::ShuttingDown);
        }
        if addr.port() == 0 {
            return Err(ConnectError::InvalidAddress);
        }
        if options.socket.is_some() && options.source.is_some() {
            return Err(ConnectError::InvalidOption("source"));
        }
        if options
            .source
            .is_some_and(|source| source.is_ipv4() != addr.is_ipv4())
        {
            return Err(ConnectError::InvalidOption("source"));
        }
        let overrides = Overrides {
            framing: options.framing,
            max_frame: options.max_frame,
            timeouts: options.timeouts,
            overflow: options.overflow,
            half_open: options.half_open,
        };
        let profile = self
            .profile
            .with(overrides)
            .map_err(|error| ConnectError::InvalidOption(error.field))?;
        // Slots are free again only after the turn, so the limits alone do not keep a handler that dials and gives up, over and
        // over in one turn, from ids that would be those of another shard.
        if self.peers.len() >= SLOTS_MAX as usize {
            return Err(ConnectError::TooManyConnections);
        }
        // A user's framer may panic here: nothing is charged yet.
        let codecs = (Codec::new(&profile.framing), Codec::new(&profile.framing));
        // Before the budgets: that there is a connection already must not be masked by a limit.
        let duplicates = options.duplicates.unwrap_or(self.config.duplicates);
        let mut limits = self.limits.lock();
        if duplicates == Permission::Refused && limits.knows(addr) {
            drop(limits);
            return Err(self.why_known(addr));
        }
        limits.check_dial()?;
        limits.charge(addr)?;
        limits.begin_dial();
        drop(limits);
        let now = self.now;
        let (decoder, encoder) = codecs;
        let make = |id| Peer::new(id, addr, Side::Initiator, now, profile, encoder);
        let conn = self.peers.insert(make);
        self.connecting += 1;
        self.metrics.dialled += 1;
        if let Some(siblings) = &self.siblings {
            siblings.dialled();
        }
        self.arm(conn);
        let (socket, source) = (options.socket, options.source);
        self.work.dials.push(Dial {
            conn,
            addr,
            socket,
            source,
            decoder,
        });
        Ok(conn)
    }

    /// A dial begins only now: the time that the node was not run is not the peer's.
    pub(crate) fn note_begun(&mut self, conn: ConnId) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(conn) {
            peer.begin_dial(now);
            self.arm(conn);
        }
    }

    /// Gives a connection that was accepted, has a place and is charged for, a slot.
    pub(crate) fn insert_accepted(
        &mut self,
        addr: SocketAddr,
        profile: Arc<Profile>,
        encoder: Codec,
    ) -> ConnId {
        let now = self.now;
        let make = |id| Peer::new(id, addr, Side::Responder, now, profile, encoder);
        self.connecting += 1;
        self.peers.insert(make)
    }

    /// The TCP connection is made.
    pub(crate) fn begin_handshake(&mut self, conn: ConnId, local_addr: SocketAddr) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(conn) {
            debug_assert_eq!(peer.inner_state(), State::Connecting);
            peer.begin_handshake(local_addr, now);
        }
    }

    /// The handshake is over.
    pub(crate) fn open(&mut self, conn: ConnId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(conn) else {
            return;
        };
        debug_assert_eq!(peer.inner_state(), State::Handshaking);
        peer.open(now);
        let side = peer.side();
        self.left_connecting(side);
        self.connected += 1;
        self.arm(conn);
    }

    /// A connection is no longer being made, whatever became of it.
    pub(super) fn left_connecting(&mut self, side: Side) {
        self.connecting -= 1;
        self.end_connecting(side);
    }

    /// Takes the place for one connection more that is about to be accepted, if there is one.
    pub(crate) fn take_place(&mut self) -> bool {
        self.limits.lock().take_place(self.peers.shard())
    }

    /// Gives the place of one that was not accepted after all back.
    pub(crate) fn give_place_back(&mut self) {
        self.end_connecting(Side::Responder);
    }

    fn end_connecting(&mut self, side: Side) {
        let held_up = self.limits.lock().end_connecting(side);
        for shard in held_up {
            if shard == self.shard() {
                self.admit_waiting();
            } else if let Some(siblings) = &self.siblings {
                siblings.tell(shard, News::Place);
            }
        }
    }

    /// Whether a dial that connected met its own socket, and may not.
    pub(crate) fn is_itself(&self, conn: ConnId, local_addr: SocketAddr) -> bool {
        let addr = self.peers.get(conn).map(Peer::addr);
        self.config.self_connections == Permission::Refused
            && addr.is_some_and(|addr| canonical(addr) == canonical(local_addr))
    }

    /// A dial came to nothing.
    pub(crate) fn fail(&mut self, conn: ConnId, error: ConnectError) {
        self.end(conn, Ending::Failed(error));
    }

    fn why_known(&self, addr: SocketAddr) -> ConnectError {
        let state = self
            .find(addr)
            .and_then(|conn| self.peer(conn))
            .map(Peer::state);
        match state {
            Some(PeerState::Connecting) => ConnectError::AlreadyConnecting,
            _ => ConnectError::AlreadyConnected,
        }
    }
}
