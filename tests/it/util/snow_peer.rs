//! A peer that speaks Noise with snow itself, on a blocking socket: the wire form as the documentation has it, written a
//! second time.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of it"
)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use peerloop::noise::{Noise, Pattern, Rekey, StaticKey};
use peerloop::session::{Role, Session};
use snow::{Builder, HandshakeState, TransportState};

use crate::util::{Sessions, TestNode, run_until};

/// What the two sides of a connection are set to.
#[derive(Clone)]
pub struct Deal {
    pub pattern: Pattern,
    /// The whole name, spelled out in the test.
    pub name: &'static str,
    pub psk: Option<(u8, [u8; 32])>,
    pub prologue: &'static [u8],
    pub payloads: [&'static [u8]; 2],
    /// `None` is the default.
    pub max_payload: Option<usize>,
    pub allow_missing_close_notify: bool,
    pub rekey: Option<Rekey>,
    pub keys: [StaticKey; 2],
}

/// The key of a side, the same in every run.
pub fn key(side: Role) -> StaticKey {
    StaticKey::from_secret([side as u8 + 1; 32])
}

impl Deal {
    pub fn new(pattern: Pattern, name: &'static str) -> Self {
        Self {
            pattern,
            name,
            psk: None,
            prologue: b"a prologue",
            payloads: [b"from who connects", b"from who accepts"],
            max_payload: None,
            allow_missing_close_notify: false,
            rekey: None,
            keys: [key(Role::Initiator), key(Role::Responder)],
        }
    }

    pub fn psk(mut self, place: u8) -> Self {
        self.psk = Some((place, [9; 32]));
        self
    }

    pub fn xx() -> Self {
        Self::new(Pattern::XX, "Noise_XX_25519_ChaChaPoly_BLAKE2s")
    }

    pub fn xx_psk3() -> Self {
        Self::new(Pattern::XX, "Noise_XXpsk3_25519_ChaChaPoly_BLAKE2s").psk(3)
    }

    pub fn ik() -> Self {
        Self::new(Pattern::IK, "Noise_IK_25519_ChaChaPoly_BLAKE2s")
    }

    pub fn nn() -> Self {
        Self::new(Pattern::NN, "Noise_NN_25519_ChaChaPoly_BLAKE2s")
    }

    pub fn payload(&self, side: Role) -> &'static [u8] {
        self.payloads[side as usize]
    }

    pub fn key(&self, side: Role) -> &StaticKey {
        &self.keys[side as usize]
    }

    /// Which letter of the pattern is about a side.
    pub fn letter(&self, side: Role) -> u8 {
        let mut letters = self.pattern.name().bytes().filter(|byte| *byte != b'1');
        letters.nth(side as usize).expect("two letters")
    }

    /// The settings of a session of a node.
    pub fn noise(&self, side: Role) -> Noise<'_> {
        let mut noise = Noise::new(self.pattern, side)
            .local_key(self.key(side))
            .prologue(self.prologue)
            .payload(self.payload(side));
        if self.letter(!side) == b'K' {
            noise = noise.remote_key(self.key(!side).public());
        }
        if let Some((place, secret)) = &self.psk {
            noise = noise.psk(*place, secret);
        }
        if let Some(max) = self.max_payload {
            noise = noise.max_payload(max);
        }
        if self.allow_missing_close_notify {
            noise = noise.allow_missing_close_notify();
        }
        if let Some(rekey) = self.rekey {
            noise = noise.rekey(rekey);
        }
        noise
    }

    /// What a node answers when it is asked for a session.
    pub fn sessions(&self) -> Sessions {
        let deal = self.clone();
        Box::new(move |net, conn| {
            let side = Role::from(net.connection(conn).expect("it is there").info().direction);
            let session: Box<dyn Session> = Box::new(deal.noise(side).build()?);
            Ok(Some(session))
        })
    }

    /// The state of snow's own.
    pub fn state(&self, side: Role) -> HandshakeState {
        let mut builder = Builder::new(self.name.parse().expect("a name that snow knows"))
            .prologue(self.prologue)
            .expect("one prologue");
        if self.letter(side) != b'N' {
            let secret = self.key(side).secret();
            builder = builder.local_private_key(secret).expect("one key");
        }
        if self.letter(!side) == b'K' {
            let public = self.key(!side).public();
            builder = builder.remote_public_key(public).expect("one key");
        }
        if let Some((place, secret)) = &self.psk {
            builder = builder.psk(*place, secret).expect("a place");
        }
        match side {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        }
        .expect("a state")
    }
}

/// A peer that is past its handshake.
pub struct SnowPeer {
    pub stream: TcpStream,
    pub state: TransportState,
    /// What the other side said beside, message by message.
    pub payloads: Vec<Vec<u8>>,
    /// Plaintext that was heard and not asked for yet.
    heard: Vec<u8>,
    /// The length of the plaintext of each message heard.
    pub pieces: Vec<usize>,
    /// Change the key after so many messages, in each direction.
    pub rekey_every: Option<u64>,
}

impl SnowPeer {
    /// Shakes hands in one role or the other.
    pub fn shake(mut stream: TcpStream, deal: &Deal, side: Role) -> io::Result<Self> {
        let mut state = deal.state(side);
        let mut payloads = Vec::new();
        let messages = if deal.messages() == 2 { [1, 2] } else { [3, 2] };
        let last = messages[side as usize];
        let mut buffer = vec![0; 65_535];
        for number in 1.. {
            if state.is_handshake_finished() {
                break;
            }
            if state.is_my_turn() {
                let payload = if number == last {
                    deal.payload(side)
                } else {
                    b""
                };
                let len = state.write_message(payload, &mut buffer).expect("it fits");
                write_message(&mut stream, &buffer[..len])?;
            } else {
                let message = read_message(&mut stream)?;
                let len = state
                    .read_message(&message, &mut buffer)
                    .map_err(io::Error::other)?;
                payloads.push(buffer[..len].to_vec());
            }
        }
        let state = state.into_transport_mode().expect("it is over");
        Ok(Self {
            stream,
            state,
            payloads,
            heard: Vec::new(),
            pieces: Vec::new(),
            rekey_every: None,
        })
    }

    /// One Noise message with this plaintext.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut message = vec![0; plaintext.len() + 16];
        let number = self.state.sending_nonce() + 1;
        let len = self
            .state
            .write_message(plaintext, &mut message)
            .expect("it fits");
        assert_eq!(len, message.len());
        if self.rekey_every.is_some_and(|every| number % every == 0) {
            self.state.rekey_outgoing();
        }
        message
    }

    /// One Noise message with this plaintext, and its header.
    pub fn record(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let message = self.seal(plaintext);
        let mut record = Vec::new();
        append_message(&mut record, &message);
        record
    }

    /// Sends plaintext in messages of at most so many bytes.
    pub fn say_in_pieces(&mut self, plaintext: &[u8], len: usize) {
        for piece in plaintext.chunks(len) {
            let message = self.seal(piece);
            write_message(&mut self.stream, &message).expect("the node reads");
        }
    }

    /// Sends a message of the node's framing.
    pub fn say(&mut self, body: &[u8]) {
        self.say_in_pieces(&framed(body), 65_519);
    }

    /// The plaintext of the next Noise message.
    pub fn hear_piece(&mut self) -> io::Result<Vec<u8>> {
        let message = read_message(&mut self.stream)?;
        let mut plaintext = vec![0; message.len()];
        let number = self.state.receiving_nonce() + 1;
        let len = self
            .state
            .read_message(&message, &mut plaintext)
            .map_err(io::Error::other)?;
        if self.rekey_every.is_some_and(|every| number % every == 0) {
            self.state.rekey_incoming();
        }
        plaintext.truncate(len);
        self.pieces.push(len);
        Ok(plaintext)
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        while self.heard.len() < len {
            let piece = self.hear_piece().expect("the node goes on");
            assert!(!piece.is_empty(), "a close notification in between");
            self.heard.extend(piece);
        }
        self.heard.drain(..len).collect()
    }

    /// The next message of the node's framing.
    pub fn hear(&mut self) -> Vec<u8> {
        let header = self.take(4).try_into().expect("four bytes");
        self.take(u32::from_be_bytes(header) as usize)
    }

    pub fn send_close_notify(&mut self) {
        let message = self.seal(b"");
        assert_eq!(message.len(), 16);
        write_message(&mut self.stream, &message).expect("the node reads");
    }

    /// The node's close notification, and its FIN.
    pub fn expect_close_notify(&mut self) {
        assert_eq!(self.hear_piece().expect("a close notification"), b"");
        assert_eq!(self.stream.read(&mut [0]).expect("a FIN"), 0);
    }

    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
    }
}

impl Deal {
    fn messages(&self) -> usize {
        let three = [
            "XN", "XK", "XX", "NX1", "XK1", "XX1", "K1N", "K1K", "K1K1", "K1X", "KX1", "K1X1",
            "I1N", "I1K", "I1K1", "I1X", "IX1", "I1X1",
        ];
        if three.contains(&self.pattern.name()) {
            3
        } else {
            2
        }
    }
}

/// A Noise message behind its length.
pub fn append_message(wire: &mut Vec<u8>, message: &[u8]) {
    let len = u16::try_from(message.len()).expect("a Noise message");
    wire.extend(len.to_be_bytes());
    wire.extend(message);
}

pub fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let mut wire = Vec::new();
    append_message(&mut wire, message);
    stream.write_all(&wire)
}

pub fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    let mut message = vec![0; u16::from_be_bytes(header).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// A message in the framing that nodes have by default.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).expect("a short body");
    [&len.to_be_bytes(), body].concat()
}

/// Runs blocking work in a thread, and the node in this one meanwhile.
#[track_caller]
pub fn beside<T: Send + 'static>(
    node: &mut TestNode,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = thread::spawn(work);
    run_until([node], |_| thread.is_finished());
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
