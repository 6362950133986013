//! Parts of several examples that have nothing to do with networks: arguments,
//! exit codes and progress bars.

// Each example uses a part of this file.
#![allow(dead_code)]

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;

use indicatif::{ProgressBar, ProgressStyle};
use lexopt::prelude::{Long, Short, Value, ValueExt};

/// The outcome of an example. Any error has a text.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// The command line of an example.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) words: Vec<OsString>,
    /// The names of the options, without `--`, and their values.
    options: Vec<(String, OsString)>,
}

impl Arguments {
    /// Returns the value of an option, or a default.
    ///
    /// # Errors
    ///
    /// - The value is not a `T`.
    pub(crate) fn option<T>(&self, name: &str, default: T) -> Result<T, lexopt::Error>
    where
        T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>>,
    {
        let found = self.options.iter().rev().find(|(option, _)| option == name);
        found.map_or(Ok(default), |(_, value)| value.parse())
    }
}

/// Runs an example that takes these options. Prints the error, if there is one.
/// `--help` prints the usage instead of running it.
pub(crate) fn run(
    (name, usage): (&str, &str),
    options: &[&str],
    example: impl FnOnce(Arguments) -> Outcome,
) -> ExitCode {
    env_logger::init();
    let outcome = parse(options).and_then(|arguments| match arguments {
        Some(arguments) => example(arguments),
        None => Ok(writeln!(io::stdout(), "{usage}")?),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the arguments, or `None` for `--help`.
fn parse(options: &[&str]) -> Result<Option<Arguments>, Box<dyn Error>> {
    let mut arguments = Arguments::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(word) => arguments.words.push(word),
            Short('h') | Long("help") => return Ok(None),
            Long(name) if options.contains(&name) => {
                let name = name.to_owned();
                arguments.options.push((name, parser.value()?));
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Some(arguments))
}

/// Returns a progress bar for a number of bytes.
pub(crate) fn progress(bytes: u64) -> ProgressBar {
    let style = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style);
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
