//! A program that is shown in two places is the same in both.

use super::{read, root};

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
fn readme_and_crate_show_the_same_program() {
    let (readme, library) = (read("README.md"), read("src/lib.rs"));
    let documentation = crate_documentation(&library);
    let program = first_program(&documentation);
    let has_main = program.iter().any(|line| line.contains("fn main()"));
    assert!(has_main, "{program:?}");
    assert_eq!(first_program(&readme), program);
}

/// The package `tests/interop` compiles it, because calloop is not a dependency of
/// the library.
#[test]
fn guide_shows_the_compiled_calloop_program() {
    let compiled = "tests/interop/examples/calloop.rs";
    // A published package does not contain it.
    if root().join(compiled).exists() {
        let guide = read("src/guide/embedding.md");
        let (_, program) = guide.split_once("```ignore\n").expect("a program");
        let (program, _) = program.split_once("```").expect("its end");
        assert!(read(compiled).ends_with(program));
    }
}
