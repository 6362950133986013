//! Each kind of framing against a simple parser, through a whole node.

use std::time::Duration;

use peerloop::config::ConnectionConfig;
use peerloop::error::FramingError;
use peerloop::framing::{ByteOrder, Decoded, Framer, Framing, LengthPrefix};
use peerloop::sim::{Faults, World};
use peerloop::{Config, ConnId, DisconnectReason, Handler, Net};

use crate::input::Input;
use crate::reference::{Rule, parse};

/// A framer that is equal to a length of two bytes.
struct TwoBytes;

impl Framer for TwoBytes {
    fn decode(&mut self, bytes: &[u8]) -> Result<Decoded, FramingError> {
        let Some(head) = bytes.first_chunk() else {
            return Ok(Decoded::Incomplete { at_least: 2 });
        };
        let end = 2 + usize::from(u16::from_be_bytes(*head));
        if bytes.len() < end {
            return Ok(Decoded::Incomplete { at_least: end });
        }
        Ok(Decoded::Frame {
            body: 2..end,
            consumed: end,
        })
    }

    fn encode(&mut self, body: &[u8], wire: &mut Vec<u8>) -> Result<(), FramingError> {
        wire.extend_from_slice(&(body.len() as u16).to_be_bytes());
        wire.extend_from_slice(body);
        Ok(())
    }
}

/// Stores the messages, and pauses after some of them.
struct Listener {
    messages: Vec<Vec<u8>>,
    pause_every: usize,
    ended: Option<DisconnectReason>,
}

impl Handler for Listener {
    fn on_start(&mut self, net: &mut Net) {
        net.listen("0.0.0.0:7000").expect("the port is free");
    }

    fn on_message(&mut self, net: &mut Net, conn: ConnId, message: &[u8]) {
        self.messages.push(message.to_vec());
        if self.pause_every > 0 && self.messages.len() % self.pause_every == 0 {
            net.pause(conn);
        }
    }

    fn on_disconnect(&mut self, _: &mut Net, _: ConnId, reason: DisconnectReason) {
        self.ended = Some(reason);
    }
}

fn kinds(input: &mut Input<'_>, max: usize) -> (Framing, Rule, usize) {
    use ByteOrder::{BigEndian, LittleEndian};
    let length = Framing::LengthDelimited;
    let fixed = 1 + input.below(max.min(200));
    match input.below(13) {
        0 => (length(LengthPrefix::One), Rule::Big(1), max.min(255)),
        1 => (length(LengthPrefix::Two(BigEndian)), Rule::Big(2), max),
        2 => (
            length(LengthPrefix::Two(LittleEndian)),
            Rule::Little(2),
            max,
        ),
        3 => (length(LengthPrefix::Three(BigEndian)), Rule::Big(3), max),
        4 => (
            length(LengthPrefix::Three(LittleEndian)),
            Rule::Little(3),
            max,
        ),
        5 => (length(LengthPrefix::Four(BigEndian)), Rule::Big(4), max),
        6 => (
            length(LengthPrefix::Four(LittleEndian)),
            Rule::Little(4),
            max,
        ),
        7 => (length(LengthPrefix::Eight(BigEndian)), Rule::Big(8), max),
        8 => (
            length(LengthPrefix::Eight(LittleEndian)),
            Rule::Little(8),
            max,
        ),
        9 => (length(LengthPrefix::Varint), Rule::Varint, max),
        10 => (Framing::Fixed(fixed), Rule::Fixed(fixed), max),
        11 => (Framing::Delimited(0), Rule::Until(0), max),
        // The limit of a custom framer is that of the whole frame.
        _ => (
            Framing::custom(|| TwoBytes),
            Rule::Big(2),
            max.saturating_sub(2),
        ),
    }
}

/// Sends bytes to a node. The first bytes of the input choose the framing and
/// its limit. The others are sent, in pieces whose lengths they choose.
pub fn framing(data: &[u8]) {
    let mut input = Input::new(data);
    let max = 2 + input.below(250);
    let (framing, rule, max_body) = kinds(&mut input, max);
    let pause_every = input.below(4);
    let faults = [Faults::calm(), Faults::hostile().lossless()][input.below(2)].clone();
    let mut world = World::new(u64::from(input.byte()));
    world.faults(faults);
    let config = Config {
        connection: ConnectionConfig {
            framing,
            max_message_len: max,
            ..Default::default()
        },
        read_buffer_bytes: 4096,
        ..Config::default()
    };
    let listener = Listener {
        messages: Vec::new(),
        pause_every,
        ended: None,
    };
    let node = world.node(config, listener);
    world.run_for(Duration::from_millis(100));
    let addr = world.addr(node);
    let Ok(wire) = world.wire(addr) else { return };
    world.run_for(Duration::from_secs(2));
    let mut sent = Vec::new();
    while !input.is_empty() {
        let piece = 1 + input.below(64);
        let piece = input.take(piece);
        // The write fails once the node has closed the connection.
        let Ok(written) = world.write_wire(wire, piece) else {
            break;
        };
        sent.extend_from_slice(&piece[..written]);
        world.run_for(Duration::from_millis(20));
        resume(&mut world, node);
    }
    let expected = parse(rule, max_body, &sent);
    for _ in 0..=expected.messages.len() {
        world.run_for(Duration::from_millis(500));
        resume(&mut world, node);
    }
    world.run_for(Duration::from_secs(1));
    world.with(node, |it, _| {
        assert_eq!(it.messages, expected.messages, "{rule:?}, at most {max}");
        let is_bad = matches!(
            it.ended,
            Some(DisconnectReason::MessageTooLarge { .. } | DisconnectReason::MalformedFrame(_))
        );
        assert_eq!(
            is_bad, expected.is_bad,
            "{rule:?}, at most {max}: {:?}",
            it.ended
        );
    });
}

fn resume(world: &mut World, node: peerloop::sim::NodeId<Listener>) {
    world.with(node, |_, net| {
        let all: Vec<ConnId> = net.connections().map(|it| it.id()).collect();
        all.into_iter().for_each(|conn| net.resume(conn));
    });
}
