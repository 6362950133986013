//! A pea2pea node that reports all its events.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use pea2pea::protocols::{OnConnect, OnDisconnect, Reading, Writing};
use pea2pea::{Config, ConnectionSide, DisconnectOrigin, Node, Pea2Pea};
use peerloop::framing::{ByteOrder, Framing, LengthPrefix};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use crate::in_time;
use crate::plan::Plan;

/// A message that a [`Pea`] writes.
#[derive(Clone, Debug)]
pub enum Outgoing {
    Message(Bytes),
    /// The first half of a frame, its header included.
    Half(Bytes),
    /// The close notification of a session.
    CloseNotify,
}

/// The bytes on the wire of a [`Pea`].
pub trait Wire: Clone + Send + Sync + 'static {
    type Decoder: Decoder<Item = BytesMut, Error = io::Error> + Send;
    type Encoder: Encoder<Outgoing, Error = io::Error> + Send;

    fn decoder(&self, addr: SocketAddr) -> Self::Decoder;
    fn encoder(&self, addr: SocketAddr) -> Self::Encoder;
}

/// The length prefix of messages, in both libraries.
#[derive(Clone, Copy, Debug)]
pub enum Width {
    Two,
    Four,
}

impl Width {
    /// Returns the framing of peerloop.
    pub fn framing(self) -> Framing {
        Framing::LengthDelimited(match self {
            Self::Two => LengthPrefix::Two(ByteOrder::BigEndian),
            Self::Four => LengthPrefix::Four(ByteOrder::BigEndian),
        })
    }

    /// Returns the length of a header.
    pub fn header(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

impl Wire for Width {
    type Decoder = LengthDelimitedCodec;
    type Encoder = Cutting;

    fn decoder(&self, _: SocketAddr) -> LengthDelimitedCodec {
        LengthDelimitedCodec::builder()
            .length_field_length(self.header())
            .new_codec()
    }

    fn encoder(&self, addr: SocketAddr) -> Cutting {
        Cutting(self.decoder(addr))
    }
}

/// The stock codec, which can also write half of a frame.
pub struct Cutting(LengthDelimitedCodec);

impl Encoder<Outgoing> for Cutting {
    type Error = io::Error;

    fn encode(&mut self, message: Outgoing, wire: &mut BytesMut) -> io::Result<()> {
        match message {
            Outgoing::Message(body) => self.0.encode(body, wire),
            Outgoing::Half(body) => {
                let start = wire.len();
                self.0.encode(body, wire)?;
                wire.truncate(start + (wire.len() - start) / 2);
                Ok(())
            }
            Outgoing::CloseNotify => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A pea2pea node.
#[derive(Clone)]
pub struct Pea<W> {
    node: Node,
    pub wire: W,
    messages: Sender<(SocketAddr, BytesMut)>,
    connected: UnboundedSender<SocketAddr>,
    disconnected: UnboundedSender<(SocketAddr, DisconnectOrigin)>,
}

/// The events of a [`Pea`]. The channel has room for one message: while the
/// test receives none, `process_message` waits, and the node is a slow
/// receiver.
pub struct Events {
    pub messages: Receiver<(SocketAddr, BytesMut)>,
    pub connected: UnboundedReceiver<SocketAddr>,
    pub disconnected: UnboundedReceiver<(SocketAddr, DisconnectOrigin)>,
}

impl Events {
    /// Returns the address of the next connection.
    #[track_caller]
    pub fn connection(&mut self) -> impl Future<Output = SocketAddr> {
        let next = in_time("a connection", self.connected.recv());
        async { next.await.expect("the pea2pea node was not dropped") }
    }

    /// Returns the next message, which must be from this peer.
    #[track_caller]
    pub fn message(&mut self, from: SocketAddr) -> impl Future<Output = BytesMut> {
        let next = in_time("a message", self.messages.recv());
        async move {
            let (source, message) = next.await.expect("the pea2pea node was not dropped");
            assert_eq!(source, from);
            message
        }
    }

    /// Returns the next end of a connection.
    #[track_caller]
    pub fn disconnection(&mut self) -> impl Future<Output = (SocketAddr, DisconnectOrigin)> {
        let next = in_time("a disconnection", self.disconnected.recv());
        async { next.await.expect("the pea2pea node was not dropped") }
    }

    /// Receives all messages of the plan from this peer, in order.
    pub async fn receive(&mut self, from: SocketAddr, plan: Plan) {
        for (number, expected) in plan.enumerate() {
            let message = self.message(from).await;
            // `assert_eq` would print both.
            assert!(message == expected, "message {number} is wrong");
        }
    }

    /// Panics if there are further events.
    #[track_caller]
    pub fn assert_none(&mut self) {
        assert!(self.messages.try_recv().is_err(), "an unexpected message");
        assert!(self.connected.try_recv().is_err());
        assert!(self.disconnected.try_recv().is_err());
    }
}

impl<W: Wire> Pea<W> {
    /// Starts a node that does not listen.
    pub async fn start(wire: W) -> (Self, Events) {
        let config = Config {
            listener_addr: Some(([127, 0, 0, 1], 0).into()),
            max_connections_per_ip: 100,
            ..Config::default()
        };
        let (messages, messages_out) = channel(1);
        let (connected, connected_out) = unbounded_channel();
        let (disconnected, disconnected_out) = unbounded_channel();
        let pea = Self {
            node: Node::new(config),
            wire,
            messages,
            connected,
            disconnected,
        };
        pea.enable_reading().await;
        pea.enable_writing().await;
        pea.enable_on_connect().await;
        pea.enable_on_disconnect().await;
        let events = Events {
            messages: messages_out,
            connected: connected_out,
            disconnected: disconnected_out,
        };
        (pea, events)
    }

    /// Listens on a port of the system's choice.
    pub async fn listen(&self) -> SocketAddr {
        let addr = self.node.toggle_listener().await.expect("a listener");
        addr.expect("there was no listener before")
    }

    pub async fn connect(&self, addr: SocketAddr) {
        let connection = in_time("a connect", self.node.connect(addr));
        connection.await.expect("a connection");
    }

    /// Sends one message. Returns when it is written.
    pub async fn send(&self, to: SocketAddr, message: Outgoing) {
        let confirmation = self.unicast(to, message).expect("the queue has room");
        in_time("a write", written(confirmation)).await;
    }

    /// Sends the plan as fast as the queue has room. Returns when all of it is
    /// written.
    pub async fn send_all(&self, to: SocketAddr, plan: Plan) {
        let mut unconfirmed = VecDeque::new();
        for message in plan {
            loop {
                match self.unicast(to, Outgoing::Message(message.clone())) {
                    Ok(confirmation) => break unconfirmed.push_back(confirmation),
                    Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                        written(unconfirmed.pop_front().expect("the queue is not empty")).await;
                    }
                    Err(error) => panic!("a send: {error}"),
                }
            }
        }
        for confirmation in unconfirmed {
            written(confirmation).await;
        }
    }
}

async fn written(confirmation: oneshot::Receiver<io::Result<()>>) {
    let written = confirmation.await.expect("the connection is open");
    written.expect("a write");
}

impl<W: Wire> Pea2Pea for Pea<W> {
    fn node(&self) -> &Node {
        &self.node
    }
}

impl<W: Wire> Reading for Pea<W> {
    type Message = BytesMut;
    type Codec = W::Decoder;

    fn codec(&self, addr: SocketAddr, _: ConnectionSide) -> Self::Codec {
        self.wire.decoder(addr)
    }

    async fn process_message(&self, source: SocketAddr, message: BytesMut) {
        // The receiver is dropped at the end of the test.
        let _ = self.messages.send((source, message)).await;
    }
}

impl<W: Wire> Writing for Pea<W> {
    // Slow machines need long for a batch of 4 MiB.
    const TIMEOUT_MS: u64 = 60_000;

    type Message = Outgoing;
    type Codec = W::Encoder;

    fn codec(&self, addr: SocketAddr, _: ConnectionSide) -> Self::Codec {
        self.wire.encoder(addr)
    }
}

impl<W: Wire> OnConnect for Pea<W> {
    async fn on_connect(&self, addr: SocketAddr) {
        let _ = self.connected.send(addr);
    }
}

impl<W: Wire> OnDisconnect for Pea<W> {
    async fn on_disconnect(&self, addr: SocketAddr, origin: DisconnectOrigin) {
        let _ = self.disconnected.send((addr, origin));
    }
}
