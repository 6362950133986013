//! Running this program under strace and under valgrind.

use std::error::Error;
use std::process::Command;

use crate::tool;

type Count = Result<f64, Box<dyn Error>>;

/// Returns the system calls of one unit of a work. `ignored` are calls that do
/// not count.
pub(crate) fn calls(work: &str, units: u64, ignored: &[&str]) -> Count {
    difference(units, |units| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-c", "-U", "calls,name"]);
        let table = run(strace, work, units)?;
        let counts = table.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let count: u64 = words.next()?.parse().ok()?;
            let name = words.next()?;
            (name != "total" && !ignored.contains(&name)).then_some(count)
        });
        Ok(counts.sum())
    })
}

/// Returns the readings of the clock of one unit of a work. Under valgrind each
/// is a system call, because there is no vDSO.
pub(crate) fn clock_reads(work: &str, units: u64) -> Count {
    difference(units, |units| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=none", "--trace-syscalls=yes"]);
        let trace = run(valgrind, work, units)?;
        Ok(trace.matches("sys_clock_gettime").count() as u64)
    })
}

/// Returns the instructions in user space of one unit of a work.
pub(crate) fn instructions(work: &str, units: u64) -> Count {
    difference(units, |units| {
        tool::instructions(&["--run", work, &units.to_string()])
    })
}

/// Returns the bytes that one unit of a work copies in user space, as far as
/// memcpy(3) and its like do it.
pub(crate) fn copied_bytes(work: &str, units: u64) -> Count {
    difference(units, |units| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"]);
        let printed = run(valgrind, work, units)?;
        let line = printed
            .lines()
            .find_map(|line| line.split_once("Total:"))
            .ok_or_else(|| format!("dhat printed no total:\n{printed}"))?
            .1;
        let bytes = line.split_whitespace().next().unwrap_or_default();
        Ok(bytes.replace(',', "").parse()?)
    })
}

/// Returns the cost of one unit: the difference of a run with twice as many and
/// a run, without what start and end cost.
fn difference(units: u64, mut count: impl FnMut(u64) -> Result<u64, Box<dyn Error>>) -> Count {
    let (once, twice) = (count(units)?, count(2 * units)?);
    Ok(twice.saturating_sub(once) as f64 / units as f64)
}

/// Does a work in a child of a tool. Returns the output of the tool.
fn run(tool: Command, work: &str, units: u64) -> Result<String, Box<dyn Error>> {
    tool::run_under(tool, &["--run", work, &units.to_string()])
}
