//! Scripted peers: ends of connections without a node.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::World;
use crate::sys::sim::SocketId;

/// A connection of a scripted peer. The test reads and writes the bytes of the
/// connection, without a handler or framing in between. It stands for a peer
/// that misbehaves.
///
/// Each scripted peer of [`World::wire`] has a separate host. A `Wire`
/// converts to the address of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wire {
    id: SocketId,
    ip: IpAddr,
}

impl From<Wire> for IpAddr {
    fn from(wire: Wire) -> Self {
        wire.ip
    }
}

/// A listener of a scripted peer. It accepts only when the test calls
/// [`World::accept_wire`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireListener {
    id: u64,
    addr: SocketAddr,
}

impl WireListener {
    /// Returns the address of the listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl From<WireListener> for IpAddr {
    fn from(listener: WireListener) -> Self {
        listener.addr.ip()
    }
}

impl World {
    fn wire_host(&mut self) -> IpAddr {
        self.wires += 1;
        let ip = IpAddr::V4(Ipv4Addr::from_bits(0x0a80_0000 + self.wires));
        self.internet.lock().add_host(ip);
        ip
    }

    /// Connects to an address as a scripted peer, from a new host (10.128.0.1
    /// and upwards). The connection is established when the world has run; see
    /// [`World::is_wire_connected`].
    ///
    /// # Errors
    ///
    /// - `NetworkUnreachable`: `addr` is an IPv6 address.
    pub fn wire(&mut self, addr: SocketAddr) -> io::Result<Wire> {
        let ip = self.wire_host();
        let id = self.internet.lock().connect_wire(ip, addr)?;
        Ok(Wire { id, ip })
    }

    /// Connects to an address as a scripted peer, from the host of `other`, so
    /// that several peers have the same IP address.
    ///
    /// # Errors
    ///
    /// As [`World::wire`].
    pub fn wire_beside(&mut self, other: Wire, addr: SocketAddr) -> io::Result<Wire> {
        let id = self.internet.lock().connect_wire(other.ip, addr)?;
        Ok(Wire { id, ip: other.ip })
    }

    /// Listens as a scripted peer, on a new host. At most `backlog + 1`
    /// connections wait to be accepted.
    pub fn wire_listener(&mut self, backlog: u32) -> WireListener {
        let addr = SocketAddr::new(self.wire_host(), 7000);
        let id = self.internet.lock().listen_wire(addr, backlog);
        // The host is new, so the port is free and the address is local.
        let id = id.expect("the port of a new host is free");
        WireListener { id, addr }
    }

    /// Accepts the oldest connection that waits at the listener of a scripted
    /// peer. Returns `None` if no connection waits.
    pub fn accept_wire(&mut self, listener: WireListener) -> Option<Wire> {
        let (id, _) = self.internet.lock().accept_wire(listener.id)?;
        let ip = listener.addr.ip();
        Some(Wire { id, ip })
    }

    /// Returns whether the connection of a scripted peer is established and not
    /// broken.
    pub fn is_wire_connected(&self, wire: Wire) -> bool {
        self.internet.lock().is_wire_established(wire.id)
    }

    /// Writes to the connection of a scripted peer. Returns the number of bytes
    /// that the kernel took, which may be less than `bytes.len()`.
    ///
    /// # Errors
    ///
    /// - `WouldBlock`: there is no room, or the connection is not established
    ///   yet. Run the world and call again.
    /// - `ConnectionReset` or `BrokenPipe`: the connection is broken, or
    ///   [`World::shutdown_wire`] was called.
    /// - `NotConnected`: [`World::close_wire`] was called.
    pub fn write_wire(&mut self, wire: Wire, bytes: &[u8]) -> io::Result<usize> {
        self.internet.lock().write_wire(wire.id, bytes)
    }

    /// Appends all bytes that have arrived at a scripted peer to `into`.
    /// Returns whether the stream ended after them.
    ///
    /// # Errors
    ///
    /// - `ConnectionReset`: the connection was reset. Reported once.
    /// - `NotConnected`: [`World::close_wire`] was called.
    pub fn read_wire(&mut self, wire: Wire, into: &mut Vec<u8>) -> io::Result<bool> {
        self.internet.lock().read_wire(wire.id, usize::MAX, into)
    }

    /// Appends at most `max` bytes that have arrived at a scripted peer to
    /// `into`, as a peer that reads slowly does. Returns whether the stream
    /// ended after them.
    ///
    /// # Errors
    ///
    /// As [`World::read_wire`].
    pub fn read_wire_up_to(
        &mut self,
        wire: Wire,
        max: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<bool> {
        self.internet.lock().read_wire(wire.id, max, into)
    }

    /// Closes the sending side of a scripted peer (FIN).
    ///
    /// # Errors
    ///
    /// - `NotConnected`: the connection is not established.
    pub fn shutdown_wire(&mut self, wire: Wire) -> io::Result<()> {
        self.internet.lock().shutdown_wire(wire.id)
    }

    /// Closes the connection of a scripted peer, as at the end of its process:
    /// FIN follows the written bytes, or RST if bytes were not read.
    pub fn close_wire(&mut self, wire: Wire) {
        self.internet.lock().close_wire(wire.id, false);
    }

    /// Resets the connection of a scripted peer (RST). Unsent bytes are lost.
    pub fn reset_wire(&mut self, wire: Wire) {
        self.internet.lock().close_wire(wire.id, true);
    }
}
