//! The same work on peerloop, pea2pea, message-io, tokio's bare `Framed`, and
//! blocking threads, which are the limit.
//!
//! ```text
//! cargo run --release                             # all rows, in some minutes
//! cargo run --release -- --quick                  # in a minute, not reliable
//! cargo run --release -- --only "stream of 16 B"
//! cargo run --release -- --rounds 5 --update      # writes README, RESULTS and chart
//! ```
//!
//! Contestants are measured in turn, round by round, and every message is
//! checked. Figures are medians of the rounds. At most two threads are busy.
//! Work that a contestant cannot do is shown as "-".

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use peers::footprint;
use peers::goals::goals;
use peers::machine::machine_and_date;
use peers::measure::{Effort, Measured, measure};
use peers::pages;
use peers::rows::rows;
use peers::table::{cpu_table, table};

const USAGE: &str = "usage: peers [--quick] [--rounds NUMBER] [--only ROW]... [--update]
       peers --footprint

Prints tables in Markdown: times, and processor time. ROW is the beginning of a
row's name. --update measures all rows and the footprint, and writes the tables
into README.md and benches/RESULTS.md, and the chart into benches/charts.
--footprint builds an echo server on each library, and prints the number of
crates, the time and the size.";

struct Arguments {
    effort: Effort,
    only: Vec<String>,
    update: bool,
    footprint: bool,
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
        update: false,
        footprint: false,
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
            Long("update") => arguments.update = true,
            Long("footprint") => arguments.footprint = true,
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(Some(arguments))
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.footprint {
        println!("{}\n\n{}", machine_and_date(), footprint::table()?);
        return Ok(());
    }
    if arguments.update && !arguments.only.is_empty() {
        return Err("--update writes whole tables, without --only".into());
    }
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
    let (times, cpu) = (table(&measured), cpu_table(&measured));
    println!("{occasion}\n\n{times}\nProcessor time:\n\n{cpu}");
    println!("Goals:\n\n{}", goals(&measured));
    if !failures.is_empty() {
        return Err(format!("failed:\n{}", failures.join("\n")).into());
    }
    if arguments.update {
        pages::update(&measured, &occasion, rounds)?;
    }
    Ok(())
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
