//! The same work on peerloop, pea2pea, message-io, tokio's bare `Framed`, and
//! blocking threads, which are the limit.
//!
//! ```text
//! cargo run --release                             # all rows, in some minutes
//! cargo run --release -- --quick                  # in a minute, not reliable
//! cargo run --release -- --only "stream of 16 B"
//! ```
//!
//! Contestants are measured in turn, round by round, and every message is
//! checked. Figures are medians of the rounds. At most two threads are busy.
//! Work that a contestant cannot do is shown as "-".

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use peers::machine::machine_and_date;
use peers::measure::{Effort, Measured, measure};
use peers::plot::svg;
use peers::rows::rows;
use peers::table::table;

const USAGE: &str = "usage: peers [--quick] [--rounds NUMBER] [--only ROW]... [--plot FILE]

Prints a table in Markdown. ROW is the beginning of a row's name. --plot draws
the times into an SVG file.";

struct Arguments {
    effort: Effort,
    only: Vec<String>,
    plot: Option<PathBuf>,
}

/// Returns `None` if help is requested.
fn parse() -> Result<Option<Arguments>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt};

    let mut arguments = Arguments {
        effort: Effort {
            rounds: 7,
            time: Duration::from_millis(300),
        },
        only: Vec::new(),
        plot: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => {
                arguments.effort = Effort {
                    rounds: 1,
                    time: Duration::from_millis(40),
                };
            }
            Long("rounds") => arguments.effort.rounds = parser.value()?.parse()?,
            Long("only") => arguments.only.push(parser.value()?.string()?),
            Long("plot") => arguments.plot = Some(parser.value()?.into()),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(arguments))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut rows = rows();
    for name in &arguments.only {
        if !rows.iter().any(|row| row.name.starts_with(name)) {
            let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
            return Err(format!("no row {name:?}; the rows are\n{}", names.join("\n")).into());
        }
    }
    let only = &arguments.only;
    rows.retain(|row| only.is_empty() || only.iter().any(|name| row.name.starts_with(name)));
    let (mut failures, mut measured) = (Vec::new(), Vec::<Measured>::new());
    for (number, row) in rows.iter().enumerate() {
        eprintln!("{}/{} {}", number + 1, rows.len(), row.name);
        measured.push(measure(row, arguments.effort, &mut failures));
    }
    let rounds = arguments.effort.rounds;
    let occasion = format!("{}, medians of {rounds} rounds", machine_and_date());
    println!("{occasion}\n\n{}", table(&measured));
    if let Some(path) = &arguments.plot {
        fs::write(path, svg(&measured, &occasion))?;
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("failed:\n{}", failures.join("\n")).into())
}

fn main() -> ExitCode {
    let done = match parse() {
        Ok(Some(arguments)) => run(&arguments),
        Ok(None) => {
            println!("{USAGE}");
            Ok(())
        }
        Err(error) => Err(format!("{error}\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
