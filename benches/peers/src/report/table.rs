//! Tables, for the terminal and for documents.

use std::fmt::Write;

use crate::job::Metric;
use crate::measure::{Measured, ratio};
use crate::on::Contestant;

/// How a table is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Columns of equal width.
    Plain,
    Markdown,
}

/// All figures: medians, and behind them how many times peerloop's they are.
pub fn figures(measured: &[Measured], style: Style) -> String {
    let mut rows = vec![head()];
    for case in measured {
        for metric in case.metrics() {
            let mut row = vec![
                format!("{} {}", case.work, case.name),
                format!("{}, {}", metric.name(), per(case, metric)),
            ];
            row.extend(Contestant::ALL.map(|who| cell(case, who, metric)));
            rows.push(row);
        }
    }
    render(&rows, style)
}

fn head() -> Vec<String> {
    let words = ["work", "figure"].map(str::to_owned).into_iter();
    words
        .chain(Contestant::ALL.map(|who| who.name().to_owned()))
        .collect()
}

fn per(case: &Measured, metric: Metric) -> String {
    match metric {
        Metric::Median | Metric::P99 => format!("of a {}", case.item),
        _ => format!("a {}", case.item),
    }
}

fn cell(case: &Measured, who: Contestant, metric: Metric) -> String {
    let Some(median) = case.median(who, metric) else {
        return "-".into();
    };
    let value = value(median, metric);
    let own = case.rounds(Contestant::Peerloop, metric);
    let theirs = case
        .rounds(who, metric)
        .filter(|_| who != Contestant::Peerloop);
    match theirs.zip(own).and_then(|(theirs, own)| ratio(theirs, own)) {
        Some(ratio) => format!("{value} ({ratio:.2}x)"),
        None => value,
    }
}

/// A figure with its unit, three digits of it.
pub fn value(value: f64, metric: Metric) -> String {
    if metric.unit() == "bytes" {
        return format!("{value:.0} B");
    }
    let (value, unit) = match value {
        _ if value < 1e3 => (value, "ns"),
        _ if value < 1e6 => (value / 1e3, "µs"),
        _ if value < 1e9 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let digits = match value {
        _ if value < 10.0 => 2,
        _ if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// A table whose first row is its head.
pub fn render(rows: &[Vec<String>], style: Style) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let (left, between, right) = match style {
        Style::Plain => ("", "  ", ""),
        Style::Markdown => ("| ", " | ", " |"),
    };
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let line = format!("{left}{}{right}", cells.join(between));
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
        if number == 0 {
            let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "{left}{}{right}", dashes.join(between));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit() {
        assert_eq!(value(12.345, Metric::Time), "12.3 ns");
        assert_eq!(value(1234.0, Metric::Cpu), "1.23 µs");
        assert_eq!(value(123_456_789.0, Metric::P99), "123 ms");
        assert_eq!(value(399.6, Metric::Idle), "400 B");
    }

    #[test]
    fn a_table_is_aligned_or_markdown() {
        let rows = [["a", "long"], ["wide", "b"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            render(&rows, Style::Plain),
            "a     long\n----  ----\nwide  b\n"
        );
        let markdown = "| a    | long |\n| ---- | ---- |\n| wide | b    |\n";
        assert_eq!(render(&rows, Style::Markdown), markdown);
    }
}
