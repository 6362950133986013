//! Instructions per message, counted by callgrind and compared with recorded
//! numbers, because times vary too much on a shared machine.
//!
//! ```sh
//! cargo run --release -p instructions              # compares
//! cargo run --release -p instructions -- --record  # writes recorded.txt
//! cargo run --release -p instructions -- --broadcast  # beside single sends
//! ```
//!
//! Each work is run under valgrind twice, with N and with 2 N messages. The
//! difference is the cost of N messages, without start and end. Both ends run
//! in one thread, so that the count hardly depends on the machine.

mod broadcast;
mod count;
mod recorded;
mod tool;
mod work;

use std::error::Error;
use std::process::ExitCode;

use lexopt::prelude::*;

use crate::work::Work;

/// Works, the sizes of their messages in bytes, and the allowed increase above
/// the recorded numbers in per cent. It is large for senders, because the
/// kernel decides how often the socket is full, and each time a block may be
/// allocated.
const CASES: [(Work, usize, f64); 6] = [
    (Work::Receive, 16, 4.0),
    (Work::Receive, 256, 4.0),
    (Work::Send, 16, 6.0),
    (Work::Send, 256, 25.0),
    (Work::Echo, 16, 4.0),
    (Work::Echo, 256, 4.0),
];

enum Task {
    Compare,
    Record,
    Broadcast,
    /// The arguments of the program that valgrind runs.
    Run(Work, usize, u64),
    RunBroadcast(usize),
}

fn main() -> ExitCode {
    let done = parse().and_then(|task| match task {
        Task::Compare => compare(),
        Task::Record => record(),
        Task::Broadcast => broadcast::compare(),
        Task::RunBroadcast(connections) => broadcast::run(connections).map(|()| true),
        Task::Run(work, size, messages) => work.run(size, messages).map(|()| true),
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

fn parse() -> Result<Task, Box<dyn Error>> {
    let mut parser = lexopt::Parser::from_env();
    match parser.next()? {
        None => Ok(Task::Compare),
        Some(Long("record")) => Ok(Task::Record),
        Some(Long("broadcast")) => Ok(Task::Broadcast),
        Some(Long("run-broadcast")) => Ok(Task::RunBroadcast(parser.value()?.parse()?)),
        Some(Long("run")) => Ok(Task::Run(
            parser.value()?.parse()?,
            parser.value()?.parse()?,
            parser.value()?.parse()?,
        )),
        Some(other) => Err(other.unexpected().into()),
    }
}

/// Counts and compares. Returns whether all increases are allowed.
fn compare() -> Result<bool, Box<dyn Error>> {
    let recorded = recorded::read()?;
    let compiler = count::compiler()?;
    let same_compiler = recorded.compiler == compiler;
    if !same_compiler {
        println!(
            "recorded with {}, this is {compiler}: the change is not checked",
            recorded.compiler
        );
    }
    let mut good = true;
    println!(
        "{:>8} {:>6} {:>10} {:>10} {:>8}",
        "work", "bytes", "recorded", "counted", "change"
    );
    for (work, size, slack) in CASES {
        let counted = count::per_message(work, size)?;
        let before = recorded
            .find(work, size)
            .ok_or_else(|| format!("nothing is recorded for {work} {size}"))?;
        let change = 100.0 * (counted - before) / before;
        println!("{work:>8} {size:>6} {before:>10.1} {counted:>10.1} {change:>+7.1}%");
        good &= !same_compiler || change <= slack;
    }
    if !good {
        println!(
            "more than is allowed above the recorded numbers; record anew if there is a reason"
        );
    }
    Ok(good)
}

fn record() -> Result<bool, Box<dyn Error>> {
    let mut lines = vec![count::compiler()?];
    for (work, size, _) in CASES {
        let counted = count::per_message(work, size)?;
        println!("{work} {size} {counted:.1}");
        lines.push(format!("{work} {size} {counted:.1}"));
    }
    recorded::write(&lines)?;
    Ok(true)
}
