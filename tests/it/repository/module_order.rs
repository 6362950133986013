//! The modules of the library form an order, and their types have distinct names.
//!
//! Sources are read line by line, as rustfmt writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{files, root};

/// The modules below `src`. Each imports only from those before it.
const ORDER: &[&str] = &[
    "mutants",
    "counts",
    "panics",
    "error",
    "id",
    "addr",
    "proxy_header",
    "time",
    "traffic",
    "topology",
    "framing",
    "config",
    "buffers",
    "session",
    "tls",
    "noise",
    "timers",
    "conn_map",
    "token_bucket",
    "sys",
    "connection",
    "limits",
    "metrics",
    "answer",
    "cross_shard",
    "net",
    "handler",
    "command_queue",
    "event_loop",
    "node",
    "reconnect",
    "requests",
    "hello",
    "guide",
    "sim",
];

/// A folder whose files form an order as well.
const ORDERED_FOLDER: &str = "src/sys/sim";

/// A file below `src`.
struct Source {
    /// Relative to the package.
    path: String,
    /// The top-level module that the file belongs to.
    module: String,
    /// The code of each line, without comments.
    lines: Vec<String>,
    /// The index of the line with which the unit tests begin.
    tests_at: usize,
}

impl Source {
    fn new(path: String, text: &str) -> Self {
        let top = path.split('/').nth(1).expect("a file below src");
        let module = top.trim_end_matches(".rs").to_owned();
        let code = |line: &str| line.split("//").next().unwrap_or("").to_owned();
        let lines: Vec<String> = text.lines().map(code).collect();
        let tests_at = lines.iter().position(|line| line == "mod tests {");
        let is_test_file = path.ends_with("tests.rs");
        Self {
            tests_at: if is_test_file {
                0
            } else {
                tests_at.unwrap_or(lines.len())
            },
            path,
            module,
            lines,
        }
    }

    fn place(&self, index: usize) -> String {
        format!("{}:{}", self.path, index + 1)
    }

    /// The lines before the unit tests, with their indices.
    fn library_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines[..self.tests_at].iter();
        lines.map(String::as_str).enumerate()
    }

    /// The file name without its extension, and its folder.
    fn stem_and_folder(&self) -> (&str, &str) {
        let (folder, name) = self.path.rsplit_once('/').expect("a folder");
        (name.trim_end_matches(".rs"), folder)
    }

    /// Whether `super` is the root of the crate in this file.
    fn is_top_level(&self) -> bool {
        let depth = self.path.split('/').count();
        depth == if self.path.ends_with("/mod.rs") { 3 } else { 2 }
    }

    /// The imports that break the order, each with its place.
    fn wrong_imports(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            wrong.extend(paths(line, "crate").filter_map(|to| {
                let what = wrong_import(&self.module, to)?;
                Some(format!("{}: {what}", self.place(index)))
            }));
            let is_outermost = index < self.tests_at;
            let is_root = |to| to == "super" || (is_outermost && self.is_top_level());
            if paths(line, "super").any(is_root) {
                wrong.push(format!("{}: write `crate::`", self.place(index)));
            }
        }
        wrong
    }
}

/// Returns the rule that a path from a module to `crate::to` breaks.
fn wrong_import(module: &str, to: &str) -> Option<String> {
    let rank = |module| ORDER.iter().position(|other| *other == module);
    match (rank(module), rank(to)) {
        (Some(own), Some(other)) if other <= own => None,
        (Some(_), Some(_)) => Some(format!("`{module}` imports `{to}`, which comes after it")),
        (None, _) => Some(format!("`{module}` is missing in the order of this test")),
        (_, None) => Some(format!(
            "`crate::{to}`: name the module that defines the item"
        )),
    }
}

/// The word after each `keyword::` of a line.
fn paths<'a>(line: &'a str, keyword: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(keyword).filter_map(move |(at, _)| {
        let is_word = !line[..at].ends_with(is_word_char);
        let to = line[at + keyword.len()..].strip_prefix("::")?;
        is_word.then(|| first_word(to))
    })
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    text.split(|c| !is_word_char(c)).next().unwrap_or("")
}

/// A line without its visibility.
fn without_pub(line: &str) -> &str {
    let line = line.trim_start();
    match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches(|c| c != ' ').trim_start(),
        None => line,
    }
}

/// All files below `src`, except the root.
fn sources() -> Vec<Source> {
    let paths = files("src", ".rs").into_iter();
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).expect("a file");
        Source::new(path, &text)
    };
    let sources: Vec<Source> = paths
        .filter(|path| path != "src/lib.rs")
        .map(read)
        .collect();
    assert!(sources.len() > 50, "only {} files found", sources.len());
    sources
}

#[test]
fn modules_import_only_from_earlier_ones() {
    let wrong: Vec<String> = sources().iter().flat_map(Source::wrong_imports).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Outside of `sys` and `sim` the feature `sim` adds whole items. It does not
/// change a statement, field, arm or argument, so that nothing there depends on
/// whether the network is simulated.
#[test]
fn the_simulator_adds_whole_items_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        if ["sys", "sim"].contains(&source.module.as_str()) {
            continue;
        }
        for (index, line) in source.lines.iter().enumerate() {
            let is_item =
                |line| ["fn", "impl", "mod", "use"].contains(&first_word(without_pub(line)));
            let is_whole = line.trim() == "#[cfg(feature = \"sim\")]"
                && source
                    .lines
                    .get(index + 1)
                    .is_some_and(|next| is_item(next));
            if line.contains("feature = \"sim\"") && !is_whole {
                wrong.push(source.place(index));
            }
        }
    }
    assert!(wrong.is_empty(), "branches for the simulator: {wrong:#?}");
}

#[test]
fn no_two_types_share_a_name() {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for (index, line) in source.library_lines() {
            let declared = without_pub(line).split_once(' ');
            if let Some(("struct" | "enum" | "trait", name)) = declared {
                let name = first_word(name).to_owned();
                by_name.entry(name).or_default().push(source.place(index));
            }
        }
    }
    // In a macro the name is a variable.
    by_name.remove("");
    assert!(by_name.len() > 100, "only {} types found", by_name.len());
    by_name.retain(|_, places| places.len() > 1);
    assert!(by_name.is_empty(), "types that share a name: {by_name:#?}");
}

#[test]
fn files_of_an_ordered_folder_form_no_circle() {
    let sources = sources();
    let mut imports = BTreeMap::new();
    for source in &sources {
        let (stem, folder) = source.stem_and_folder();
        if folder == ORDERED_FOLDER && stem != "mod" && source.tests_at > 0 {
            let lines = source.library_lines();
            let used: Vec<&str> = lines.flat_map(|(_, line)| paths(line, "super")).collect();
            let is_file = |name: &&str| Path::new(ORDERED_FOLDER).join(name).with_extension("rs");
            for name in &used {
                assert!(
                    root().join(is_file(name)).exists(),
                    "{}: `super::{name}`",
                    source.path
                );
            }
            imports.insert(stem, used);
        }
    }
    assert!(imports.len() > 10, "only {} files", imports.len());
    // Files that import nothing that is left are in no circle.
    let mut left = usize::MAX;
    while imports.len() < left {
        left = imports.len();
        let names: Vec<&str> = imports.keys().copied().collect();
        imports.retain(|_, used| used.iter().any(|name| names.contains(name)));
    }
    assert!(imports.is_empty(), "circles: {imports:#?}");
}

#[test]
fn imports_out_of_order_are_found() {
    let text = "use crate::error::A;\nuse crate::net::B;\nuse crate::C;\nuse super::super::net;\n\
                use super::D;\n// crate::net\nmod tests {\n    use super::*;\n}\n";
    let wrong_lines = |path: &str| {
        let wrong = Source::new(path.to_owned(), text).wrong_imports();
        let line = |what: &String| what.split(':').nth(1).expect("a line").to_owned();
        wrong.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(wrong_lines("src/framing/codec.rs"), ["2", "3", "4"]);
    assert_eq!(wrong_lines("src/framing.rs"), ["2", "3", "4", "5"]);
}
