//! The ratios that the library aims at.

use crate::measure::{Measured, Part};
use crate::on::Contestant;
use crate::table::{digits, line};

/// A contestant's cost in a row is at least this multiple of peerloop's.
struct Goal {
    row: &'static str,
    contestant: Contestant,
    least: f64,
    part: (&'static str, Part),
}

const TIME: (&str, Part) = ("time", |cost| cost.figure);
const CPU: (&str, Part) = ("processor time", |cost| cost.cpu);

const fn goal(
    row: &'static str,
    contestant: Contestant,
    least: f64,
    part: (&'static str, Part),
) -> Goal {
    Goal {
        row,
        contestant,
        least,
        part,
    }
}

const GOALS: [Goal; 7] = [
    goal("stream of 4 KiB", Contestant::Limit, 0.95, TIME),
    goal("stream of 32 KiB", Contestant::Limit, 0.95, TIME),
    goal("raw bytes", Contestant::Limit, 0.95, TIME),
    goal("fan-in", Contestant::Tokio, 1.0, CPU),
    goal("fan-in", Contestant::Tokio, 1.0, TIME),
    goal("connect", Contestant::Pea2pea, 2.0, TIME),
    goal("connect", Contestant::MessageIo, 1.0, TIME),
];

/// Returns a table of the goals in these rows, with the median and the range of
/// the ratios in each round.
pub fn goals(measured: &[Measured]) -> String {
    let mut table = "| work | part | contestant | goal | median | rounds | |\n\
                     |---|---|---|---|---|---|---|\n"
        .to_owned();
    for goal in &GOALS {
        let (name, part) = goal.part;
        let row = measured.iter().find(|row| row.name.starts_with(goal.row));
        let Some(row) = row else { continue };
        let Some(median) = row.ratio(goal.contestant, part) else {
            continue;
        };
        let ratios = row.ratios(goal.contestant, part);
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let cells = [
            name.to_owned(),
            goal.contestant.name().to_owned(),
            format!("{:.2}", goal.least),
            digits(median, 3),
            format!("{} to {}", digits(least, 2), digits(most, 2)),
            if median < goal.least { "missed" } else { "met" }.to_owned(),
        ];
        line(&mut table, row.name, &cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::rows;

    #[test]
    fn goals_name_rows_and_contestants() {
        let rows = rows();
        for goal in &GOALS {
            let mut named = rows.iter().filter(|row| row.name.starts_with(goal.row));
            let (row, other) = (named.next(), named.next());
            let of = |row: &crate::rows::Row| {
                let mut all = row.contestants.iter();
                all.any(|(contestant, _)| *contestant == goal.contestant)
            };
            assert!(row.is_some_and(of) && other.is_none(), "{}", goal.row);
        }
    }
}
