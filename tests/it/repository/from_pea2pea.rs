//! Every item of the library that `docs/from-pea2pea.md` names exists.

use super::invariants::{is_item, quoted, sources};
use super::read;

fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The cells of all columns with the heading `peerloop`.
fn column(page: &str) -> Vec<&str> {
    let (mut index, mut column) = (None, Vec::new());
    for line in page.lines() {
        let cells = cells(line);
        if !line.starts_with('|') {
            index = None;
        } else if let Some(heading) = cells.iter().position(|cell| *cell == "peerloop") {
            index = Some(heading);
        } else if let Some(cell) = index.and_then(|index| cells.get(index)) {
            column.push(*cell);
        }
    }
    column
}

#[test]
fn every_item_of_the_migration_page_exists() {
    let page = read("docs/from-pea2pea.md");
    let sources = sources();
    let names: Vec<&str> = column(&page).into_iter().flat_map(quoted).collect();
    assert!(names.len() > 150, "only {} names", names.len());
    let missing = names
        .iter()
        .map(|name| name.trim_start_matches("peerloop::"));
    let missing: Vec<&str> = missing.filter(|name| !is_item(&sources, name)).collect();
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}
