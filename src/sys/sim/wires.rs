//! Scripted peers: sockets without a node. Faults of calls do not affect them.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use super::event::SocketId;
use super::internet::Internet;
use super::listen_queue::ListenSettings;
use super::socket::{Buffers, Owner, SocketState};

impl Internet {
    pub(crate) fn connect_wire(&mut self, host: IpAddr, addr: SocketAddr) -> io::Result<SocketId> {
        self.connect(host, addr, None, Owner::Wire, Buffers::default())
    }

    pub(crate) fn listen_wire(&mut self, addr: SocketAddr, backlog: u32) -> io::Result<SocketId> {
        let settings = ListenSettings {
            backlog,
            reuse_port: false,
            buffers: Buffers::default(),
        };
        self.listen(addr.ip(), addr, settings)
    }

    pub(crate) fn accept_wire(&mut self, listener: SocketId) -> Option<(SocketId, SocketAddr)> {
        self.take_waiting(listener, Owner::Wire)
    }

    pub(crate) fn write_wire(&mut self, wire: SocketId, bytes: &[u8]) -> io::Result<usize> {
        self.write(wire, &[IoSlice::new(bytes)])
    }

    /// Reads at most `max` of the bytes that have arrived. Returns whether the
    /// stream ended after them.
    pub(crate) fn read_wire(
        &mut self,
        wire: SocketId,
        mut max: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let mut block = [0; 4096];
        while max > 0 {
            let room = block.len().min(max);
            match self.read(wire, &mut block[..room]) {
                Ok(0) => return Ok(true),
                Ok(count) => {
                    into.extend_from_slice(&block[..count]);
                    max -= count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    pub(crate) fn shutdown_wire(&mut self, wire: SocketId) -> io::Result<()> {
        self.shutdown_write(wire)
    }

    pub(crate) fn close_wire(&mut self, wire: SocketId, reset: bool) {
        self.close(wire, reset);
    }

    pub(crate) fn is_wire_established(&self, wire: SocketId) -> bool {
        let socket = self.sockets.get(&wire);
        socket.is_some_and(|socket| socket.state == SocketState::Established)
    }
}
