//! The memory and the page faults by which a process grows.

use std::error::Error;
use std::fs;
use std::process::Command;

use crate::works;

/// The growth for each unit of a work.
pub(crate) struct Grown {
    pub(crate) kib: f64,
    pub(crate) page_faults: f64,
}

/// Returns the growth of a process that does nothing but this work.
pub(crate) fn by(work: &str, units: u64) -> Result<Grown, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?);
    let child = child.args(["--measure", work, &units.to_string()]);
    let output = child.output()?;
    let printed = String::from_utf8(output.stdout)?;
    let mut numbers = printed.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(kib), Some(page_faults)) if output.status.success() => Ok(Grown {
            kib: kib?,
            page_faults: page_faults?,
        }),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// Prints the growth of this process, for [`by`].
pub(crate) fn print(work: &str, units: u64) -> Result<(), Box<dyn Error>> {
    let (kib, faults) = (resident_kib()?, page_faults()?);
    let kept = works::idle(work, units)?;
    let per_unit = |before: f64, after: f64| (after - before) / units as f64;
    println!("{}", per_unit(kib, resident_kib()?));
    println!("{}", per_unit(faults, page_faults()?));
    drop(kept);
    Ok(())
}

/// Returns the resident memory of this process, in KiB.
fn resident_kib() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let line = line.ok_or("/proc/self/status has no VmRSS")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// Returns the number of page faults without input or output: field 10 of
/// proc_pid_stat(5).
fn page_faults() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program, field 2, may contain spaces.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let faults = fields.split_whitespace().nth(7).unwrap_or_default();
    Ok(faults.parse()?)
}
