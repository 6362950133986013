//! Programs that are shown in two places are the same in both.

use std::fs;

/// The first program in a text of Markdown.
fn first_program(markdown: &str) -> Vec<&str> {
    let is_fence = |line: &&str| line.starts_with("```");
    let lines = markdown.lines().skip_while(|line| !is_fence(line));
    lines.skip(1).take_while(|line| !is_fence(line)).collect()
}

/// The documentation of a crate, without its comment signs.
fn crate_documentation(source: &str) -> String {
    let lines = source.lines().filter_map(|line| line.strip_prefix("//!"));
    let unindented = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
    unindented.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_readme_and_the_crate_begin_with_the_same_program() {
    let root = env!("CARGO_MANIFEST_DIR");
    let read = |path| fs::read_to_string(format!("{root}/{path}")).expect("the file is there");
    let (readme, library) = (read("README.md"), read("src/lib.rs"));
    let documentation = crate_documentation(&library);
    let program = first_program(&documentation);
    assert!(
        program.iter().any(|line| line.contains("fn main()")),
        "{program:?}"
    );
    assert_eq!(first_program(&readme), program);
}
