//! A pea2pea node whose handshake uses snow directly.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use pea2pea::protocols::Handshake;
use pea2pea::{Connection, ConnectionSide};
use peerloop::noise::StaticKey;
use snow::{Builder, HandshakeState, StatelessTransportState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use crate::pea::{Outgoing, Pea, Wire};

/// Maximum length of a Noise message, and of the plaintext in it.
const MESSAGE_MAX: usize = 65_535;
const PLAINTEXT_MAX: usize = MESSAGE_MAX - 16;

/// The handshake of a node with the pattern XX.
#[derive(Clone)]
pub struct Protocol {
    /// The name of the protocol, as Noise defines it.
    pub name: &'static str,
    pub key: Arc<StaticKey>,
    /// The pre-shared key of the third message, if the name has one.
    pub psk: Option<[u8; 32]>,
}

impl Protocol {
    fn state(&self, side: ConnectionSide) -> Result<HandshakeState, snow::Error> {
        let mut builder = Builder::new(self.name.parse()?).local_private_key(self.key.secret())?;
        if let Some(psk) = &self.psk {
            builder = builder.psk(3, psk)?;
        }
        match side {
            ConnectionSide::Initiator => builder.build_initiator(),
            ConnectionSide::Responder => builder.build_responder(),
        }
    }
}

/// The cipher of a connection. It is shared by the decoder and the encoder,
/// which count their messages.
type Cipher = Arc<StatelessTransportState>;

/// The static key and the last payload of a peer.
pub type Proof = (Vec<u8>, Vec<u8>);

/// Frames in Noise messages, which have a length prefix of two bytes.
#[derive(Clone)]
pub struct NoiseWire {
    protocol: Protocol,
    ciphers: Arc<Mutex<HashMap<SocketAddr, Cipher>>>,
    proofs: UnboundedSender<Proof>,
}

impl NoiseWire {
    /// Returns the wire, and the proofs of the peers whose handshake is
    /// complete.
    pub fn new(protocol: Protocol) -> (Self, UnboundedReceiver<Proof>) {
        let (proofs, receiver) = unbounded_channel();
        let wire = Self {
            protocol,
            ciphers: Arc::default(),
            proofs,
        };
        (wire, receiver)
    }

    fn cipher(&self, addr: SocketAddr) -> Cipher {
        let ciphers = self.ciphers.lock().expect("no panic with the lock");
        Arc::clone(ciphers.get(&addr).expect("the handshake is complete"))
    }
}

impl Wire for NoiseWire {
    type Decoder = Opener;
    type Encoder = Sealer;

    fn decoder(&self, addr: SocketAddr) -> Opener {
        Opener {
            cipher: self.cipher(addr),
            nonce: 0,
            records: LengthDelimitedCodec::builder()
                .length_field_length(2)
                .new_codec(),
            plaintext: BytesMut::new(),
            frames: LengthDelimitedCodec::new(),
        }
    }

    fn encoder(&self, addr: SocketAddr) -> Sealer {
        Sealer {
            cipher: self.cipher(addr),
            nonce: 0,
            frames: LengthDelimitedCodec::new(),
        }
    }
}

impl Handshake for Pea<NoiseWire> {
    async fn perform_handshake(&self, mut conn: Connection) -> io::Result<Connection> {
        // `side` is that of the peer.
        let (addr, side) = (conn.addr(), !conn.side());
        let state = self.wire.protocol.state(side).map_err(io::Error::other)?;
        let (cipher, proof) = handshake(self.borrow_stream(&mut conn), state).await?;
        let mut ciphers = self.wire.ciphers.lock().expect("no panic with the lock");
        ciphers.insert(addr, Arc::new(cipher));
        drop(ciphers);
        let _ = self.wire.proofs.send(proof);
        Ok(conn)
    }
}

async fn handshake(
    stream: &mut TcpStream,
    mut state: HandshakeState,
) -> io::Result<(StatelessTransportState, Proof)> {
    let mut buffer = vec![0; MESSAGE_MAX];
    let mut payload = Vec::new();
    while !state.is_handshake_finished() {
        if state.is_my_turn() {
            let written = state.write_message(b"", &mut buffer);
            let message = &buffer[..written.map_err(io::Error::other)?];
            stream
                .write_all(&[&header(message), message].concat())
                .await?;
        } else {
            let mut message = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut message).await?;
            let read = state.read_message(&message, &mut buffer);
            payload = buffer[..read.map_err(io::Error::other)?].to_vec();
        }
    }
    let key = state.get_remote_static().expect("XX has one").to_vec();
    let cipher = state.into_stateless_transport_mode();
    Ok((cipher.map_err(io::Error::other)?, (key, payload)))
}

/// Returns the length prefix of a Noise message.
fn header(message: &[u8]) -> [u8; 2] {
    let len = u16::try_from(message.len());
    len.expect("the maximum is 65,535").to_be_bytes()
}

/// Opens Noise messages and splits frames.
pub struct Opener {
    cipher: Cipher,
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
            let room = &mut self.plaintext[start..];
            let opened = self.cipher.read_message(self.nonce, &record, room);
            let len = opened.map_err(io::Error::other)?;
            self.plaintext.truncate(start + len);
            self.nonce += 1;
        }
    }
}

/// Seals frames in Noise messages. A close notification is an empty one.
pub struct Sealer {
    cipher: Cipher,
    nonce: u64,
    frames: LengthDelimitedCodec,
}

impl Sealer {
    fn seal(&mut self, plaintext: &[u8], wire: &mut BytesMut) -> io::Result<()> {
        let mut sealed = vec![0; plaintext.len() + 16];
        let len = self
            .cipher
            .write_message(self.nonce, plaintext, &mut sealed);
        sealed.truncate(len.map_err(io::Error::other)?);
        self.nonce += 1;
        wire.extend_from_slice(&header(&sealed));
        wire.extend_from_slice(&sealed);
        Ok(())
    }
}

impl Encoder<Outgoing> for Sealer {
    type Error = io::Error;

    fn encode(&mut self, message: Outgoing, wire: &mut BytesMut) -> io::Result<()> {
        match message {
            Outgoing::Message(body) => {
                let mut frame = BytesMut::new();
                self.frames.encode(body, &mut frame)?;
                let mut pieces = frame.chunks(PLAINTEXT_MAX);
                pieces.try_for_each(|piece| self.seal(piece, wire))
            }
            Outgoing::CloseNotify => self.seal(b"", wire),
            Outgoing::Half(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
