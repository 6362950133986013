//! Running this program under callgrind.

use std::error::Error;
use std::process::Command;

use crate::work::Work;

/// Messages of the shorter run: enough for some turns' worth of noise to disappear.
const MESSAGES: u64 = 100_000;

/// Instructions in user space for one message, everything included.
pub(crate) fn per_message(work: Work, size: usize) -> Result<f64, Box<dyn Error>> {
    let once = instructions(work, size, MESSAGES)?;
    let twice = instructions(work, size, 2 * MESSAGES)?;
    Ok(twice.saturating_sub(once) as f64 / MESSAGES as f64)
}

fn instructions(work: Work, size: usize, messages: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([
            "--run",
            &work.to_string(),
            &size.to_string(),
            &messages.to_string(),
        ])
        .output()
        .map_err(|error| format!("valgrind: {error}; on Debian, `apt-get install valgrind`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{work} {size}: {}\n{said}", output.status).into());
    }
    let line = said.lines().find_map(|line| line.split_once("Collected :"));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or_else(|| format!("callgrind did not say how much it collected:\n{said}").into())
}

/// The compiler that made this program: another one makes other instructions.
pub(crate) fn compiler() -> Result<String, Box<dyn Error>> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
