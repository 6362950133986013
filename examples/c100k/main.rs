//! As many connections to one loop as the limit of file descriptors allows, up to
//! 100,000.
//!
//! ```text
//! cargo run --release --example c100k
//! cargo run --release --example c100k 5000
//! ```
//!
//! It shows the settings for many connections, and what they cost. Both ends are in
//! this process, on one thread each, so a connection takes two descriptors: 100,000
//! of them need `ulimit -n 200050`. In the first round, all connections are opened and
//! send a message. In each further round, all of them send again. Every answer is
//! compared. The memory is that of both ends, without the memory of the kernel. Linux
//! only: elsewhere the loopback interface has one address, with too few ports.
//!
//! `c100k_simulated` has the same handlers, and 100,000 connections anywhere.

mod handlers;
#[path = "../support/many.rs"]
mod many;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use handlers::{Clients, Echo};
use lexopt::ValueExt;
use peerloop::{Node, RunEnd};
use support::{Arguments, Outcome};

const USAGE: &str = "usage: c100k [NUMBER]";

const ROUNDS: usize = 10;

/// How long each round may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first number after this name in a file of proc(5).
fn number(file: &str, name: &str) -> Option<usize> {
    let text = fs::read_to_string(file).ok()?;
    let after = text.split_once(name)?.1;
    after.split_whitespace().next()?.parse().ok()
}

fn run(arguments: &Arguments) -> Outcome {
    let descriptors = number("/proc/self/limits", "Max open files").ok_or("no /proc")?;
    // Some descriptors are for the loops and the standard streams.
    let most = (descriptors.saturating_sub(50) / 2).clamp(1, 100_000);
    let count = arguments.words.first().map_or(Ok(most), |it| it.parse());
    let count: usize = count.map_err(|_| USAGE)?.clamp(1, most);
    let mut server = Node::new(many::config(count), Echo)?;
    let addr = server.net().listen("127.0.0.1:0")?.addr;
    let server = server.spawn()?;
    let clients = Clients {
        server: addr,
        to_connect: count,
        round: 0,
        answers: 0,
    };
    let mut clients = Node::new(many::config(count), clients)?;
    let memory = || number("/proc/self/status", "VmRSS:").unwrap_or(0);

    let before = memory();
    for round in 1..=ROUNDS {
        let (begun, answers) = (Instant::now(), count * round);
        clients.with(|clients, net| clients.begin_round(net));
        let end = clients.run_until(PATIENCE, |clients, _| clients.answers == answers)?;
        let open = server.handle().ask(|_, net| net.connection_count())?;
        if end != RunEnd::Done || open != count {
            return Err(format!("{} of {answers} answers", clients.handler().answers).into());
        }
        println!("round {round}: {open} answers in {:.2?}", begun.elapsed());
    }
    let bytes = memory().saturating_sub(before) * 1024 / count;
    println!("{count} connections at once, {bytes} bytes of this process for each");
    Ok(())
}

fn main() -> ExitCode {
    support::run(("c100k", USAGE), &[], |arguments| run(&arguments))
}
