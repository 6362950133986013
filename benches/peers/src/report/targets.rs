//! The targets, and whether they were met.

use crate::job::Metric;
use crate::measure::{Measured, median, ratio};
use crate::on::Contestant;
use crate::report::table::{Style, render, value};

/// A figure: the name of the case, the contestant, and the metric.
type Source = (&'static str, Contestant, Metric);

/// The quantity that is compared with the bound.
enum Quantity {
    /// The other's time over ours: how many times faster we are. At least the bound.
    TimesFaster(Source, Source),
    /// Our time over the shortest of the others'. At most the bound.
    ShareOf(Source, &'static [Source]),
    /// A figure as it is. At most the bound.
    Fixed(Source),
}

struct Target {
    work: &'static str,
    against: &'static str,
    quantity: Quantity,
    bound: f64,
}

/// One target and its outcome.
pub struct Outcome {
    pub work: &'static str,
    pub against: &'static str,
    pub target: String,
    pub measured: Option<f64>,
    pub verdict: &'static str,
    shown: String,
}

use Contestant::{Limit, Pea2pea, Peerloop, Tokio};
use Metric::{Idle, IdleAfterUse, Median, Queueing, Time};

const fn stream(name: &'static str, who: Contestant) -> Source {
    (name, who, Time)
}

const STREAM: [&str; 4] = [
    "stream/16 B",
    "stream/256 B",
    "stream/4096 B",
    "stream/32768 B",
];

fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    let against = [
        ("blocking std", Limit, [0.75, 0.85, 0.95, 0.95]),
        ("pea2pea", Pea2pea, [15.0, 2.5, 1.2, 1.5]),
    ];
    for (against, who, bounds) in against {
        for (name, bound) in STREAM.into_iter().zip(bounds) {
            let quantity = Quantity::TimesFaster(stream(name, Peerloop), stream(name, who));
            targets.push(Target {
                work: name,
                against,
                quantity,
                bound,
            });
        }
    }
    let mut add = |work, against, quantity, bound| {
        targets.push(Target {
            work,
            against,
            quantity,
            bound,
        });
    };
    let name = STREAM[0];
    let faster = Quantity::TimesFaster(stream(name, Peerloop), stream(name, Tokio));
    add(name, "tokio Framed", faster, 3.0);
    let name = "fan-in/100 senders";
    let faster = Quantity::TimesFaster((name, Peerloop, Time), (name, Pea2pea, Time));
    add(name, "pea2pea", faster, 1.5);
    let name = "round trip/1 outstanding, one thread";
    let share = Quantity::ShareOf(
        (name, Peerloop, Median),
        &[("round trip/1 outstanding, one thread", Pea2pea, Median)],
    );
    add(name, "pea2pea, current-thread", share, 0.5);
    let name = "round trip/1 outstanding, two threads, busy_poll";
    let share = Quantity::ShareOf(
        (name, Peerloop, Median),
        &[(
            "round trip/1 outstanding, two threads, busy_poll",
            Limit,
            Median,
        )],
    );
    add(name, "raw mio spinning", share, 1.15);
    let hundred = "line/100 nodes, one thread";
    let share = Quantity::ShareOf(
        (hundred, Peerloop, Time),
        &[
            ("line/100 nodes, one thread", Pea2pea, Time),
            ("line/100 nodes, two threads", Pea2pea, Time),
        ],
    );
    add(hundred, "pea2pea, its faster runtime", share, 0.5);
    let thousand = "line/1000 nodes, one thread";
    let share = Quantity::ShareOf(
        (thousand, Peerloop, Time),
        &[
            ("line/1000 nodes, one thread", Pea2pea, Time),
            ("line/1000 nodes, two threads", Pea2pea, Time),
        ],
    );
    add(thousand, "pea2pea, its faster runtime", share, 0.5);
    let name = "connect/and disconnect";
    let own = (name, Peerloop, Time);
    let pea = Quantity::ShareOf(own, &[("connect/and disconnect", Pea2pea, Time)]);
    add(name, "pea2pea", pea, 0.5);
    let raw = Quantity::ShareOf(own, &[("connect/and disconnect", Limit, Time)]);
    add(name, "raw blocking pair", raw, 1.5);
    let name = "memory/4000 connections";
    add(
        name,
        "bytes, idle",
        Quantity::Fixed((name, Peerloop, Idle)),
        400.0,
    );
    let after = Quantity::Fixed((name, Peerloop, IdleAfterUse));
    add(name, "bytes, idle after an echo", after, 1024.0);
    let name = "growth/5000 idle beside one busy";
    let alone = &[("growth/0 idle beside one busy", Peerloop, Time)];
    add(
        name,
        "itself alone",
        Quantity::ShareOf((name, Peerloop, Time), alone),
        1.1,
    );
    let name = "broadcast/1000 peers";
    for (against, metric) in [
        ("1,000 single sends, until delivered", Time),
        ("1,000 single sends, the calls alone", Queueing),
    ] {
        let singly = ("broadcast/1000 peers, singly", Peerloop, metric);
        let faster = Quantity::TimesFaster((name, Peerloop, metric), singly);
        add(name, against, faster, 3.0);
    }
    targets
}

/// Every target with what was measured.
pub fn outcomes(measured: &[Measured]) -> Vec<Outcome> {
    let rounds = |(id, who, metric): Source| {
        let case = measured.iter().find(|case| case.id == id)?;
        case.rounds(who, metric)
    };
    let outcome = |target: Target| {
        let (found, is_met, bound, shown): (_, fn(f64, f64) -> bool, _, _) = match target.quantity {
            Quantity::TimesFaster(own, other) => {
                let found = rounds(other).zip(rounds(own));
                let found = found.and_then(|(other, own)| ratio(other, own));
                let bound = format!("at least {} times", target.bound);
                (found, |found, bound| found >= bound, bound, times(found))
            }
            Quantity::ShareOf(own, others) => {
                let shares = others
                    .iter()
                    .filter_map(|other| ratio(rounds(own)?, rounds(*other)?));
                // The harder of them.
                let found = shares.max_by(f64::total_cmp);
                let bound = format!("at most {} times its time", target.bound);
                (found, |found, bound| found <= bound, bound, times(found))
            }
            Quantity::Fixed(own) => {
                let found = rounds(own).and_then(|rounds| median(rounds.iter().copied()));
                let bound = format!("at most {}", value(target.bound, own.2));
                let shown = found.map(|found| value(found, own.2));
                (found, |found, bound| found <= bound, bound, shown)
            }
        };
        let verdict = match found {
            Some(found) if is_met(found, target.bound) => "met",
            Some(_) => "missed",
            None => "not measured",
        };
        Outcome {
            work: target.work,
            against: target.against,
            target: bound,
            measured: found,
            verdict,
            shown: shown.unwrap_or_else(|| "-".into()),
        }
    };
    targets().into_iter().map(outcome).collect()
}

fn times(found: Option<f64>) -> Option<String> {
    found.map(|found| format!("{found:.2}"))
}

/// The targets as a table.
pub fn table(outcomes: &[Outcome], style: Style) -> String {
    let head = ["work", "against", "target", "measured", "verdict"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(outcomes.iter().map(|outcome| {
        vec![
            outcome.work.to_owned(),
            outcome.against.to_owned(),
            outcome.target.clone(),
            outcome.shown.clone(),
            outcome.verdict.to_owned(),
        ]
    }));
    render(&rows, style)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::works::{Length, cases};

    #[test]
    fn every_target_is_about_something_that_is_measured() {
        let mut known = HashSet::new();
        for case in cases(Length::Full) {
            known.extend(case.contestants.iter().map(|(who, _)| (case.id(), *who)));
        }
        for target in targets() {
            let sources = match target.quantity {
                Quantity::TimesFaster(own, other) => vec![own, other],
                Quantity::ShareOf(own, others) => [&[own], others].concat(),
                Quantity::Fixed(own) => vec![own],
            };
            for (id, who, _) in sources {
                assert!(known.contains(&(id.to_owned(), who)), "{id} by {who:?}");
            }
        }
    }
}
