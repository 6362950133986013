//! Measures the contestants of a row in turn, round by round, so that changes
//! in the speed of the machine affect all of them alike.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

use crate::on::Contestant;
use crate::rows::{Row, Unit};
use crate::support::Job;

/// The cost of one item of a row.
#[derive(Clone, Copy)]
pub struct Cost {
    /// Nanoseconds or bytes, as the unit of the row says.
    pub figure: f64,
    /// Processor time of all threads, the kernel's included, in nanoseconds.
    pub cpu: f64,
}

impl Cost {
    pub const FAILED: Self = Self::without_cpu(f64::NAN);

    /// A cost whose processor time was not measured.
    pub const fn without_cpu(figure: f64) -> Self {
        Self {
            figure,
            cpu: f64::NAN,
        }
    }
}

/// One part of a [`Cost`].
pub type Part = fn(&Cost) -> f64;

/// Number of rounds, and the approximate time of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    pub time: Duration,
}

/// The figures of a row.
pub struct Measured {
    pub name: &'static str,
    pub unit: Unit,
    pub is_in_readme: bool,
    /// The limitation of one contestant in this row.
    pub notes: Vec<(Contestant, &'static str)>,
    /// A cost for each round, [`Cost::FAILED`] if it failed.
    pub rounds: BTreeMap<Contestant, Vec<Cost>>,
}

impl Measured {
    /// Returns the median of one contestant.
    pub fn median(&self, contestant: Contestant, part: Part) -> Option<f64> {
        median(self.rounds.get(&contestant)?.iter().map(part))
    }

    /// Returns one contestant's cost as a multiple of peerloop's: the median of
    /// the ratios in each round.
    pub fn ratio(&self, contestant: Contestant, part: Part) -> Option<f64> {
        median(self.ratios(contestant, part))
    }

    /// Returns the ratios of the rounds in which both were measured.
    pub fn ratios(&self, contestant: Contestant, part: Part) -> Vec<f64> {
        let costs = |contestant| self.rounds.get(&contestant).into_iter().flatten();
        let ratios = costs(contestant).zip(costs(Contestant::Peerloop));
        let ratios = ratios.map(|(theirs, own)| part(theirs) / part(own));
        ratios.filter(|ratio| ratio.is_finite()).collect()
    }
}

/// Measures a row. Failures are appended to the list.
pub fn measure(row: &Row, effort: Effort, failures: &mut Vec<String>) -> Measured {
    let mut rounds: BTreeMap<Contestant, Vec<Cost>> = BTreeMap::new();
    let count = row.contestants.len();
    for round in 0..effort.rounds {
        for turn in 0..count {
            // The first contestant of one round is the last of the next.
            let (contestant, sample) = &row.contestants[(round + turn) % count];
            let cost = sample(effort.time).unwrap_or_else(|error| {
                failures.push(format!("{}: {}: {error}", row.name, contestant.name()));
                Cost::FAILED
            });
            rounds.entry(*contestant).or_default().push(cost);
        }
    }
    Measured {
        name: row.name,
        unit: row.unit,
        is_in_readme: row.is_in_readme,
        notes: row.notes.clone(),
        rounds,
    }
}

/// Returns the cost of one unit of the job's amount. Warms up first, and finds
/// the amount that takes about this time. It is between `least` and `most`.
pub fn cost(job: &mut dyn Job, least: u64, most: u64, time: Duration) -> io::Result<Cost> {
    let (mut amount, begun) = (least, Instant::now());
    loop {
        let run = Instant::now();
        job.run(amount)?;
        let took = run.elapsed();
        if took * 8 > time || begun.elapsed() > time || amount >= most {
            let fits = amount as f64 * time.as_secs_f64() / took.as_secs_f64().max(1e-9);
            amount = (fits as u64).clamp(least, most);
            break;
        }
        amount = (amount * 4).min(most);
    }
    let (run, cpu) = (Instant::now(), ProcessTime::now());
    job.run(amount)?;
    let (took, cpu) = (run.elapsed(), cpu.elapsed());
    let each = |time: Duration| time.as_nanos() as f64 / amount as f64;
    Ok(Cost {
        figure: each(took),
        cpu: each(cpu),
    })
}

/// Returns the median of those values that are numbers.
fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        return Some(values[middle]);
    }
    let below = values.get(middle.wrapping_sub(1))?;
    Some((below + values.get(middle)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_leaves_out_nan() {
        assert_eq!(median([]), None);
        assert_eq!(median([f64::NAN]), None);
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratio_compares_figures_of_the_same_round() {
        let costs = |figures: [f64; 3]| figures.map(Cost::without_cpu).to_vec();
        let rounds = [
            (Contestant::Peerloop, costs([1.0, f64::NAN, 3.0])),
            (Contestant::Tokio, costs([2.0, 20.0, 6.0])),
        ];
        let measured = Measured {
            name: "a row",
            unit: Unit::Time,
            is_in_readme: true,
            notes: Vec::new(),
            rounds: rounds.into(),
        };
        let figure: Part = |cost| cost.figure;
        assert_eq!(measured.ratio(Contestant::Tokio, figure), Some(2.0));
        assert_eq!(measured.ratio(Contestant::Tokio, |cost| cost.cpu), None);
        assert_eq!(measured.ratio(Contestant::Limit, figure), None);
    }
}
