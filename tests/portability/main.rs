//! Checks that the library works on this operating system and selector.
//!
//! A program without a test harness, which needs the library and std alone. It
//! ends with 0 when all checks pass, and otherwise names the check that failed.
//! Arguments that name checks run only those. Each node has its own thread and
//! waits without a timeout, so that the next turn does not make up for a lost
//! event. Each wait has a bound.

mod ends;
mod node;
mod thousand;
mod threads;
mod traffic;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, panic, thread};

use peerloop::config::{ConnectionConfig, Limits, OnPanic, SendQueueConfig, Timeouts};
use peerloop::group::Group;
use peerloop::{
    Config, ConnId, ConnInfo, ConnectError, DisconnectReason, Handle, Handler, Net, Node,
    SendError, TimerId,
};

use ends::*;
use node::*;
use thousand::*;
use threads::*;
use traffic::*;

/// The bound of each wait. Far more than needed, because the machine may be busy.
const BOUND: Duration = Duration::from_secs(20);

/// Set for a child process: the address to which it connects, and how often.
const CHILD: &str = "PEERLOOP_PORTABILITY_CHILD";

const CHECKS: &[(&str, fn())] = &[
    ("round trips", round_trips),
    ("messages in order with pauses both ways", pauses),
    ("pauses while idle", idle_pauses),
    ("large transfers under backpressure both ways", bulk),
    ("refused connects", refused),
    ("half-close by the peer", peer_half_close),
    ("half-close by the node", own_half_close),
    ("resets", resets),
    ("timers", timers),
    ("a handle from other threads", handles),
    ("a group and its handles", group),
    ("a thousand connections", thousand),
];

fn main() {
    static CHECK: Mutex<&str> = Mutex::new("start");
    panic::set_hook(Box::new(|info| {
        let check = CHECK.lock().map_or("?", |check| *check);
        eprintln!("portability: FAILED {check}: {info}");
        process::exit(1);
    }));
    if let Ok(order) = env::var(CHILD) {
        *CHECK.lock().unwrap() = "a thousand connections, in the child";
        return child(&order);
    }
    let chosen: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for (name, check) in CHECKS {
        if chosen.is_empty() || chosen.iter().any(|chosen| name.contains(chosen.as_str())) {
            *CHECK.lock().unwrap() = name;
            let begun = Instant::now();
            check();
            println!(
                "portability: {name}: ok, {} ms",
                begun.elapsed().as_millis()
            );
        }
    }
}
