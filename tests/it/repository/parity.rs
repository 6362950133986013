//! Everything that `docs/parity.md` names exists.

use super::invariants::{exists, is_published, is_test_name, quoted};
use super::read;

#[test]
fn every_test_of_the_parity_page_exists() {
    if is_published() {
        return;
    }
    let page = read("docs/parity.md");
    let cells = page.lines().filter_map(|line| {
        let cell = line.strip_suffix(" |")?.rsplit(" | ").next()?;
        (!cell.starts_with("tests here")).then_some(cell)
    });
    let (mut named, mut wrong) = (0, Vec::new());
    for cell in cells {
        let mut names = quoted(cell).filter(|name| is_test_name(name)).peekable();
        if names.peek().is_none() && !cell.starts_with("None: ") {
            wrong.push(cell);
        }
        for name in names {
            named += 1;
            if !exists(name) {
                wrong.push(name);
            }
        }
    }
    assert!(named > 100, "only {named} names");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
