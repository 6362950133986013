//! Writes the figures into the pages of the repository, between marks:
//!
//! ```text
//! <!-- peers: NAME -->
//! replaced
//! <!-- end -->
//! ```

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::footprint;
use crate::goals::goals;
use crate::measure::Measured;
use crate::plot::svg;
use crate::support::failed;
use crate::table::{cpu_table, table, wrapped};

/// Writes the figures into the README and `RESULTS.md`, and draws the chart. Then
/// measures the footprint and writes it.
pub fn update(measured: &[Measured], occasion: &str, rounds: usize) -> io::Result<()> {
    let head = wrapped(&format!("{occasion}:"), "")
        + "\n```sh\ncd benches/peers && cargo run --release -- --rounds "
        + &format!("{rounds} --update\n```\n");
    let short = table(measured.iter().filter(|row| row.is_in_readme));
    let all = format!(
        "{head}\n{}\nProcessor time of all threads, the kernel's included:\n\n{}\n\
         Ratios that the library aims at, and their range in the rounds:\n\n{}",
        table(measured),
        cpu_table(measured),
        goals(measured)
    );
    fs::write(path("benches/charts/peers.svg"), svg(measured, occasion))?;
    write("README.md", "comparison", &format!("{short}\n{head}"))?;
    write("benches/RESULTS.md", "comparison", &all)?;
    let weight = footprint::table()?;
    write("README.md", "footprint", &weight)?;
    write(
        "benches/RESULTS.md",
        "footprint",
        &format!("{head}\n{weight}"),
    )
}

/// Returns the path of a file of the repository.
fn path(of: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(of)
}

/// Replaces what a page of the repository has between the marks of this name.
fn write(page: &str, name: &str, content: &str) -> io::Result<()> {
    let file = path(page);
    let replaced = replaced(&fs::read_to_string(&file)?, name, content);
    let replaced = replaced.ok_or_else(|| failed(format!("{page} has no marks for {name}")))?;
    fs::write(file, replaced)
}

/// Returns `None` if the marks are missing.
fn replaced(page: &str, name: &str, content: &str) -> Option<String> {
    let begin = format!("<!-- peers: {name} -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let end = rest.find("<!-- end -->")?;
    Some([before, &begin, "\n", content.trim(), "\n\n", &rest[end..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_marks_is_replaced() {
        let page = "a\n<!-- peers: b -->\nold\n<!-- end -->\nc\n";
        let expected = "a\n<!-- peers: b -->\n\nnew\n\n<!-- end -->\nc\n";
        assert_eq!(replaced(page, "b", "new\n").as_deref(), Some(expected));
        assert_eq!(replaced(expected, "b", "new").as_deref(), Some(expected));
        assert_eq!(replaced(page, "c", "new"), None);
    }

    #[test]
    fn pages_have_marks() {
        let pages = ["README.md", "benches/RESULTS.md"];
        let names = ["comparison", "footprint"];
        for (page, name) in pages
            .into_iter()
            .flat_map(|page| names.map(|name| (page, name)))
        {
            let text = fs::read_to_string(path(page)).unwrap_or_default();
            assert!(replaced(&text, name, "").is_some(), "{page}: {name}");
        }
    }
}
