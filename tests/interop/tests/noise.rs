//! A pea2pea node whose handshake hook uses snow directly, and a peerloop node with
//! a Noise session.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use interop::looping::{Exchange, Looping, Report};
use interop::plan::{Plan, seed};
use interop::soon;
use pea2pea::protocols::{Handshake, OnConnect, Reading, Writing};
use pea2pea::{Config as PeaConfig, Connection, ConnectionSide, Node, Pea2Pea};
use peerloop::error::SessionError;
use peerloop::noise::{Noise, Pattern, StaticKey};
use peerloop::session::Role;
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, Direction, DisconnectReason, Handler, Net, TimerId,
    Transport,
};
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

const MESSAGES: usize = 2_000;
const LONGEST: usize = 100_000;
const PLAINTEXT_MAX: usize = 65_519;
const PSK: [u8; 32] = [5; 32];

fn key_of_pea() -> StaticKey {
    StaticKey::from_secret([1; 32])
}

fn key_of_looping() -> StaticKey {
    StaticKey::from_secret([2; 32])
}

/// A pattern in the terms of either library.
#[derive(Clone, Copy)]
struct Speech {
    name: &'static str,
    pattern: Pattern,
    has_psk: bool,
}

const XX: Speech = Speech {
    name: "Noise_XX_25519_ChaChaPoly_BLAKE2s",
    pattern: Pattern::XX,
    has_psk: false,
};

const XX_PSK3: Speech = Speech {
    name: "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s",
    pattern: Pattern::XX,
    has_psk: true,
};

/// The stateless cipher of a connection: one half reads, the other writes, each
/// with its own count.
type Secrets = Arc<StatelessTransportState>;

#[derive(Clone)]
struct NoisePea {
    node: Node,
    speech: Speech,
    secrets: Arc<Mutex<HashMap<SocketAddr, Secrets>>>,
    /// The key and the payload of each peer.
    proofs: UnboundedSender<(Vec<u8>, Vec<u8>)>,
    connected: UnboundedSender<SocketAddr>,
    messages: UnboundedSender<BytesMut>,
}

/// Its events.
struct Happenings {
    proofs: UnboundedReceiver<(Vec<u8>, Vec<u8>)>,
    connected: UnboundedReceiver<SocketAddr>,
    messages: UnboundedReceiver<BytesMut>,
}

impl NoisePea {
    async fn start(speech: Speech) -> (Self, Happenings) {
        let config = PeaConfig {
            listener_addr: Some(([127, 0, 0, 1], 0).into()),
            ..PeaConfig::default()
        };
        let (proofs, proofs_out) = unbounded_channel();
        let (connected, connected_out) = unbounded_channel();
        let (messages, messages_out) = unbounded_channel();
        let pea = Self {
            node: Node::new(config),
            speech,
            secrets: Arc::default(),
            proofs,
            connected,
            messages,
        };
        pea.enable_handshake().await;
        pea.enable_reading().await;
        pea.enable_writing().await;
        pea.enable_on_connect().await;
        let happenings = Happenings {
            proofs: proofs_out,
            connected: connected_out,
            messages: messages_out,
        };
        (pea, happenings)
    }

    fn state(&self, side: ConnectionSide) -> io::Result<HandshakeState> {
        let key = key_of_pea();
        let params = self.speech.name.parse().map_err(io::Error::other)?;
        let mut builder = Builder::new(params)
            .local_private_key(key.secret())
            .map_err(io::Error::other)?;
        if self.speech.has_psk {
            builder = builder.psk(3, &PSK).map_err(io::Error::other)?;
        }
        match side {
            ConnectionSide::Initiator => builder.build_initiator(),
            ConnectionSide::Responder => builder.build_responder(),
        }
        .map_err(io::Error::other)
    }

    fn secrets_of(&self, addr: SocketAddr) -> Secrets {
        let secrets = self.secrets.lock().expect("no panic with the lock");
        Arc::clone(secrets.get(&addr).expect("the handshake is over"))
    }

    async fn send(&self, to: SocketAddr, message: Outgoing) {
        let confirmation = self.unicast(to, message).expect("the queue has room");
        soon("a write", confirmation)
            .await
            .expect("the connection lives")
            .expect("it is written");
    }
}

impl Pea2Pea for NoisePea {
    fn node(&self) -> &Node {
        &self.node
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

impl Handshake for NoisePea {
    async fn perform_handshake(&self, mut conn: Connection) -> io::Result<Connection> {
        // Here the side is the peer's.
        let (addr, side) = (conn.addr(), !conn.side());
        let mut state = self.state(side)?;
        let mut buffer = vec![0; 65_535];
        let mut payload = Vec::new();
        let stream = self.borrow_stream(&mut conn);
        while !state.is_handshake_finished() {
            if state.is_my_turn() {
                let len = state
                    .write_message(b"", &mut buffer)
                    .map_err(io::Error::other)?;
                let header = u16::try_from(len).expect("a Noise message").to_be_bytes();
                stream
                    .write_all(&[&header, &buffer[..len]].concat())
                    .await?;
            } else {
                let message = read_message(stream).await?;
                let len = state
                    .read_message(&message, &mut buffer)
                    .map_err(io::Error::other)?;
                payload = buffer[..len].to_vec();
            }
        }
        let key = state.get_remote_static().expect("XX has one").to_vec();
        let secrets = state
            .into_stateless_transport_mode()
            .map_err(io::Error::other)?;
        let mut all = self.secrets.lock().expect("no panic with the lock");
        all.insert(addr, Arc::new(secrets));
        drop(all);
        let _ = self.proofs.send((key, payload));
        Ok(conn)
    }
}

impl OnConnect for NoisePea {
    async fn on_connect(&self, addr: SocketAddr) {
        let _ = self.connected.send(addr);
    }
}

/// Noise messages in, frames out.
struct Opener {
    secrets: Secrets,
    nonce: u64,
    records: LengthDelimitedCodec,
    plaintext: BytesMut,
    frames: LengthDelimitedCodec,
}

impl Decoder for Opener {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, wire: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        loop {
            if let Some(frame) = self.frames.decode(&mut self.plaintext)? {
                return Ok(Some(frame));
            }
            let Some(record) = self.records.decode(wire)? else {
                return Ok(None);
            };
            let start = self.plaintext.len();
            self.plaintext.resize(start + record.len(), 0);
            let len = self
                .secrets
                .read_message(self.nonce, &record, &mut self.plaintext[start..])
                .map_err(io::Error::other)?;
            self.plaintext.truncate(start + len);
            self.nonce += 1;
        }
    }
}

/// A message that a [`NoisePea`] writes.
enum Outgoing {
    Message(Bytes),
    CloseNotify,
}

/// Frames in, Noise messages out.
struct Sealer {
    secrets: Secrets,
    nonce: u64,
    frames: LengthDelimitedCodec,
}

impl Sealer {
    fn seal(&mut self, plaintext: &[u8], wire: &mut BytesMut) -> io::Result<()> {
        let mut sealed = vec![0; plaintext.len() + 16];
        let len = self
            .secrets
            .write_message(self.nonce, plaintext, &mut sealed)
            .map_err(io::Error::other)?;
        self.nonce += 1;
        let header = u16::try_from(len).expect("a Noise message").to_be_bytes();
        wire.extend_from_slice(&header);
        wire.extend_from_slice(&sealed[..len]);
        Ok(())
    }
}

impl Encoder<Outgoing> for Sealer {
    type Error = io::Error;

    fn encode(&mut self, message: Outgoing, wire: &mut BytesMut) -> io::Result<()> {
        let Outgoing::Message(body) = message else {
            return self.seal(b"", wire);
        };
        let mut frame = BytesMut::new();
        self.frames.encode(body, &mut frame)?;
        frame
            .chunks(PLAINTEXT_MAX)
            .try_for_each(|piece| self.seal(piece, wire))
    }
}

impl Reading for NoisePea {
    type Message = BytesMut;
    type Codec = Opener;

    fn codec(&self, addr: SocketAddr, _: ConnectionSide) -> Opener {
        Opener {
            secrets: self.secrets_of(addr),
            nonce: 0,
            records: LengthDelimitedCodec::builder()
                .length_field_length(2)
                .new_codec(),
            plaintext: BytesMut::new(),
            frames: LengthDelimitedCodec::new(),
        }
    }

    async fn process_message(&self, _: SocketAddr, message: BytesMut) {
        let _ = self.messages.send(message);
    }
}

impl Writing for NoisePea {
    const TIMEOUT_MS: u64 = 60_000;

    type Message = Outgoing;
    type Codec = Sealer;

    fn codec(&self, addr: SocketAddr, _: ConnectionSide) -> Sealer {
        Sealer {
            secrets: self.secrets_of(addr),
            nonce: 0,
            frames: LengthDelimitedCodec::new(),
        }
    }
}

/// An exchange of messages behind a Noise session.
struct Secret {
    speech: Speech,
    exchange: Exchange,
    proved: Option<Vec<u8>>,
}

impl Handler for Secret {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let key = key_of_looping();
        let mut noise = Noise::new(self.speech.pattern, Role::from(info.direction))
            .local_key(&key)
            .payload(b"from peerloop");
        if self.speech.has_psk {
            noise = noise.psk(3, &PSK);
        }
        Ok(noise.build()?.into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        let identity = net.connection(conn).and_then(|c| c.identity());
        self.proved = identity.and_then(|identity| identity.public_key.clone());
        self.exchange.on_connect(net, conn);
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.exchange.on_message(net, conn, message);
    }

    fn on_drain(&mut self, net: &mut Net, conn: ConnId) {
        self.exchange.on_drain(net, conn);
    }

    fn on_connect_failed(
        &mut self,
        net: &mut Net,
        conn: ConnId,
        info: &ConnInfo,
        error: ConnectError,
    ) {
        self.exchange.on_connect_failed(net, conn, info, error);
    }

    fn on_disconnect(&mut self, net: &mut Net, conn: ConnId, reason: DisconnectReason) {
        self.exchange.on_disconnect(net, conn, reason);
    }

    fn on_timer(&mut self, net: &mut Net, timer: TimerId, key: u64) {
        self.exchange.on_timer(net, timer, key);
    }
}

/// Connects the two, has them exchange messages both ways, and has the pea2pea node end it.
async fn exchange(
    speech: Speech,
    direction: Direction,
    farewell: Option<Outgoing>,
) -> DisconnectReason {
    let seed = seed();
    let from_pea = Plan::new(seed, MESSAGES, LONGEST);
    let from_looping = Plan::new(!seed, MESSAGES, LONGEST);
    let (pea, mut happenings) = NoisePea::start(speech).await;
    let (exchange, mut reports) = Exchange::new(from_looping.clone(), from_pea.clone());
    let handler = Secret {
        speech,
        exchange,
        proved: None,
    };
    let looping = Looping::start(Config::default(), handler);
    match direction {
        Direction::Outbound => {
            let addr = pea.node().toggle_listener().await.expect("a listener");
            looping.connect(addr.expect("it was off"));
        }
        Direction::Inbound => soon("a connect", pea.node().connect(looping.listen()))
            .await
            .expect("a connection"),
    }
    let there = soon("a connection", happenings.connected.recv()).await;
    let there = there.expect("the node lives");
    let _ = reports.connection().await;
    let proof = soon("a proof", happenings.proofs.recv()).await;
    let expected = (
        key_of_looping().public().to_vec(),
        b"from peerloop".to_vec(),
    );
    assert_eq!(proof, Some(expected));
    let proved = looping.ask(|secret, _| secret.proved.clone());
    assert_eq!(proved.as_deref(), Some(&key_of_pea().public()[..]));

    let sending = {
        let (pea, plan) = (pea.clone(), from_pea);
        tokio::spawn(async move {
            for message in plan {
                pea.send(there, Outgoing::Message(message)).await;
            }
        })
    };
    for (number, expected) in from_looping.enumerate() {
        let message = soon("a message", happenings.messages.recv()).await;
        // Not `assert_eq`, which would print both.
        let message = message.expect("the node lives");
        assert!(message == expected, "message {number} is another one");
    }
    soon("all to be sent", sending).await.expect("it sends");
    assert_eq!(reports.report().await, Report::Complete);

    if let Some(farewell) = farewell {
        pea.send(there, farewell).await;
    }
    pea.node().disconnect(there).await;
    match reports.report().await {
        Report::Disconnected(reason) => reason,
        other => panic!("{other:?} instead of an end"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pea2pea_node_that_speaks_noise_is_understood_in_both_roles() {
    for speech in [XX, XX_PSK3] {
        for direction in [Direction::Outbound, Direction::Inbound] {
            let reason = exchange(speech, direction, Some(Outgoing::CloseNotify)).await;
            assert_eq!(reason, DisconnectReason::PeerClosed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pea2pea_node_that_sends_no_close_notify_has_cut_its_stream_off() {
    let reason = exchange(XX, Direction::Inbound, None).await;
    let cut_off = DisconnectReason::Session(SessionError::Truncated);
    assert_eq!(reason, cut_off);
}
