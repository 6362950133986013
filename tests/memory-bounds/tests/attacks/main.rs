//! Attacks. Under each of them the heap and the number of turns keep to a bound, and
//! an honest peer, which exchanges numbered messages all the while, gets every
//! answer. The bounds of time catch hangs only.
#![forbid(unsafe_code)]

mod crowds;
mod fairness;
mod malformed;
mod proxies;
mod rates;
mod slow_readers;
mod starvation;
mod turnover;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use memory_bounds::{
    Alone, Attacked, Attackers, KIB, MIB, PATIENCE, as_many_as, connect_from, descriptors, echo,
    exchange, frame, heap,
};
use peerloop::Config;
use peerloop::config::{
    ConnectionConfig, Limits, PrefixLimit, SendQueueConfig, SocketConfig, Timeouts,
};
use socket2::SockRef;

use random::Random;

#[allow(dead_code, reason = "one of the helpers is used")]
#[path = "../../../it/util/random.rs"]
mod random;
#[allow(dead_code, reason = "one of the helpers is used")]
#[path = "../../../it/util/settings.rs"]
mod settings;

const PROGRAM: &str = env!("CARGO_BIN_EXE_attackers");

/// Accepts this many connections from one address.
fn open_to(count: usize) -> Config {
    Config {
        limits: Limits {
            max_connections: count + 1,
            reserved_outbound: Some(0),
            max_connections_per_address: count + 1,
            ..Default::default()
        },
        ..Config::default()
    }
}

fn loopback(number: u64) -> std::net::IpAddr {
    let [_, high, middle, low] = (number as u32).to_be_bytes();
    [127, 128 | high, middle, low.max(1)].into()
}
