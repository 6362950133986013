//! Patterns of prose that are hard to read do not come back.
//!
//! Each pattern has a maximum for the whole repository. When a text is corrected,
//! the maximum is lowered; a hit that is right as it stands is added to `ALLOWED`.

use super::{files, read, root};

/// A name, the phrases, and the maximum number of lines with one of them.
const PHRASES: &[(&str, &str, usize)] = &[
    (
        "absence as a thing or person",
        "is none|are none|be none|of nobody|nobody's|nobody is|Nobody",
        1,
    ),
    (
        "programs as people",
        "hear|hears|heard|speak|speaks|spoken|goodbye|goodbyes|guest|guests|last word|\
         stranger|newcomer|newcomers|turned away|dies",
        0,
    ),
    (
        "archaic phrases",
        "of its own|of their own|for ever|want of|as good as",
        0,
    ),
    (
        "relatives for programs",
        "those who|those that|those of|whom|whoever",
        6,
    ),
];

/// Old private names of the code below `src`.
const OLD_NAMES: &str = "sibling|siblings|farewell|unheard|seldom|starved|newcomer|stash|planted|\
     held_back|catch_up|fall_silent|take_up|carry_out|line_up|hand_over|owe_drain";

/// Hits that are right as they stand: a part of the path, and a part of the line.
const ALLOWED: &[(&str, &str)] = &[];

const MAX_RELATIVE_SUBJECTS: usize = 0;
const MAX_TRAILING_BOUNDS: usize = 5;
const MAX_OLD_NAMES: usize = 0;
const MAX_LONG_LINES: usize = 0;
const MAX_LONG_TEST_NAMES: usize = 0;

/// A line of a file.
struct Line {
    place: String,
    text: String,
}

impl Line {
    fn is_allowed(&self) -> bool {
        ALLOWED
            .iter()
            .any(|(path, part)| self.place.contains(path) && self.text.contains(part))
    }

    fn is_rust(&self) -> bool {
        self.place.contains(".rs:")
    }

    /// The prose of a line: Markdown, a comment, or text between quotation marks.
    fn prose(&self) -> String {
        if !self.is_rust() || self.text.starts_with("//") {
            return self.text.clone();
        }
        let quoted = self.text.split('"').skip(1).step_by(2);
        quoted
            .filter(|quoted| quoted.len() >= 20)
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn code(&self) -> &str {
        self.text.split("//").next().unwrap_or("")
    }
}

/// The lines of all Rust sources and pages of the repository, except this file.
fn lines() -> Vec<Line> {
    let folders = ["src", "tests", "examples", "benches", "docs"].into_iter();
    let mut paths: Vec<String> = folders
        .flat_map(|folder| [files(folder, ".rs"), files(folder, ".md")].concat())
        .filter(|path| !path.ends_with("repository/prose.rs"))
        .collect();
    let pages = "ARCHITECTURE CHANGELOG CONTRIBUTING INVARIANTS README SECURITY".split(' ');
    let pages = pages.map(|page| format!("{page}.md"));
    paths.extend(pages.filter(|page| root().join(page).exists()));
    let mut lines = Vec::new();
    for path in paths {
        for (index, text) in read(&path).lines().enumerate() {
            let place = format!("{path}:{}", index + 1);
            let text = text.trim().to_owned();
            lines.push(Line { place, text });
        }
    }
    assert!(lines.len() > 10_000, "only {} lines", lines.len());
    lines
}

/// Whether a text has these words, and not as a part of longer words.
fn has(text: &str, words: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(words).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + words.len()..].starts_with(is_part)
    })
}

/// Whether a clause begins with a relative without a noun: "Who connects is ...".
fn has_relative_subject(text: &str) -> bool {
    ["Who ", "What ", "Whoever ", "Whatever ", "Whose "]
        .iter()
        .any(|word| {
            text.match_indices(word).any(|(at, _)| {
                let (before, after) = (&text[..at], &text[at + word.len()..]);
                let before = before.trim_end();
                let is_start =
                    before.is_empty() || before.ends_with(['.', ':', ';', '(', '/', '!', '-', '*']);
                is_start && after.starts_with(char::is_lowercase)
            })
        })
}

/// Whether a sentence ends with its bound: "It takes 5 at most."
fn has_trailing_bound(text: &str) -> bool {
    ["at most", "at the least"].iter().any(|bound| {
        let end = text.trim_end_matches(['.', ',', ';', ':']);
        end.ends_with(bound) || text.contains(&format!("{bound}. Default"))
    })
}

#[track_caller]
fn check(name: &str, max: usize, is_hit: impl Fn(&Line) -> bool) {
    let lines = lines();
    let hits = lines
        .iter()
        .filter(|line| is_hit(line) && !line.is_allowed());
    let hits: Vec<String> = hits
        .map(|line| format!("{}: {}", line.place, line.text))
        .collect();
    at_most(name, max, &hits);
}

#[track_caller]
fn at_most(name: &str, max: usize, hits: &[String]) {
    println!("{:4} of at most {max}: {name}", hits.len());
    assert!(
        hits.len() <= max,
        "{name}, at most {max}:\n{}",
        hits.join("\n")
    );
}

#[test]
fn hard_phrases_do_not_come_back() {
    for (name, phrases, max) in PHRASES {
        check(name, *max, |line| {
            let prose = line.prose();
            phrases.split('|').any(|phrase| has(&prose, phrase))
        });
    }
    check("relatives as subjects", MAX_RELATIVE_SUBJECTS, |line| {
        has_relative_subject(&line.prose())
    });
    check("trailing bounds", MAX_TRAILING_BOUNDS, |line| {
        has_trailing_bound(&line.prose())
    });
}

#[test]
fn old_names_do_not_come_back() {
    check("old names", MAX_OLD_NAMES, |line| {
        line.place.starts_with("src/")
            && line.is_rust()
            && OLD_NAMES.split('|').any(|name| has(line.code(), name))
    });
}

#[test]
fn comments_fit_on_a_line() {
    check("comments over 100 columns", MAX_LONG_LINES, |line| {
        line.is_rust()
            && line.text.starts_with("//")
            && line.text.chars().count() > 100
            && !line.text.contains("](")
            && !line.text.starts_with("//! |")
    });
}

#[test]
fn test_names_are_short() {
    let lines = lines();
    let is_attribute = |line: &Line| line.text.starts_with("#[");
    let mut is_test = false;
    let mut long = Vec::new();
    for line in lines.iter().filter(|line| line.is_rust()) {
        if let Some(name) = line.text.strip_prefix("fn ").filter(|_| is_test) {
            let name = name.split('(').next().unwrap_or("");
            if name.len() > 45 {
                long.push(format!("{}: {name}", line.place));
            }
        }
        is_test = line.text == "#[test]" || (is_test && is_attribute(line));
    }
    at_most("test names over 45 characters", MAX_LONG_TEST_NAMES, &long);
}
