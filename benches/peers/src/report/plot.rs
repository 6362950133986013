//! The chart that the README shows.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::job::Metric;
use crate::measure::{Measured, ratio};
use crate::on::Contestant;
use crate::report::machine::Occasion;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Which cases are drawn, by which figure, and what is written below them.
const BARS: [(&str, Metric, &str); 8] = [
    ("stream/16 B", Metric::Time, "stream 16 B"),
    ("stream/256 B", Metric::Time, "stream 256 B"),
    ("stream/4096 B", Metric::Time, "stream 4 KiB"),
    ("stream/32768 B", Metric::Time, "stream 32 KiB"),
    ("fan-in/100 senders", Metric::Time, "fan-in of 100"),
    (
        "round trip/1 outstanding, one thread",
        Metric::Median,
        "round trip",
    ),
    ("line/100 nodes, one thread", Metric::Time, "a hop of 100"),
    ("connect/and disconnect", Metric::Time, "connect"),
];

pub(super) const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(153, 153, 153),
];

const SIZE: (u32, u32) = (1000, 460);

/// A bar: its group, who, and the time as a multiple of peerloop's.
type Bar = (usize, usize, f64);

/// Draws how much time each takes, as a multiple of what peerloop takes, on a logarithmic scale.
///
/// # Errors
///
/// When nothing was measured that is to be drawn, or the file cannot be written.
pub fn plot(path: &Path, occasion: &Occasion, measured: &[Measured]) -> Result<()> {
    let (labels, bars) = bars(measured);
    if labels.is_empty() {
        return Err("nothing was measured that the chart shows".into());
    }
    let longest = bars.iter().map(|bar| bar.2).fold(1.0, f64::max) * 1.5;
    let shortest = bars.iter().map(|bar| bar.2).fold(1.0, f64::min) / 1.5;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let below = format!("less is better; {}; {}", occasion.machine, occasion.date);
    write_text(&area, 16, 14, 18, "Time, as a multiple of peerloop's")?;
    write_text(&area, 16, 38, 13, &below)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .margin_top(84)
        .x_label_area_size(28)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..labels.len() as f64, (shortest..longest).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(TRANSPARENT)
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    let width = 0.8 / Contestant::ALL.len() as f64;
    chart.draw_series(bars.iter().map(|&(group, who, value)| {
        let left = group as f64 + 0.1 + who as f64 * width;
        let corners = [(left, 1.0), (left + width * 0.9, value)];
        Rectangle::new(corners, COLOURS[who].filled())
    }))?;
    // The line that all are compared with; peerloop's own bars have no height above it.
    let ends = [(0.0, 1.0), (labels.len() as f64, 1.0)];
    chart.draw_series(LineSeries::new(ends, COLOURS[0].stroke_width(2)))?;
    for (group, label) in labels.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(group as f64 + 0.1, shortest));
        write_text(&area, x, y + 8, 13, label)?;
    }
    legend(&area)?;
    area.present()?;
    Ok(())
}

fn bars(measured: &[Measured]) -> (Vec<&'static str>, Vec<Bar>) {
    let (mut labels, mut bars) = (Vec::new(), Vec::new());
    for (id, metric, label) in BARS {
        let Some(case) = measured.iter().find(|case| case.id == id) else {
            continue;
        };
        let Some(own) = case.rounds(Contestant::Peerloop, metric) else {
            continue;
        };
        for (number, who) in Contestant::ALL.into_iter().enumerate() {
            let theirs = case.rounds(who, metric);
            if let Some(value) = theirs.and_then(|theirs| ratio(theirs, own)) {
                bars.push((labels.len(), number, value));
            }
        }
        labels.push(label);
    }
    (labels, bars)
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn legend(area: &Area<'_>) -> Result<()> {
    for (number, who) in Contestant::ALL.into_iter().enumerate() {
        let x = 16 + 150 * number as i32;
        let corners = [(x, 62), (x + 12, 74)];
        area.draw(&Rectangle::new(corners, COLOURS[number].filled()))?;
        write_text(area, x + 18, 62, 13, who.name())?;
    }
    Ok(())
}

pub(super) fn write_text(area: &Area<'_>, x: i32, y: i32, size: u32, text: &str) -> Result<()> {
    let style = ("sans-serif", size).into_font().color(&BLACK);
    Ok(area.draw(&Text::new(text.to_owned(), (x, y), style))?)
}
