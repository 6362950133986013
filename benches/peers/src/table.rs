//! The table in Markdown.

use std::fmt::Write;

use crate::measure::Measured;
use crate::on::Contestant;
use crate::rows::Unit;

/// Returns the table. Times of other contestants are multiples of peerloop's.
pub fn table(measured: &[Measured]) -> String {
    let names = Contestant::ALL.map(Contestant::name).join(" | ");
    let mut table = format!("| work | {names} |\n|{}\n", "---|".repeat(6));
    for row in measured {
        let cells = Contestant::ALL.map(|contestant| cell(row, contestant));
        // Writing into a string cannot fail.
        let _ = writeln!(table, "| {} | {} |", row.name, cells.join(" | "));
    }
    table
}

fn cell(row: &Measured, contestant: Contestant) -> String {
    let cell = match (row.unit, contestant) {
        (Unit::Bytes, _) => row.median(contestant).map(bytes),
        (Unit::Time, Contestant::Peerloop) => row.median(contestant).map(time),
        (Unit::Time, _) => row.ratio(contestant).map(|ratio| digits(ratio, 2)),
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

fn bytes(bytes: f64) -> String {
    if bytes < 1e4 {
        return format!("{bytes:.0} B");
    }
    format!("{:.0} KB", bytes / 1e3)
}

/// Formats a number with this many significant digits, and at least those
/// before the point.
fn digits(value: f64, digits: i32) -> String {
    let before = value.abs().log10().floor() as i32 + 1;
    let after = (digits - before.max(0)).max(0) as usize;
    format!("{value:.after$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_significant_digits_and_a_unit() {
        assert_eq!(time(12.345), "12.3 ns");
        assert_eq!(time(1234.0), "1.23 µs");
        assert_eq!(bytes(399.6), "400 B");
        assert_eq!(bytes(137_941.0), "138 KB");
        assert_eq!(digits(188.3, 2), "188");
        assert_eq!(digits(15.86, 2), "16");
        assert_eq!(digits(0.664, 2), "0.66");
    }

    #[test]
    fn table_has_ratios_and_dashes() {
        let rounds = [
            (Contestant::Peerloop, vec![100.0]),
            (Contestant::Tokio, vec![150.0]),
        ];
        let measured = Measured {
            name: "work",
            unit: Unit::Time,
            rounds: rounds.into(),
        };
        let row = "| work | 100 ns | - | - | 1.5 | - |";
        assert_eq!(table(&[measured]).lines().nth(2), Some(row));
    }
}
