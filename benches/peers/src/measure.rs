//! Measures the contestants of a case in turn, round by round, so that drift
//! affects all of them alike.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::job::{Job, Metric, Stopwatch, Value};
use crate::on::Contestant;
use crate::works::Case;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: usize,
    /// About how long one measurement takes, its setting up apart.
    pub time: Duration,
}

/// The figures of one contestant in one case: one for each round, NaN where it failed.
pub type Rounds = BTreeMap<Metric, Vec<f64>>;

/// The figures of one case.
pub struct Measured {
    pub id: String,
    pub work: &'static str,
    pub name: String,
    pub item: &'static str,
    pub by: BTreeMap<Contestant, Rounds>,
}

impl Measured {
    /// The figures of one contestant.
    pub fn rounds(&self, who: Contestant, metric: Metric) -> Option<&[f64]> {
        self.by.get(&who)?.get(&metric).map(Vec::as_slice)
    }

    /// The median of one contestant.
    pub fn median(&self, who: Contestant, metric: Metric) -> Option<f64> {
        median(self.rounds(who, metric)?.iter().copied())
    }

    /// The metrics that at least one contestant has.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = self.by.values().flat_map(Rounds::keys).copied().collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }
}

/// Measures one case. Failures are appended to the list.
pub fn measure(case: &Case, effort: Effort, failures: &mut Vec<String>) -> Measured {
    let mut by: BTreeMap<Contestant, Rounds> = BTreeMap::new();
    let count = case.contestants.len();
    for round in 0..effort.rounds {
        for turn in 0..count {
            // The first contestant of one round is the last of the next.
            let (who, set_up) = &case.contestants[(round + turn) % count];
            let rounds = by.entry(*who).or_default();
            match set_up().and_then(|mut job| sample(case, effort.time, &mut *job)) {
                Ok(values) => {
                    for (metric, value) in values {
                        let figures = rounds.entry(metric).or_default();
                        // Rounds are compared with each other by their place.
                        figures.resize(round, f64::NAN);
                        figures.push(value);
                    }
                }
                Err(error) => {
                    failures.push(format!("{}: {}: {error}", case.id(), who.name()));
                }
            }
        }
    }
    Measured {
        id: case.id(),
        work: case.work,
        name: case.name.clone(),
        item: case.item,
        by,
    }
}

/// Warms up, finds out how much fits the time, and measures that.
fn sample(case: &Case, time: Duration, job: &mut dyn Job) -> io::Result<Vec<Value>> {
    let (probe, most) = case.amounts;
    if most == 1 {
        return job.run(1);
    }
    let (mut amount, begun) = (probe, Instant::now());
    loop {
        let from = begun.elapsed();
        job.run(amount)?;
        let took = begun.elapsed() - from;
        // Long enough to tell from it, or long enough for a warm-up.
        if took * 8 > time || begun.elapsed() > time || amount >= most {
            let fits = amount as f64 * time.as_secs_f64() / took.as_secs_f64().max(1e-9);
            amount = (fits as u64).clamp(probe, most);
            break;
        }
        amount = (amount * 4).min(most);
    }
    let stopwatch = Stopwatch::start();
    let own = job.run(amount)?;
    let mut values = stopwatch.read(amount as f64 * case.items);
    values.extend(own);
    Ok(values)
}

/// The median of the values that are numbers.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values
        .into_iter()
        .filter(|value| value.is_finite())
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        return Some(values[middle]);
    }
    let below = values.get(middle.wrapping_sub(1))?;
    Some((below + values.get(middle)?) / 2.0)
}

/// The median of the ratios, round by round, of one row of figures to another.
pub fn ratio(of: &[f64], to: &[f64]) -> Option<f64> {
    median(of.iter().zip(to).map(|(of, to)| of / to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_leaves_out_what_is_no_number() {
        assert_eq!(median([]), None);
        assert_eq!(median([f64::NAN]), None);
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_compares_what_was_measured_in_the_same_round() {
        // Twice as long in every round, whatever the machine did meanwhile.
        assert_eq!(ratio(&[2.0, 20.0, 6.0], &[1.0, 10.0, 3.0]), Some(2.0));
        assert_eq!(ratio(&[2.0, 20.0], &[f64::NAN, 10.0]), Some(2.0));
        assert_eq!(ratio(&[2.0], &[]), None);
    }
}
