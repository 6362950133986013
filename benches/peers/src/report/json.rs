//! The figures for other programs: every round of every contestant, in nanoseconds and bytes.

use std::fmt::Write;

use crate::measure::{Measured, median};
use crate::report::machine::Occasion;
use crate::report::targets::Outcome;

/// One object with everything in it.
pub fn json(occasion: &Occasion, measured: &[Measured], outcomes: &[Outcome]) -> String {
    let mut figures = Vec::new();
    for case in measured {
        for (who, metrics) in &case.by {
            for (metric, rounds) in metrics {
                let values: Vec<String> = rounds.iter().map(|value| number(Some(*value))).collect();
                figures.push(format!(
                    "{{\"work\":{},\"case\":{},\"item\":{},\"contestant\":{},\"metric\":{},\
                     \"unit\":{},\"median\":{},\"rounds\":[{}]}}",
                    quoted(case.work),
                    quoted(&case.name),
                    quoted(case.item),
                    quoted(who.name()),
                    quoted(metric.name()),
                    quoted(metric.unit()),
                    number(median(rounds.iter().copied())),
                    values.join(",")
                ));
            }
        }
    }
    let targets = outcomes.iter().map(|outcome| {
        format!(
            "{{\"work\":{},\"against\":{},\"target\":{},\"measured\":{},\"verdict\":{}}}",
            quoted(outcome.work),
            quoted(outcome.against),
            quoted(&outcome.target),
            number(outcome.measured),
            quoted(outcome.verdict)
        )
    });
    format!(
        "{{\"machine\":{},\"date\":{},\n\"figures\":[\n{}\n],\n\"targets\":[\n{}\n]}}\n",
        quoted(&occasion.machine),
        quoted(&occasion.date),
        figures.join(",\n"),
        targets.collect::<Vec<_>>().join(",\n")
    )
}

/// A failed round has no number.
fn number(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        Some(value) => format!("{value:.3}"),
        None => "null".into(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ if letter.is_control() => {
                // Writing into a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", letter as u32);
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_cannot_hold_is_escaped_or_null() {
        assert_eq!(quoted("a \"b\" \\ \n"), "\"a \\\"b\\\" \\\\ \\u000a\"");
        assert_eq!(number(Some(f64::NAN)), "null");
        assert_eq!(number(Some(1.5)), "1.500");
    }
}
