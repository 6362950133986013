//! pea2pea: TCP_NODELAY in the handshake, as its documentation advises; its
//! default queues and buffers; the stock length-delimited codec.

pub mod broadcast;
pub mod cycles;
pub mod line;
pub mod start;
pub mod stream;
pub mod trips;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pea2pea::protocols::{Handshake, OnConnect, OnDisconnect, Reading, Writing};
use pea2pea::{Config, Connection, ConnectionSide, DisconnectOrigin, Node, Pea2Pea};
use tokio_util::codec::LengthDelimitedCodec;

use crate::job::{PATIENCE, failed, in_time};

/// The reaction of a node to a message.
pub trait React: Send + Sync + 'static {
    fn react(&self, pea: &Pea<Self>, from: SocketAddr, message: BytesMut)
    where
        Self: Sized;
}

/// A node and its reaction.
pub struct Pea<R> {
    node: Node,
    pub reaction: Arc<R>,
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
    /// A node with all that messages need; it does not listen yet.
    pub async fn start(reaction: Arc<R>) -> Self {
        let config = Config {
            listener_addr: Some(([0, 0, 0, 0], 0).into()),
            listener_backlog: 1024,
            max_connections: 10_000,
            max_connections_per_ip: 10_000,
            max_connecting: 1000,
            ..Config::default()
        };
        let node = Node::new(config);
        let pea = Self { node, reaction };
        pea.enable_handshake().await;
        pea.enable_reading().await;
        pea.enable_writing().await;
        pea
    }

    /// The port it listens on from now on.
    pub async fn listen(&self) -> io::Result<u16> {
        let addr = self.node.toggle_listener().await?;
        let addr = addr.ok_or_else(|| failed("the listener was on already"))?;
        Ok(addr.port())
    }

    /// Waits until there are so many connections.
    pub async fn wait_for(&self, connections: usize) -> io::Result<()> {
        let begun = Instant::now();
        while self.node.num_connected() != connections {
            in_time(begun, "connections")?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Sends a message as soon as the queue takes it, as pea2pea's own benchmarks do.
    pub async fn send(&self, to: SocketAddr, message: &Bytes) -> io::Result<()> {
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

/// Waits for a future, within a bound.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .map_err(|_| failed(format!("{what} did not come within {PATIENCE:?}")))
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

// Only for the life of a node with everything enabled.
impl<R: React> OnConnect for Pea<R> {
    async fn on_connect(&self, _: SocketAddr) {}
}

impl<R: React> OnDisconnect for Pea<R> {
    async fn on_disconnect(&self, _: SocketAddr, _: DisconnectOrigin) {}
}

/// Does nothing with messages.
pub struct Ignore;

impl React for Ignore {
    fn react(&self, _: &Pea<Self>, _: SocketAddr, _: BytesMut) {}
}

/// Answers every message with itself.
pub struct Echo;

impl React for Echo {
    fn react(&self, pea: &Pea<Self>, from: SocketAddr, message: BytesMut) {
        // The other node notices a lost answer.
        let _ = pea.unicast_fast(from, message.freeze());
    }
}
