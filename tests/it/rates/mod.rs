//! Rate limits on real sockets. Lower bounds of durations are exact, because a
//! busy machine can only be slower.

mod receiving;
mod sending;
mod settings;
mod shards;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::util::ciphers::ciphers;
use crate::util::raw::{accepted, connect, join, until_ended, wire};
use crate::util::{
    Event, Recorder, TestNode, config_with, eventually, frame, largest_rates, listening, node,
    pair, run_until, turn,
};
use peerloop::config::{OnExcess, Rate, RateLimits};
use peerloop::{Config, ConnId, DisconnectReason, Net, Node};

fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

fn limited(limits: RateLimits) -> Config {
    config_with(|config| config.connection.rate = limits)
}

/// Runs the node until it has delivered this many messages of a connection.
/// Returns the time that this took.
fn deliver(node: &mut TestNode, conn: ConnId, messages: usize) -> Duration {
    let begun = Instant::now();
    run_until([node], |[node]| {
        node.handler().messages(conn).len() >= messages
    });
    begun.elapsed()
}
