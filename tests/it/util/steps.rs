//! A session whose handshake has two steps, and peers with other addresses.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of it"
)]

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use peerloop::error::SessionError;
use peerloop::session::{Output, Session, Stage};
use socket2::{Domain, Socket, Type};

/// Receives a one and answers it, receives a two and answers it, and is
/// transparent afterwards. A zero is ignored.
#[derive(Default)]
pub struct TwoSteps {
    done: u8,
    /// How long each step takes.
    work: Duration,
}

impl TwoSteps {
    pub fn new(work: Duration) -> Self {
        Self { done: 0, work }
    }
}

impl Session for TwoSteps {
    fn receive(&mut self, wire: &mut [u8], output: &mut Output<'_>) -> Result<usize, SessionError> {
        let mut taken = 0;
        while taken < wire.len() && self.done < 2 {
            if wire[taken] == self.done + 1 {
                std::thread::sleep(self.work);
                self.done += 1;
                output.wire.push(self.done);
            } else if wire[taken] != 0 {
                return Err(SessionError::Malformed("a step"));
            }
            taken += 1;
        }
        Ok(taken)
    }

    fn stage(&self) -> Stage {
        if self.done == 2 {
            Stage::Transparent
        } else {
            Stage::Handshaking
        }
    }
}

/// Connects from this address, which is one of the loopback network.
pub fn try_connect_from(ip: [u8; 4], addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}
