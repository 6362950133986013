//! The recorded numbers: a line with the compiler, then a line for each work.

use std::error::Error;
use std::path::PathBuf;

use crate::work::Work;

pub(crate) struct Recorded {
    pub(crate) compiler: String,
    lines: Vec<String>,
}

impl Recorded {
    pub(crate) fn find(&self, work: Work, size: usize) -> Option<f64> {
        let name = format!("{work} {size} ");
        let line = self.lines.iter().find_map(|line| line.strip_prefix(&name));
        line?.parse().ok()
    }
}

pub(crate) fn read() -> Result<Recorded, Box<dyn Error>> {
    let text = std::fs::read_to_string(path())?;
    let mut lines = text.lines().map(str::to_owned);
    Ok(Recorded {
        compiler: lines.next().unwrap_or_default(),
        lines: lines.collect(),
    })
}

pub(crate) fn write(lines: &[String]) -> Result<(), Box<dyn Error>> {
    Ok(std::fs::write(path(), lines.join("\n") + "\n")?)
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "recorded.txt"]
        .iter()
        .collect()
}
