//! A pea2pea node that sends length-delimited frames and reports all its events.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use pea2pea::protocols::{OnConnect, OnDisconnect, Reading, Writing};
use pea2pea::{Config, ConnectionSide, DisconnectOrigin, Node, Pea2Pea};
use peerloop::framing::{ByteOrder, Framing, LengthPrefix};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio_util::codec::{Encoder, LengthDelimitedCodec};

use crate::plan::Plan;
use crate::soon;

/// The length of the length before a message: the same wire format in the terms of
/// either library.
#[derive(Clone, Copy, Debug)]
pub enum Width {
    Two,
    Four,
}

impl Width {
    /// As tokio-util has it. Four bytes are its default.
    pub fn codec(self) -> LengthDelimitedCodec {
        match self {
            Self::Two => LengthDelimitedCodec::builder()
                .length_field_length(2)
                .new_codec(),
            Self::Four => LengthDelimitedCodec::new(),
        }
    }

    /// As peerloop has it.
    pub fn framing(self) -> Framing {
        Framing::LengthDelimited(match self {
            Self::Two => LengthPrefix::Two(ByteOrder::BigEndian),
            Self::Four => LengthPrefix::Four(ByteOrder::BigEndian),
        })
    }

    /// The length of a header.
    pub fn header(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// A message that a [`Pea`] writes.
#[derive(Clone, Debug)]
pub enum Outgoing {
    Whole(Bytes),
    /// The first half of the frame, header included, and nothing more.
    Half(Bytes),
}

/// The stock codec, which can also cut a frame short.
pub struct Scissors(LengthDelimitedCodec);

impl Encoder<Outgoing> for Scissors {
    type Error = io::Error;

    fn encode(&mut self, message: Outgoing, wire: &mut BytesMut) -> io::Result<()> {
        match message {
            Outgoing::Whole(body) => self.0.encode(body, wire),
            Outgoing::Half(body) => {
                let start = wire.len();
                self.0.encode(body, wire)?;
                wire.truncate(start + (wire.len() - start) / 2);
                Ok(())
            }
        }
    }
}

/// A pea2pea node.
#[derive(Clone)]
pub struct Pea {
    node: Node,
    width: Width,
    messages: Sender<(SocketAddr, BytesMut)>,
    connected: UnboundedSender<SocketAddr>,
    disconnected: UnboundedSender<(SocketAddr, DisconnectOrigin)>,
}

/// The events of a [`Pea`]. Few messages fit: while the test takes none of them,
/// `process_message` waits, which makes a slow receiver.
pub struct Happenings {
    pub messages: Receiver<(SocketAddr, BytesMut)>,
    pub connected: UnboundedReceiver<SocketAddr>,
    pub disconnected: UnboundedReceiver<(SocketAddr, DisconnectOrigin)>,
}

impl Happenings {
    /// The next connection's address.
    #[track_caller]
    pub fn connection(&mut self) -> impl Future<Output = SocketAddr> {
        let next = soon("a connection", self.connected.recv());
        async { next.await.expect("the pea2pea node lives") }
    }

    /// The next message, which must be from that peer.
    #[track_caller]
    pub fn message(&mut self, from: SocketAddr) -> impl Future<Output = BytesMut> {
        let next = soon("a message", self.messages.recv());
        async move {
            let (source, message) = next.await.expect("the pea2pea node lives");
            assert_eq!(source, from);
            message
        }
    }

    /// The next end of a connection.
    #[track_caller]
    pub fn disconnection(&mut self) -> impl Future<Output = (SocketAddr, DisconnectOrigin)> {
        let next = soon("a disconnection", self.disconnected.recv());
        async { next.await.expect("the pea2pea node lives") }
    }

    /// Takes in the whole plan, in order, from that peer.
    pub async fn receive(&mut self, from: SocketAddr, plan: Plan) {
        for (number, expected) in plan.enumerate() {
            let message = self.message(from).await;
            // Not `assert_eq`, which would print both.
            assert!(message == expected, "message {number} is another one");
        }
    }

    /// Fails if something is left that the test did not ask for.
    #[track_caller]
    pub fn assert_nothing_more(&mut self) {
        assert!(self.messages.try_recv().is_err(), "one message too many");
        assert!(self.connected.try_recv().is_err());
        assert!(self.disconnected.try_recv().is_err());
    }
}

impl Pea {
    /// A node with everything enabled; it does not listen yet.
    pub async fn start(width: Width) -> (Self, Happenings) {
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
            width,
            messages,
            connected,
            disconnected,
        };
        pea.enable_reading().await;
        pea.enable_writing().await;
        pea.enable_on_connect().await;
        pea.enable_on_disconnect().await;
        let happenings = Happenings {
            messages: messages_out,
            connected: connected_out,
            disconnected: disconnected_out,
        };
        (pea, happenings)
    }

    /// Listens on a port of the system's choice.
    pub async fn listen(&self) -> SocketAddr {
        let addr = self.node.toggle_listener().await.expect("a listener");
        addr.expect("it was off")
    }

    /// Queues one message and waits until the kernel has it, and everything before
    /// it.
    pub async fn send(&self, to: SocketAddr, message: Outgoing) {
        let confirmation = self.unicast(to, message).expect("the queue has room");
        soon("a write", confirmation)
            .await
            .expect("the connection lives")
            .expect("it is written");
    }

    /// Queues the whole plan as fast as the queue takes it, and waits until the
    /// kernel has it.
    pub async fn send_all(&self, to: SocketAddr, plan: Plan) {
        let mut unconfirmed = VecDeque::new();
        for message in plan {
            loop {
                match self.unicast(to, Outgoing::Whole(message.clone())) {
                    Ok(confirmation) => break unconfirmed.push_back(confirmation),
                    Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                        let oldest = unconfirmed.pop_front().expect("the queue is full of ours");
                        oldest
                            .await
                            .expect("the connection lives")
                            .expect("it is written");
                    }
                    Err(error) => panic!("pea2pea does not send: {error}"),
                }
            }
        }
        for confirmation in unconfirmed {
            confirmation
                .await
                .expect("the connection lives")
                .expect("it is written");
        }
    }
}

impl Pea2Pea for Pea {
    fn node(&self) -> &Node {
        &self.node
    }
}

impl Reading for Pea {
    type Message = BytesMut;
    type Codec = LengthDelimitedCodec;

    fn codec(&self, _: SocketAddr, _: ConnectionSide) -> Self::Codec {
        self.width.codec()
    }

    async fn process_message(&self, source: SocketAddr, message: BytesMut) {
        // The send fails only when the test is over.
        let _ = self.messages.send((source, message)).await;
    }
}

impl Writing for Pea {
    // A shared machine may be slow with a batch of 4 MiB.
    const TIMEOUT_MS: u64 = 60_000;

    type Message = Outgoing;
    type Codec = Scissors;

    fn codec(&self, _: SocketAddr, _: ConnectionSide) -> Self::Codec {
        Scissors(self.width.codec())
    }
}

impl OnConnect for Pea {
    async fn on_connect(&self, addr: SocketAddr) {
        let _ = self.connected.send(addr);
    }
}

impl OnDisconnect for Pea {
    async fn on_disconnect(&self, addr: SocketAddr, origin: DisconnectOrigin) {
        let _ = self.disconnected.send((addr, origin));
    }
}
