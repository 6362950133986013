//! Instructions per message.

use std::error::Error;
use std::process::Command;

use crate::tool;
use crate::work::Work;

/// Messages of the shorter run. The difference of a few turns is small beside
/// them.
const MESSAGES: u64 = 100_000;

/// Returns the instructions in user space for one message, with all that a turn
/// does.
pub(crate) fn per_message(work: Work, size: usize) -> Result<f64, Box<dyn Error>> {
    let once = instructions(work, size, MESSAGES)?;
    let twice = instructions(work, size, 2 * MESSAGES)?;
    Ok(twice.saturating_sub(once) as f64 / MESSAGES as f64)
}

fn instructions(work: Work, size: usize, messages: u64) -> Result<u64, Box<dyn Error>> {
    let [work, size, messages] = [work.to_string(), size.to_string(), messages.to_string()];
    tool::instructions(&["--run", &work, &size, &messages])
}

/// Returns the version of the compiler, on which the number of instructions
/// depends.
pub(crate) fn compiler() -> Result<String, Box<dyn Error>> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
