//! An end of a Noise session that uses snow directly. It implements the wire format
//! a second time, from its documentation.

use peerloop::error::SessionError;
use peerloop::noise::{Noise, NoiseSession, Pattern, Rekey, StaticKey};
use peerloop::session::{Role, Stage};
use snow::{Builder, HandshakeState, TransportState};

use super::session_end::SessionEnd;
use super::{Recorder, frame};

/// The settings of both ends of a connection.
#[derive(Clone)]
pub struct Deal {
    pub pattern: Pattern,
    /// The whole protocol name.
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

impl Deal {
    pub fn new(pattern: Pattern, name: &'static str) -> Self {
        Self {
            pattern,
            name,
            psk: None,
            prologue: b"a prologue",
            payloads: [b"from the initiator", b"from the responder"],
            max_payload: None,
            allow_missing_close_notify: false,
            rekey: None,
            keys: [1, 2].map(|byte| StaticKey::from_secret([byte; 32])),
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

    pub fn payload(&self, role: Role) -> &'static [u8] {
        self.payloads[role as usize]
    }

    pub fn key(&self, role: Role) -> &StaticKey {
        &self.keys[role as usize]
    }

    /// The letter of the pattern for the key of one end.
    pub fn letter(&self, role: Role) -> u8 {
        let mut letters = self.pattern.name().bytes().filter(|byte| *byte != b'1');
        letters.nth(role as usize).expect("two letters")
    }

    pub fn noise(&self, role: Role) -> Noise<'_> {
        let mut noise = Noise::new(self.pattern, role)
            .local_key(self.key(role))
            .prologue(self.prologue)
            .payload(self.payload(role));
        if self.letter(!role) == b'K' {
            noise = noise.remote_key(self.key(!role).public());
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

    pub fn session(&self, role: Role) -> NoiseSession {
        self.noise(role).build().expect("valid settings")
    }

    /// An end of a session without a network.
    pub fn end(&self, role: Role) -> SessionEnd<NoiseSession> {
        SessionEnd::new(self.session(role))
    }

    /// A handler whose connections have these sessions.
    pub fn recorder(&self, mut recorder: Recorder) -> Recorder {
        let deal = self.clone();
        recorder.sessions = Box::new(move |net, conn| {
            let connection = net.connection(conn).expect("the connection in question");
            let role = Role::from(connection.info().direction);
            Ok(Some(Box::new(deal.noise(role).build()?)))
        });
        recorder
    }

    /// The state of snow for one end.
    fn state(&self, role: Role) -> HandshakeState {
        let mut builder = Builder::new(self.name.parse().expect("a protocol of snow"))
            .prologue(self.prologue)
            .expect("one prologue");
        if self.letter(role) != b'N' {
            let secret = self.key(role).secret();
            builder = builder.local_private_key(secret).expect("one key");
        }
        if self.letter(!role) == b'K' {
            let public = self.key(!role).public();
            builder = builder.remote_public_key(public).expect("one key");
        }
        if let Some((place, secret)) = &self.psk {
            builder = builder.psk(*place, secret).expect("a position");
        }
        match role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        }
        .expect("a state")
    }

    /// The number of the message with the payload of one end, from 1.
    fn payload_message(&self, role: Role) -> usize {
        const OF_THREE: [&str; 18] = [
            "XN", "XK", "XX", "NX1", "XK1", "XX1", "K1N", "K1K", "K1K1", "K1X", "KX1", "K1X1",
            "I1N", "I1K", "I1K1", "I1X", "IX1", "I1X1",
        ];
        match role {
            Role::Responder => 2,
            Role::Initiator if OF_THREE.contains(&self.pattern.name()) => 3,
            Role::Initiator => 1,
        }
    }
}

/// An end past its handshake.
pub struct SnowPeer {
    state: TransportState,
    /// The last payload that has arrived.
    pub payload: Vec<u8>,
    /// Plaintext that has arrived.
    pub plaintext: Vec<u8>,
    /// The length of the plaintext of each message that has arrived.
    pub pieces: Vec<usize>,
    /// The key changes after so many messages, in each direction.
    pub rekey_every: Option<u64>,
}

impl SnowPeer {
    /// Completes a handshake with another end.
    pub fn handshake(deal: &Deal, role: Role, end: &mut SessionEnd<NoiseSession>) -> Self {
        let mut state = deal.state(role);
        let (mut arrived, mut last_payload) = (end.take_wire(), Vec::new());
        let mut buffer = vec![0; 65_535];
        for number in 1.. {
            if state.is_handshake_finished() {
                break;
            }
            if state.is_my_turn() {
                let has_payload = number == deal.payload_message(role);
                let payload = if has_payload { deal.payload(role) } else { b"" };
                let len = state.write_message(payload, &mut buffer).expect("room");
                end.receive(&with_header(&buffer[..len]))
                    .expect("a message");
                arrived = end.take_wire();
            } else {
                let message = first_message(&arrived).expect("a whole message");
                let len = state.read_message(message, &mut buffer).expect("a message");
                last_payload = buffer[..len].to_vec();
            }
        }
        assert_eq!(end.stage(), Stage::Established);
        Self {
            state: state.into_transport_mode().expect("a complete handshake"),
            payload: last_payload,
            plaintext: Vec::new(),
            pieces: Vec::new(),
            rekey_every: None,
        }
    }

    /// Returns a Noise message with its header.
    pub fn record(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut message = vec![0; plaintext.len() + 16];
        let number = self.state.sending_nonce() + 1;
        let len = self.state.write_message(plaintext, &mut message);
        assert_eq!(len.expect("room"), message.len());
        if self.rekey_every.is_some_and(|every| number % every == 0) {
            self.state.rekey_outgoing();
        }
        with_header(&message)
    }

    /// Returns a frame, in Noise messages of at most so many bytes of plaintext.
    pub fn frame_in(&mut self, body: &[u8], len: usize) -> Vec<u8> {
        let frame = frame(body);
        let records = frame.chunks(len).map(|piece| self.record(piece));
        records.collect::<Vec<_>>().concat()
    }

    /// Returns a frame in the fewest messages.
    pub fn frame(&mut self, body: &[u8]) -> Vec<u8> {
        self.frame_in(body, 65_519)
    }

    /// Opens whole messages.
    pub fn open(&mut self, mut wire: &[u8]) {
        while let Some(message) = first_message(wire) {
            wire = &wire[2 + message.len()..];
            let mut plaintext = vec![0; message.len()];
            let number = self.state.receiving_nonce() + 1;
            let len = self.state.read_message(message, &mut plaintext);
            let len = len.expect("an authentic message");
            if self.rekey_every.is_some_and(|every| number % every == 0) {
                self.state.rekey_incoming();
            }
            self.plaintext.extend(&plaintext[..len]);
            self.pieces.push(len);
        }
        assert!(wire.is_empty(), "half a message");
    }

    pub fn rekey(&mut self) {
        self.state.rekey_outgoing();
        self.state.rekey_incoming();
    }

    /// Asserts that a frame arrives in both directions.
    #[track_caller]
    pub fn assert_exchange(&mut self, end: &mut SessionEnd<NoiseSession>, body: &[u8]) {
        let expected = frame(body);
        (end.plaintext, self.plaintext) = (Vec::new(), Vec::new());
        end.receive(&self.frame(body)).expect("authentic messages");
        assert!(end.plaintext == expected, "{} bytes", body.len());
        self.open(&end.frame(body));
        assert!(self.plaintext == expected, "{} bytes", body.len());
    }
}

/// A Noise message after its length.
fn with_header(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("a Noise message");
    [&len.to_be_bytes(), message].concat()
}

/// The first message, if it is whole.
fn first_message(wire: &[u8]) -> Option<&[u8]> {
    let (header, rest) = wire.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*header)))
}

/// Returns the error of bytes that an end receives.
#[track_caller]
pub fn refusal(end: &mut SessionEnd<NoiseSession>, bytes: &[u8]) -> SessionError {
    end.receive(bytes).expect_err("a refusal")
}
