//! The machine and the date of a measurement.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// Returns the processor, the number of cores, the kernel and the date.
pub fn machine_and_date() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1));
    let model = model.unwrap_or(std::env::consts::ARCH).trim();
    let cores = available_parallelism().map_or(1, usize::from);
    let (kernel, date) = (output("uname", "-sr"), output("date", "+%F"));
    format!("{model}, {cores} cores, {kernel}, {date}")
}

fn output(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}
