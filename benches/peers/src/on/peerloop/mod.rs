//! peerloop: a node in each thread, several in one `Group`, or one in several
//! `Shards`.

pub mod broadcast;
pub mod cycles;
pub mod growth;
pub mod line;
pub mod shards;
pub mod start;
pub mod stream;
pub mod trips;

use peerloop::config::Limits;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use peerloop::{Config, Handle, Handler, Node};

use crate::job::in_time;

/// The defaults, except for what a benchmark on one machine needs: many connections
/// from one address to another.
pub fn config() -> Config {
    Config {
        limits: Limits {
            max_connections_per_address: 10_000,
            max_outbound_connecting: 10_000,
            ..Default::default()
        },
        allow_duplicates: true,
        ..Config::default()
    }
}

/// This many clients may connect before they are known to be accepted, because the
/// backlog of every contestant holds them. A server may never notice silent
/// connections beyond it (SYN cookies).
pub const BACKLOG: usize = 500;

/// A node that runs in another thread until it is dropped.
pub struct Running<H> {
    pub addr: SocketAddr,
    pub handle: Handle<H>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl<H: Handler + Send + 'static> Running<H> {
    pub fn new(config: Config, handler: H) -> io::Result<Self> {
        let mut node = Node::new(config, handler)?;
        let addr = node.net().listen("127.0.0.1:0")?.addr;
        let handle = node.handle();
        let thread = Some(thread::spawn(move || node.run()));
        Ok(Self {
            addr,
            handle,
            thread,
        })
    }

    /// Connects to the other node this many times and waits until both sides have
    /// all connections.
    pub fn connect_to<T>(&self, other: &Running<T>, connections: usize) -> io::Result<()>
    where
        T: Handler + Send + 'static,
    {
        let (addr, had) = (
            other.addr,
            other.handle.ask(|_, net| net.connection_count())?,
        );
        for begun in (0..connections).step_by(BACKLOG) {
            let count = BACKLOG.min(connections - begun);
            self.handle.ask(move |_, net| {
                (0..count).try_for_each(|_| net.connect(addr).map(drop).map_err(io::Error::other))
            })??;
            self.wait_for(begun + count)?;
            other.wait_for(had + begun + count)?;
        }
        Ok(())
    }

    /// Waits until there are so many connections.
    pub fn wait_for(&self, connections: usize) -> io::Result<()> {
        let begun = Instant::now();
        while self.handle.ask(|_, net| net.connection_count())? != connections {
            in_time(begun, "connections")?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl<H> Drop for Running<H> {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
