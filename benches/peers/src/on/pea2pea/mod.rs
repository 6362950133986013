//! pea2pea: TCP_NODELAY in the handshake, as its documentation advises; its
//! default queues and buffers; the stock length-delimited codec.

pub mod broadcast;
pub mod cycles;
pub mod line;
pub mod stream;
pub mod trips;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::pea2pea::protocols::{Handshake, Reading, Writing};
use ::pea2pea::{Config, Connection, ConnectionSide, Node, Pea2Pea};
use bytes::{Bytes, BytesMut};
use tokio::time::{sleep, timeout};
use tokio_util::codec::LengthDelimitedCodec;

use super::loopback;
use crate::support::{PATIENCE, failed};

/// The reaction of a node to a message.
pub trait React: Send + Sync + 'static {
    fn react(&self, pea: &Pea<Self>, from: SocketAddr, message: BytesMut)
    where
        Self: Sized;
}

/// A node and its reaction.
pub struct Pea<R> {
    node: Node,
    reaction: Arc<R>,
}

impl<R> Clone for Pea<R> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            reaction: Arc::clone(&self.reaction),
        }
    }
}

impl<R: React> Pea<R> {
    /// Starts a node that does not listen.
    async fn start(reaction: R) -> Self {
        let config = Config {
            listener_addr: Some(([0, 0, 0, 0], 0).into()),
            listener_backlog: 1024,
            max_connections: 10_000,
            max_connections_per_ip: 10_000,
            max_connecting: 1000,
            ..Config::default()
        };
        let pea = Self {
            node: Node::new(config),
            reaction: Arc::new(reaction),
        };
        pea.enable_handshake().await;
        pea.enable_reading().await;
        pea.enable_writing().await;
        pea
    }

    /// Starts a node that listens.
    pub async fn listen(reaction: R) -> io::Result<(Self, SocketAddr)> {
        let pea = Self::start(reaction).await;
        let addr = pea.node.toggle_listener().await?;
        let addr = addr.ok_or_else(|| failed("no listener"))?;
        Ok((pea, loopback(addr.port())))
    }

    /// Waits until the node has this many connections.
    async fn wait_for(&self, connections: usize) -> io::Result<()> {
        let begun = Instant::now();
        while self.node.num_connected() != connections {
            if begun.elapsed() > PATIENCE {
                return Err(failed("not all connections changed in time"));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Queues a message as soon as there is room, as pea2pea's own benchmarks
    /// do.
    async fn send(&self, to: SocketAddr, message: &Bytes) -> io::Result<()> {
        loop {
            match self.unicast_fast(to, message.clone()) {
                Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                    tokio::task::yield_now().await;
                }
                result => return result,
            }
        }
    }
}

/// Waits for a future. Fails after `PATIENCE`.
async fn in_time<T>(future: impl Future<Output = T>) -> io::Result<T> {
    timeout(PATIENCE, future).await.map_err(io::Error::other)
}

impl<R: React> Pea2Pea for Pea<R> {
    fn node(&self) -> &Node {
        &self.node
    }
}

impl<R: React> Handshake for Pea<R> {
    async fn perform_handshake(&self, mut conn: Connection) -> io::Result<Connection> {
        self.borrow_stream(&mut conn).set_nodelay(true)?;
        Ok(conn)
    }
}

impl<R: React> Reading for Pea<R> {
    type Message = BytesMut;
    type Codec = LengthDelimitedCodec;

    fn codec(&self, _: SocketAddr, _: ConnectionSide) -> Self::Codec {
        LengthDelimitedCodec::new()
    }

    async fn process_message(&self, source: SocketAddr, message: BytesMut) {
        self.reaction.react(self, source, message);
    }
}

impl<R: React> Writing for Pea<R> {
    type Message = Bytes;
    type Codec = LengthDelimitedCodec;

    fn codec(&self, _: SocketAddr, _: ConnectionSide) -> Self::Codec {
        LengthDelimitedCodec::new()
    }
}

/// Ignores messages.
struct Ignore;

impl React for Ignore {
    fn react(&self, _: &Pea<Self>, _: SocketAddr, _: BytesMut) {}
}

/// Answers every message with itself.
pub struct Echo;

impl React for Echo {
    fn react(&self, pea: &Pea<Self>, from: SocketAddr, message: BytesMut) {
        // The other node waits for the answer, and fails without it.
        let _ = pea.unicast_fast(from, message.freeze());
    }
}
