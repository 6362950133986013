//! Scripted peers: ends of connections that no node has.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::World;
use crate::sys::sim::SocketId;

/// A scripted peer's end of a connection: it writes what the script says, when it says so, and no framing or handler is
/// between. For peers that misbehave. As an address it is that of its host, of which it is the only inhabitant.
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

/// A scripted peer's listener. It accepts when the script says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireListener {
    id: u64,
    addr: SocketAddr,
}

impl WireListener {
    /// Where it listens.
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

    /// Dials an address as a scripted peer, from a host of its own (10.128.0.1 and upwards).
    ///
    /// # Errors
    ///
    /// - `NetworkUnreachable` when it is an IPv6 address.
    pub fn wire(&mut self, addr: SocketAddr) -> io::Result<Wire> {
        let ip = self.wire_host();
        let id = self.internet.lock().connect_wire(ip, addr)?;
        Ok(Wire { id, ip })
    }

    /// Listens as a scripted peer, on a host of its own; of those who dial, `backlog` and one may wait.
    pub fn wire_listener(&mut self, backlog: u32) -> WireListener {
        let addr = SocketAddr::new(self.wire_host(), 7000);
        let id = self.internet.lock().listen_wire(addr, backlog);
        // The host is new, so the port is free and the address its own.
        let id = id.expect("a new host lets anybody listen");
        WireListener { id, addr }
    }

    /// Accepts the first of those who wait at a scripted peer's listener.
    pub fn accept_wire(&mut self, listener: WireListener) -> Option<Wire> {
        let (id, _) = self.internet.lock().accept_wire(listener.id)?;
        let ip = listener.addr.ip();
        Some(Wire { id, ip })
    }

    /// Whether a scripted peer's connection is established and not broken.
    pub fn is_wire_connected(&self, wire: Wire) -> bool {
        self.internet.lock().is_wire_established(wire.id)
    }

    /// Writes to a scripted peer's connection; how much the kernel took.
    ///
    /// # Errors
    ///
    /// - `WouldBlock` when it has no room, or the connection is not established yet;
    /// - `ConnectionReset` or `BrokenPipe` when it is broken, or its sending half ended;
    /// - `NotConnected` after [`World::close_wire`].
    pub fn write_wire(&mut self, wire: Wire, bytes: &[u8]) -> io::Result<usize> {
        self.internet.lock().write_wire(wire.id, bytes)
    }

    /// Appends all that has arrived at a scripted peer; whether the stream ended after it.
    ///
    /// # Errors
    ///
    /// - `ConnectionReset` once, when the connection was reset;
    /// - `NotConnected` after [`World::close_wire`].
    pub fn read_wire(&mut self, wire: Wire, into: &mut Vec<u8>) -> io::Result<bool> {
        self.internet.lock().read_wire(wire.id, into)
    }

    /// Ends a scripted peer's sending half (FIN).
    ///
    /// # Errors
    ///
    /// - `NotConnected` when it is not established.
    pub fn finish_wire(&mut self, wire: Wire) -> io::Result<()> {
        self.internet.lock().finish_wire(wire.id)
    }

    /// Closes a scripted peer's connection, as a process does that comes to its end: FIN after what was written, or RST
    /// if something was not read.
    pub fn close_wire(&mut self, wire: Wire) {
        self.internet.lock().close_wire(wire.id, false);
    }

    /// Resets a scripted peer's connection (RST). What was written and not sent is lost.
    pub fn reset_wire(&mut self, wire: Wire) {
        self.internet.lock().close_wire(wire.id, true);
    }
}
