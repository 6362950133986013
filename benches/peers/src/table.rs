//! The tables in Markdown.

use std::fmt::Write;

use crate::measure::{Measured, Part};
use crate::notes;
use crate::on::Contestant;
use crate::rows::Unit;

/// Returns the table of times and memory, and the notes below it. Times of other
/// contestants are multiples of peerloop's.
pub fn table<'a>(measured: impl IntoIterator<Item = &'a Measured>) -> String {
    let mut notes = Notes::default();
    let names = Contestant::ALL.map(|contestant| {
        let note = notes::general(contestant);
        contestant.name().to_owned() + &notes.refer(note)
    });
    let mut table = header(&names);
    for row in measured {
        let cells = Contestant::ALL.map(|contestant| {
            let note = row.notes.iter().find(|(whose, _)| *whose == contestant);
            cell(row, contestant, |cost| cost.figure) + &notes.refer(note.map(|(_, text)| *text))
        });
        line(&mut table, row.name, &cells);
    }
    table + "\n" + &notes.list()
}

/// Returns the table of processor time.
pub fn cpu_table<'a>(measured: impl IntoIterator<Item = &'a Measured>) -> String {
    let mut table = header(&Contestant::ALL.map(|contestant| contestant.name().to_owned()));
    for row in measured.into_iter().filter(|row| row.unit == Unit::Time) {
        let cells = Contestant::ALL.map(|contestant| cell(row, contestant, |cost| cost.cpu));
        line(&mut table, row.name, &cells);
    }
    table
}

/// The notes of a table, numbered in the order in which they are first needed.
#[derive(Default)]
struct Notes(Vec<&'static str>);

impl Notes {
    /// Returns the reference to a note, which follows a cell.
    fn refer(&mut self, note: Option<&'static str>) -> String {
        let Some(note) = note else {
            return String::new();
        };
        let known = self.0.iter().position(|known| *known == note);
        let number = known.unwrap_or_else(|| {
            self.0.push(note);
            self.0.len() - 1
        });
        format!(" <sup>{}</sup>", number + 1)
    }

    fn list(&self) -> String {
        let notes = self.0.iter().enumerate();
        notes
            .map(|(number, note)| wrapped(&format!("{}. {note}", number + 1), "   "))
            .collect()
    }
}

/// Returns a paragraph in lines of at most 80 characters. All lines but the first
/// are indented.
pub fn wrapped(text: &str, indentation: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if width > 0 && width + 1 + len > 80 {
            lines += "\n";
            lines += indentation;
            width = indentation.len();
        } else if width > 0 {
            lines += " ";
            width += 1;
        }
        lines += word;
        width += len;
    }
    lines + "\n"
}

pub fn header(names: &[String]) -> String {
    let columns = "---|".repeat(names.len() + 1);
    format!("| work | {} |\n|{columns}\n", names.join(" | "))
}

pub fn line(table: &mut String, name: &str, cells: &[String]) {
    // Writing into a string cannot fail.
    let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
}

fn cell(row: &Measured, contestant: Contestant, part: Part) -> String {
    let cell = match (row.unit, contestant) {
        (Unit::Bytes, _) => row.median(contestant, part).map(bytes),
        (Unit::Time, Contestant::Peerloop) => row.median(contestant, part).map(time),
        (Unit::Time, _) => row.ratio(contestant, part).map(|ratio| digits(ratio, 2)),
    };
    cell.unwrap_or_else(|| "-".into())
}

fn time(nanos: f64) -> String {
    match nanos {
        _ if nanos < 1e3 => format!("{} ns", digits(nanos, 3)),
        _ if nanos < 1e6 => format!("{} µs", digits(nanos / 1e3, 3)),
        _ => format!("{} ms", digits(nanos / 1e6, 3)),
    }
}

pub fn bytes(bytes: f64) -> String {
    if bytes < 1e4 {
        return format!("{bytes:.0} B");
    }
    if bytes >= 1e6 {
        return format!("{} MB", digits(bytes / 1e6, 2));
    }
    format!("{:.0} KB", bytes / 1e3)
}

/// Formats a number with this many significant digits, and at least those
/// before the point.
pub fn digits(value: f64, digits: i32) -> String {
    let before = value.abs().log10().floor() as i32 + 1;
    let after = (digits - before.max(0)).max(0) as usize;
    format!("{value:.after$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cost;

    #[test]
    fn figures_have_significant_digits_and_a_unit() {
        assert_eq!(time(12.345), "12.3 ns");
        assert_eq!(time(1234.0), "1.23 µs");
        assert_eq!(bytes(399.6), "400 B");
        assert_eq!(bytes(137_941.0), "138 KB");
        assert_eq!(bytes(1_297_000.0), "1.3 MB");
        assert_eq!(digits(188.3, 2), "188");
        assert_eq!(digits(15.86, 2), "16");
        assert_eq!(digits(0.664, 2), "0.66");
    }

    #[test]
    fn tables_have_ratios_dashes_and_notes() {
        let cost = |figure, cpu| vec![Cost { figure, cpu }];
        let rounds = [
            (Contestant::Peerloop, cost(100.0, 10.0)),
            (Contestant::Tokio, cost(150.0, 40.0)),
        ];
        let measured = Measured {
            name: "work",
            unit: Unit::Time,
            is_in_readme: true,
            notes: vec![(Contestant::Limit, "It cannot.")],
            rounds: rounds.into(),
        };
        let table = table([&measured]);
        let row = "| work | 100 ns | - | - | 1.5 | - <sup>5</sup> |";
        assert_eq!(table.lines().nth(2), Some(row));
        assert!(table.ends_with("\n5. It cannot.\n"), "{table}");
        let row = "| work | 10.0 ns | - | - | 4.0 | - |";
        assert_eq!(cpu_table([&measured]).lines().nth(2), Some(row));
    }

    #[test]
    fn paragraphs_are_wrapped_at_80_columns() {
        let word = "abcdefghi ".repeat(9);
        let lines = wrapped(word.trim(), "   ");
        let lengths: Vec<usize> = lines.lines().map(str::len).collect();
        assert_eq!(lengths, [79, 12]);
    }
}
