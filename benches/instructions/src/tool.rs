//! Running this program as a child of a tool that counts. The package `budgets`
//! includes this file.

use std::error::Error;
use std::process::Command;

/// Runs this program with these arguments as a child of `tool`. Returns the
/// output of the tool.
pub(crate) fn run_under(mut tool: Command, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let name = tool.get_program().to_string_lossy().into_owned();
    let output = tool
        .arg(std::env::current_exe()?)
        .args(arguments)
        .output()
        .map_err(|error| format!("{name}: {error}; on Debian, `apt-get install {name}`"))?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let arguments = arguments.join(" ");
        return Err(format!("{name} {arguments}: {}\n{printed}", output.status).into());
    }
    Ok(printed)
}

/// Returns the instructions in user space of this program with these arguments,
/// counted by callgrind.
pub(crate) fn instructions(arguments: &[&str]) -> Result<u64, Box<dyn Error>> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let printed = run_under(valgrind, arguments)?;
    let line = printed
        .lines()
        .find_map(|line| line.split_once("Collected :"));
    let count = line.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or_else(|| format!("callgrind printed no count:\n{printed}").into())
}
