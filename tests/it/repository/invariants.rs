//! Everything that `INVARIANTS.md` names exists, so that the page cannot become
//! outdated unnoticed.

use std::fs;
use std::path::PathBuf;

use super::{files, read, root};

/// The invariants: the lines of each, its heading first.
fn sections(page: &str) -> Vec<Vec<&str>> {
    let mut sections: Vec<Vec<&str>> = Vec::new();
    for line in page.lines() {
        if line.starts_with("## ") || line.starts_with("### ") {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    sections.retain(|section| section[0].starts_with("### "));
    sections
}

/// Whether this is a published package, which lacks the other packages of the
/// workspace.
pub(super) fn is_published() -> bool {
    root().join("Cargo.toml.orig").exists()
}

/// The text of the entry with this name, such as `Test`.
fn entry(section: &[&str], name: &str) -> Option<String> {
    let begin = format!("- **{name}.**");
    let mut lines = section.iter().skip_while(|line| !line.starts_with(&begin));
    let mut text = (*lines.next()?).to_owned();
    for line in lines.take_while(|line| line.starts_with("  ")) {
        text.push('\n');
        text.push_str(line);
    }
    Some(text)
}

/// The parts between backticks.
pub(super) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether it names a test file, with or without a test in it.
pub(super) fn is_test_name(quoted: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-/.:".contains(c);
    quoted.chars().all(is_part)
}

/// The file that a module of the integration tests, another test or a test of
/// another package is in.
fn test_file(name: &str) -> Option<PathBuf> {
    let root = root();
    let mut files = vec![
        root.join(name),
        root.join(format!("tests/it/{name}.rs")),
        root.join(format!("tests/it/{name}/mod.rs")),
        root.join(format!("tests/{name}.rs")),
        root.join(format!("tests/{name}/main.rs")),
    ];
    if let Some((package, file)) = name.split_once('/') {
        files.push(root.join(format!("tests/{package}/tests/{file}.rs")));
        files.push(root.join(format!("tests/{package}/tests/{file}/main.rs")));
        files.push(root.join(format!("tests/{package}/{file}.rs")));
        files.push(root.join(format!("tests/it/{package}/{file}.rs")));
    }
    files.into_iter().find(|file| file.is_file())
}

/// Whether a test exists: a file, the files and modules in it, and a function or
/// a module in them.
pub(super) fn exists(name: &str) -> bool {
    let mut parts: Vec<&str> = name.split("::").collect();
    while parts.len() > 1 && test_file(&parts[..2].join("/")).is_some() {
        let path = parts[..2].join("/");
        let path: &str = path.leak();
        parts.splice(..2, [path]);
    }
    let Some(file) = test_file(parts[0]) else {
        return false;
    };
    let source = fs::read_to_string(&file).expect("a file");
    let mut rest = source.as_str();
    for part in &parts[1..] {
        let names = [format!("fn {part}("), format!("mod {part} {{")];
        match names.iter().find_map(|name| rest.split_once(name.as_str())) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    true
}

#[test]
fn every_named_test_exists() {
    if is_published() {
        return;
    }
    let page = read("INVARIANTS.md");
    let sections = sections(&page);
    assert!(sections.len() > 20, "only {} sections", sections.len());
    let mut missing = Vec::new();
    for section in &sections {
        let tests = entry(section, "Test").unwrap_or_default();
        let mut names = quoted(&tests).filter(|name| is_test_name(name)).peekable();
        if names.peek().is_none() {
            missing.push(format!("{}: no test", section[0]));
        }
        let absent = names.filter(|name| !exists(name));
        missing.extend(absent.map(|name| format!("{}: `{name}`", section[0])));
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// The code of each file of the library, without comments.
pub(super) fn sources() -> Vec<String> {
    let code = |path: String| {
        let source = read(&path);
        let lines = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    files("src", ".rs").into_iter().map(code).collect()
}

/// Whether an item or member exists. Of `Type::member` both must be in one file, where
/// the type is declared or implemented and the member is declared.
pub(super) fn is_item(sources: &[String], name: &str) -> bool {
    let name = name.trim_end_matches("()");
    let Some((owner, member)) = name.rsplit_once("::") else {
        return sources.iter().any(|source| has_word(source, name));
    };
    let owner = owner.rsplit("::").next().unwrap_or(owner);
    sources.iter().any(|source| {
        let mut lines = source.lines().map(str::trim_start);
        let keywords = ["impl", "pub ", "pub(", "struct ", "enum ", "trait ", "mod "];
        let is_home = |line: &str| keywords.iter().any(|word| line.starts_with(word));
        lines
            .clone()
            .any(|line| is_home(line) && has_word(line, owner))
            && lines.any(|line| declares(line, member))
    })
}

/// Whether a line declares a function, a field, a variant or a constant.
fn declares(line: &str, member: &str) -> bool {
    let begins = line.match_indices(member).any(|(at, _)| {
        let (before, behind) = (&line[..at], &line[at + member.len()..]);
        let is_declared = before.is_empty()
            || before.ends_with("fn ")
            || before.ends_with(") ")
            || before.ends_with("pub ")
            || before.ends_with("const ");
        is_declared && behind.starts_with(['(', '<', ':', ',', ' '])
    });
    begins && has_word(line, member)
}

fn has_word(source: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(word).any(|(at, _)| {
        !source[..at].ends_with(is_part) && !source[at + word.len()..].starts_with(is_part)
    })
}

#[test]
fn every_named_path_and_item_exists() {
    let page = read("INVARIANTS.md");
    let sources = sources();
    let mut missing = Vec::new();
    for section in sections(&page) {
        for entry_name in ["Statement", "Enforced by"] {
            let text = entry(&section, entry_name).unwrap_or_default();
            for name in quoted(&text) {
                let is_there = if name.contains('/') || name.ends_with(".rs") {
                    root().join("src").join(name).exists()
                } else {
                    is_item(&sources, name)
                };
                if !is_there {
                    missing.push(format!("{}: `{name}`", section[0]));
                }
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}
