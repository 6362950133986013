//! The same work on peerloop, pea2pea, message-io, tokio's bare `Framed`, and the
//! blocking threads that are the limit.
//!
//! ```text
//! cargo run --release -p peers                  # everything, some minutes
//! cargo run --release -p peers -- --quick       # under a minute, not reliable
//! cargo run --release -p peers -- --only stream --json
//! ```
//!
//! Contestants take turns, round by round; every message is checked. Figures are
//! medians, ratios are medians of the ratios of each round. Work that a contestant
//! cannot do is shown as "-". No more than two threads are busy.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use peers::measure::{Effort, Measured, measure};
use peers::report::machine::Occasion;
use peers::report::table::{Style, figures};
use peers::report::{curves, json, plot, targets};
use peers::works::{Case, Length, WORKS, cases};

const USAGE: &str = "usage: peers [--quick] [--rounds NUMBER] [--only WORK]... [--json | --markdown]
             [--plot[=FILE]] [--plot-growth[=FILE]]

WORK is one of stream, fan-in, round trip, broadcast, line, connect, life, memory, growth, shards, or one case
of it as in \"stream/16 B\". --plot draws a chart of all contestants into FILE, peers.svg by default;
--plot-growth draws how the cost grows with connections, timers and shards, growth.svg by default.";

/// The form of the output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Table(Style),
    Json,
}

type Draw = fn(&Path, &Occasion, &[Measured]) -> Result<(), Box<dyn Error>>;

struct Arguments {
    length: Length,
    rounds: Option<usize>,
    only: Vec<String>,
    output: Output,
    plot: Option<PathBuf>,
    plot_growth: Option<PathBuf>,
}

impl Arguments {
    fn parse() -> Result<Option<Self>, lexopt::Error> {
        use lexopt::prelude::{Long, Short, ValueExt};

        let mut arguments = Self {
            length: Length::Full,
            rounds: None,
            only: Vec::new(),
            output: Output::Table(Style::Plain),
            plot: None,
            plot_growth: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => arguments.length = Length::Quick,
                Long("rounds") => arguments.rounds = Some(parser.value()?.parse()?),
                Long("only") => arguments.only.push(parser.value()?.string()?),
                Long("json") => arguments.output = Output::Json,
                Long("markdown") => arguments.output = Output::Table(Style::Markdown),
                Long("plot") => arguments.plot = Some(file(&mut parser, "peers.svg")),
                Long("plot-growth") => {
                    arguments.plot_growth = Some(file(&mut parser, "growth.svg"));
                }
                Short('h') | Long("help") => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Some(arguments))
    }

    fn effort(&self) -> Effort {
        let (rounds, millis) = match self.length {
            Length::Full => (7, 300),
            Length::Quick => (1, 40),
        };
        Effort {
            rounds: self.rounds.unwrap_or(rounds).max(1),
            time: Duration::from_millis(millis),
        }
    }

    fn wants(&self, case: &Case) -> bool {
        let named = |name: &String| *name == case.work || *name == case.id();
        self.only.is_empty() || self.only.iter().any(named)
    }
}

/// The file that an option names, or the one that it has without a name.
fn file(parser: &mut lexopt::Parser, default: &str) -> PathBuf {
    let named = parser.optional_value();
    named.map_or_else(|| default.into(), PathBuf::from)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut cases = cases(arguments.length);
    for name in &arguments.only {
        if !cases
            .iter()
            .any(|case| *name == case.work || *name == case.id())
        {
            return Err(format!("no work {name:?}; there is {}", WORKS.join(", ")).into());
        }
    }
    cases.retain(|case| arguments.wants(case));
    let (effort, mut failures) = (arguments.effort(), Vec::new());
    let mut measured: Vec<Measured> = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        eprintln!("{}/{} {}", number + 1, cases.len(), case.id());
        measured.push(measure(case, effort, &mut failures));
    }
    let occasion = Occasion::now();
    let outcomes = targets::outcomes(&measured);
    let mut out = io::stdout();
    match arguments.output {
        Output::Json => out.write_all(json::json(&occasion, &measured, &outcomes).as_bytes())?,
        Output::Table(style) => {
            let (machine, date) = (&occasion.machine, &occasion.date);
            let rounds = effort.rounds;
            writeln!(out, "{machine}, {date}, medians of {rounds} rounds\n")?;
            writeln!(out, "{}", figures(&measured, style))?;
            write!(out, "{}", targets::table(&outcomes, style))?;
        }
    }
    draw(arguments, &occasion, &measured, &mut failures);
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("failed:\n{}", failures.join("\n")).into())
}

/// Draws what is asked for. Failures are appended to the list.
fn draw(
    arguments: &Arguments,
    occasion: &Occasion,
    measured: &[Measured],
    failures: &mut Vec<String>,
) {
    let drawn = |path: &Path, draw: Draw| {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        draw(path, occasion, measured)
    };
    let charts: [(_, Draw); 2] = [
        (&arguments.plot, plot::plot),
        (&arguments.plot_growth, curves::plot),
    ];
    for (path, chart) in charts {
        let Some(path) = path else { continue };
        match drawn(path, chart) {
            Ok(()) => eprintln!("{} drawn", path.display()),
            Err(error) => failures.push(format!("{}: {error}", path.display())),
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("peers: {error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
