//! The chart of how the cost grows: one small panel for each quantity that may grow.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::job::Metric;
use crate::measure::{Measured, ratio};
use crate::on::Contestant;
use crate::report::machine::Occasion;
use crate::report::plot::{Area, COLOURS, write_text};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SIZE: (u32, u32) = (1000, 720);

/// The heading above the panels: a title, time and place.
const HEAD: u32 = 60;

/// One of the small charts. The height is a linear scale that begins at zero, the
/// width a logarithmic one.
struct Panel {
    title: &'static str,
    along: &'static str,
    curves: Vec<Curve>,
}

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws how the figures grow with the number of connections, timers and shards, in
/// a panel for each that was measured.
///
/// # Errors
///
/// When nothing was measured that is to be drawn, or the file cannot be written.
pub fn plot(path: &Path, occasion: &Occasion, measured: &[Measured]) -> Result<()> {
    let panels = panels(measured);
    if panels.is_empty() {
        return Err("nothing was measured that the curves show".into());
    }
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let below = format!("medians; {}; {}", occasion.machine, occasion.date);
    write_text(&area, 16, 12, 18, "How the cost of peerloop grows")?;
    write_text(&area, 16, 36, 13, &below)?;
    let (_, area) = area.split_vertically(HEAD);
    for (place, panel) in area.split_evenly((2, 2)).iter().zip(&panels) {
        draw(place, panel)?;
    }
    area.present()?;
    Ok(())
}

fn panels(measured: &[Measured]) -> Vec<Panel> {
    let mut panels = vec![busy(measured), memory(measured), timers(measured)];
    panels.push(shards(measured));
    for panel in &mut panels {
        panel.curves.retain(|curve| !curve.points.is_empty());
    }
    panels.retain(|panel| !panel.curves.is_empty());
    panels
}

fn busy(measured: &[Measured]) -> Panel {
    let curve = |metric: Metric, name: &str| {
        let mut curve = curve(measured, metric, name, "growth", |name| {
            number_in(name, "", " idle beside one busy")
        });
        // The busy one is open too.
        curve.points.iter_mut().for_each(|point| point.0 += 1.0);
        curve
    };
    Panel {
        title: "ns for a message of 256 B on one busy connection",
        along: "open connections, the others idle",
        curves: vec![
            curve(Metric::Time, "time"),
            curve(Metric::Cpu, "processor time, both sides"),
        ],
    }
}

fn memory(measured: &[Measured]) -> Panel {
    let curve = |metric: Metric| {
        curve(measured, metric, metric.name(), "memory", |name| {
            number_in(name, "", " connections")
        })
    };
    Panel {
        title: "heap bytes for one connection",
        along: "open connections, all idle",
        curves: vec![curve(Metric::Idle), curve(Metric::IdleAfterUse)],
    }
}

fn timers(measured: &[Measured]) -> Panel {
    let mut curve = curve(measured, Metric::Time, "time", "growth", |name| {
        number_in(name, "a timer beside ", "")
    });
    // The one that is set and cancelled is a timer too.
    curve.points.iter_mut().for_each(|point| point.0 += 1.0);
    Panel {
        title: "ns to set a timer and to cancel it",
        along: "timers that are set",
        curves: vec![curve],
    }
}

/// Cases named "WORK, a plain node", "WORK, 1 shard", "WORK, 2 shards" and so on: a
/// curve for each WORK.
fn shards(measured: &[Measured]) -> Panel {
    let cases = || measured.iter().filter(|case| case.work == "shards");
    let plain = cases().filter_map(|case| {
        let what = case.name.strip_suffix(", a plain node")?;
        Some((what, case.rounds(Contestant::Peerloop, Metric::Time)?))
    });
    let curves = plain.map(|(what, plain)| {
        let point = |case: &Measured| {
            let shards = case.name.strip_prefix(what)?;
            let shards = number_in(shards.trim_end_matches('s'), ", ", " shard")?;
            let rounds = case.rounds(Contestant::Peerloop, Metric::Time)?;
            Some((shards, ratio(rounds, plain)?))
        };
        Curve {
            name: what.to_owned(),
            points: cases().filter_map(point).collect(),
        }
    });
    Panel {
        title: "time for a message, as a multiple of a plain node's",
        along: "shards",
        curves: curves.collect(),
    }
}

/// The medians of one work's cases, by the number that their names tell.
fn curve(
    measured: &[Measured],
    metric: Metric,
    name: &str,
    work: &str,
    number: impl Fn(&str) -> Option<f64>,
) -> Curve {
    let cases = measured.iter().filter(|case| case.work == work);
    let points = cases.filter_map(|case| {
        let along = number(&case.name)?;
        Some((along, case.median(Contestant::Peerloop, metric)?))
    });
    let mut points: Vec<(f64, f64)> = points.collect();
    points.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    Curve {
        name: name.to_owned(),
        points,
    }
}

fn number_in(name: &str, before: &str, after: &str) -> Option<f64> {
    let number = name.strip_prefix(before)?.strip_suffix(after)?;
    number.parse::<u32>().ok().map(f64::from)
}

fn draw(area: &Area<'_>, panel: &Panel) -> Result<()> {
    write_text(area, 16, 8, 14, panel.title)?;
    let points = || panel.curves.iter().flat_map(|curve| &curve.points);
    let widest = points().map(|point| point.0).fold(1.0, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max) * 1.25;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_top(32 + 18 * panel.curves.len() as u32)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d((0.8..widest * 1.25).log_scale(), 0.0..highest)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(panel.along)
        .x_label_formatter(&|value| format!("{value}"))
        .y_labels(6)
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    for (number, curve) in panel.curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
        chart.draw_series(line)?;
        let dots = curve.points.iter();
        chart.draw_series(dots.map(|point| Circle::new(*point, 3, colour.filled())))?;
        let y = 28 + 18 * number as i32;
        area.draw(&Rectangle::new([(68, y), (80, y + 12)], colour.filled()))?;
        write_text(area, 86, y, 12, &curve.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::works::{Length, cases};

    fn figures(work: &'static str, name: &str, value: f64) -> Measured {
        let metrics = [
            Metric::Time,
            Metric::Cpu,
            Metric::Idle,
            Metric::IdleAfterUse,
        ];
        let rounds = metrics.map(|metric| (metric, vec![value]));
        Measured {
            id: format!("{work}/{name}"),
            work,
            name: name.to_owned(),
            item: "message",
            by: BTreeMap::from([(Contestant::Peerloop, BTreeMap::from(rounds))]),
        }
    }

    fn along(panel: &Panel) -> Vec<f64> {
        panel.curves[0].points.iter().map(|point| point.0).collect()
    }

    #[test]
    fn the_names_of_the_cases_tell_where_their_points_are() {
        let all = cases(Length::Full);
        let measured: Vec<Measured> = all
            .iter()
            .map(|case| figures(case.work, &case.name, 1.0))
            .collect();
        let panels = panels(&measured);
        assert_eq!(along(&panels[0]), [1.0, 2.0, 11.0, 101.0, 1001.0, 5001.0]);
        assert_eq!(along(&panels[1]), [10.0, 100.0, 1000.0, 4000.0, 8000.0]);
        let timers = along(&panels[2]);
        assert_eq!(timers[0], 1.0);
        assert_eq!(timers.last(), Some(&1_000_001.0));
    }

    #[test]
    fn shards_are_compared_with_a_plain_node_of_the_same_work() {
        let measured = [
            figures("shards", "senders of 256 B, a plain node", 100.0),
            figures("shards", "senders of 256 B, 1 shard", 110.0),
            figures("shards", "senders of 256 B, 2 shards", 60.0),
            figures("shards", "senders of 32768 B, a plain node", 1000.0),
            figures("shards", "senders of 32768 B, 2 shards", 500.0),
        ];
        let panels = panels(&measured);
        let [panel] = &panels[..] else {
            panic!("{} panels", panels.len());
        };
        let curves: Vec<_> = panel.curves.iter().collect();
        assert_eq!(curves[0].name, "senders of 256 B");
        assert_eq!(curves[0].points, [(1.0, 1.1), (2.0, 0.6)]);
        assert_eq!(curves[1].points, [(2.0, 0.5)]);
    }

    #[test]
    fn what_was_not_measured_has_no_panel() {
        assert!(panels(&[figures("stream", "16 B", 1.0)]).is_empty());
    }
}
