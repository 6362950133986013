//! Peers that break the rules. Each loses its own connection, for a reason that is
//! printed, and the next peer is served.

mod support;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use peerloop::framing::Framing;
use peerloop::noise::{Hash, Noise, Pattern, StaticKey};
use peerloop::session::Sequence;
use peerloop::{
    Config, ConnId, ConnInfo, Direction, DisconnectReason, Handler, Net, Node, RunEnd, Transport,
};
use peerloop_libp2p::identity;
use peerloop_libp2p::multistream::Negotiation;
use peerloop_libp2p::streams::STREAMS_MAX;
use peerloop_libp2p::yamux::{
    ACK, DATA, ECHO, Frames, GO_AWAY, RST, SYN, WINDOW_UPDATE, write_header,
};
use ring::signature::Ed25519KeyPair;
use support::{PATIENCE, Program};

const HEADER: &[u8] = b"\x13/multistream/1.0.0\n";
const YAMUX: &[u8] = b"\x0d/yamux/1.0.0\n";
const PINGING: &[u8] = b"\x11/ipfs/ping/1.0.0\n";

/// A peer that sends this payload in the handshake, and these frames when both
/// ends agree on yamux.
struct Attacker {
    noise: StaticKey,
    payload: Vec<u8>,
    frames: Vec<u8>,
    received: Vec<Vec<u8>>,
    has_ended: bool,
}

impl Attacker {
    fn new() -> Self {
        let noise = StaticKey::generate().expect("a key");
        let seed = [7; 32];
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a key");
        Self {
            payload: identity::payload(&key, &noise),
            noise,
            frames: Vec::new(),
            received: Vec::new(),
            has_ended: false,
        }
    }

    /// Connects, and runs until the connection has ended or the condition holds.
    fn run(self, addr: SocketAddr, is_done: impl Fn(&Self) -> bool) -> Vec<Vec<u8>> {
        let mut config = Config::default();
        config.connection.framing = Framing::custom(|| Frames);
        let mut node = Node::new(config, self).expect("a node");
        node.net().connect(addr).expect("a connect");
        let end = node.run_until(PATIENCE, |attacker, _| {
            attacker.has_ended || is_done(attacker)
        });
        assert_eq!(end.expect("no error"), RunEnd::Done);
        node.into_handler().received
    }
}

impl Handler for Attacker {
    fn transport(
        &mut self,
        _: &mut Net,
        _: ConnId,
        info: &ConnInfo,
    ) -> Result<Transport, Box<dyn Error + Send + Sync>> {
        let noise = Noise::new(Pattern::XX, info.direction)
            .hash(Hash::Sha256)
            .local_key(&self.noise)
            .payload(&self.payload)
            .allow_missing_close_notify()
            .build()?;
        let negotiation = Negotiation::new(Direction::Outbound, &["/noise"]);
        Ok(Sequence::new(negotiation, noise).into())
    }

    fn on_connect(&mut self, net: &mut Net, conn: ConnId) {
        // The peer may have refused the payload.
        let _ = net.send(conn, [HEADER, YAMUX].concat());
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.received.push(message.to_vec());
        if message == YAMUX {
            net.send(conn, &self.frames).expect("room");
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, _: DisconnectReason) {
        self.has_ended = true;
    }
}

fn header(first: u32, stream: u32, length: u32) -> Vec<u8> {
    let mut header = Vec::new();
    write_header(&mut header, first, stream, length);
    header
}

fn data(flags: u32, stream: u32, data: &[u8]) -> Vec<u8> {
    [&header(DATA | flags, stream, data.len() as u32), data].concat()
}

/// A stream on which the attacker pings.
fn ping_stream(id: u32) -> Vec<u8> {
    data(SYN, id, &[HEADER, PINGING].concat())
}

/// Waits until the host has refused a peer for this reason. Checks that it serves
/// the next one.
fn check(mut host: Program, addr: SocketAddr, reason: &str) {
    host.wait_for(reason);
    let (status, output) = Program::start(&["connect", &addr.to_string()]).wait();
    assert!(status.success(), "{output}");
    let (status, output) = host.wait();
    assert!(status.success(), "{output}");
}

/// A peer with these frames is refused for this reason. Returns what it received.
fn refuses_frames(frames: Vec<u8>, reason: &str) -> Vec<Vec<u8>> {
    let (host, addr, _) = Program::listen();
    let attacker = Attacker {
        frames,
        ..Attacker::new()
    };
    let received = attacker.run(addr, |_| false);
    check(host, addr, reason);
    received
}

fn refuses_payload(payload: Vec<u8>, reason: &str) {
    let (host, addr, _) = Program::listen();
    let attacker = Attacker {
        payload,
        ..Attacker::new()
    };
    attacker.run(addr, |_| false);
    check(host, addr, reason);
}

#[test]
fn wrong_signature_is_refused() {
    let mut payload = Attacker::new().payload;
    *payload.last_mut().expect("a signature") ^= 1;
    refuses_payload(payload, "the identity key has not signed the Noise key");
}

#[test]
fn signature_of_another_key_is_refused() {
    // A payload that was recorded, and is sent again with a new Noise key.
    let payload = Attacker::new().payload;
    refuses_payload(payload, "the identity key has not signed the Noise key");
}

#[test]
fn payload_without_key_is_refused() {
    refuses_payload(Vec::new(), "no identity key");
    refuses_payload(b"\x0a\x05RSA".to_vec(), "a malformed protobuf");
}

#[test]
fn data_beyond_the_window_is_refused() {
    // The attacker grants no window, so that the answers to the first 256 KiB are
    // sent, and those to the next 256 KiB wait.
    let frame = data(0, 1, &[7; 16 * 1024]);
    let frames = [ping_stream(1), frame.repeat(33)].concat();
    let reason = "more data than the window";
    let received = refuses_frames(frames, reason);
    assert_eq!(received.last(), Some(&header(GO_AWAY, 0, 1)));
}

#[test]
fn frame_that_is_too_long_is_refused() {
    let frames = [ping_stream(1), header(DATA, 1, 1 << 24)].concat();
    refuses_frames(frames, "a message of 16777228 bytes");
}

#[test]
fn malformed_frames_are_refused() {
    refuses_frames(header(4 << 16, 0, 0), "an unexpected frame");
    refuses_frames(ping_stream(2), "a new stream with a wrong number");
    refuses_frames(ping_stream(1).repeat(2), "a new stream with a wrong number");
    refuses_frames(HEADER.to_vec(), "an unexpected frame");
}

#[test]
fn go_away_ends_the_connection() {
    refuses_frames(header(GO_AWAY, 0, 2), "the peer goes away");
}

/// Runs until a frame was received. The host is told that this peer is done.
fn receives(frames: Vec<u8>, expected: &[u8]) {
    let (host, addr, _) = Program::listen();
    let attacker = Attacker {
        frames,
        ..Attacker::new()
    };
    attacker.run(addr, |attacker| {
        attacker.received.iter().any(|frame| frame == expected)
    });
    check(host, addr, " by the peer");
}

#[test]
fn further_streams_are_reset() {
    // Two streams of the host are open too.
    let count = STREAMS_MAX as u32 - 1;
    let frames: Vec<u8> = (0..count)
        .flat_map(|number| ping_stream(2 * number + 1))
        .collect();
    let reset = header(WINDOW_UPDATE | RST, 2 * count - 1, 0);
    receives(frames, &reset);
}

#[test]
fn unknown_protocol_on_a_stream_is_not_available() {
    let frames = data(SYN, 1, &[HEADER, b"\x04/no\n"].concat());
    receives(frames, &data(0, 1, &[HEADER, b"\x03na\n"].concat()));
}

#[test]
fn ping_of_yamux_is_answered() {
    receives(header(ECHO | SYN, 0, 77), &header(ECHO | ACK, 0, 77));
}

#[test]
fn unknown_security_is_not_available() {
    let (host, addr, _) = Program::listen();
    let mut attacker = TcpStream::connect(addr).expect("a connection");
    attacker
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    attacker.write_all(HEADER).expect("a write");
    let mut answer = [0; HEADER.len()];
    attacker.read_exact(&mut answer).expect("an answer");
    for _ in 0..15 {
        attacker
            .write_all(b"\x0b/tls/1.0.0\n".as_slice())
            .expect("a write");
        let mut answer = [0; 4];
        attacker.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"\x03na\n");
    }
    // There is a bound.
    attacker.write_all(b"\x0b/tls/1.0.0\n").expect("a write");
    check(host, addr, "no common protocol");
}

#[test]
fn negotiation_that_is_cut_is_refused() {
    let (host, addr, _) = Program::listen();
    let mut attacker = TcpStream::connect(addr).expect("a connection");
    attacker.write_all(&HEADER[..9]).expect("a write");
    attacker.shutdown(Shutdown::Write).expect("an end");
    check(host, addr, "end of file");
}

#[test]
fn other_programs_are_refused() {
    let (host, addr, _) = Program::listen();
    let mut attacker = TcpStream::connect(addr).expect("a connection");
    let request = format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(20));
    attacker.write_all(request.as_bytes()).expect("a write");
    check(host, addr, "no common protocol");
}
