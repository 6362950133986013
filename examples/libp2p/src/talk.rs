//! What is said on one stream: a negotiation, and then ping or identify.

use std::mem;
use std::time::Instant;

use peerloop::Direction;
use ring::rand::{self, SystemRandom};

use crate::Reason;
use crate::identify;
use crate::multistream::{Negotiation, take_prefixed};

/// The protocols on streams that the peer opens.
pub const PROTOCOLS: &[&str] = &["/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"];
pub const PING: &[&str] = &[PROTOCOLS[0]];
pub const IDENTIFY: &[&str] = &[PROTOCOLS[1]];

/// Number of pings.
const PINGS: u32 = 5;

/// One end of a stream.
pub struct Talk {
    stage: Stage,
    /// The beginning of something that has not arrived completely.
    input: Vec<u8>,
}

enum Stage {
    Negotiating(Direction, Negotiation),
    /// A ping of this host waits for its answer.
    Ping {
        number: u32,
        data: [u8; 32],
        sent: Instant,
    },
    /// The message of the peer about itself is to come.
    Identify,
    /// All that comes is returned: the answer to pings.
    Echo,
    /// All that comes is ignored.
    Done,
}

/// What follows from data of the peer.
#[derive(Default)]
pub struct Reply {
    pub data: Vec<u8>,
    /// Nothing follows from this end.
    pub is_end: bool,
    /// What the peer said, to be printed.
    pub news: Option<String>,
}

impl Talk {
    /// Returns an end of a stream that this host (outbound) or the peer opens.
    pub fn new(direction: Direction, protocols: &'static [&'static str]) -> Self {
        Self {
            stage: Stage::Negotiating(direction, Negotiation::new(direction, protocols)),
            input: Vec::new(),
        }
    }

    /// Appends the first data.
    pub fn start(&self, out: &mut Vec<u8>) {
        if let Stage::Negotiating(_, negotiation) = &self.stage {
            negotiation.start(out);
        }
    }

    /// Returns whether this end waits for an answer to its question.
    pub fn is_asking(&self) -> bool {
        match self.stage {
            Stage::Negotiating(direction, _) => direction == Direction::Outbound,
            Stage::Ping { .. } | Stage::Identify => true,
            Stage::Echo | Stage::Done => false,
        }
    }

    /// Takes data of the peer. `own` is what this host answers to identify.
    pub fn receive(&mut self, data: &[u8], is_end: bool, own: &[u8]) -> Result<Reply, Reason> {
        let mut reply = Reply::default();
        let mut input = mem::take(&mut self.input);
        input.extend_from_slice(data);
        let mut rest = input.as_slice();
        while !rest.is_empty() && self.step(&mut rest, own, &mut reply)? {}
        self.input = rest.to_vec();
        match self.stage {
            Stage::Echo => reply.is_end = is_end,
            Stage::Done => {}
            _ if is_end => return Err("the peer ended a stream too early"),
            _ => {}
        }
        Ok(reply)
    }

    /// Takes one thing from the start of `input`, if it is complete.
    fn step(&mut self, input: &mut &[u8], own: &[u8], reply: &mut Reply) -> Result<bool, Reason> {
        match &mut self.stage {
            Stage::Negotiating(direction, negotiation) => {
                let direction = *direction;
                let Some(protocol) = negotiation.advance(input, &mut reply.data)? else {
                    return Ok(false);
                };
                self.stage = match direction {
                    Direction::Outbound if PING == [protocol] => ping(1, reply)?,
                    Direction::Outbound => Stage::Identify,
                    Direction::Inbound if PING == [protocol] => Stage::Echo,
                    Direction::Inbound => {
                        reply.data.extend_from_slice(own);
                        reply.is_end = true;
                        Stage::Done
                    }
                };
            }
            Stage::Ping { number, data, sent } => {
                let Some(answer) = input.split_off(..data.len()) else {
                    return Ok(false);
                };
                if answer != data {
                    return Err("the answer to a ping has other data");
                }
                let (number, time) = (*number, sent.elapsed());
                reply.news = Some(format!("ping {number}: {time:.1?}"));
                reply.is_end = number == PINGS;
                self.stage = if reply.is_end {
                    Stage::Done
                } else {
                    ping(number + 1, reply)?
                };
            }
            Stage::Identify => {
                let Some(message) = take_prefixed(input)? else {
                    return Ok(false);
                };
                reply.news = Some(identify::to_text(message)?);
                reply.is_end = true;
                self.stage = Stage::Done;
            }
            Stage::Echo => reply.data.extend_from_slice(mem::take(input)),
            Stage::Done => *input = &[],
        }
        Ok(true)
    }
}

/// Sends a ping.
fn ping(number: u32, reply: &mut Reply) -> Result<Stage, Reason> {
    let random = rand::generate(&SystemRandom::new()).map_err(|_| "no random bytes")?;
    let (data, sent) = (random.expose(), Instant::now());
    reply.data.extend(data);
    Ok(Stage::Ping { number, data, sent })
}
