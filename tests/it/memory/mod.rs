//! Memory of a process with many connections. Each test runs alone in its process,
//! because it measures all of it.

mod idle;
mod slow_readers;

/// Returns the bytes that this process has mapped and those in memory.
fn usage() -> [usize; 2] {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let mut pages = pages.split_whitespace().map(str::parse::<usize>);
    let mut bytes = || pages.next().expect("a number").expect("a number") * 4096;
    [bytes(), bytes()]
}

/// Returns how much both have grown in a step.
fn growth(step: impl FnOnce()) -> [usize; 2] {
    let before = usage();
    step();
    let after = usage();
    [0, 1].map(|which| after[which].saturating_sub(before[which]))
}
