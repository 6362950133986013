//! Counts that do not depend on the speed of the machine, compared with
//! ceilings. Needs strace and valgrind.
//!
//! ```sh
//! cargo run --release -p budgets
//! ```
//!
//! A work runs in a child process, once with N and once with 2 N units. The
//! difference is the cost of N units, without start and end.

mod ceilings;
mod tools;
mod works;

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;

use lexopt::prelude::*;

use crate::ceilings::Ceiling;

/// System calls of the allocator.
const ALLOCATOR: [&str; 5] = ["brk", "madvise", "mmap", "mremap", "munmap"];

fn main() -> ExitCode {
    let done = parse().and_then(|task| match task {
        Task::Compare => compare(),
        Task::Run(work, units) => works::run(&work, units).map(|()| true),
        Task::Measure(what, units) => measure(&what, units).map(|()| true),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

enum Task {
    Compare,
    /// A work and its units, for a tool that counts.
    Run(String, u64),
    /// A measurement of the process itself, which prints numbers.
    Measure(String, u64),
}

fn parse() -> Result<Task, Box<dyn Error>> {
    let mut parser = lexopt::Parser::from_env();
    Ok(match parser.next()? {
        None => Task::Compare,
        Some(Long("run")) => Task::Run(parser.value()?.string()?, parser.value()?.parse()?),
        Some(Long("measure")) => Task::Measure(parser.value()?.string()?, parser.value()?.parse()?),
        Some(other) => return Err(other.unexpected().into()),
    })
}

/// Prints the counts. Returns whether all are within their ceilings.
fn compare() -> Result<bool, Box<dyn Error>> {
    println!("{:<58} {:>8} {:>8}", "count", "ceiling", "counted");
    let mut is_good = true;
    let mut row = |name: &str, ceiling: Ceiling, counted: f64| {
        let is_within = counted <= ceiling.count + ceiling.slack;
        let mark = if is_within { "" } else { "  above" };
        println!("{name:<58} {:>8} {counted:>8.2}{mark}", ceiling.count);
        is_good &= is_within;
    };
    let cycle = tools::calls("cycle", 1000, &["futex"])?;
    row(
        "system calls of a connect and close, both ends",
        ceilings::CYCLE,
        cycle,
    );
    let trip = tools::calls("trip", 1000, &["futex"])?;
    row(
        "system calls of a hop of a round trip",
        ceilings::HOP,
        trip / 2.0,
    );
    let reads = tools::clock_reads("trip", 1000)?;
    row(
        "clock readings of a turn with one message",
        ceilings::CLOCK,
        reads / 2.0,
    );
    let copied = tools::copied_bytes("pieces", 20)? / works::MESSAGE as f64;
    row(
        "copies of a message of 128 KiB in 1,448-byte pieces",
        ceilings::COPIES,
        copied,
    );
    let handshake = tools::instructions("noise", 50)? / tools::instructions("snow", 50)?;
    row(
        "instructions of a Noise handshake, compared with snow's",
        ceilings::HANDSHAKE,
        handshake,
    );
    let minutes = Duration::from_secs(600);
    let default = peerloop::Config::default().connection.timeouts.idle;
    for (name, idle) in [
        ("default", default),
        ("off", None),
        ("10 min", Some(minutes)),
    ] {
        let turns = works::turns_when_idle(idle) as f64;
        let name = format!("turns of 200 silent connections in 40 s, idle {name}");
        row(&name, ceilings::IDLE_TURNS, turns);
    }
    let calls = tools::calls("group", 1000, &ALLOCATOR)?;
    row(
        "system calls of a member of a group",
        ceilings::MEMBER_CALLS,
        calls,
    );
    let [bytes, faults] = measured("group", 1000)?;
    row(
        "memory of an idle member of a group, KiB",
        ceilings::MEMBER_KIB,
        bytes / 1024.0,
    );
    row(
        "page faults of a member of a group",
        ceilings::MEMBER_FAULTS,
        faults,
    );
    let [bytes, _] = measured("world", 10_000)?;
    row(
        "memory of each of 10,000 simulated nodes, KiB",
        ceilings::WORLD_NODE_KIB,
        bytes / 1024.0,
    );
    Ok(is_good)
}

/// Measures this process and prints two numbers, for [`measured`].
fn measure(what: &str, units: u64) -> Result<(), Box<dyn Error>> {
    let (bytes, page_faults) = match what {
        "group" => {
            let grown = works::grown_by_members(units)?;
            (grown.bytes, grown.page_faults)
        }
        "world" => (works::world_node_bytes(units)?, 0.0),
        _ => return Err(format!("nothing is called {what}").into()),
    };
    println!("{bytes} {page_faults}");
    Ok(())
}

/// Returns the numbers that [`measure`] prints in a process that runs nothing else.
fn measured(what: &str, units: u64) -> Result<[f64; 2], Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?);
    let output = child
        .args(["--measure", what, &units.to_string()])
        .output()?;
    let printed = String::from_utf8(output.stdout)?;
    let mut numbers = printed.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(second)) if output.status.success() => Ok([first?, second?]),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
