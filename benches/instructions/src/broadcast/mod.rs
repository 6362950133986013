//! A broadcast beside the same number of single sends, in one run.
//!
//! Callgrind writes a count for the calls and one for the turn that writes the
//! queues. The numbers of one program are divided by each other, so nothing is
//! recorded and the compiler may be any.

mod work;

use std::error::Error;
use std::path::Path;
use std::process::Command;

pub(crate) use work::run;
use work::{CONNECTIONS, Call, Case, Queues, ROUNDS};

use crate::tool::run_under;

/// The caches that are simulated: a first level of common size, and a second
/// level in the place of the last one. The result does not depend on the
/// machine then.
const CACHES: [&str; 3] = ["--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,16,64"];

/// Instructions that a broadcast may take beside those for its connections, for
/// the list of targets and the outcome. They decide only with one connection.
const INSTRUCTIONS_OF_CALL: f64 = 160.0;

/// Misses that a call may have beside those for its connections.
const MISSES_OF_CALL: f64 = 100.0;

/// Misses that a broadcast may have more for each connection. The fast path
/// reads a line that a send of an owned body or of parts does not read, and the
/// allocator may put queues anywhere.
const MISSES_OF_CONNECTION: f64 = 1.0;

/// Counts per connection.
#[derive(Clone, Copy)]
struct Counts {
    instructions: f64,
    /// Lines that the first level and the second level did not have.
    misses: [f64; 2],
}

/// Counts of the calls, and of the calls with the turn that writes the queues.
#[derive(Clone, Copy)]
struct Measured([Counts; 2]);

/// Compares broadcasts with single sends. Returns whether no broadcast takes
/// more instructions or cache lines.
pub(crate) fn compare() -> Result<bool, Box<dyn Error>> {
    let mut good = true;
    println!(
        "{:>5} {:>6} {:>5} {:>6} {:>13} {:>10} {:>5} {:>10} {:>5} {:>7} {:>5} {:>7} {:>5}",
        "conns",
        "queues",
        "body",
        "bytes",
        "work",
        "calls",
        "ratio",
        "+ turn",
        "ratio",
        "D1",
        "ratio",
        "L2",
        "ratio",
    );
    for connections in CONNECTIONS {
        good &= compare_with(connections)?;
    }
    if !good {
        println!("a broadcast costs more than single sends");
    }
    Ok(good)
}

fn compare_with(connections: usize) -> Result<bool, Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("broadcast-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(connections, &folder);
    std::fs::remove_dir_all(&folder)?;
    let mut good = true;
    let mut single = None;
    for (case, measured) in Case::all(connections).zip(measured?) {
        if case.call == Call::Send {
            single = Some(measured);
        }
        let single = single.ok_or("the first case is single sends")?;
        good &= print(connections, case, measured, single);
    }
    Ok(good)
}

/// Prints one case. Returns whether it costs no more than single sends
/// and the slack.
fn print(connections: usize, case: Case, measured: Measured, single: Measured) -> bool {
    let (Measured([calls, total]), Measured([single_calls, single_total])) = (measured, single);
    let instructions = INSTRUCTIONS_OF_CALL / connections as f64;
    let misses = MISSES_OF_CALL / connections as f64 + MISSES_OF_CONNECTION;
    let pairs = [
        (calls.instructions, single_calls.instructions, instructions),
        (total.instructions, single_total.instructions, instructions),
        (calls.misses[0], single_calls.misses[0], misses),
        (calls.misses[1], single_calls.misses[1], misses),
    ];
    let queues = if case.queues == Queues::Empty {
        "empty"
    } else {
        "filled"
    };
    let name = format!("{:?}", case.call);
    let kind = format!("{:?}", case.kind);
    print!(
        "{connections:>5} {queues:>6} {kind:>5} {:>6} {name:>13}",
        case.size
    );
    let mut good = true;
    for (counted, single, slack) in pairs {
        let is_good = counted <= single + slack;
        let mark = if is_good { ' ' } else { '!' };
        print!(" {counted:>8.1} {:>5.2}{mark}", counted / single.max(1.0));
        good &= is_good;
    }
    println!();
    good
}

/// Runs all cases under valgrind.
fn measure(connections: usize, folder: &Path) -> Result<Vec<Measured>, Box<dyn Error>> {
    let out = folder.join("out");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--cache-sim=yes"])
        .args(CACHES)
        .args(["--collect-atstart=no", "--toggle-collect=*work::counted_*"])
        .arg("--dump-before=*work::end_phase*")
        .arg(format!("--callgrind-out-file={}", out.display()));
    run_under(valgrind, &["--run-broadcast", &connections.to_string()])?;
    // There are two dumps of each round, and the last round counts.
    let dump = |index: usize| read_dump(&folder.join(format!("out.{index}")), connections);
    let ends = (1..).map(|case| 2 * case * ROUNDS);
    let all = ends.zip(Case::all(connections)).map(|(end, _)| {
        let (calls, turn) = (dump(end - 1)?, dump(end)?);
        let misses = [0, 1].map(|level| calls.misses[level] + turn.misses[level]);
        let total = Counts {
            instructions: calls.instructions + turn.instructions,
            misses,
        };
        Ok(Measured([calls, total]))
    });
    all.collect()
}

fn read_dump(path: &Path, connections: usize) -> Result<Counts, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let field = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.ok_or_else(|| format!("{}: no line {name:?}", path.display()))
    };
    let events = field("events: ")?;
    let totals = field("totals: ")?;
    let count = |wanted: &str| -> f64 {
        let mut pairs = events.split_whitespace().zip(totals.split_whitespace());
        let found = pairs.find(|(name, _)| *name == wanted);
        found.map_or(0.0, |(_, count)| count.parse().unwrap_or(0.0)) / connections as f64
    };
    Ok(Counts {
        instructions: count("Ir"),
        misses: [count("D1mr") + count("D1mw"), count("DLmr") + count("DLmw")],
    })
}
