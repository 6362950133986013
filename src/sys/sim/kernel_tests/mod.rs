//! Tests of the simulated kernel, call by call: its behaviour is that of Linux,
//! plus the faults.

mod calls;
mod datagrams;
mod ends;
mod handshakes;
mod poll_selector;
mod ports;
mod readiness;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Faults;
use super::event::SocketId;
use super::internet::Internet;
use super::listen_queue::ListenSettings;
use super::socket::{Buffers, Owner};
use crate::sys::Readiness;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const PORT: u16 = 7000;
const SHORT: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);
const LISTENER: usize = 1_000_000;

/// Two hosts with a program each: A connects, B listens. The token of a socket
/// is its id.
struct Lab {
    internet: Internet,
    a: usize,
    b: usize,
}

impl Lab {
    fn new(seed: u64) -> Self {
        let mut internet = Internet::new(seed);
        internet.faults = Faults::calm();
        internet.add_host(A);
        internet.add_host(B);
        let (a, b) = (internet.add_poller(A, 0), internet.add_poller(B, 1));
        Self { internet, a, b }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.internet.now() + time;
        while self.internet.advance(until).is_some() {}
    }

    fn listen(&mut self, backlog: u32) -> SocketId {
        let addr = SocketAddr::new(B, PORT);
        let id = self
            .internet
            .listen(B, addr, settings(backlog, false))
            .expect("the port is free");
        self.internet.register_listener(id, self.b, LISTENER);
        id
    }

    fn try_connect(&mut self, remote: SocketAddr, source: Option<u16>) -> io::Result<SocketId> {
        let source = source.map(|port| SocketAddr::new(A, port));
        let owner = Owner::Node(self.a);
        let id = self
            .internet
            .connect(A, remote, source, owner, Buffers::default())?;
        self.internet.register(id, self.a, id as usize)?;
        Ok(id)
    }

    fn connect(&mut self) -> SocketId {
        self.try_connect(SocketAddr::new(B, PORT), None)
            .expect("nothing forbids it")
    }

    fn accept(&mut self, listener: SocketId) -> io::Result<SocketId> {
        let (id, _) = self.internet.accept(listener, self.b)?;
        self.internet.register(id, self.b, id as usize)?;
        Ok(id)
    }

    /// Returns both ends of a connection, after each end was reported.
    fn pair(&mut self) -> (SocketId, SocketId) {
        let listener = self.listen(10);
        let a = self.connect();
        self.pass(SHORT);
        let b = self.accept(listener).expect("it waits");
        self.settle();
        (a, b)
    }

    fn settle(&mut self) {
        self.pass(SHORT);
        self.reports(self.a);
        self.reports(self.b);
    }

    fn reports(&mut self, poller: usize) -> Vec<Readiness> {
        let mut reports = Vec::new();
        self.internet.take_ready(poller, &mut reports);
        reports
    }

    fn write(&mut self, id: SocketId, bytes: &[u8]) -> io::Result<usize> {
        self.internet.write(id, &[IoSlice::new(bytes)])
    }

    fn read(&mut self, id: SocketId) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; 1 << 20];
        let count = self.internet.read(id, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn error(&mut self, id: SocketId) -> Option<ErrorKind> {
        self.internet.take_error(id).map(|error| error.kind())
    }
}

fn settings(backlog: u32, reuse_port: bool) -> ListenSettings {
    ListenSettings {
        backlog,
        reuse_port,
        buffers: Buffers::default(),
    }
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Returns the flags of each report: readable, writable, finished.
fn bits(reports: &[Readiness]) -> Vec<(bool, bool, bool)> {
    let bits = |it: &Readiness| (it.readable, it.writable, it.finished);
    reports.iter().map(bits).collect()
}
