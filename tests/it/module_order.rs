//! The modules of the library form an order, and their types have distinct
//! names. A file that breaks one of these rules is named with its line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules below `src`. Each imports only from those before it.
const ORDER: &[&str] = &[
    "mutants",
    "panics",
    "error",
    "id",
    "addr",
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
    "guide",
    "sim",
];

/// Folders whose files form an order as well.
const ORDERED_FOLDERS: &[&str] = &["src/sys/sim"];

/// A file below `src`, without its comments and literals.
struct Source {
    /// Relative to the package.
    path: PathBuf,
    /// The top-level module that the file belongs to.
    module: String,
    code: String,
}

impl Source {
    fn line_of(&self, offset: usize) -> usize {
        1 + self.code[..offset].matches('\n').count()
    }

    fn complain(&self, offset: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path.display(), self.line_of(offset))
    }

    /// Whether `super` names the crate's root in the outermost code of the file.
    fn is_top_level(&self) -> bool {
        let is_mod_file = self.path.ends_with("mod.rs");
        self.path.components().count() == if is_mod_file { 3 } else { 2 }
    }
}

#[test]
fn modules_import_only_from_earlier_ones() {
    let mut complaints = Vec::new();
    for source in sources() {
        check_crate_paths(&source, &mut complaints);
        check_super_paths(&source, &mut complaints);
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Outside of `sys` and `sim` the feature `sim` adds whole items. It does not change
/// a statement, field, arm or argument, so that nothing there depends on whether the
/// network is simulated.
#[test]
fn the_simulator_adds_whole_items_only() {
    let mut complaints = Vec::new();
    for source in sources() {
        if ["sys", "sim"].contains(&source.module.as_str()) {
            continue;
        }
        let text = fs::read_to_string(package().join(&source.path)).expect("a file");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate() {
            let is_gate = line.contains("feature = \"sim\"") && !line.starts_with("//");
            let is_whole = *line == "#[cfg(feature = \"sim\")]" && is_item(lines[index + 1]);
            if is_gate && !is_whole {
                let place = format!("{}:{}", source.path.display(), index + 1);
                complaints.push(format!("{place}: a branch for the simulator"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn is_item(line: &str) -> bool {
    let private = match line.strip_prefix("pub") {
        Some(rest) => rest.trim_start_matches(|c| c != ' ').trim_start(),
        None => line,
    };
    ["fn", "impl", "mod", "use"].contains(&first_word(private))
}

#[test]
fn no_two_types_share_a_name() {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources().iter().filter(|source| !is_test_file(source)) {
        let tests = inline_modules(&source.code, "tests");
        for (offset, name) in declared_types(&source.code) {
            if !tests.iter().any(|range| range.contains(&offset)) {
                let place = format!("{}:{}", source.path.display(), source.line_of(offset));
                by_name.entry(name).or_default().push(place);
            }
        }
    }
    assert!(by_name.len() > 100, "only {} types found", by_name.len());
    by_name.retain(|_, places| places.len() > 1);
    assert!(by_name.is_empty(), "types that share a name: {by_name:#?}");
}

#[test]
fn files_of_ordered_folders_form_no_circle() {
    let sources = sources();
    for folder in ORDERED_FOLDERS {
        let mut imports = BTreeMap::new();
        for source in sources
            .iter()
            .filter(|it| it.path.parent() == Some(Path::new(folder)))
        {
            if !is_test_file(source) && !source.path.ends_with("mod.rs") {
                let stem = source.path.file_stem().expect("a name").to_string_lossy();
                imports.insert(stem.into_owned(), siblings_of(source));
            }
        }
        assert!(
            imports.len() > 10,
            "only {} files in {folder}",
            imports.len()
        );
        // Files that import nothing that is left, or that nothing imports, are in no
        // circle.
        let mut left = usize::MAX;
        while imports.len() < left {
            left = imports.len();
            let names: Vec<String> = imports.keys().cloned().collect();
            let used: Vec<String> = imports.values().flatten().cloned().collect();
            imports.retain(|name, imports| {
                imports.retain(|import| names.contains(import));
                used.contains(name) && !imports.is_empty()
            });
        }
        assert!(imports.is_empty(), "circles in {folder}: {imports:#?}");
    }
}

/// The files of its folder that a file imports from.
fn siblings_of(source: &Source) -> Vec<String> {
    let outermost = |(offset, _): &(usize, &str)| depth_in_modules(&source.code, *offset) == 0;
    let paths = paths(&source.code, "super").filter(outermost);
    let siblings = paths.map(|(offset, path)| {
        let file = first_word(path);
        let names_file =
            file.starts_with(char::is_lowercase) && path[file.len()..].starts_with("::");
        let complaint = || source.complain(offset, "name the file: `super::file::Item`");
        assert!(names_file, "{}", complaint());
        file.to_owned()
    });
    siblings.collect()
}

/// Every `crate::` leads to the file's own module or to an earlier one.
fn check_crate_paths(source: &Source, complaints: &mut Vec<String>) {
    let own = &source.module;
    let Some(rank) = ORDER.iter().position(|module| module == own) else {
        let what = format!("module `{own}` is missing in the order of this test");
        return complaints.push(source.complain(0, &what));
    };
    for (offset, path) in paths(&source.code, "crate") {
        let to = first_word(path);
        let what = match ORDER.iter().position(|module| *module == to) {
            Some(other) if other <= rank => continue,
            Some(_) => format!("module `{own}` imports `crate::{to}`, which comes after it"),
            None if to.is_empty() => format!("`crate::{path:.1}` names no module"),
            None if to.starts_with(char::is_uppercase) => {
                format!("`crate::{to}` is a re-export: name the module that defines it")
            }
            None => format!("module `{to}` is missing in the order of this test"),
        };
        complaints.push(source.complain(offset, &what));
    }
}

/// `super` cannot lead to another top-level module.
fn check_super_paths(source: &Source, complaints: &mut Vec<String>) {
    for (offset, path) in paths(&source.code, "super") {
        let is_outermost = depth_in_modules(&source.code, offset) == 0;
        if first_word(path) == "super" {
            complaints.push(source.complain(offset, "`super::super`: write `crate::`"));
        } else if is_outermost && source.is_top_level() {
            complaints.push(source.complain(offset, "`super` is the root: write `crate::`"));
        }
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `src`, except the root.
fn sources() -> Vec<Source> {
    let package = package();
    let mut folders = vec![package.join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the library") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("src/lib.rs")
            {
                let text = fs::read_to_string(&path).expect("a file of the library");
                let path = path.strip_prefix(package).expect("a file of the package");
                let top = path.components().nth(1).expect("a file below src");
                let module = Path::new(top.as_os_str()).file_stem().expect("a name");
                sources.push(Source {
                    module: module.to_string_lossy().into_owned(),
                    path: path.to_owned(),
                    code: without_comments_and_literals(&text),
                });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 50, "only {} files found", sources.len());
    sources
}

/// Where `keyword::` stands in the code, and what follows it.
fn paths<'a>(code: &'a str, keyword: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    code.match_indices(keyword).filter_map(move |(offset, _)| {
        let is_word = !code[..offset].ends_with(is_word_char);
        let rest = code[offset + keyword.len()..].trim_start();
        let rest = rest.strip_prefix("::").filter(|_| is_word)?;
        Some((offset, rest.trim_start()))
    })
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c| !is_word_char(c)).unwrap_or(text.len());
    &text[..end]
}

/// Where structs, enums and traits are declared, and their names.
fn declared_types(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for keyword in ["struct", "enum", "trait"] {
        for (offset, _) in code.match_indices(keyword) {
            let (before, after) = (&code[..offset], &code[offset + keyword.len()..]);
            if before.ends_with(is_word_char) || !after.starts_with(' ') {
                continue;
            }
            let name = first_word(after.trim_start());
            // In a macro it is a variable.
            if name.starts_with(char::is_uppercase) {
                found.push((offset, name.to_owned()));
            }
        }
    }
    found
}

fn is_test_file(source: &Source) -> bool {
    let stem = source.path.file_stem().unwrap_or_default();
    stem.to_string_lossy().ends_with("tests")
}

/// In how many inline modules a place in the code is.
fn depth_in_modules(code: &str, offset: usize) -> usize {
    let modules = inline_modules(code, "");
    modules
        .iter()
        .filter(|range| range.contains(&offset))
        .count()
}

/// The places of inline modules with this name; of all of them, if it is empty.
fn inline_modules(code: &str, name: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices("mod ") {
        let after = &code[offset + 4..];
        let declared = first_word(after);
        let body = after[declared.len()..].trim_start();
        let is_meant = name.is_empty() || name == declared;
        if is_meant && body.starts_with('{') && !code[..offset].ends_with(is_word_char) {
            let start = code.len() - body.len();
            found.push(start..start + block_len(body));
        }
    }
    found
}

/// The length of the block that the text begins with.
fn block_len(text: &str) -> usize {
    let mut depth = 0;
    for (offset, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return offset + 1;
        }
    }
    text.len()
}

/// The text with spaces in place of comments, strings and characters. Lines keep
/// their numbers.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let len = skipped_len(rest, code.ends_with(is_word_char));
        if len == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (skipped, after) = rest.split_at(len);
        code.extend(skipped.chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = after;
    }
    code
}

/// The length of the comment or literal that the text begins with; zero when it
/// begins with code.
fn skipped_len(text: &str, is_in_word: bool) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return block_comment_len(text);
    }
    if text.starts_with('"') {
        return quoted_len(text, '"');
    }
    if let Some(len) = raw_string_len(text).filter(|_| !is_in_word) {
        return len;
    }
    let mut chars = text.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) => quoted_len(text, '\''),
        // Otherwise it is a lifetime.
        (Some('\''), Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (offset, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return offset + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string_len(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.find(|c| c != '#')?;
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let len = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(text.len() - body.len() + len)
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = r####"a /* b /* c */ d */ e "crate::x \" y" f // g
'h' '\'' i: &'j str, r#"k " l"# m"####;
    let words: Vec<_> = without_comments_and_literals(text)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(words, ["a", "e", "f", "i:", "&'j", "str,", "m"]);
}

#[test]
fn paths_out_of_order_are_named_with_their_lines() {
    let source = |path: &str, code: &str| Source {
        path: path.into(),
        module: "framing".to_owned(),
        code: code.to_owned(),
    };
    let complaints = |source: &Source| {
        let mut complaints = Vec::new();
        check_crate_paths(source, &mut complaints);
        check_super_paths(source, &mut complaints);
        complaints
    };
    let deep = source(
        "src/framing/codec.rs",
        "use crate::error::A;\nuse crate::net::B;\nuse crate::C;\nuse super::super::net;\nuse super::D;",
    );
    assert_eq!(
        complaints(&deep),
        [
            "src/framing/codec.rs:2: module `framing` imports `crate::net`, which comes after it",
            "src/framing/codec.rs:3: `crate::C` is a re-export: name the module that defines it",
            "src/framing/codec.rs:4: `super::super`: write `crate::`",
        ]
    );
    let top = source(
        "src/framing.rs",
        "use super::net;\nmod tests {\n use super::*;\n}",
    );
    assert_eq!(
        complaints(&top),
        ["src/framing.rs:1: `super` is the root: write `crate::`"]
    );
}
