//! `examples/README.md` has a row for each example. Examples are at most as long as
//! it says, and as their counterparts in pea2pea.

use super::invariants::is_published;
use super::{files, read, root};
use std::collections::BTreeMap;
use std::fs;

/// Lines that are neither blank nor comments.
fn code_lines(path: &str) -> usize {
    let text = read(path);
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

/// A file is a part of the example, and not a second program or a test.
fn counts(path: &str) -> bool {
    !path.ends_with("/simulated.rs") && !path.contains("/tests/")
}

/// The examples, with the lines of their code: files, and folders with a README.
fn examples() -> BTreeMap<String, usize> {
    let mut examples = BTreeMap::new();
    for entry in fs::read_dir(root().join("examples")).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        let name = name.into_string().expect("a name in UTF-8");
        let path = format!("examples/{name}");
        if let Some(stem) = name.strip_suffix(".rs") {
            examples.insert(stem.to_owned(), code_lines(&path));
        } else if root().join(&path).join("README.md").exists() {
            let files = files(&path, ".rs");
            let files = files.iter().filter(|path| counts(path));
            examples.insert(name, files.map(|path| code_lines(path)).sum());
        }
    }
    examples
}

/// The number in "At most 150 lines of code".
fn maximum(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("At most ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[test]
fn every_example_has_a_row_and_is_short() {
    if is_published() {
        return;
    }
    let (mut examples, mut wrong) = (examples(), Vec::new());
    for section in read("examples/README.md").split("\n## ").skip(1) {
        let maximum = maximum(&section.replace('\n', " ")).expect("a maximum of lines");
        let rows = section.lines().filter_map(|line| line.strip_prefix("| [`"));
        for name in rows.filter_map(|row| row.split('`').next()) {
            match examples.remove(name) {
                Some(lines) if lines <= maximum => {}
                Some(lines) => wrong.push(format!("{name}: {lines} of {maximum} lines")),
                None => wrong.push(format!("{name}: no example, or two rows")),
            }
        }
    }
    wrong.extend(examples.keys().map(|name| format!("{name}: no row")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The examples of pea2pea that have counterparts of the same purpose. The others
/// do more here.
const SHORTER: [&str; 12] = [
    "c100k",
    "dense_mesh",
    "dining_philosophers",
    "fixed_length_crusaders",
    "hapsburgs_plan_b",
    "hole_punching",
    "hot_potato_game",
    "kademlia_dht",
    "lan_discovery",
    "rate_limiting",
    "simple_rpc",
    "telephone_game",
];

#[test]
fn no_example_is_longer_than_its_counterpart() {
    if is_published() {
        return;
    }
    let (examples, mut wrong) = (examples(), Vec::new());
    let page = read("docs/parity.md");
    for name in SHORTER {
        let row = page.split_once(&format!("\n| {name} | ")).expect("a row").1;
        let mut cells = row.split(" | ");
        let maximum: usize = cells.next().expect("a cell").parse().expect("lines");
        let here = cells.next().expect("a cell").trim_matches('`');
        let lines = examples.get(here).copied().unwrap_or(usize::MAX);
        if lines > maximum {
            wrong.push(format!("{here}: {lines} of {maximum} lines"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
