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
mod grown;
#[path = "../../instructions/src/tool.rs"]
mod tool;
mod tools;
mod works;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

use crate::ceilings::Ceiling;

/// The system call by which a thread waits for the end of another one.
const WAIT_FOR_THREAD: &str = "futex";

/// System calls of the allocator.
const ALLOCATOR: [&str; 5] = ["brk", "madvise", "mmap", "mremap", "munmap"];

fn main() -> ExitCode {
    let done = parse().and_then(|task| match task {
        Task::Compare => compare(),
        Task::Run(work, units) => works::run(&work, units).map(|()| true),
        Task::Measure(work, units) => grown::print(&work, units).map(|()| true),
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
    /// A work and its units, whose memory is printed.
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
    println!("{:<54} {:>8} {:>8}", "count", "ceiling", "counted");
    let mut is_good = true;
    let mut row = |ceiling: &Ceiling, counted: f64| {
        let is_within = counted <= ceiling.count + ceiling.slack;
        let mark = if is_within { "" } else { "  above" };
        let Ceiling { name, count, .. } = ceiling;
        println!("{name:<54} {count:>8} {counted:>8.2}{mark}");
        is_good &= is_within;
    };
    let cycle = |work| tools::calls(work, 1000, &[WAIT_FOR_THREAD]);
    row(&ceilings::CYCLE, cycle("cycle closed by the server")?);
    row(&ceilings::CYCLE_CLOSED_BY_CLIENT, cycle("cycle")?);
    let trip = tools::calls("trip", 1000, &[WAIT_FOR_THREAD])?;
    row(&ceilings::HOP, trip / 2.0);
    row(&ceilings::CLOCK, tools::clock_reads("trip", 1000)? / 2.0);
    let copied = tools::copied_bytes("pieces", 20)?;
    row(&ceilings::COPIES, copied / works::MESSAGE as f64);
    let snow = tools::instructions("snow", 50)?;
    row(
        &ceilings::HANDSHAKE,
        tools::instructions("noise", 50)? / snow,
    );
    let default = peerloop::Config::default().connection.timeouts.idle;
    for idle in [default, None, Some(Duration::from_secs(600))] {
        row(&ceilings::IDLE_TURNS, works::turns_when_idle(idle) as f64);
    }
    row(
        &ceilings::MEMBER_CALLS,
        tools::calls("group", 1000, &ALLOCATOR)?,
    );
    let member = grown::by("group", 1000)?;
    row(&ceilings::MEMBER_KIB, member.kib);
    row(&ceilings::MEMBER_FAULTS, member.page_faults);
    row(&ceilings::NODE_KIB, grown::by("nodes", 500)?.kib);
    row(&ceilings::WORLD_NODE_KIB, grown::by("world", 10_000)?.kib);
    Ok(is_good)
}
